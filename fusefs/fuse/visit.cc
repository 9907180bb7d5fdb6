#include "fusefs/fuse/visit.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <utility>

#include "fusefs/fuse/stat.h"

namespace linkspan::fuse {
namespace {

constexpr unsigned kPrivate =
    1u << 18;                       // MS_PRIVATE; <sys/mount.h> does not go with <linux/mount.h>
constexpr int kInodeHandle = 0x81;  // FILEID_INO64_GEN: how the kernel's FUSE names its nodes

Error failed(const std::string& what, int error) {
  switch (error) {
    case EAGAIN:
    case EINTR:
    case EBUSY:
      return fail(Code::busy, what + ": it changes");
    case ENOENT:
    case ENOTDIR:
    case ESTALE:
      return fail(Code::not_found, what + ": " + std::strerror(error));
    case EEXIST:
      return fail(Code::exists, what + ": " + std::strerror(error));
    case EACCES:
    case EPERM:
    case EROFS:
      return fail(Code::not_permitted, what + ": " + std::strerror(error));
    default:
      return fail(Code::io, what + ": " + std::strerror(error));
  }
}

Status outcome(const std::string& what, int result) {
  if (result >= 0) return ok();
  return failed(what, errno);
}

// A private, writable copy; invalid where that is not permitted.
Fd copy_of(const std::string& mountpoint) {
  Fd tree(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, mountpoint.c_str(),
                                     OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW)));
  if (!tree.valid()) return tree;
  mount_attr attributes = {};
  attributes.attr_clr = MOUNT_ATTR_RDONLY;
  attributes.propagation = kPrivate;
  // Refused: then what needs it is, too.
  (void)::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes, sizeof attributes);
  return tree;
}

dev_t device_of(int fd) {
  struct statx st;
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) != 0) return 0;
  return makedev(st.stx_dev_major, st.stx_dev_minor);
}

// Both times: IN_ATTRIB. The later alone: IN_MODIFY.
int touch(int dir, const char* name, bool content) {
  timespec times[2] = {{0, content ? UTIME_OMIT : UTIME_NOW}, {0, UTIME_NOW}};
  return ::utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
}

}  // namespace

Result<std::unique_ptr<Visit>> Visit::begin(const VisitPlace& place, PathOf path_of) {
  Fd tree = copy_of(place.mountpoint);
  if (!tree.valid())
    tree.reset(::open(place.mountpoint.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!tree.valid()) return failed(place.mountpoint, errno);
  if (device_of(tree.get()) != place.device)
    return fail(Code::not_found, place.mountpoint + " is another filesystem now");
  // open_by_handle_at(2) takes no O_PATH descriptor.
  Fd root(::openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return failed(place.mountpoint, errno);
  return std::unique_ptr<Visit>(
      new Visit(place, std::move(path_of), std::move(tree), std::move(root)));
}

Visit::Visit(const VisitPlace& place, PathOf path_of, Fd tree, Fd root)
    : place_(place), path_of_(std::move(path_of)), tree_(std::move(tree)), root_(std::move(root)) {}

Visit::~Visit() {
  place_.own->plain();
  // What was reached through the passage is not kept by the kernel for our sake.
  place_.own->close_passage();
  struct stat st;
  (void)::fstatat(root_.get(), place_.own->passage().c_str(), &st, AT_SYMLINK_NOFOLLOW);
}

std::string Visit::through(Ino ino) const {
  return place_.own->passage() + "/" + std::to_string(ino.value);
}

// By its number: the kernel has it, since it is watched, and no path leads astray. That needs
// rights of root's, over the filesystem at least (and a kernel since 6.11 where it is not all of
// root's), and a name of it that the kernel has not dropped, as it does when a directory above it
// changed and somebody looked at anything there (ESTALE). Its path gives it one again.
Result<Fd> Visit::open_directory(Ino dir) {
  const uint64_t nodeid = place_.notifier->to_kernel(dir);
  const uint32_t words[3] = {static_cast<uint32_t>(nodeid >> 32), static_cast<uint32_t>(nodeid), 0};
  alignas(file_handle) char buffer[sizeof(file_handle) + sizeof words] = {};
  auto* handle = reinterpret_cast<file_handle*>(buffer);
  handle->handle_bytes = sizeof words;
  handle->handle_type = kInodeHandle;
  std::memcpy(handle->f_handle, words, sizeof words);
  Fd fd(::open_by_handle_at(root_.get(), handle, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (fd.valid()) return fd;
  if (errno != EPERM && errno != ESTALE) return failed("a watched directory", errno);
  const auto path = path_of_(dir);
  if (!path) return fail(Code::not_found, "a watched directory has no path");
  // Another mount may have put a symlink into the path meanwhile: nothing outside shall be touched.
  open_how how = {};
  how.flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  fd.reset(static_cast<int>(::syscall(SYS_openat2, root_.get(), path->c_str(), &how, sizeof how)));
  if (!fd.valid()) return failed(*path, errno);
  struct statx st;
  if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &st) != 0)
    return failed(*path, errno);
  if (st.stx_ino != dir.value) return fail(Code::busy, *path + " was moved");
  return fd;
}

Result<int> Visit::directory(Ino dir) {
  if (place_.notifier->to_kernel(dir) == 1) return root_.get();
  if (directory_.valid() && opened_ == dir) return directory_.get();
  LINKSPAN_TRY(directory_, open_directory(dir));
  opened_ = dir;
  return directory_.get();
}

Status Visit::created(Ino dir, const std::string& name, const Attr& now) {
  LINKSPAN_TRY(const int at, directory(dir));
  // Somebody here may be in it already, and would find himself in none: it must not vanish even for
  // the moment in which the kernel asks.
  if (now.kind == Kind::directory && place_.notifier->known().references(now.ino.value) > 0)
    return attributes(dir, name);
  place_.own->pretend_absent(dir, name);
  int made = -1;
  if (now.kind == Kind::directory)
    made = ::mkdirat(at, name.c_str(), now.mode);
  else if (now.kind == Kind::symlink)
    made = ::symlinkat("-", at, name.c_str());
  else
    made = ::mknodat(at, name.c_str(), file_type(now.kind) | now.mode, 0);
  const Status done = outcome(name, made);
  place_.own->plain();
  // Somebody here has found it already: then it is told as a change.
  if (!done.ok() && done.code() == Code::exists) return modified(dir, name, now);
  LINKSPAN_CHECK(done);
  return now.kind == Kind::file ? modified(dir, name, now) : ok();
}

Status Visit::removed(Ino dir, const std::string& name, const Attr& before, bool gone) {
  LINKSPAN_TRY(const int at, directory(dir));
  const bool is_directory = before.kind == Kind::directory;
  Attr attr = before;
  attr.nlink = is_directory ? 2 : 1;
  const auto remove = [&] {
    place_.own->pretend_there(dir, name, attr, !gone);
    const Status done =
        outcome(name, ::unlinkat(at, name.c_str(), is_directory ? AT_REMOVEDIR : 0));
    place_.own->plain();
    return done;
  };
  const Status done = remove();
  if (done.ok() || done.code() != Code::not_found) return done;
  // The kernel knows already that there is no such name: it shall ask once more.
  place_.notifier->drop_names({{dir, name}});
  return remove();
}

Status Visit::replaced(Ino dir, const std::string& name, const Attr& now) {
  LINKSPAN_TRY(const int at, directory(dir));
  if (now.kind == Kind::directory) {
    Attr before = now;
    (void)removed(dir, name, before, false).ok();
    return created(dir, name, now);
  }
  place_.own->reach(now.ino);
  place_.own->pretend_absent(dir, name);
  const Status done =
      outcome(name, ::renameat(root_.get(), through(now.ino).c_str(), at, name.c_str()));
  place_.own->plain();
  if (done.ok()) return done;
  return modified(dir, name, now);
}

// Opening it would be in the way of whoever executes it (ETXTBSY).
Status Visit::modify(int dir, const std::string& name, const Attr& now) {
  if (now.kind != Kind::file || (now.mode & 0111) != 0)
    return outcome(name, touch(dir, name.c_str(), now.kind == Kind::file));
  const Fd file(::openat(dir, name.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == EAGAIN || errno == EINTR || errno == ENOENT) return failed(name, errno);
    return outcome(name, touch(dir, name.c_str(), true));
  }
  return outcome(name, ::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, 1));
}

Status Visit::modified(Ino dir, const std::string& name, const Attr& now) {
  LINKSPAN_TRY(const int at, directory(dir));
  return modify(at, name, now);
}

Status Visit::attributes(Ino dir, const std::string& name) {
  LINKSPAN_TRY(const int at, directory(dir));
  return outcome(name, touch(at, name.c_str(), false));
}

Status Visit::node_modified(const Attr& now) {
  place_.own->reach(now.ino);
  const Status done = modify(root_.get(), through(now.ino), now);
  place_.own->plain();
  return done;
}

Status Visit::node_attributes(const Attr& now) {
  place_.own->reach(now.ino);
  const Status done =
      outcome("a watched file", touch(root_.get(), through(now.ino).c_str(), false));
  place_.own->plain();
  return done;
}

Status Visit::node_lost(const Attr& before) {
  Attr lost = before;
  lost.nlink = 1;
  place_.own->reach(before.ino, lost);
  const Status done =
      outcome("a watched file", ::unlinkat(root_.get(), through(before.ino).c_str(), 0));
  place_.own->plain();
  return done;
}

Status Visit::directory_attributes(Ino dir) {
  LINKSPAN_TRY(const int at, directory(dir));
  return outcome("a watched directory", touch(at, ".", false));
}

// Its name, and where that is, are known to the kernel alone.
Status Visit::directory_lost(const Attr& before) {
  LINKSPAN_TRY(const int at, directory(before.ino));
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(at);
  const ssize_t length = ::readlink(link.c_str(), path, sizeof path);
  if (length <= 0) return failed(link, errno);
  const std::string_view whole(path, static_cast<size_t>(length));
  const std::string name(whole.substr(whole.rfind('/') + 1));
  const Fd parent(::openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!parent.valid()) return failed(name, errno);
  Attr lost = before;
  lost.nlink = 2;
  place_.own->pretend_there(Ino(), name, lost, false);
  const Status done = outcome(name, ::unlinkat(parent.get(), name.c_str(), AT_REMOVEDIR));
  place_.own->plain();
  return done;
}

}  // namespace linkspan::fuse
