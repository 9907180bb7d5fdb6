// Callbacks about open files and their content.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "fusefs/fuse/vfs_callbacks.h"

namespace linkspan::fuse {
namespace {

constexpr size_t kCopyBytes = 1u << 30;  // of one copy_file_range reply, whose count has 32 bits

fuse_file_info open_reply(const VfsOperations& o, const vfs::Opened& opened) {
  fuse_file_info file = {};
  file.fh = opened.handle;
  file.keep_cache = opened.keep_cache;
  file.direct_io = opened.direct;
  // Where nothing can be written a close has nothing to commit, and no lock of ours to give up:
  // spare the round trip. Elsewhere also a descriptor that only reads gives up its process's locks.
  file.noflush = o.read_only();
  return file;
}

void on_open(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "open", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    const bool writes = (file->flags & O_ACCMODE) != O_RDONLY || (file->flags & O_TRUNC) != 0;
    if (writes && o.refuses(r)) return;
    auto opened = o.vfs().open(r.caller(), o.ino(ino), file->flags);
    if (!opened.ok()) {
      r.error(opened.error());
      return;
    }
    if (!r.opened(open_reply(o, *opened)))  // the caller is gone: no RELEASE will come
      o.vfs().release(o.ino(ino), opened->handle);
  });
}

void on_create(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode,
               fuse_file_info* file) {
  serve(raw, "create", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    auto created = o.vfs().create(r.caller(), o.ino(parent), name, mode & 07777, file->flags);
    if (!created.ok()) {
      r.error(created.error());
      return;
    }
    const auto& [entry, opened] = *created;
    fuse_file_info reply = open_reply(o, opened);
    if (o.hand_over(entry, [&](const fuse_entry_param& param) { return r.created(param, reply); }))
      return;
    o.vfs().release(entry.attr.ino, opened.handle);
  });
}

void on_read(fuse_req_t raw, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* file) {
  serve(raw, "read", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    auto data = o.vfs().read(r.caller(), o.ino(ino), file->fh, static_cast<uint64_t>(offset), size);
    if (data.ok())
      r.bytes(std::string_view(*data).substr(0, size));
    else
      r.error(data.error());
  });
}

void on_write(fuse_req_t raw, fuse_ino_t ino, const char* data, size_t size, off_t offset,
              fuse_file_info* file) {
  serve(raw, "write", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    // The flags of this very write: fcntl(F_SETFL) may have changed them since open(2). A page of a
    // mapping is written where it lies, whatever the descriptor says.
    bool append = (file->flags & O_APPEND) && !file->writepage;
    auto written = o.vfs().write(r.caller(), o.ino(ino), file->fh, static_cast<uint64_t>(offset),
                                 std::string_view(data, size), append);
    if (written.ok())
      r.written(*written);
    else
      r.error(written.error());
  });
}

void on_flush(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "flush", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    const Status flushed = o.vfs().flush(r.caller(), o.ino(ino), file->fh);
    const Status unlocked = unlock_closed(r, o.ino(ino), *file);
    r.status(flushed.ok() ? unlocked : flushed);
  });
}

void on_fsync(fuse_req_t raw, fuse_ino_t ino, int, fuse_file_info* file) {
  serve(raw, "fsync", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    r.status(o.vfs().fsync(r.caller(), o.ino(ino), file->fh));
  });
}

void on_release(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file) {
  serve(raw, "release", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    unlock_released(r, o.ino(ino), *file);
    o.vfs().release(o.ino(ino), file->fh);
    r.done();
  });
}

void on_fallocate(fuse_req_t raw, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  fuse_file_info* file) {
  serve(raw, "fallocate", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    r.status(o.vfs().fallocate(r.caller(), o.ino(ino), file->fh, mode,
                               static_cast<uint64_t>(offset), static_cast<uint64_t>(length)));
  });
}

void on_lseek(fuse_req_t raw, fuse_ino_t ino, off_t offset, int whence, fuse_file_info* file) {
  serve(raw, "lseek", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
      r.error(EINVAL);
      return;
    }
    auto found = o.vfs().seek(r.caller(), o.ino(ino), file->fh, static_cast<uint64_t>(offset),
                              whence == SEEK_DATA);
    if (!found.ok())
      r.error(found.error());
    else if (!found->has_value())
      r.error(ENXIO);
    else
      r.offset(**found);
  });
}

void on_copy_file_range(fuse_req_t raw, fuse_ino_t from, off_t from_offset,
                        fuse_file_info* from_file, fuse_ino_t to, off_t to_offset,
                        fuse_file_info* to_file, size_t size, int flags) {
  serve(raw, "copy_file_range", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    if (o.refuses(r)) return;
    if (flags != 0) {
      r.error(EINVAL);
      return;
    }
    auto copied = o.vfs().copy_range(r.caller(), o.ino(from), from_file->fh,
                                     static_cast<uint64_t>(from_offset), o.ino(to), to_file->fh,
                                     static_cast<uint64_t>(to_offset), std::min(size, kCopyBytes));
    if (copied.ok())
      r.written(*copied);
    else
      r.error(copied.error());
  });
}

}  // namespace

void add_file_callbacks(fuse_lowlevel_ops* table) {
  table->open = on_open;
  table->create = on_create;
  table->read = on_read;
  table->write = on_write;
  table->flush = on_flush;
  table->fsync = on_fsync;
  table->release = on_release;
  table->fallocate = on_fallocate;
  table->lseek = on_lseek;
  table->copy_file_range = on_copy_file_range;
}

}  // namespace linkspan::fuse
