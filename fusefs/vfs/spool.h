// Where a buffer's bytes lie: in memory while they are few, then in an unlinked temporary file, at
// the same offsets. The file takes no name, so it is gone with the mount process.
//
// Not thread-safe, but any number of threads may read while nobody writes.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "linkspan/error.h"
#include "linkspan/limits.h"

namespace linkspan::vfs {

inline constexpr size_t kDirtyMemoryTotal = 64 << 20;  // bytes, of all buffers of a mount together

// Of one mount.
struct SpoolPlace {
  std::string dir = "/tmp";
  size_t memory_each = limits::kDirtyMemoryBytes;
  size_t memory_total = kDirtyMemoryTotal;
  std::atomic<size_t> used{0};  // bytes in memory
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

  SpoolPlace* place_;                       // not owned
  std::map<uint64_t, std::string> blocks_;  // by offset / kSpoolBlock, each from the block's start
  size_t memory_ = 0;
  int fd_ = -1;
};

}  // namespace linkspan::vfs
