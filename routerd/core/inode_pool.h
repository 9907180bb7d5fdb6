// Unused inode numbers of one tenant, reserved from the store in blocks.
#pragma once

#include <mutex>
#include <vector>

#include "routerd/store/store.h"

namespace linkspan::core {

// Threads: any. mutex_ is a leaf; the store is asked without it.
class InodePool {
 public:
  static constexpr uint32_t kBlock =
      1024;  // numbers reserved at once; those left at a stop are lost

  Result<Ino> next(store::Store& store, TenantId tenant);

 private:
  struct Block {
    uint64_t next = 0, end = 0;
  };
  std::mutex mutex_;           // leaf
  std::vector<Block> blocks_;  // more than one only if several threads ran out at once
};

}  // namespace linkspan::core
