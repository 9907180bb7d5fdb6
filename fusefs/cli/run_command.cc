// linkspan run
//
// Processes: this one (namespaces, signals, exit status); its child, the mount server, in a session
// of its own so that the terminal's signals pass it by; and bwrap, which becomes the command's
// parent. The server ends when its pipe from here is closed, however this process ends; bwrap and
// the command are killed with this process (--die-with-parent).
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_server.h"
#include "fusefs/cli/mountinfo.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/preflight.h"
#include "fusefs/cli/router_choice.h"
#include "fusefs/cli/sandbox.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kLeftOverGrace = 2s;    // from SIGTERM to SIGKILL for what the command left running
constexpr auto kLeftOverGiveUp = 30s;  // of what forks faster than it is killed
constexpr auto kProgress = 2s;

// Ends the processes that the command left behind: their files are about to go. Only the mounts
// that this run made tell who they are, and never a process that lives where `linkspan run` was
// called: the workspace may hold other Linkspan mounts, and everybody on the machine sees those.
void end_left_over(const MountReport& report, const std::string& caller_namespace, pid_t spared) {
  std::vector<std::string> devices;
  if (const auto mounts = read_mountinfo(); mounts.ok())
    for (const auto& connection : report.connections)
      if (const auto mount = mount_at(*mounts, connection.mountpoint);
          mount && mount->type == kFuseType)
        devices.push_back(mount->device);
  // Again until there is nothing: what is found may have forked since it was looked for.
  const auto give_up = std::chrono::steady_clock::now() + kLeftOverGiveUp;
  for (bool first = true; std::chrono::steady_clock::now() < give_up; first = false) {
    std::vector<UniqueFd> processes;
    for (const pid_t pid : processes_seeing(devices)) {
      if (pid == spared || mount_namespace(pid) == caller_namespace) continue;
      auto process = open_process({pid, process_start(pid).value_or(0)});
      if (!process || wait_for_end(process, 0ms)) continue;
      if (!first)
        signal_process(process, SIGKILL);
      else
        for (const int signal : {SIGHUP, SIGTERM, SIGCONT}) signal_process(process, signal);
      processes.push_back(std::move(process));
    }
    if (processes.empty()) return;
    const auto deadline = std::chrono::steady_clock::now() + kLeftOverGrace;
    for (const auto& process : processes) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      if (!wait_for_end(process, std::max(left, 0ms))) signal_process(process, SIGKILL);
    }
    for (const auto& process : processes) wait_for_end(process, kLeftOverGrace);
  }
}

class Run {
 public:
  explicit Run(RunOptions options) : options_(std::move(options)) {}
  int run();

 private:
  Status prepare();
  Status start_server();
  [[noreturn]] void serve(UniqueFd report, UniqueFd stop);
  Status start_command();
  [[noreturn]] void become_bwrap(const std::vector<std::string>& arguments, pid_t parent);
  int wait_for_command();
  void take_signal(const signalfd_siginfo& info);
  void learn_command();
  void say_server_ended();
  bool reap();
  int finish(int status);
  Status wait_for_server();

  RunOptions options_;
  ResolvedRouter router_;
  RunDirectory directory_;
  std::string bwrap_, caller_namespace_;
  std::vector<std::string> names_;  // of the tree's directories
  UniqueFd stop_;                   // closing it ends the server
  UniqueFd signals_, info_, executable_;
  std::string info_text_;
  pid_t server_ = 0, bwrap_pid_ = 0, command_ = 0;
  std::vector<int> waiting_signals_;  // that came before the command's pid was known
  std::optional<int> server_status_, command_status_;
};

Status Run::prepare() {
  const auto bwrap = find_program("bwrap");
  if (!bwrap)
    return fail(Code::not_found,
                "bubblewrap is missing (no bwrap in PATH); install it with: apt-get install "
                "bubblewrap");
  bwrap_ = *bwrap;
  LINKSPAN_CHECK(check_fuse_device());
  LINKSPAN_TRY(options_.spool_dir, choose_spool(options_.spool_dir));
  options_.workspace = absolute_path(options_.workspace);
  LINKSPAN_CHECK(check_workspace(options_.workspace));
  options_.expose_at = absolute_path(options_.expose_at);
  LINKSPAN_TRY(router_, resolve_router(options_.router));
  executable_.reset(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!executable_) return system_error("/proc/self/exe", errno);
  LINKSPAN_TRY(directory_, make_run_directory());
  caller_namespace_ = mount_namespace(::getpid());
  return enter_mount_namespace();
}

void Run::serve(UniqueFd report, UniqueFd stop) {
  ::setsid();
  ::prctl(PR_SET_DUMPABLE, 0);
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ::dup2(null.get(), 0);
  ::dup2(null.get(), 1);
  if (auto set = set_up_log(options_.log, false); !set.ok()) ::_exit(complain(set.error()));
  ServeOptions serve;
  serve.session.dir = directory_.path;
  serve.session.shown_at = options_.expose_at;
  serve.session.router = router_.address;
  serve.session.tls = router_.tls;
  serve.session.token = std::move(router_.token);
  serve.session.instance = std::move(router_.instance);
  serve.session.workspace = options_.workspace;
  serve.session.spool_dir = options_.spool_dir;
  serve.session.ownership =
      options_.owner == "identity" ? vfs::Ownership::identity : vfs::Ownership::squash;
  serve.report_fd = report.release();
  serve.stop_fd = stop.get();
  const std::string dir = directory_.path;
  serve.before_close = [caller = caller_namespace_, parent = ::getppid()](MountSession& session) {
    end_left_over(session.report(), caller, parent);
  };
  const int status = serve_mount(std::move(serve));
  ::rmdir(dir.c_str());
  ::_exit(status);
}

Status Run::start_server() {
  LINKSPAN_TRY(auto report, make_pipe());
  LINKSPAN_TRY(auto stop, make_pipe());
  server_ = ::fork();
  if (server_ < 0) return system_error("fork", errno);
  if (server_ == 0) {
    report.read.reset();
    stop.write.reset();
    serve(std::move(report.write), std::move(stop.read));
  }
  ::explicit_bzero(router_.token.data(), router_.token.size());
  ::explicit_bzero(router_.instance.data(), router_.instance.size());
  report.write.reset();
  stop_ = std::move(stop.write);
  LINKSPAN_TRY(const auto line, await_report(report.read.get()));
  const auto json = nlohmann::json::parse(line, nullptr, false);
  if (!json.is_object() || !json.contains("routes"))
    return fail(Code::internal, "the mount server said: " + line);
  for (const auto& route : json["routes"]) names_.push_back(route.get<std::string>());
  names_.push_back(kWorkspace);
  names_.push_back(kControl);
  return ok();
}

void Run::become_bwrap(const std::vector<std::string>& arguments, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kFailure);
  // Kept back, not ignored: what the command's process gets before it is the command still counts.
  const sigset_t shielded = shielded_signals();
  ::sigprocmask(SIG_SETMASK, &shielded, nullptr);
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execv(bwrap_.c_str(), argv.data());
  complain(system_error("cannot run " + bwrap_, errno));
  ::_exit(kFailure);
}

Status Run::start_command() {
  LINKSPAN_TRY(auto info, make_pipe());
  SandboxOptions sandbox;
  sandbox.tree = directory_.path;
  sandbox.prefix = options_.expose_at;
  sandbox.names = names_;
  sandbox.working_directory = (sandbox.prefix == "/" ? "" : sandbox.prefix) + "/workspace";
  sandbox.executable_fd = executable_.get();
  sandbox.info_fd = info.write.get();
  sandbox.command = options_.command;
  sigset_t blocked = shielded_signals();
  ::sigaddset(&blocked, SIGCHLD);
  LINKSPAN_TRY(const auto arguments, bwrap_arguments(sandbox));
  // From here on signals are the command's, not ours to die of.
  ::sigprocmask(SIG_BLOCK, &blocked, nullptr);
  signals_.reset(::signalfd(-1, &blocked, SFD_CLOEXEC | SFD_NONBLOCK));
  const pid_t parent = ::getpid();
  bwrap_pid_ = ::fork();
  if (bwrap_pid_ < 0) return system_error("fork", errno);
  if (bwrap_pid_ == 0) {
    ::fcntl(executable_.get(), F_SETFD, 0);
    ::fcntl(info.write.get(), F_SETFD, 0);
    become_bwrap(arguments, parent);
  }
  info_ = std::move(info.read);
  return ok();
}

// bwrap writes {"child-pid": N, ...} once the command's process exists.
void Run::learn_command() {
  char buffer[1024];
  const ssize_t n = ::read(info_.get(), buffer, sizeof buffer);
  if (n > 0) {
    info_text_.append(buffer, static_cast<size_t>(n));
    return;
  }
  info_.reset();
  const auto json = nlohmann::json::parse(info_text_, nullptr, false);
  if (json.is_object()) command_ = json.value("child-pid", 0);
  for (const int signal : waiting_signals_)
    if (command_ > 0) ::kill(command_, signal);
  waiting_signals_.clear();
}

void Run::take_signal(const signalfd_siginfo& info) {
  const int signal = static_cast<int>(info.ssi_signo);
  if (signal == SIGCHLD) return;
  // What the terminal sends goes to the whole foreground group, the command included once it is
  // there; but of its hang-up only the leader of the session hears.
  const bool hang_up = signal == SIGHUP && ::getsid(0) == ::getpid();
  if (info.ssi_code == SI_KERNEL && !hang_up && command_ > 0) return;
  if (command_ > 0)
    ::kill(command_, signal);
  else
    waiting_signals_.push_back(signal);
}

void Run::say_server_ended() {
  say("the mount process has ended (status " + std::to_string(*server_status_) +
      "); what is under /skills, /memory, ... cannot be reached, and unsaved changes are lost");
}

// True when the command has ended.
bool Run::reap() {
  int status;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (pid == bwrap_pid_) command_status_ = code;
    if (pid == server_) {
      server_status_ = code;
      if (!command_status_) say_server_ended();
    }
  }
  return command_status_.has_value();
}

int Run::wait_for_command() {
  while (!reap()) {
    pollfd fds[] = {{signals_.get(), POLLIN, 0}, {info_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;  // EINTR
    if (fds[1].revents) learn_command();
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) take_signal(info);
  }
  return *command_status_;
}

Status Run::wait_for_server() {
  if (server_ <= 0 || server_status_) return ok();
  const auto process = open_process({server_, process_start(server_).value_or(0)});
  while (process && !wait_for_end(process, kProgress)) {
    say("waiting until what is unsaved is written");
    signalfd_siginfo info;
    while (signals_ && ::read(signals_.get(), &info, sizeof info) == sizeof info)
      if (info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM) ::kill(server_, SIGTERM);
  }
  LINKSPAN_TRY(server_status_, wait_child(server_));
  if (*server_status_ > 128) say_server_ended();  // killed, not asked to end
  return ok();
}

// Ends the server, removes what is left, and decides the exit status.
int Run::finish(int status) {
  stop_.reset();
  (void)wait_for_server().ok();
  if (!directory_.path.empty() && ::rmdir(directory_.path.c_str()) != 0 && errno != ENOENT) {
    // The server was killed and its mounts are still in this namespace.
    ::umount2(directory_.path.c_str(), MNT_DETACH);
    ::umount2(directory_.path.c_str(), MNT_DETACH);  // the cover
    ::rmdir(directory_.path.c_str());
  }
  if (router_.local) router_.local->leave(true);
  if (status == kSuccess && server_status_.value_or(0) != 0) return kFailure;
  return status;
}

int Run::run() {
  Status started = prepare();
  if (started.ok()) started = start_server();
  if (started.ok()) started = start_command();
  if (!started.ok()) {
    complain(started.error());
    return finish(kFailure);
  }
  return finish(wait_for_command());
}

}  // namespace

int run_command(RunOptions options) {
  return Run(std::move(options)).run();
}

}  // namespace linkspan::cli
