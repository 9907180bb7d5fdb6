#include "fusefs/fuse/local_ops.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <vector>

#include "fusefs/fuse/dir_buffer.h"
#include "fusefs/fuse/request.h"

namespace linkspan::fuse {
namespace {

// Nothing is kept: programs outside of the mount change the directory too, and nobody tells. Names
// and attributes are asked for each time (as far as the local page and dentry caches:
// microseconds); pages live while a file is open and its mtime stands (AUTO_INVAL_DATA).
constexpr double kTimeout = 0;

class LocalOperations final : public Operations {
 public:
  explicit LocalOperations(local::LocalTree* tree);
  const fuse_lowlevel_ops& table() const override { return table_; }
  void configure(fuse_conn_info* info) override {
    info->want |= info->capable & (FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_WRITE);
    // Each entry of a listing would cost a descriptor.
    info->want &= ~(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
    // An open that truncates as root here would leave the caller's set-id bits on: the kernel
    // truncates in a call of its own, and takes them away before.
    info->want &= ~FUSE_CAP_ATOMIC_O_TRUNC;
  }
  local::LocalTree& tree() const { return *tree_; }

 private:
  local::LocalTree* const tree_;
  fuse_lowlevel_ops table_ = {};
};

local::LocalTree& tree_of(const Request& r) {
  return static_cast<LocalOperations*>(r.session().operations)->tree();
}

local::LocalTree& tree_of(fuse_req_t raw) {
  auto* context = static_cast<SessionContext*>(fuse_req_userdata(raw));
  return static_cast<LocalOperations*>(context->operations)->tree();
}

local::Who who(const Request& r) {
  auto caller = r.caller();
  return {caller.uid, caller.gid};
}

int descriptor(const fuse_file_info* file) {
  return static_cast<int>(file->fh);
}

fuse_entry_param entry_param(const local::Entry& entry) {
  fuse_entry_param param = {};
  param.ino = entry.node;
  param.attr = entry.st;
  param.attr_timeout = param.entry_timeout = kTimeout;
  return param;
}

void reply_entry(Request& r, const local::Outcome<local::Entry>& entry) {
  if (!entry.ok()) {
    r.error(entry.error());
    return;
  }
  local::LocalTree& tree = tree_of(r);
  if (!r.entry(entry_param(entry.value()))) tree.forget(entry.value().node, 1);
}

void reply_status(Request& r, const local::Outcome0& done) {
  r.error(done.ok() ? 0 : done.error());
}

// Of a system call on an open descriptor.
void reply_call(Request& r, long result) {
  r.error(result < 0 ? errno : 0);
}

// ---- names and attributes ----------------------------------------------------------------------

void on_lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "local lookup", [&](Request& r) { reply_entry(r, tree_of(r).lookup(parent, name)); });
}

void on_forget(fuse_req_t raw, fuse_ino_t node, uint64_t count) {
  tree_of(raw).forget(node, count);
  fuse_reply_none(raw);
}

void on_forget_multi(fuse_req_t raw, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) tree_of(raw).forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(raw);
}

void on_getattr(fuse_req_t raw, fuse_ino_t node, fuse_file_info*) {
  serve(raw, "local getattr", [&](Request& r) {
    auto st = tree_of(r).getattr(node);
    if (st.ok())
      r.attributes(st.value(), kTimeout);
    else
      r.error(st.error());
  });
}

local::Changes requested(const struct stat& st, int valid) {
  constexpr timespec kNow{0, UTIME_NOW};
  local::Changes changes;
  if (valid & FUSE_SET_ATTR_MODE) changes.mode = st.st_mode & 07777;
  if (valid & FUSE_SET_ATTR_UID) changes.uid = st.st_uid;
  if (valid & FUSE_SET_ATTR_GID) changes.gid = st.st_gid;
  if (valid & FUSE_SET_ATTR_SIZE) changes.size = st.st_size;
  if (valid & FUSE_SET_ATTR_ATIME)
    changes.atime = valid & FUSE_SET_ATTR_ATIME_NOW ? kNow : st.st_atim;
  if (valid & FUSE_SET_ATTR_MTIME)
    changes.mtime = valid & FUSE_SET_ATTR_MTIME_NOW ? kNow : st.st_mtim;
  return changes;
}

void on_setattr(fuse_req_t raw, fuse_ino_t node, struct stat* st, int valid, fuse_file_info* file) {
  serve(raw, "local setattr", [&](Request& r) {
    auto after = tree_of(r).setattr(node, requested(*st, valid), file ? descriptor(file) : -1);
    if (after.ok())
      r.attributes(after.value(), kTimeout);
    else
      r.error(after.error());
  });
}

void on_readlink(fuse_req_t raw, fuse_ino_t node) {
  serve(raw, "local readlink", [&](Request& r) {
    auto target = tree_of(r).readlink(node);
    if (target.ok())
      r.link_target(target.value());
    else
      r.error(target.error());
  });
}

void on_mknod(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  serve(raw, "local mknod",
        [&](Request& r) { reply_entry(r, tree_of(r).mknod(parent, name, mode, who(r))); });
}

void on_mkdir(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode) {
  serve(raw, "local mkdir",
        [&](Request& r) { reply_entry(r, tree_of(r).mkdir(parent, name, mode, who(r))); });
}

void on_symlink(fuse_req_t raw, const char* target, fuse_ino_t parent, const char* name) {
  serve(raw, "local symlink",
        [&](Request& r) { reply_entry(r, tree_of(r).symlink(parent, name, target, who(r))); });
}

void on_link(fuse_req_t raw, fuse_ino_t node, fuse_ino_t parent, const char* name) {
  serve(raw, "local link",
        [&](Request& r) { reply_entry(r, tree_of(r).link(node, parent, name)); });
}

void on_unlink(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "local unlink", [&](Request& r) { reply_status(r, tree_of(r).unlink(parent, name)); });
}

void on_rmdir(fuse_req_t raw, fuse_ino_t parent, const char* name) {
  serve(raw, "local rmdir", [&](Request& r) { reply_status(r, tree_of(r).rmdir(parent, name)); });
}

void on_rename(fuse_req_t raw, fuse_ino_t from, const char* from_name, fuse_ino_t to,
               const char* to_name, unsigned flags) {
  serve(raw, "local rename", [&](Request& r) {
    reply_status(r, tree_of(r).rename(from, from_name, to, to_name, flags));
  });
}

void on_statfs(fuse_req_t raw, fuse_ino_t node) {
  serve(raw, "local statfs", [&](Request& r) {
    auto st = tree_of(r).statfs(node);
    if (st.ok())
      r.filesystem(st.value());
    else
      r.error(st.error());
  });
}

// ---- extended attributes -----------------------------------------------------------------------

void reply_value(Request& r, const local::Outcome<std::string>& value, size_t size) {
  if (!value.ok())
    r.error(value.error());
  else if (size == 0)
    r.xattr_size(value.value().size());
  else if (value.value().size() > size)
    r.error(ERANGE);
  else
    r.bytes(value.value());
}

void on_getxattr(fuse_req_t raw, fuse_ino_t node, const char* name, size_t size) {
  serve(raw, "local getxattr",
        [&](Request& r) { reply_value(r, tree_of(r).getxattr(node, name), size); });
}

void on_listxattr(fuse_req_t raw, fuse_ino_t node, size_t size) {
  serve(raw, "local listxattr",
        [&](Request& r) { reply_value(r, tree_of(r).listxattr(node), size); });
}

void on_setxattr(fuse_req_t raw, fuse_ino_t node, const char* name, const char* value, size_t size,
                 int flags) {
  serve(raw, "local setxattr", [&](Request& r) {
    reply_status(r, tree_of(r).setxattr(node, name, std::string(value, size), flags));
  });
}

void on_removexattr(fuse_req_t raw, fuse_ino_t node, const char* name) {
  serve(raw, "local removexattr",
        [&](Request& r) { reply_status(r, tree_of(r).removexattr(node, name)); });
}

// ---- files -------------------------------------------------------------------------------------

void on_open(fuse_req_t raw, fuse_ino_t node, fuse_file_info* file) {
  serve(raw, "local open", [&](Request& r) {
    auto fd = tree_of(r).open_file(node, file->flags);
    if (!fd.ok()) {
      r.error(fd.error());
      return;
    }
    fuse_file_info reply = {};
    reply.fh = static_cast<uint64_t>(fd.value().get());
    reply.noflush = (file->flags & O_ACCMODE) == O_RDONLY;
    if (r.opened(reply)) fd.value().release();
  });
}

void on_create(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  serve(raw, "local create", [&](Request& r) {
    local::LocalTree& tree = tree_of(r);
    auto created = tree.create(parent, name, mode, file->flags, who(r));
    if (!created.ok()) {
      r.error(created.error());
      return;
    }
    auto& [entry, fd] = created.value();
    fuse_file_info reply = {};
    reply.fh = static_cast<uint64_t>(fd.get());
    if (r.created(entry_param(entry), reply))
      fd.release();
    else
      tree.forget(entry.node, 1);
  });
}

void on_read(fuse_req_t raw, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  serve(raw, "local read", [&](Request& r) {
    fuse_bufvec data = {};  // FUSE_BUFVEC_INIT is C99
    data.count = 1;
    data.buf[0].size = size;
    data.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
    data.buf[0].fd = descriptor(file);
    data.buf[0].pos = offset;
    r.data(&data);
  });
}

void on_write(fuse_req_t raw, fuse_ino_t, const char* data, size_t size, off_t offset,
              fuse_file_info* file) {
  serve(raw, "local write", [&](Request& r) {
    bool append = (file->flags & O_APPEND) && !file->writepage;
    iovec piece{const_cast<char*>(data), size};
    ssize_t n = append ? ::pwritev2(descriptor(file), &piece, 1, 0, RWF_APPEND)
                       : ::pwrite(descriptor(file), data, size, offset);
    if (n < 0)
      r.error(errno);
    else
      r.written(static_cast<size_t>(n));
  });
}

// close(2) of a duplicate reports what the local filesystem only says at close.
void on_flush(fuse_req_t raw, fuse_ino_t, fuse_file_info* file) {
  serve(raw, "local flush", [&](Request& r) { reply_call(r, ::close(::dup(descriptor(file)))); });
}

void on_fsync(fuse_req_t raw, fuse_ino_t, int data_only, fuse_file_info* file) {
  serve(raw, "local fsync", [&](Request& r) {
    reply_call(r, data_only ? ::fdatasync(descriptor(file)) : ::fsync(descriptor(file)));
  });
}

void on_release(fuse_req_t raw, fuse_ino_t, fuse_file_info* file) {
  serve(raw, "local release", [&](Request& r) {
    local::Descriptor closed(descriptor(file));
    r.done();
  });
}

void on_fallocate(fuse_req_t raw, fuse_ino_t, int mode, off_t offset, off_t length,
                  fuse_file_info* file) {
  serve(raw, "local fallocate",
        [&](Request& r) { reply_call(r, ::fallocate(descriptor(file), mode, offset, length)); });
}

void on_lseek(fuse_req_t raw, fuse_ino_t, off_t offset, int whence, fuse_file_info* file) {
  serve(raw, "local lseek", [&](Request& r) {
    off_t found = ::lseek(descriptor(file), offset, whence);
    if (found < 0)
      r.error(errno);
    else
      r.offset(static_cast<uint64_t>(found));
  });
}

void on_copy_file_range(fuse_req_t raw, fuse_ino_t, off_t from_offset, fuse_file_info* from,
                        fuse_ino_t, off_t to_offset, fuse_file_info* to, size_t size, int flags) {
  serve(raw, "local copy_file_range", [&](Request& r) {
    ssize_t n = ::copy_file_range(descriptor(from), &from_offset, descriptor(to), &to_offset, size,
                                  static_cast<unsigned>(flags));
    if (n < 0)
      r.error(errno);
    else
      r.written(static_cast<size_t>(n));
  });
}

// ---- directories -------------------------------------------------------------------------------

// Reads a directory in pieces, going on from any offset it gave out (the filesystem's own d_off).
class OpenDirectory {
 public:
  explicit OpenDirectory(local::Descriptor fd) : fd_(std::move(fd)) {}

  // 0 or an errno. Fills the buffer from `offset` on.
  int list(DirBuffer* out, off_t offset) {
    std::lock_guard lock(mutex_);
    if (offset != position_) seek(offset);
    for (;;) {
      if (at_ == filled_) {
        long n = ::syscall(SYS_getdents64, fd_.get(), buffer_.data(), buffer_.size());
        if (n < 0) return errno;
        if (n == 0) return 0;
        at_ = 0;
        filled_ = static_cast<size_t>(n);
      }
      const auto* entry = reinterpret_cast<const dirent64*>(buffer_.data() + at_);
      if (!out->add(entry->d_name, param(*entry), static_cast<uint64_t>(entry->d_off)))
        return out->empty() ? EINVAL : 0;
      at_ += entry->d_reclen;
      position_ = entry->d_off;
    }
  }
  int sync() { return ::fsync(fd_.get()) == 0 ? 0 : errno; }

 private:
  static constexpr size_t kBufferBytes = 32 << 10;

  void seek(off_t offset) {
    ::lseek(fd_.get(), offset, SEEK_SET);
    position_ = offset;
    at_ = filled_ = 0;
  }
  static fuse_entry_param param(const dirent64& entry) {
    fuse_entry_param p = {};
    p.attr.st_ino = entry.d_ino;
    p.attr.st_mode = DTTOIF(entry.d_type);
    return p;
  }

  std::mutex mutex_;  // of the rest: one descriptor has one position
  local::Descriptor fd_;
  off_t position_ = 0;  // offset after the last entry given out
  std::vector<char> buffer_ = std::vector<char>(kBufferBytes);
  size_t at_ = 0, filled_ = 0;
};

OpenDirectory& directory(const fuse_file_info* file) {
  return *reinterpret_cast<OpenDirectory*>(file->fh);
}

void on_opendir(fuse_req_t raw, fuse_ino_t node, fuse_file_info*) {
  serve(raw, "local opendir", [&](Request& r) {
    auto fd = tree_of(r).open_directory(node);
    if (!fd.ok()) {
      r.error(fd.error());
      return;
    }
    auto opened = std::make_unique<OpenDirectory>(std::move(fd.value()));
    fuse_file_info reply = {};
    reply.fh = reinterpret_cast<uintptr_t>(opened.get());
    if (r.opened(reply)) (void)opened.release();  // the kernel's until RELEASEDIR
  });
}

void on_readdir(fuse_req_t raw, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  serve(raw, "local readdir", [&](Request& r) {
    DirBuffer buffer(raw, size, false);
    if (int error = directory(file).list(&buffer, offset); error != 0)
      r.error(error);
    else
      r.bytes(buffer.data());
  });
}

void on_releasedir(fuse_req_t raw, fuse_ino_t, fuse_file_info* file) {
  serve(raw, "local releasedir", [&](Request& r) {
    delete &directory(file);
    r.done();
  });
}

void on_fsyncdir(fuse_req_t raw, fuse_ino_t, int, fuse_file_info* file) {
  serve(raw, "local fsyncdir", [&](Request& r) { r.error(directory(file).sync()); });
}

}  // namespace

LocalOperations::LocalOperations(local::LocalTree* tree) : tree_(tree) {
  table_.lookup = on_lookup;
  table_.forget = on_forget;
  table_.forget_multi = on_forget_multi;
  table_.getattr = on_getattr;
  table_.setattr = on_setattr;
  table_.readlink = on_readlink;
  table_.mknod = on_mknod;
  table_.mkdir = on_mkdir;
  table_.symlink = on_symlink;
  table_.link = on_link;
  table_.unlink = on_unlink;
  table_.rmdir = on_rmdir;
  table_.rename = on_rename;
  table_.statfs = on_statfs;
  table_.getxattr = on_getxattr;
  table_.listxattr = on_listxattr;
  table_.setxattr = on_setxattr;
  table_.removexattr = on_removexattr;
  table_.open = on_open;
  table_.create = on_create;
  table_.read = on_read;
  table_.write = on_write;
  table_.flush = on_flush;
  table_.fsync = on_fsync;
  table_.release = on_release;
  table_.fallocate = on_fallocate;
  table_.lseek = on_lseek;
  table_.copy_file_range = on_copy_file_range;
  table_.opendir = on_opendir;
  table_.readdir = on_readdir;
  table_.releasedir = on_releasedir;
  table_.fsyncdir = on_fsyncdir;
}

std::unique_ptr<Operations> make_local_operations(local::LocalTree* tree) {
  return std::make_unique<LocalOperations>(tree);
}

}  // namespace linkspan::fuse
