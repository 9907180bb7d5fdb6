// Where a buffer's bytes lie: in memory while they are few, then in an unlinked temporary file, at
// the same offsets. The file takes no name, so it is gone with the mount process.
//
// Not thread-safe, but any number of threads may read while nobody writes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "fusefs/cache/patience.h"
#include "linkspan/error.h"
#include "linkspan/limits.h"

namespace linkspan::vfs {

inline constexpr size_t kDirtyMemoryTotal = 64 << 20;  // bytes, of all buffers of a mount together

// What a write may be held up for by a disk that is nearly full: programs write faster than commits
// make room.
inline constexpr std::chrono::milliseconds kSpoolPause{50};

// Of one mount. Threads: any.
struct SpoolPlace {
  std::string dir = "/tmp";
  size_t memory_each = limits::kDirtyMemoryBytes;
  size_t memory_total = kDirtyMemoryTotal;
  std::atomic<size_t> used{0};       // bytes in memory
  std::atomic<uint64_t> on_disk{0};  // bytes of temporary files, their holes counted

  // Nothing while the disk has as much room as our files have taken, then up to kSpoolPause.
  std::chrono::milliseconds pause() const;
  // Until a buffer has gone; `timed_out`, `interrupted`.
  Status await_room(const cache::Patience& patience);
  void made_room();

 private:
  std::mutex mutex_;  // leaf
  std::condition_variable room_;
  uint64_t gone_ = 0;  // buffers
};

class Spool {
 public:
  explicit Spool(SpoolPlace* place) : place_(place) {}
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // `no_space`, `io`: nothing was taken (or a part, which must be written again).
  Status write(uint64_t offset, std::string_view data);
  // Only bytes that were written.
  Status read(uint64_t offset, char* out, size_t size) const;
  // Bytes from `size` on will not be read again.
  void cut(uint64_t size);

  bool on_disk() const { return fd_ >= 0; }

 private:
  Status spill();
  void charge(size_t before, size_t after);
  void reaches(uint64_t end);

  SpoolPlace* place_;                       // not owned
  std::map<uint64_t, std::string> blocks_;  // by offset / kSpoolBlock, each from the block's start
  size_t memory_ = 0;
  int fd_ = -1;
  uint64_t end_ = 0;  // of the temporary file
};

}  // namespace linkspan::vfs
