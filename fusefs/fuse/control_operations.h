// The callbacks of the top connection. Private to this folder: control_fs.cc has the tree,
// control_live.cc the live folders, control_handles.cc what is open.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "fusefs/fuse/control_fs.h"
#include "fusefs/fuse/control_handles.h"
#include "fusefs/fuse/lowlevel.h"
#include "fusefs/fuse/request.h"

namespace linkspan::fuse {

class ControlOperations final : public Operations {
 public:
  ControlOperations(ControlTree tree, ControlOptions options);
  const fuse_lowlevel_ops& table() const override { return table_; }
  void configure(fuse_conn_info* info) override;

 private:
  using Type = ControlTree::Type;
  using Node = ControlTree::Node;

  static ControlOperations& of(const Request& r) {
    return static_cast<ControlOperations&>(*r.session().operations);
  }
  const Node& node(fuse_ino_t ino) const { return tree_.nodes_.at(ino - FUSE_ROOT_ID); }
  static fuse_ino_t ino_of(size_t index) { return index + FUSE_ROOT_ID; }

  struct stat plain_stat(fuse_ino_t ino, mode_t mode, uint64_t size) const;
  struct stat stat_of(fuse_ino_t ino) const;
  fuse_entry_param entry_of(fuse_ino_t ino) const;
  double attr_timeout(fuse_ino_t ino) const;
  std::unique_ptr<ControlHandle> open(fuse_ino_t ino, int flags, int* error);
  void give(Request& r, std::unique_ptr<ControlHandle> handle);
  void keep(std::unique_ptr<ControlHandle> handle);
  void drop(ControlHandle* handle);

  static void on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name);
  static void on_getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info*);
  static void on_open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file);
  static void on_read(fuse_req_t raw, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file);
  static void on_write(fuse_req_t raw, fuse_ino_t, const char* data, size_t size, off_t offset,
                       fuse_file_info* file);
  static void on_release(fuse_req_t raw, fuse_ino_t, fuse_file_info* file);
  static void list(Request& r, fuse_ino_t ino, size_t size, off_t offset, bool plus);
  void fill_table();
  void refuse_changes();

  // -- live folders (control_live.cc): each asks the router, within a Turn --
  struct LiveIno {  // of a folder (slot 0) or a file in it
    uint64_t number = 0;
    size_t slot = 0;
  };
  static std::optional<LiveIno> live_of(fuse_ino_t ino);
  static fuse_ino_t ino_of(const LiveIno& live);
  bool is_live(fuse_ino_t ino) const;  // the live directory, a folder or a file
  LiveFolders& folders() const { return *tree_.nodes_.at(tree_.live_).live; }
  fuse_entry_param entry_of(const LiveFolders::Folder& folder) const;
  fuse_entry_param entry_of(const LiveFolders::File& file, uint64_t number) const;
  Result<LiveFolders::File> file_of(const vfs::Caller& caller, const LiveIno& live);
  void live_lookup(Request& r, fuse_ino_t parent, const std::string& name);
  void live_getattr(Request& r, fuse_ino_t ino);
  void live_open(Request& r, fuse_ino_t ino, int flags);
  void live_list(Request& r, fuse_ino_t ino, size_t size, uint64_t offset, bool plus);
  Result<bool> list_folders(const vfs::Caller& caller, uint64_t after, class DirBuffer* buffer);

  const ControlTree tree_;
  const ControlOptions options_;
  timespec started_;
  fuse_lowlevel_ops table_ = {};
  std::atomic<int> slow_{0};
  std::atomic<int> queries_{0};
  // From the open until RELEASE, which a connection that is aborted never sends.
  std::mutex handles_mutex_;  // leaf
  std::unordered_map<ControlHandle*, std::unique_ptr<ControlHandle>> handles_;
};

}  // namespace linkspan::fuse
