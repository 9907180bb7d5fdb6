#include "fusefs/cli/mount_server.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <thread>
#include <utility>

#include "fusefs/cli/console.h"
#include "fusefs/cli/notify.h"
#include "fusefs/fuse/log.h"

namespace linkspan::cli {

namespace {

sigset_t end_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int s : {SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&signals, s);
  return signals;
}

// Runs a blocking call on a thread and says through a descriptor when it has returned.
class Waiter {
 public:
  template <class F>
  explicit Waiter(F call)
      : event_(::eventfd(0, EFD_CLOEXEC)), thread_([this, call = std::move(call)] {
          call();
          const uint64_t one = 1;
          [[maybe_unused]] const ssize_t n = ::write(event_.get(), &one, sizeof one);
        }) {}
  ~Waiter() { thread_.join(); }
  int fd() const { return event_.get(); }

 private:
  UniqueFd event_;
  std::thread thread_;
};

enum class Reason { signal, unmounted, stopped };

Reason wait_for_reason(const MountSession& mount, int signal_fd, int unmounted_fd, int stop_fd) {
  // The kernel says on it when something was mounted or unmounted.
  const UniqueFd table(mount.exposes() ? ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC) : -1);
  for (;;) {
    if (table && mount.is_abandoned()) return Reason::unmounted;
    pollfd fds[] = {{signal_fd, POLLIN, 0},
                    {unmounted_fd, POLLIN, 0},
                    {stop_fd, POLLIN, 0},
                    {table.get(), POLLPRI, 0}};
    if (::poll(fds, 4, -1) < 0) continue;  // EINTR; a negative descriptor is ignored
    if (fds[0].revents) {
      signalfd_siginfo info;
      [[maybe_unused]] const ssize_t n = ::read(signal_fd, &info, sizeof info);
      return Reason::signal;
    }
    if (fds[1].revents) return Reason::unmounted;
    if (fds[2].revents) return Reason::stopped;
  }
}

// Tells whoever waits; false when the one who started us is gone.
bool report_ready(const ServeOptions& options, const std::string& line) {
  notify_ready(options.session.dir);
  bool heard = true;
  if (options.report_fd >= 0) {
    heard = write_all(options.report_fd, "ready " + line).ok();
    ::close(options.report_fd);
  }
  if (options.ready_fd >= 0) {
    (void)write_all(options.ready_fd, line).ok();
    ::close(options.ready_fd);
  }
  return heard;
}

int report_error(const ServeOptions& options, const Error& error) {
  if (options.report_fd < 0) return complain(error);
  (void)write_all(options.report_fd, "error " + error.message).ok();
  ::close(options.report_fd);
  return kFailure;
}

// A signal gives up waiting for the router; one that comes later than that shall end the mount.
Result<std::unique_ptr<MountSession>> open_session(SessionOptions options, int signal_fd,
                                                   bool* ending) {
  client::CancelToken cancel;
  std::optional<Result<std::unique_ptr<MountSession>>> session;
  {
    Waiter opening([&] { session.emplace(MountSession::open(std::move(options), &cancel)); });
    for (bool done = false; !done;) {
      pollfd fds[] = {{signal_fd, POLLIN, 0}, {opening.fd(), POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0) continue;
      if (fds[0].revents) {
        signalfd_siginfo info;
        [[maybe_unused]] const ssize_t n = ::read(signal_fd, &info, sizeof info);
        *ending = true;
        cancel.cancel();
      }
      done = fds[1].revents != 0;
    }
  }
  if (!session->ok() && *ending)
    return fail(session->code(),
                "ended by a signal before it was mounted: " + session->error().message);
  return *std::move(session);
}

// A second signal gives up writing what is unsaved. `linkspan umount --lazy` unmounts, then sends
// one: after an unmount the first that comes is still the first.
std::vector<Error> close_session(MountSession& session, int signal_fd, bool first_is_due) {
  client::CancelToken cancel;
  std::vector<Error> failures;
  bool done = false;
  Waiter closing([&] { failures = session.close(&cancel); });
  while (!done) {
    pollfd fds[] = {{signal_fd, POLLIN, 0}, {closing.fd(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    if (fds[0].revents) {
      signalfd_siginfo info;
      [[maybe_unused]] const ssize_t n = ::read(signal_fd, &info, sizeof info);
      if (!std::exchange(first_is_due, false)) cancel.cancel();
    }
    done = fds[1].revents != 0;
  }
  return failures;
}

}  // namespace

int serve_mount(ServeOptions options) {
  const sigset_t signals = end_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  const UniqueFd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  bool ending = false;
  auto session = open_session(std::move(options.session), signal_fd.get(), &ending);
  options.place.reset();
  if (!session.ok()) return report_error(options, session.error());
  auto& mount = **session;
  options.session.dir = mount.report().dir;
  Reason reason = Reason::stopped;
  {
    Waiter watch([&] { (void)mount.wait(); });
    if (ending)
      reason = Reason::signal;
    else if (report_ready(options, mount.ready_line()))
      reason = wait_for_reason(mount, signal_fd.get(), watch.fd(), options.stop_fd);
    mount.interrupt();
  }
  notify_stopping();
  if (reason == Reason::unmounted) {
    fuse::log(fuse::LogLevel::warning, options.session.dir + " was unmounted by somebody; ending");
    mount.settle();
  }
  if (options.before_close) options.before_close(mount);
  const auto failures = close_session(mount, signal_fd.get(), reason == Reason::unmounted);
  for (const auto& error : failures) {
    fuse::log(fuse::LogLevel::error, error.message);
    complain(error);
  }
  return failures.empty() ? kSuccess : kFailure;
}

Result<std::string> await_report(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    const bool whole = text.rfind("ready ", 0) == 0 && text.back() == '\n';
    if (whole) return text.substr(6);
    if (n > 0) continue;
    if (text.rfind("error ", 0) == 0) return fail(Code::io, text.substr(6));
    return fail(Code::internal, "the mount process ended without saying why");
  }
}

}  // namespace linkspan::cli
