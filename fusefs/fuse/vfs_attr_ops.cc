// Callbacks about attributes, extended attributes and the filesystem's numbers.
#include <cerrno>

#include "fusefs/fuse/current_operation.h"
#include "fusefs/fuse/stat.h"
#include "fusefs/fuse/statx.h"
#include "fusefs/fuse/vfs_callbacks.h"
#include "linkspan/limits.h"

namespace linkspan::fuse {
namespace {

constexpr unsigned long kStatfsBlock = 4096;  // unit of statfs's counts

void reply_attributes(Request& r, const Result<vfs::AttrReply>& reply) {
  if (!reply.ok()) {
    r.error(reply.error());
    return;
  }
  bool statx = current_operation() == kOpStatx;
  auto pass = VfsOperations::of(r).vfs().reply_gate().enter(reply->as_of);
  double timeout = pass.current() ? reply->timeout : 0;
  if (!statx) {
    r.attributes(to_stat(reply->attr), timeout);
    return;
  }
  StatxOut out = to_statx(reply->attr, timeout);
  r.bytes({reinterpret_cast<const char*>(&out), sizeof out});
}

// The handle that a request carries, if it does.
std::optional<vfs::Handle> handle_of(const fuse_file_info* file) {
  return file ? std::optional<vfs::Handle>(file->fh) : std::nullopt;
}

void on_getattr(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "getattr", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    reply_attributes(r, o.vfs().getattr(r.caller(), o.ino(ino), handle_of(file)));
  });
}

vfs::SetAttr requested(const struct stat& st, int valid) {
  vfs::SetAttr set;
  if (valid & FUSE_SET_ATTR_MODE) set.mode = st.st_mode & 07777;
  if (valid & FUSE_SET_ATTR_UID) set.uid = st.st_uid;
  if (valid & FUSE_SET_ATTR_GID) set.gid = st.st_gid;
  if (valid & FUSE_SET_ATTR_SIZE) set.size = static_cast<uint64_t>(st.st_size);
  // UTIME_OMIT arrives as an absent bit. CTIME is only sent with the writeback cache: ours is set
  // by whoever commits the change.
  if (valid & FUSE_SET_ATTR_ATIME_NOW)
    set.atime_now = true;
  else if (valid & FUSE_SET_ATTR_ATIME)
    set.atime = to_time(st.st_atim);
  if (valid & FUSE_SET_ATTR_MTIME_NOW)
    set.mtime_now = true;
  else if (valid & FUSE_SET_ATTR_MTIME)
    set.mtime = to_time(st.st_mtim);
  return set;
}

void on_setattr(fuse_req_t raw, fuse_ino_t ino, struct stat* st, int valid, fuse_file_info* file) {
  serve(raw, "setattr", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    reply_attributes(
        r, o.vfs().setattr(r.caller(), o.ino(ino), requested(*st, valid), handle_of(file)));
  });
}

// size 0 asks how much there is.
void reply_xattr(Request& r, std::string_view value, size_t size) {
  if (size == 0)
    r.xattr_size(value.size());
  else if (value.size() > size)
    r.error(ERANGE);
  else
    r.bytes(value);
}

void on_getxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, size_t size) {
  serve(raw, "getxattr", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    auto value = o.vfs().getxattr(r.caller(), o.ino(ino), name);
    if (value.ok())
      reply_xattr(r, *value, size);
    else
      r.error(value.error());
  });
}

void on_listxattr(fuse_req_t raw, fuse_ino_t ino, size_t size) {
  serve(raw, "listxattr", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    auto names = o.vfs().listxattr(r.caller(), o.ino(ino));
    if (!names.ok()) {
      r.error(names.error());
      return;
    }
    std::string joined;
    for (const auto& name : *names) joined.append(name).push_back('\0');
    reply_xattr(r, joined, size);
  });
}

void on_setxattr(fuse_req_t raw, fuse_ino_t ino, const char* name, const char* value, size_t size,
                 int flags) {
  serve(raw, "setxattr", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    r.status(o.vfs().setxattr(r.caller(), o.ino(ino), name, std::string(value, size), flags));
  });
}

void on_removexattr(fuse_req_t raw, fuse_ino_t ino, const char* name) {
  serve(raw, "removexattr", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    r.status(o.vfs().removexattr(r.caller(), o.ino(ino), name));
  });
}

struct statvfs to_statvfs(const StatFsReply& reply) {
  struct statvfs st = {};
  auto free_of = [](uint64_t total, uint64_t used) { return total > used ? total - used : 0; };
  st.f_bsize = st.f_frsize = kStatfsBlock;
  st.f_blocks = reply.total_bytes / kStatfsBlock;
  st.f_bfree = st.f_bavail = free_of(reply.total_bytes, reply.used_bytes) / kStatfsBlock;
  st.f_files = reply.total_files;
  st.f_ffree = st.f_favail = free_of(reply.total_files, reply.used_files);
  st.f_namemax = limits::kNameBytes;
  return st;
}

void on_statfs(fuse_req_t raw, fuse_ino_t ino) {
  serve(raw, "statfs", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    auto reply = o.vfs().statfs(r.caller(), o.ino(ino));
    if (reply.ok())
      r.filesystem(to_statvfs(*reply));
    else
      r.error(reply.error());
  });
}

}  // namespace

void add_attribute_callbacks(fuse_lowlevel_ops* table) {
  table->getattr = on_getattr;
  table->setattr = on_setattr;
  table->getxattr = on_getxattr;
  table->listxattr = on_listxattr;
  table->setxattr = on_setxattr;
  table->removexattr = on_removexattr;
  table->statfs = on_statfs;
}

}  // namespace linkspan::fuse
