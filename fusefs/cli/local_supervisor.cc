#include "fusefs/cli/local_supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "fusefs/cli/console.h"
#include "fusefs/cli/file_lock.h"
#include "fusefs/cli/local_layout.h"
#include "fusefs/cli/local_router.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/postgres_cluster.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kStartTimeout = 60s;
constexpr auto kServerStopTimeout = 30s;
constexpr int kRestarts = 5;  // of a server, within kRestartWindow; then we give up
constexpr auto kRestartWindow = 60s;

// Blocks in flock() on a thread of its own until no user is left, then says so through a
// descriptor.
class UserWatch {
 public:
  explicit UserWatch(int users_fd) : event_(::eventfd(0, EFD_CLOEXEC)) {
    // Detached: it may block for ever, and ends with the process.
    std::thread([users_fd, event = event_.get()] {
      while (::flock(users_fd, LOCK_EX) != 0 && errno == EINTR) {
      }
      const uint64_t one = 1;
      [[maybe_unused]] const ssize_t n = ::write(event, &one, sizeof one);
    }).detach();
  }
  int fd() const { return event_.get(); }
  void taken() {
    uint64_t count;
    [[maybe_unused]] const ssize_t n = ::read(event_.get(), &count, sizeof count);
  }

 private:
  UniqueFd event_;
};

class Supervisor {
 public:
  explicit Supervisor(LocalLayout layout, UniqueFd ready)
      : layout_(std::move(layout)), ready_(std::move(ready)) {}

  Status start();
  int run();
  void fail_start(const Error& error) { report("error " + error.message); }

 private:
  using Start = Result<ProcessId> (Supervisor::*)();
  struct Server {
    const char* name;
    Start start;
    int stop_signal;
    ProcessId process;
    std::vector<std::chrono::steady_clock::time_point> deaths;
  };

  void report(const std::string& line) {
    if (ready_) (void)write_all(ready_.get(), line + "\n").ok();
  }
  Result<ProcessId> start_postgres() { return start_cluster(cluster_, kStartTimeout); }
  Result<ProcessId> start_routerd() { return start_router(layout_, routerd_, kStartTimeout); }
  Status reap();
  Status died(Server& server);
  Status revive();
  bool unused(UserWatch& watch);
  void stop(Server& server);

  LocalLayout layout_;
  UniqueFd ready_;
  UniqueFd lock_, users_;
  ClusterOptions cluster_;
  std::string routerd_;
  Server postgres_{"PostgreSQL", &Supervisor::start_postgres, SIGINT, {}, {}};  // SIGINT: fast
  Server router_{"the router", &Supervisor::start_routerd, SIGTERM, {}, {}};
};

Status Supervisor::start() {
  LINKSPAN_TRY(lock_, open_lock(layout_.supervisor_lock()));
  if (!try_lock(lock_, LOCK_EX))
    return fail(Code::busy, "the private servers in " + layout_.root + " are running already");
  const auto self = this_process();
  LINKSPAN_CHECK(write_file(
      layout_.running(), std::to_string(self.pid) + " " + std::to_string(self.start) + "\n", 0600));
  // Again: the supervisor before us has taken them away when it ended.
  LINKSPAN_CHECK(make_local_directories(&layout_));
  LINKSPAN_TRY(users_, open_lock(layout_.users_lock()));
  LINKSPAN_TRY(routerd_, find_routerd());
  LINKSPAN_TRY(cluster_.programs, find_postgres());
  cluster_.data = layout_.data();
  cluster_.sockets = layout_.postgres_sockets();
  cluster_.log = layout_.postgres_log();
  cluster_.user = layout_.user;
  cluster_.user_name = layout_.user_name;
  if (::access((layout_.data() + "/linkspan-complete").c_str(), F_OK) != 0)
    report("progress creating a private PostgreSQL " + std::to_string(cluster_.programs.major) +
           " cluster in " + layout_.data() + " (once)");
  LINKSPAN_CHECK(prepare_cluster(cluster_));
  LINKSPAN_TRY(postgres_.process, start_postgres());
  LINKSPAN_CHECK(write_router_config(layout_, routerd_, cluster_url(cluster_)));
  auto router = start_routerd();
  if (!router.ok()) {
    stop(postgres_);
    return router.error();
  }
  router_.process = *router;
  return ok();
}

void Supervisor::stop(Server& server) {
  const auto process = open_process(server.process);
  if (!process) return;
  signal_process(process, server.stop_signal);
  if (!wait_for_end(process, kServerStopTimeout)) signal_process(process, SIGKILL);
  (void)wait_child(server.process.pid).ok();
  server.process = {};
}

// Takes note of what has died; a bounded number of deaths is mended.
Status Supervisor::reap() {
  int status;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    for (Server* server : {&postgres_, &router_}) {
      if (server->process.pid != pid) continue;
      server->process = {};
      LINKSPAN_CHECK(died(*server));
      say(std::string(server->name) + " (pid " + std::to_string(pid) + ") died; starting it again");
    }
  }
  return ok();
}

Status Supervisor::died(Server& server) {
  const auto now = std::chrono::steady_clock::now();
  server.deaths.push_back(now);
  std::erase_if(server.deaths, [&](auto at) { return now - at > kRestartWindow; });
  if (server.deaths.size() <= kRestarts) return ok();
  return fail(Code::io, std::string(server.name) + " dies again and again");
}

// Starts again what has died, the database first: a router that finds none ends soon, and then
// both are looked at anew, for the database may have died while the router started.
Status Supervisor::revive() {
  LINKSPAN_CHECK(reap());
  while (postgres_.process.pid == 0 || router_.process.pid == 0) {
    Server& server = postgres_.process.pid == 0 ? postgres_ : router_;
    if (auto started = (this->*server.start)(); started.ok()) {
      server.process = *started;
    } else {
      say(started.error().message);
      LINKSPAN_CHECK(died(server));
    }
    LINKSPAN_CHECK(reap());
  }
  return ok();
}

// No user is left: the watch holds the exclusive lock now, so none can come before it is let go.
bool Supervisor::unused(UserWatch& watch) {
  watch.taken();
  if (::access(layout_.keep().c_str(), F_OK) != 0) return true;
  unlock(users_);  // `linkspan local start` wants them to stay; `local stop` sends SIGTERM
  return false;
}

int Supervisor::run() {
  report("ready");
  ready_.reset();
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int s : {SIGTERM, SIGINT, SIGCHLD}) ::sigaddset(&signals, s);
  const UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  UserWatch watch(users_.get());
  int exit = kSuccess;
  for (bool running = true; running;) {
    pollfd fds[] = {{signal_fd.get(), POLLIN, 0}, {watch.fd(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;  // EINTR
    if (fds[0].revents) {
      signalfd_siginfo info;
      [[maybe_unused]] const ssize_t n = ::read(signal_fd.get(), &info, sizeof info);
      if (info.ssi_signo != SIGCHLD) break;
      if (auto revived = revive(); !revived.ok()) {
        exit = complain(revived.error());
        break;
      }
    }
    if (fds[1].revents) running = !unused(watch);
  }
  stop(router_);
  stop(postgres_);
  ::unlink(layout_.running().c_str());
  remove_socket_directories(layout_);
  lock_.reset();  // first: who gets the users' lock next must find no supervisor
  users_.reset();
  return exit;
}

}  // namespace

int supervise_local(const SupervisorOptions& options) {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int s : {SIGTERM, SIGINT, SIGCHLD}) ::sigaddset(&signals, s);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  UniqueFd ready(options.ready_fd);
  if (ready) ::fcntl(ready.get(), F_SETFD, FD_CLOEXEC);
  auto layout = local_layout(options.state_dir);
  if (!layout.ok()) return complain(layout.error());
  Supervisor supervisor(*std::move(layout), std::move(ready));
  if (auto started = supervisor.start(); !started.ok()) {
    supervisor.fail_start(started.error());
    return complain(started.error());
  }
  return supervisor.run();
}

}  // namespace linkspan::cli
