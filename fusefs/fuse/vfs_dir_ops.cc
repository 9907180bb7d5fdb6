// Callbacks about open directories.
#include <algorithm>
#include <cerrno>

#include "fusefs/fuse/dir_buffer.h"
#include "fusefs/fuse/stat.h"
#include "fusefs/fuse/vfs_callbacks.h"

namespace linkspan::fuse {
namespace {

void on_opendir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info*) {
  serve(raw, "opendir", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    auto handle = o.vfs().opendir(r.caller(), o.ino(ino));
    if (!handle.ok()) {
      r.error(handle.error());
      return;
    }
    fuse_file_info file = {};
    file.fh = *handle;
    if (!r.opened(file)) o.vfs().releasedir(o.ino(ino), *handle);
  });
}

bool is_dot(const std::string& name) {
  return name == "." || name == "..";
}

// What the kernel shall hold of an entry that a listing brings: nothing of "." and "..", which it
// does not count either.
fuse_entry_param listed(const VfsOperations& o, const vfs::DirItem& item) {
  fuse_entry_param param = o.entry_param({item.attr, item.times, false});
  if (is_dot(item.name)) param.ino = 0;
  return param;
}

void list(Request& r, fuse_ino_t ino, size_t size, off_t offset, vfs::Handle handle, bool plus) {
  auto& o = VfsOperations::of(r);
  DirBuffer buffer(r.raw(), size, plus);
  auto items = o.vfs().readdir(r.caller(), o.ino(ino), handle, static_cast<uint64_t>(offset),
                               buffer.most_entries());
  if (!items.ok()) {
    r.error(items.error());
    return;
  }
  std::vector<fuse_ino_t> handed_over;
  for (const auto& item : *items) {
    fuse_entry_param param = listed(o, item);
    // What does not fit is asked for again, by the offset of the last one that did.
    if (!buffer.add(item.name, param, item.offset)) break;
    if (plus && param.ino != 0) handed_over.push_back(param.ino);
  }
  if (buffer.empty() && !items->empty()) {  // an empty reply would mean the end
    r.error(EINVAL);
    return;
  }
  for (fuse_ino_t node : handed_over) o.known().add(node);
  if (r.bytes(buffer.data())) return;
  for (fuse_ino_t node : handed_over) o.known().forget(node, 1);
}

void on_readdir(fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file) {
  serve(raw, "readdir", [&](Request& r) { list(r, ino, size, offset, file->fh, false); });
}

void on_readdirplus(fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset,
                    fuse_file_info* file) {
  serve(raw, "readdirplus", [&](Request& r) { list(r, ino, size, offset, file->fh, true); });
}

void on_releasedir(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "releasedir", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    o.vfs().releasedir(o.ino(ino), file->fh);
    r.done();
  });
}

// Every change of a directory is durable when its call returns.
void on_fsyncdir(fuse_req_t raw, fuse_ino_t, int, fuse_file_info*) {
  serve(raw, "fsyncdir", [](Request& r) { r.done(); });
}

}  // namespace

void add_directory_callbacks(fuse_lowlevel_ops* table) {
  table->opendir = on_opendir;
  table->readdir = on_readdir;
  table->readdirplus = on_readdirplus;
  table->releasedir = on_releasedir;
  table->fsyncdir = on_fsyncdir;
}

}  // namespace linkspan::fuse
