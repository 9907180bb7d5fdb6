#include "fusefs/fuse/vfs_ops.h"

#include "fusefs/fuse/stat.h"
#include "fusefs/fuse/vfs_callbacks.h"

namespace linkspan::fuse {

VfsOperations::VfsOperations(vfs::Vfs* vfs, Notifier* notifier, VfsOperationsOptions options)
    : vfs_(vfs), notifier_(notifier), options_(options) {
  // Left to the kernel: access (default_permissions decides), ioctl, poll, bmap; and locks where
  // nothing may be written (who may only read must not hold up writers elsewhere). syncfs(2) and
  // O_TMPFILE reach no filesystem over libfuse 3.14: the former ends in the kernel (files are
  // durable by close, fsync, or 100 ms), the latter is EOPNOTSUPP.
  add_name_callbacks(&table_);
  add_attribute_callbacks(&table_);
  add_file_callbacks(&table_);
  add_directory_callbacks(&table_);
  if (!options_.read_only) add_lock_callbacks(&table_);
}

void VfsOperations::configure(fuse_conn_info* info) {
  // Each read(2) asks for attributes that a revocation made invalid before it looks at pages, and
  // new ones drop the pages of before: a read that begins after another's commit sees that commit,
  // with its size. (Without, only a read past the end asks, and one within goes on with the older
  // size.) The price: a writer's own pages go with each new mtime that it is told.
  info->want |= info->capable & FUSE_CAP_AUTO_INVAL_DATA;
  if (!options_.read_only)
    info->want |= info->capable & (FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
  // A symlink's target never changes and inode numbers are never reused.
  info->want |= info->capable & FUSE_CAP_CACHE_SYMLINKS;
  // With attributes, ls -l and find are answered from what the listing brought. Only where names
  // are dropped one by one: that waits until a listing that was answered has reached the kernel's
  // names, the epoch call does not, and the kernel (6.18) gives the names of a listing the epoch of
  // when it puts them in, not of when it asked: a name that was dropped in between would be there
  // again.
  constexpr unsigned kPlus = FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
  if (options_.read_only)
    info->want |= info->capable & kPlus;
  else
    info->want &= ~kPlus;
}

fuse_entry_param VfsOperations::entry_param(const vfs::Entry& entry) const {
  fuse_entry_param param = {};
  param.entry_timeout = entry.times.entry;
  if (entry.negative) return param;
  param.ino = notifier_->to_kernel(entry.attr.ino);
  param.attr = to_stat(entry.attr);
  param.attr_timeout = entry.times.attr;
  return param;
}

void VfsOperations::reply_entry(Request& r, const Result<vfs::Entry>& entry) const {
  if (entry.ok())
    hand_over(*entry, [&r](const fuse_entry_param& param) { return r.entry(param); });
  else
    r.error(entry.error());
}

std::unique_ptr<Operations> make_vfs_operations(vfs::Vfs* vfs, Notifier* notifier,
                                                VfsOperationsOptions options) {
  return std::make_unique<VfsOperations>(vfs, notifier, options);
}

}  // namespace linkspan::fuse
