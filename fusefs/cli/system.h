// Descriptors, small files and processes: the system calls that the subcommands share, as Results
// whose messages name the thing and the mend. No threads of its own.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::cli {

// Owns a descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(other.release()) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct Pipe {
  UniqueFd read, write;  // both close-on-exec
};
Result<Pipe> make_pipe();

// "what: No such file or directory", with the Code that fits the errno.
Error system_error(const std::string& what, int error);

inline constexpr size_t kSmallFileBytes = 1 << 20;  // of a state, token or proc file
Result<std::string> read_file(const std::string& path, size_t max_bytes = kSmallFileBytes);
Result<std::string> read_fd(int fd, size_t max_bytes = kSmallFileBytes);
// The end of a log, however long that is, for an error's text. Empty if it cannot be read.
inline constexpr size_t kLogTailBytes = 1200;
std::string tail_of_file(const std::string& path, size_t max_bytes = kLogTailBytes);
// Replaces the file at once (temporary file, fsync, rename).
Status write_file(const std::string& path, std::string_view content, mode_t mode);
Status write_all(int fd, std::string_view data);
// Whether nothing is in it.
Result<bool> is_empty_directory(const std::string& path);
// mkdir -p; directories that it makes get `mode`.
Status make_directories(const std::string& path, mode_t mode);
std::string absolute_path(const std::string& path);  // lexically; symlinks stay
// As the kernel names it in mountinfo: absolute, without symlinks. What does not exist (or is a
// mount that cannot be asked) is named after its parent.
std::string real_path(const std::string& path);
std::string base_name(const std::string& path);
std::string dir_name(const std::string& path);
std::string trim(std::string_view text);
std::vector<std::string> split(std::string_view text, char separator);
uint64_t hash_text(std::string_view text);  // FNV-1a, stable across runs
std::string hex(uint64_t value);            // 16 digits

// The program's own file, and how to run it again even if it was replaced or cannot be reached.
std::string own_executable();
// `name` in $PATH (or itself, when it has a slash); nothing if there is none.
std::optional<std::string> find_program(const std::string& name);

// ---- processes ---------------------------------------------------------------------------------

// A pid can be used again; together with its start (clock ticks since boot) it names one process.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start = 0;
  bool operator==(const ProcessId&) const = default;
};
std::optional<uint64_t> process_start(pid_t pid);
ProcessId this_process();
bool is_alive(const ProcessId& process);
// A descriptor of that very process: poll() says when it has ended. None if it is gone.
UniqueFd open_process(const ProcessId& process);
bool signal_process(const UniqueFd& process, int signal);
// True when it has ended within the time.
bool wait_for_end(const UniqueFd& process, std::chrono::milliseconds timeout);

struct SpawnOptions {
  std::vector<std::string> argv;  // argv[0] is shown; the program run is `program` or argv[0]
  int program_fd = -1;            // if set, run this open file (reachable by nobody else's path)
  std::vector<std::string> environment;         // "NAME=value" to add
  std::optional<std::pair<uid_t, gid_t>> user;  // to become (needs root)
  int in = -1, out = -1, err = -1;              // -1: /dev/null for `in`, inherited for the others
  std::vector<int> keep;                        // descriptors that stay open, under their numbers
  bool new_session = false;
  int death_signal = 0;  // sent to the child when the calling thread's process ends
};
// fork and exec; an exec that fails is an error here, not an exit status later.
Result<ProcessId> spawn(const SpawnOptions& options);

// waitpid, as a shell would say it: exit status, or 128 + signal.
Result<int> wait_child(pid_t pid);
// Runs to its end with output collected (stdout and stderr together, at most kSmallFileBytes).
struct Output {
  int status = 0;
  std::string text;
};
Result<Output> run_program(SpawnOptions options, std::chrono::milliseconds timeout);

}  // namespace linkspan::cli
