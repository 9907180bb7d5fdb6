#include "fusefs/cli/bounded_read.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

struct ReadAnswer {
  int error = 0;  // errno; 0: what follows counts
  std::string text;
};

ReadAnswer read_whole(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {errno, {}};
  ReadAnswer answer;
  char buffer[16384];
  while (answer.text.size() < kSmallFileBytes) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0) return {errno, {}};
    if (n == 0) break;
    answer.text.append(buffer, static_cast<size_t>(n));
  }
  return answer;
}

// The kernel may still have the attributes of a mount whose process is gone: stat(2) succeeds then,
// statfs(2) asks the process. Those who may not ask it hear nothing but from stat(2).
ReadAnswer stat_both(const std::string& path) {
  struct statfs fs;
  struct stat st;
  if (::statfs(path.c_str(), &fs) != 0 || ::stat(path.c_str(), &st) != 0) return {errno, {}};
  return {};
}

// Runs `ask` in a child that is given up at the deadline. It says the errno in a byte, then the
// text.
Result<std::string> within(const std::string& path, std::chrono::milliseconds timeout,
                           ReadAnswer (*ask)(const std::string&)) {
  LINKSPAN_TRY(auto pipe, make_pipe());
  const pid_t child = ::fork();
  if (child < 0) return system_error("fork", errno);
  if (child == 0) {
    const ReadAnswer answer = ask(path);
    (void)write_all(pipe.write.get(), static_cast<char>(answer.error) + answer.text).ok();
    ::_exit(0);
  }
  pipe.write.reset();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::string text;
  char buffer[16384];
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd poll_fd{pipe.read.get(), POLLIN, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      // Not waited for: a process in an uninterruptible wait cannot be.
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, WNOHANG);
      return fail(Code::timed_out,
                  path + " did not answer within " + std::to_string(timeout.count()) + " ms");
    }
    const ssize_t n = ::read(pipe.read.get(), buffer, sizeof buffer);
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  (void)wait_child(child).ok();
  if (text.empty()) return fail(Code::io, path + ": the reading process died");
  if (text[0] != 0) return system_error(path, static_cast<unsigned char>(text[0]));
  return text.substr(1);
}

}  // namespace

Result<std::string> read_within(const std::string& path, std::chrono::milliseconds timeout) {
  return within(path, timeout, read_whole);
}

Status stat_within(const std::string& path, std::chrono::milliseconds timeout) {
  const auto answer = within(path, timeout, stat_both);
  if (!answer.ok()) return answer.error();
  return ok();
}

bool has_control_files(const std::string& root, std::chrono::milliseconds timeout) {
  const Status status = stat_within(root + "/.linkspan/status.json", timeout);
  return status.ok() || status.code() == Code::timed_out || status.code() == Code::unavailable;
}

}  // namespace linkspan::cli
