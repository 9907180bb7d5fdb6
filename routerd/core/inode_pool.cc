#include "routerd/core/inode_pool.h"

namespace linkspan::core {

Result<Ino> InodePool::next(store::Store& store, TenantId tenant) {
  {
    const std::lock_guard lock(mutex_);
    if (!blocks_.empty()) {
      Block& block = blocks_.back();
      const Ino ino{block.next++};
      if (block.next == block.end) blocks_.pop_back();
      return ino;
    }
  }
  LINKSPAN_TRY(const Ino first, store.reserve_inodes(tenant, kBlock));
  const std::lock_guard lock(mutex_);
  blocks_.push_back({first.value + 1, first.value + kBlock});
  return first;
}

}  // namespace linkspan::core
