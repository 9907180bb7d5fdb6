// Callbacks about names: lookup, forget, and what makes, moves and removes them.
#include <cerrno>

#include "fusefs/fuse/stat.h"
#include "fusefs/fuse/vfs_callbacks.h"

namespace linkspan::fuse {
namespace {

void on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "lookup", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    o.reply_entry(r, o.vfs().lookup(r.caller(), o.ino(parent), name));
  });
}

VfsOperations& operations_of(fuse_req_t raw) {
  return static_cast<VfsOperations&>(
      *static_cast<SessionContext*>(fuse_req_userdata(raw))->operations);
}

// Not through Request: a FORGET is never interrupted and comes by the thousand.
void on_forget(fuse_req_t raw, fuse_ino_t ino, uint64_t count) {
  operations_of(raw).known().forget(ino, count);
  fuse_reply_none(raw);
}

void on_forget_multi(fuse_req_t raw, size_t count, fuse_forget_data* forgets) {
  VfsOperations& o = operations_of(raw);
  for (size_t i = 0; i < count; ++i) o.known().forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(raw);
}

void on_mknod(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  serve(raw, "mknod", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    auto kind = kind_of(mode);
    if (!kind ||
        *kind == Kind::directory) {  // devices: the mount is nodev, and nobody may make one
      r.error(EPERM);
      return;
    }
    o.reply_entry(r, o.vfs().mknod(r.caller(), o.ino(parent), name, *kind, mode & 07777));
  });
}

void on_mkdir(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode) {
  serve(raw, "mkdir", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    o.reply_entry(r, o.vfs().mkdir(r.caller(), o.ino(parent), name, mode & 07777));
  });
}

void on_symlink(fuse_req_t raw, const char* target, fuse_ino_t parent, const char* name) {
  serve(raw, "symlink", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    o.reply_entry(r, o.vfs().symlink(r.caller(), o.ino(parent), name, target));
  });
}

void on_unlink(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "unlink", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    r.status(o.vfs().unlink(r.caller(), o.ino(parent), name));
  });
}

void on_rmdir(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "rmdir", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    r.status(o.vfs().rmdir(r.caller(), o.ino(parent), name));
  });
}

void on_rename(fuse_req_t raw, fuse_ino_t from, const char* from_name, fuse_ino_t to,
               const char* to_name, unsigned flags) {
  serve(raw, "rename", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    r.status(o.vfs().rename(r.caller(), o.ino(from), from_name, o.ino(to), to_name, flags));
  });
}

void on_link(fuse_req_t raw, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  serve(raw, "link", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    o.reply_entry(r, o.vfs().link(r.caller(), o.ino(ino), o.ino(parent), name));
  });
}

void on_readlink(fuse_req_t raw, fuse_ino_t ino) {
  serve(raw, "readlink", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    auto target = o.vfs().readlink(r.caller(), o.ino(ino));
    if (target.ok())
      r.link_target(*target);
    else
      r.error(target.error());
  });
}

}  // namespace

void add_name_callbacks(fuse_lowlevel_ops* table) {
  table->lookup = on_lookup;
  table->forget = on_forget;
  table->forget_multi = on_forget_multi;
  table->mknod = on_mknod;
  table->mkdir = on_mkdir;
  table->symlink = on_symlink;
  table->unlink = on_unlink;
  table->rmdir = on_rmdir;
  table->rename = on_rename;
  table->link = on_link;
  table->readlink = on_readlink;
}

}  // namespace linkspan::fuse
