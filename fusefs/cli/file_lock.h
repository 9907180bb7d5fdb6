// flock(2) with a deadline, and who holds one.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

// Opens (creates, 0600) a lock file.
Result<UniqueFd> open_lock(const std::string& path);
// `operation`: LOCK_SH or LOCK_EX. False: the time is over. Uses SIGALRM: from a process's only
// thread.
Result<bool> lock_within(const UniqueFd& file, int operation, std::chrono::milliseconds timeout);
// Is the open file still the one at `path`? A lock on a file that was removed keeps nobody out.
bool is_at(const UniqueFd& file, const std::string& path);
bool try_lock(const UniqueFd& file, int operation);
void unlock(const UniqueFd& file);
// Processes that took a lock which is still held on this file (from /proc/locks).
std::vector<pid_t> lock_holders(const std::string& path);

// A lock whose file is there only while it is held: nothing is left of it.
class PlaceLock {
 public:
  // `busy`: another process holds it.
  static Result<PlaceLock> take(const std::string& path);
  // For those who keep such files elsewhere: the path itself, as it is in this mount namespace (an
  // abstract socket of that name, unix(7)). False: another process holds it.
  bool take_path(const std::string& path);
  PlaceLock(PlaceLock&&) noexcept = default;
  PlaceLock& operator=(PlaceLock&&) = delete;
  ~PlaceLock();
  void leave_to_child() {  // that was forked meanwhile
    file_.reset();
    name_.reset();
  }

 private:
  PlaceLock(std::string path, UniqueFd file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  UniqueFd file_, name_;
};

}  // namespace linkspan::cli
