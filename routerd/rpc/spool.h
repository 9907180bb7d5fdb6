// One upload's extents while they arrive: in memory at first, then in an unlinked temporary file
// that nobody else can open and that goes away with this process, however it ends.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "linkspan/ops.h"
#include "routerd/rpc/bounds.h"

namespace linkspan::rpc {

// What all uploads together may take. Any thread.
class SpoolBudget {
 public:
  SpoolBudget(size_t memory, uint64_t disk) : memory_(memory), disk_(disk) {}
  bool take_memory(TenantId of, uint64_t bytes) { return memory_.take(of, bytes); }
  bool take_disk(TenantId of, uint64_t bytes) { return disk_.take(of, bytes); }
  void give_memory(TenantId of, uint64_t bytes) { memory_.give(of, bytes); }
  void give_disk(TenantId of, uint64_t bytes) { disk_.give(of, bytes); }
  uint64_t memory() const { return memory_.used(); }
  uint64_t disk() const { return disk_.used(); }

 private:
  // Of which no tenant has more than its part.
  class Space {
   public:
    explicit Space(uint64_t most) : most_(most) {}
    bool take(TenantId of, uint64_t bytes);
    void give(TenantId of, uint64_t bytes);
    uint64_t used() const;

   private:
    const uint64_t most_;
    mutable std::mutex mutex_;  // leaf
    uint64_t used_ = 0;
    std::unordered_map<TenantId, uint64_t> tenants_;
  };
  Space memory_, disk_;
};

// Not thread-safe: one thread at a time, first the one that adds, then (as an ExtentSource) the one
// that reads. The extents were checked by wire::ExtentReader.
class Spool final : public ExtentSource {
 public:
  struct Options {
    std::string dir;  // for the temporary file
    size_t memory_bytes = bounds::kUploadMemoryBytes;
  };
  // `budget` must outlive it.
  Spool(SpoolBudget* budget, Options options, TenantId tenant = {});
  ~Spool() override;
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Takes it if it fits in memory and nothing is on disk yet; false: use write().
  bool keep(Extent* extent);
  // Blocks for the disk. `busy` (all uploads together take too much), `io`.
  Status write(const Extent& extent);

  uint64_t bytes() const { return bytes_; }
  bool on_disk() const { return fd_ >= 0; }

  Result<bool> next(Extent* out) override;
  void rewind() override;

 private:
  Status open_file();
  Status append(const Extent& extent);
  Status write_all(const void* data, size_t size);
  Status read_all(void* data, size_t size);

  SpoolBudget* const budget_;
  const Options options_;
  const TenantId tenant_;
  std::vector<Extent> memory_;
  uint64_t memory_bytes_ = 0, disk_bytes_ = 0;  // taken from the budget
  uint64_t bytes_ = 0;                          // of data
  int fd_ = -1;
  size_t at_ = 0;          // reading: next in memory
  uint64_t position_ = 0;  // writing and reading: in the file
};

}  // namespace linkspan::rpc
