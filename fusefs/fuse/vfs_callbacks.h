// Inside of vfs_ops: what its four sources share. Callbacks run on any thread of the loop.
#pragma once

#include "fusefs/fuse/request.h"
#include "fusefs/fuse/vfs_ops.h"

namespace linkspan::fuse {

class VfsOperations final : public Operations {
 public:
  VfsOperations(vfs::Vfs* vfs, Notifier* notifier, VfsOperationsOptions options);
  const fuse_lowlevel_ops& table() const override { return table_; }
  void configure(fuse_conn_info* info) override;

  vfs::Vfs& vfs() const { return *vfs_; }
  KnownInodes& known() const { return notifier_->known(); }
  Ino ino(fuse_ino_t nodeid) const { return notifier_->from_kernel(nodeid); }
  bool read_only() const { return options_.read_only; }
  static VfsOperations& of(const Request& r) {
    return static_cast<VfsOperations&>(*r.session().operations);
  }

  // Converts; a negative entry has ino 0.
  fuse_entry_param entry_param(const vfs::Entry& entry) const;
  // Replies and keeps count of what the kernel then holds.
  void reply_entry(Request& r, const Result<vfs::Entry>& entry);

 private:
  vfs::Vfs* const vfs_;
  Notifier* const notifier_;
  const VfsOperationsOptions options_;
  fuse_lowlevel_ops table_ = {};
};

// Each source fills in its part of the table.
void add_name_callbacks(fuse_lowlevel_ops* table);
void add_attribute_callbacks(fuse_lowlevel_ops* table);
void add_file_callbacks(fuse_lowlevel_ops* table);
void add_directory_callbacks(fuse_lowlevel_ops* table);

}  // namespace linkspan::fuse
