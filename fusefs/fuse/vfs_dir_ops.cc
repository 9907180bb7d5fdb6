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

// One reply to READDIR or READDIRPLUS.
class Listing {
 public:
  Listing(const VfsOperations& o, DirBuffer buffer, std::vector<vfs::DirItem> items)
      : o_(o), buffer_(std::move(buffer)), items_(std::move(items)) {}

  // What does not fit is asked for again, by the offset of the last one that did.
  void fill(bool with_times) {
    buffer_.clear();
    handed_over_.clear();
    for (const auto& item : items_) {
      fuse_entry_param param =
          o_.entry_param({item.attr, with_times ? item.times : vfs::CacheTimes{}, false});
      // The kernel does not count "." and "..": it is given nothing to hold of them.
      if (is_dot(item.name)) param.ino = 0;
      if (!buffer_.add(item.name, param, item.offset)) break;
      if (buffer_.plus() && param.ino != 0) handed_over_.push_back(param.ino);
    }
  }

  // The oldest fact in it.
  uint64_t as_of() const {
    uint64_t oldest = UINT64_MAX;
    for (const auto& item : items_)
      if (item.times.entry > 0 || item.times.attr > 0) oldest = std::min(oldest, item.times.as_of);
    return oldest;
  }

  void reply(Request& r) {
    fill(true);
    if (buffer_.empty() && !items_.empty()) {  // an empty reply would mean the end
      r.error(EINVAL);
      return;
    }
    for (fuse_ino_t node : handed_over_) o_.known().add(node);
    auto pass = o_.vfs().reply_gate().enter(as_of());
    if (!pass.current()) fill(false);
    if (r.bytes(buffer_.data())) return;
    for (fuse_ino_t node : handed_over_) o_.known().forget(node, 1);
  }

 private:
  const VfsOperations& o_;
  DirBuffer buffer_;
  const std::vector<vfs::DirItem> items_;
  std::vector<fuse_ino_t> handed_over_;
};

void list(Request& r, fuse_ino_t ino, size_t size, off_t offset, vfs::Handle handle, bool plus) {
  auto& o = VfsOperations::of(r);
  DirBuffer buffer(r.raw(), size, plus);
  auto items = o.vfs().readdir(r.caller(), o.ino(ino), handle, static_cast<uint64_t>(offset),
                               buffer.most_entries());
  if (items.ok())
    Listing(o, std::move(buffer), *std::move(items)).reply(r);
  else
    r.error(items.error());
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
