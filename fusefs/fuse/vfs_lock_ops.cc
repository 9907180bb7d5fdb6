// Callbacks about locks: flock(2) and fcntl(2) across mounts.
#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "fusefs/fuse/deferred.h"
#include "fusefs/fuse/errno_table.h"
#include "fusefs/fuse/log.h"
#include "fusefs/fuse/vfs_callbacks.h"

namespace linkspan::fuse {
namespace {

LockType type_of(int type) {
  switch (type) {
    case F_RDLCK:
      return LockType::shared;
    case F_WRLCK:
      return LockType::exclusive;
    default:
      return LockType::none;
  }
}

LockRange range_of(const struct flock& lock) {
  const auto begin = static_cast<uint64_t>(lock.l_start);
  if (lock.l_len == 0) return {begin, limits::kLockEnd};
  return {begin, begin + static_cast<uint64_t>(lock.l_len)};
}

Lock record_lock(Ino ino, const fuse_file_info& file, const struct flock& lock) {
  return {ino,
          LockKind::record,
          file.lock_owner,
          type_of(lock.l_type),
          range_of(lock),
          static_cast<uint32_t>(lock.l_pid),
          false};
}

void refuse(Request& r, const Error& error) {
  if (is_expected(error.code))
    r.error(to_lock_errno(error.code));
  else
    r.error(error);
}

void set_lock(Request& r, vfs::Handle h, const Lock& lock, bool wait) {
  vfs::Vfs& vfs = VfsOperations::of(r).vfs();
  const auto set = vfs.set_lock(r.caller(), h, lock, wait);
  if (!set.ok()) return refuse(r, set.error());
  if (!*set) {
    r.done();
    return;
  }
  const auto later = r.defer();
  vfs.await_lock(**set, lock, later->cancel(),
                 [later](const Status& status) { later->answer(status); });
}

void on_setlk(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file, struct flock* lock, int sleep) {
  serve(raw, "setlk", [&](Request& r) {
    const Ino node = VfsOperations::of(r).ino(ino);
    set_lock(r, file->fh, record_lock(node, *file, *lock), sleep != 0);
  });
}

void on_flock(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file, int operation) {
  serve(raw, "flock", [&](Request& r) {
    const int what = operation & ~LOCK_NB;
    Lock lock{VfsOperations::of(r).ino(ino), LockKind::flock, file->fh, {}, {}, 0, false};
    lock.pid = static_cast<uint32_t>(r.caller().tid);
    lock.type = what == LOCK_EX   ? LockType::exclusive
                : what == LOCK_SH ? LockType::shared
                                  : LockType::none;
    set_lock(r, file->fh, lock, (operation & LOCK_NB) == 0);
  });
}

void on_getlk(fuse_req_t raw, fuse_ino_t ino, fuse_file_info* file, struct flock* lock) {
  serve(raw, "getlk", [&](Request& r) {
    auto& o = VfsOperations::of(r);
    const auto found = o.vfs().test_lock(r.caller(), record_lock(o.ino(ino), *file, *lock));
    if (!found.ok()) return refuse(r, found.error());
    struct flock reply = *lock;
    if (!found->blocker) {
      reply.l_type = F_UNLCK;
      r.lock(reply);
      return;
    }
    const Lock& blocker = *found->blocker;
    reply.l_type = blocker.type == LockType::exclusive ? F_WRLCK : F_RDLCK;
    reply.l_whence = SEEK_SET;
    reply.l_start = static_cast<off_t>(blocker.range.begin);
    reply.l_len = blocker.range.end == limits::kLockEnd
                      ? 0
                      : static_cast<off_t>(blocker.range.end - blocker.range.begin);
    // Of another machine there is no process to name.
    reply.l_pid = found->same_session ? static_cast<pid_t>(blocker.pid) : 0;
    r.lock(reply);
  });
}

}  // namespace

Status unlock_closed(Request& r, Ino ino, const fuse_file_info& file) {
  const auto& o = VfsOperations::of(r);
  if (o.read_only()) return ok();
  return o.vfs().unlock_owner(r.caller(), ino, file.lock_owner);
}

void unlock_released(Request& r, Ino ino, const fuse_file_info& file) {
  const auto& o = VfsOperations::of(r);
  if (o.read_only()) return;
  o.vfs().unlock_handle(ino, file.fh);
}

void add_lock_callbacks(fuse_lowlevel_ops* table) {
  table->setlk = on_setlk;
  table->getlk = on_getlk;
  table->flock = on_flock;
}

}  // namespace linkspan::fuse
