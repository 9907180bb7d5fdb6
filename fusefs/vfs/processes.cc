#include "fusefs/vfs/processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace linkspan::vfs {
namespace {

// Small files of /proc; empty if it cannot be read.
std::string slurp(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  char bytes[4096];
  const ssize_t n = ::read(fd, bytes, sizeof bytes);
  ::close(fd);
  return n > 0 ? std::string(bytes, static_cast<size_t>(n)) : std::string();
}

// The number behind "Tgid:" and the like; 0 if there is none.
uint64_t field(const std::string& text, const char* label, int base = 10) {
  const size_t at = text.find(label);
  return at == std::string::npos
             ? 0
             : std::strtoull(text.c_str() + at + std::strlen(label), nullptr, base);
}

// Field 22 of /proc/PID/stat; the command in field 2 may hold spaces and parentheses.
uint64_t start_of(const std::string& stat) {
  size_t at = stat.rfind(')');
  if (at == std::string::npos) return 0;
  for (int skip = 2; skip < 22; ++skip) {
    at = stat.find(' ', at + 1);
    if (at == std::string::npos) return 0;
  }
  return std::strtoull(stat.c_str() + at, nullptr, 10);
}

// Whether pidfds have a file system of their own, so that a pidfd's inode is a number that no other
// process has (Linux 6.9).
bool has_pidfs() {
  constexpr decltype(statfs::f_type) kPidFs = 0x50494446;  // PID_FS_MAGIC
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
  if (fd < 0) return false;
  struct statfs fs {};
  const bool known = ::fstatfs(fd, &fs) == 0;
  ::close(fd);
  return known && fs.f_type == kPidFs;
}

// 0: it is gone, or no descriptor is free.
uint64_t pidfd_inode(int32_t pid) {
  const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return 0;
  struct stat file {};
  const bool known = ::fstat(fd, &file) == 0;
  ::close(fd);
  return known ? file.st_ino : 0;
}

// /proc/PID/stat only on kernels of before: on later ones it waits while the process is in an
// execve(2), which closes its descriptors, and so waits for us.
Process look_up(int32_t tid) {
  static const bool pidfs = has_pidfs();
  const std::string status = slurp("/proc/" + std::to_string(tid) + "/status");
  Process process;
  process.pid = static_cast<int32_t>(field(status, "\nTgid:"));
  if (process.pid == 0) return {};
  process.start = pidfs ? pidfd_inode(process.pid)
                        : start_of(slurp("/proc/" + std::to_string(process.pid) + "/stat"));
  if (pidfs && process.start == 0) return {};
  return process;
}

}  // namespace

Process Processes::of_thread(int32_t tid) {
  if (tid <= 0) return {};
  const auto now = std::chrono::steady_clock::now();
  {
    std::lock_guard lock(mutex_);
    if (const Seen* seen = seen_.find(tid); seen && now < seen->until) return seen->process;
  }
  const Process process = look_up(tid);
  std::lock_guard lock(mutex_);
  seen_.put(tid, Seen{process, now + kProcessMemory});
  return process;
}

unsigned Processes::writers(const Process& process, Ino ino) {
  if (!process) return 0;
  const std::string dir = "/proc/" + std::to_string(process.pid) + "/fdinfo";
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(dir.c_str()), ::closedir);
  if (!entries) return 0;
  unsigned found = 0;
  while (const dirent* entry = ::readdir(entries.get())) {
    if (entry->d_name[0] == '.') continue;
    const std::string info = slurp(dir + "/" + entry->d_name);
    if (field(info, "\nino:") != ino.value) continue;
    const auto access = static_cast<int>(field(info, "\nflags:", 8)) & O_ACCMODE;
    if (access != O_RDONLY) ++found;
  }
  return found;
}

}  // namespace linkspan::vfs
