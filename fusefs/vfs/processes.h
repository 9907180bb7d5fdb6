// Which process a FUSE request comes from. The kernel reports the thread; readers and writers of
// one process come with different ones (DESIGN 4, "No lost update").
//
// Threads: any. Answers come from /proc and are remembered for a moment.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>

#include "fusefs/cache/lru.h"
#include "linkspan/types.h"

namespace linkspan::vfs {

// A process for as long as it lives: its number may come again, its start may not. All zero: not
// known (a foreign pid namespace, or it is gone), which stands for the whole mount.
struct Process {
  int32_t pid = 0;
  uint64_t start = 0;  // its pidfd's inode; on older kernels clock ticks since boot
  bool operator==(const Process&) const = default;
  explicit operator bool() const { return pid != 0; }
};

inline constexpr std::chrono::milliseconds kProcessMemory{1000};

class Processes {
 public:
  Process of_thread(int32_t tid);

  // How many descriptors of this inode the process has that can write; 0 where /proc does not say.
  static unsigned writers(const Process& process, Ino ino);

 private:
  struct Seen {
    Process process;
    std::chrono::steady_clock::time_point until;
  };
  std::mutex mutex_;  // leaf
  cache::LruMap<int32_t, Seen> seen_{4096};
};

}  // namespace linkspan::vfs

template <>
struct std::hash<linkspan::vfs::Process> {
  size_t operator()(const linkspan::vfs::Process& p) const noexcept {
    return (static_cast<uint64_t>(p.pid) * 0x9E3779B97F4A7C15ull) ^ (p.start << 1);
  }
};
