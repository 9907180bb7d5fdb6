// Processes: named by pid and start, watched through pidfds.
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

std::optional<uint64_t> process_start(pid_t pid) {
  auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat.ok()) return std::nullopt;
  // "pid (comm) state ppid ...": comm may hold anything, so count from its last ')'. The state is
  // field 3, the start field 22.
  const size_t end = stat->rfind(')');
  if (end == std::string::npos || end + 2 > stat->size()) return std::nullopt;
  const auto fields = split(std::string_view(*stat).substr(end + 2), ' ');
  if (fields.size() < 20 || fields[0] == "Z" || fields[0] == "X") return std::nullopt;
  return std::strtoull(fields[19].c_str(), nullptr, 10);
}

ProcessId this_process() {
  return {::getpid(), process_start(::getpid()).value_or(0)};
}

bool is_alive(const ProcessId& process) {
  return process.pid > 0 && process_start(process.pid) == std::optional(process.start);
}

UniqueFd open_process(const ProcessId& process) {
  if (process.pid <= 0) return {};
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // Checked after it was opened: from here on the descriptor cannot mean another process.
  if (fd && !is_alive(process)) fd.reset();
  return fd;
}

bool signal_process(const UniqueFd& process, int signal) {
  return ::syscall(SYS_pidfd_send_signal, process.get(), signal, nullptr, 0) == 0;
}

bool wait_for_end(const UniqueFd& process, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd poll_fd{process.get(), POLLIN, 0};
    const int n = ::poll(&poll_fd, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

namespace {

struct ExecImage {  // everything the child needs, made before fork
  std::vector<char*> argv;
  std::vector<std::string> storage;
  std::vector<char*> envp;
  std::string program;
};

ExecImage make_image(const SpawnOptions& options) {
  ExecImage image;
  for (const auto& arg : options.argv) image.argv.push_back(const_cast<char*>(arg.c_str()));
  image.argv.push_back(nullptr);
  for (char** e = environ; *e; ++e) {
    const std::string_view name(*e, std::strcspn(*e, "="));
    const bool replaced =
        std::any_of(options.environment.begin(), options.environment.end(),
                    [&](const auto& added) { return added.substr(0, added.find('=')) == name; });
    if (!replaced) image.envp.push_back(*e);
  }
  for (const auto& added : options.environment)
    image.envp.push_back(const_cast<char*>(added.c_str()));
  image.envp.push_back(nullptr);
  image.program = find_program(options.argv[0]).value_or(options.argv[0]);
  return image;
}

bool become(const SpawnOptions& options) {
  if (!options.user) return true;
  const auto [uid, gid] = *options.user;
  return ::setgroups(0, nullptr) == 0 && ::setresgid(gid, gid, gid) == 0 &&
         ::setresuid(uid, uid, uid) == 0;
}

bool set_streams(const SpawnOptions& options) {
  const int null = ::open("/dev/null", O_RDWR);
  const int in = options.in >= 0 ? options.in : null;
  if (::dup2(in, 0) < 0) return false;
  if (options.out >= 0 && ::dup2(options.out, 1) < 0) return false;
  if (options.err >= 0 && ::dup2(options.err, 2) < 0) return false;
  if (null > 2) ::close(null);
  return true;
}

[[noreturn]] void run_child(const SpawnOptions& options, ExecImage& image, int report,
                            pid_t parent) {
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (options.new_session) ::setsid();
  bool good = set_streams(options) && become(options);
  for (const int fd : options.keep) good = good && ::fcntl(fd, F_SETFD, 0) == 0;
  // After becoming another user: a change of credentials clears the death signal.
  if (good && options.death_signal != 0) {
    good = ::prctl(PR_SET_PDEATHSIG, options.death_signal) == 0;
    if (::getppid() != parent) ::_exit(1);
  }
  if (good) {
    // Another user may not be able to reach the directory we are in.
    if (options.user && ::chdir("/") != 0) ::_exit(127);
    if (options.program_fd >= 0)
      ::fexecve(options.program_fd, image.argv.data(), image.envp.data());
    else
      ::execve(image.program.c_str(), image.argv.data(), image.envp.data());
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t n = ::write(report, &error, sizeof error);
  ::_exit(127);
}

}  // namespace

Result<ProcessId> spawn(const SpawnOptions& options) {
  LINKSPAN_TRY(auto report, make_pipe());
  ExecImage image = make_image(options);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return system_error("fork", errno);
  if (pid == 0) run_child(options, image, report.write.get(), parent);
  report.write.reset();
  int error = 0;
  ssize_t n;
  while ((n = ::read(report.read.get(), &error, sizeof error)) < 0 && errno == EINTR) {
  }
  if (n == sizeof error) {
    ::waitpid(pid, nullptr, 0);
    return system_error("cannot run " + options.argv[0], error);
  }
  return ProcessId{pid, process_start(pid).value_or(0)};
}

Result<int> wait_child(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return system_error("waitpid", errno);
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

Result<Output> run_program(SpawnOptions options, std::chrono::milliseconds timeout) {
  LINKSPAN_TRY(auto pipe, make_pipe());
  options.out = options.err = pipe.write.get();
  LINKSPAN_TRY(const auto process, spawn(options));
  pipe.write.reset();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  Output output;
  char buffer[4096];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd poll_fd{pipe.read.get(), POLLIN, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      ::kill(process.pid, SIGKILL);
      (void)wait_child(process.pid).ok();
      return fail(Code::timed_out, options.argv[0] + " did not end within " +
                                       std::to_string(timeout.count() / 1000) + " s");
    }
    const ssize_t n = ::read(pipe.read.get(), buffer, sizeof buffer);
    if (n <= 0) break;
    if (output.text.size() < kSmallFileBytes) output.text.append(buffer, static_cast<size_t>(n));
  }
  LINKSPAN_TRY(output.status, wait_child(process.pid));
  return output;
}

}  // namespace linkspan::cli
