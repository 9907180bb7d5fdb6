// Inside of vfs_ops: what its four sources share. Callbacks run on any thread of the loop.
#pragma once

#include <cerrno>

#include "fusefs/fuse/request.h"
#include "fusefs/fuse/vfs_ops.h"

namespace linkspan::fuse {

class VfsOperations final : public Operations {
 public:
  VfsOperations(vfs::Vfs* vfs, Notifier* notifier, VfsOperationsOptions options);
  const fuse_lowlevel_ops& table() const override { return table_; }
  bool answers_statx() const override { return true; }
  OwnCalls* own_calls() const override { return options_.own; }
  void configure(fuse_conn_info* info) override;

  vfs::Vfs& vfs() const { return *vfs_; }
  KnownInodes& known() const { return notifier_->known(); }
  Ino ino(fuse_ino_t nodeid) const { return notifier_->from_kernel(nodeid); }
  bool read_only() const { return options_.read_only; }
  // Answers EROFS: the kernel refuses what would change anything on a mount that is "ro", but
  // whoever may mount can make that "rw".
  bool refuses(Request& r) const { return read_only() && (r.error(EROFS), true); }
  static VfsOperations& of(const Request& r) {
    return static_cast<VfsOperations&>(*r.session().operations);
  }

  // Converts; a negative entry has ino 0.
  fuse_entry_param entry_param(const vfs::Entry& entry) const;
  // Runs `reply` with the entry as the kernel may keep it, and keeps count of what the kernel then
  // holds. False: the kernel did not take it.
  template <class Reply>
  bool hand_over(const vfs::Entry& entry, Reply&& reply) const;
  void reply_entry(Request& r, const Result<vfs::Entry>& entry) const;

 private:
  vfs::Vfs* const vfs_;
  Notifier* const notifier_;
  const VfsOperationsOptions options_;
  fuse_lowlevel_ops table_ = {};
};

template <class Reply>
bool VfsOperations::hand_over(const vfs::Entry& entry, Reply&& reply) const {
  fuse_entry_param param = entry_param(entry);
  if (param.ino != 0) known().add(param.ino);
  auto pass = vfs_->reply_gate().enter(entry.times.as_of);
  if (!pass.current()) param.entry_timeout = param.attr_timeout = 0;
  bool taken = reply(param);
  if (!taken && param.ino != 0) known().forget(param.ino, 1);
  return taken;
}

// Each source fills in its part of the table.
void add_name_callbacks(fuse_lowlevel_ops* table);
void add_attribute_callbacks(fuse_lowlevel_ops* table);
void add_file_callbacks(fuse_lowlevel_ops* table);
void add_directory_callbacks(fuse_lowlevel_ops* table);
void add_lock_callbacks(fuse_lowlevel_ops* table);
// After a FLUSH, and before a RELEASE: what the closing gives up of locks.
Status unlock_closed(Request& r, Ino ino, const fuse_file_info& file);
void unlock_released(Request& r, Ino ino, const fuse_file_info& file);

}  // namespace linkspan::fuse
