#include "fusefs/cli/bounded_read.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

// First byte: the errno, 0 if what follows is the content.
[[noreturn]] void read_in_child(const std::string& path, int to) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  unsigned char error = fd ? 0 : static_cast<unsigned char>(errno);
  std::string text;
  char buffer[16384];
  for (ssize_t n; error == 0 && text.size() < kSmallFileBytes;) {
    if ((n = ::read(fd.get(), buffer, sizeof buffer)) == 0) break;
    if (n < 0)
      error = static_cast<unsigned char>(errno);
    else
      text.append(buffer, static_cast<size_t>(n));
  }
  (void)write_all(to, std::string(1, static_cast<char>(error)) + text).ok();
  ::_exit(0);
}

}  // namespace

Result<std::string> read_within(const std::string& path, std::chrono::milliseconds timeout) {
  LINKSPAN_TRY(auto pipe, make_pipe());
  const pid_t child = ::fork();
  if (child < 0) return system_error("fork", errno);
  if (child == 0) read_in_child(path, pipe.write.get());
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

}  // namespace linkspan::cli
