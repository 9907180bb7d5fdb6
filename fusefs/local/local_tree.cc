#include "fusefs/local/local_tree.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>
#include <cstring>

namespace linkspan::local {
namespace {

constexpr int kPathFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;

// The kernel sends one name at a time; anything else could walk out of the directory.
bool one_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

// An O_PATH descriptor opened again with rights, and for the calls that take only a path.
struct ProcPath {
  char text[40];
  explicit ProcPath(int fd) { std::snprintf(text, sizeof text, "/proc/self/fd/%d", fd); }
};

void raise_descriptor_limit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

Outcome<struct stat> stat_of(int fd) {
  struct stat st;
  if (fstatat(fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return Errno::last();
  return st;
}

// Whole values: asks for the size, and once more while it grows.
template <class Get>
Outcome<std::string> whole(Get get) {
  std::string value;
  for (int tries = 0; tries < 8; ++tries) {
    ssize_t size = get(nullptr, 0);
    if (size <= 0) return size < 0 ? Outcome<std::string>(Errno::last()) : std::string();
    value.resize(static_cast<size_t>(size));
    size = get(value.data(), value.size());
    if (size >= 0) {
      value.resize(static_cast<size_t>(size));
      return value;
    }
    if (errno != ERANGE) break;
  }
  return Errno::last();
}

}  // namespace

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::unique_ptr<LocalTree>> LocalTree::open(const std::string& directory) {
  Descriptor root(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    int error = errno;
    Code code = error == ENOENT    ? Code::not_found
                : error == ENOTDIR ? Code::not_directory
                : error == EACCES  ? Code::access_denied
                                   : Code::io;
    return fail(code, "workspace " + directory + ": " + std::strerror(error) +
                          (error == ENOENT ? "; mkdir -p " + directory : ""));
  }
  if (::access(ProcPath(root.get()).text, F_OK) != 0)
    return fail(Code::unsupported,
                "serving the workspace needs /proc, which is not mounted here: mount -t proc");
  ::umask(0);
  raise_descriptor_limit();
  return std::unique_ptr<LocalTree>(new LocalTree(std::move(root)));
}

LocalTree::LocalTree(Descriptor root) : root_user_(geteuid() == 0) {
  auto inode = std::make_shared<Inode>();
  struct stat st = {};
  fstatat(root.get(), "", &st, AT_EMPTY_PATH);
  inode->path = std::move(root);
  inode->device = st.st_dev;
  inode->number = st.st_ino;
  inode->references = 1;  // for ever
  by_key_[{st.st_dev, st.st_ino}] = kRootNode;
  nodes_[kRootNode] = std::move(inode);
}

LocalTree::~LocalTree() = default;

LocalTree::Held LocalTree::find(NodeId node) const {
  std::lock_guard lock(mutex_);
  auto it = nodes_.find(node);
  return it == nodes_.end() ? nullptr : it->second;
}

Outcome<Entry> LocalTree::hold(Descriptor path, const struct stat& st) {
  std::lock_guard lock(mutex_);
  auto [known, is_new] = by_key_.emplace(Key{st.st_dev, st.st_ino}, next_);
  NodeId node = known->second;
  if (is_new) {
    ++next_;
    auto inode = std::make_shared<Inode>();
    inode->path = std::move(path);
    inode->device = st.st_dev;
    inode->number = st.st_ino;
    inode->symlink = S_ISLNK(st.st_mode);
    nodes_[node] = std::move(inode);
  }
  ++nodes_[node]->references;  // our descriptor keeps the number from being reused
  return Entry{node, st};
}

Outcome<Entry> LocalTree::lookup(NodeId parent, const std::string& name) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  Descriptor path(::openat(dir->path.get(), name.c_str(), kPathFlags));
  if (!path.valid()) return Errno::last();
  auto st = stat_of(path.get());
  if (!st.ok()) return Errno{st.error()};
  return hold(std::move(path), st.value());
}

void LocalTree::forget(NodeId node, uint64_t count) {
  Held last;  // closed after the lock is gone
  std::lock_guard lock(mutex_);
  auto it = nodes_.find(node);
  if (it == nodes_.end() || node == kRootNode) return;
  Inode& inode = *it->second;
  inode.references -= std::min(inode.references, count);
  if (inode.references != 0) return;
  by_key_.erase({inode.device, inode.number});
  last = std::move(it->second);
  nodes_.erase(it);
}

size_t LocalTree::nodes() const {
  std::lock_guard lock(mutex_);
  return nodes_.size();
}

// ---- attributes --------------------------------------------------------------------------------

Outcome<struct stat> LocalTree::getattr(NodeId node) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  return stat_of(inode->path.get());
}

namespace {

Outcome0 change_mode(int path, int fd, bool symlink, mode_t mode) {
  if (fd >= 0) return outcome_of(::fchmod(fd, mode));
  if (symlink) return Errno{EOPNOTSUPP};
  return outcome_of(::chmod(ProcPath(path).text, mode));
}

Outcome0 change_owner(int path, const Changes& changes) {
  return outcome_of(::fchownat(path, "", changes.uid.value_or(static_cast<uid_t>(-1)),
                               changes.gid.value_or(static_cast<gid_t>(-1)),
                               AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

Outcome0 change_size(int path, int fd, off_t size) {
  return outcome_of(fd >= 0 ? ::ftruncate(fd, size) : ::truncate(ProcPath(path).text, size));
}

Outcome0 change_times(int path, int fd, const Changes& changes) {
  constexpr timespec kOmit{0, UTIME_OMIT};
  timespec times[2] = {changes.atime.value_or(kOmit), changes.mtime.value_or(kOmit)};
  if (fd >= 0) return outcome_of(::futimens(fd, times));
  return outcome_of(::utimensat(path, "", times, AT_EMPTY_PATH));
}

}  // namespace

Outcome<struct stat> LocalTree::setattr(NodeId node, const Changes& changes, int fd) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  int path = inode->path.get();
  Outcome0 done = Nothing{};
  if (changes.mode) done = change_mode(path, fd, inode->symlink, *changes.mode);
  if (done.ok() && (changes.uid || changes.gid)) done = change_owner(path, changes);
  if (done.ok() && changes.size) done = change_size(path, fd, *changes.size);
  if (done.ok() && (changes.atime || changes.mtime)) done = change_times(path, fd, changes);
  if (!done.ok()) return Errno{done.error()};
  return stat_of(path);
}

Outcome<std::string> LocalTree::readlink(NodeId node) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  char target[PATH_MAX];
  ssize_t n = ::readlinkat(inode->path.get(), "", target, sizeof target);
  if (n < 0) return Errno::last();
  return std::string(target, static_cast<size_t>(n));
}

Outcome<struct statvfs> LocalTree::statfs(NodeId node) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  struct statvfs st;
  if (::fstatvfs(inode->path.get(), &st) != 0) return Errno::last();
  return st;
}

// ---- names -------------------------------------------------------------------------------------

// After a call that made (parent, name): the entry, owned by whoever asked if we are root.
Outcome<Entry> LocalTree::made(NodeId parent, const std::string& name, int result, Who who) {
  if (result < 0) return Errno::last();
  auto entry = lookup(parent, name);
  if (!entry.ok() || !root_user_) return entry;
  Held inode = find(entry.value().node);
  struct stat dir = {};
  if (Held above = find(parent)) fstatat(above->path.get(), "", &dir, AT_EMPTY_PATH);
  gid_t group = dir.st_mode & S_ISGID ? static_cast<gid_t>(-1) : who.gid;
  const struct stat& st = entry.value().st;
  if (st.st_uid == who.uid && (group == static_cast<gid_t>(-1) || st.st_gid == group)) return entry;
  (void)::fchownat(inode->path.get(), "", who.uid, group, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  // A new owner costs a file its set-id bits; these were asked for.
  if (S_ISREG(st.st_mode) && (st.st_mode & (S_ISUID | S_ISGID)) != 0)
    (void)::chmod(ProcPath(inode->path.get()).text, st.st_mode & 07777);
  fstatat(inode->path.get(), "", &entry.value().st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  return entry;
}

Outcome<Entry> LocalTree::mknod(NodeId parent, const std::string& name, mode_t mode, Who who) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  if (S_ISCHR(mode) || S_ISBLK(mode)) return Errno{EPERM};
  return made(parent, name, ::mknodat(dir->path.get(), name.c_str(), mode, 0), who);
}

Outcome<Entry> LocalTree::mkdir(NodeId parent, const std::string& name, mode_t mode, Who who) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  return made(parent, name, ::mkdirat(dir->path.get(), name.c_str(), mode), who);
}

Outcome<Entry> LocalTree::symlink(NodeId parent, const std::string& name, const std::string& target,
                                  Who who) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  return made(parent, name, ::symlinkat(target.c_str(), dir->path.get(), name.c_str()), who);
}

Outcome<Entry> LocalTree::link(NodeId node, NodeId parent, const std::string& name) {
  Held inode = find(node), dir = find(parent);
  if (!inode || !dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  // By the descriptor itself where the kernel allows it, which needs no following of symlinks.
  int path = inode->path.get();
  if (::linkat(path, "", dir->path.get(), name.c_str(), AT_EMPTY_PATH) != 0) {
    if (errno != ENOENT && errno != EPERM) return Errno::last();
    if (::linkat(AT_FDCWD, ProcPath(path).text, dir->path.get(), name.c_str(), AT_SYMLINK_FOLLOW) !=
        0)
      return Errno::last();
  }
  return lookup(parent, name);
}

Outcome0 LocalTree::unlink(NodeId parent, const std::string& name) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  return outcome_of(::unlinkat(dir->path.get(), name.c_str(), 0));
}

Outcome0 LocalTree::rmdir(NodeId parent, const std::string& name) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  return outcome_of(::unlinkat(dir->path.get(), name.c_str(), AT_REMOVEDIR));
}

Outcome0 LocalTree::rename(NodeId from, const std::string& from_name, NodeId to,
                           const std::string& to_name, unsigned flags) {
  Held source = find(from), target = find(to);
  if (!source || !target) return Errno{ESTALE};
  if (!one_name(from_name) || !one_name(to_name)) return Errno{EINVAL};
  return outcome_of(::renameat2(source->path.get(), from_name.c_str(), target->path.get(),
                                to_name.c_str(), flags));
}

// ---- opening -----------------------------------------------------------------------------------

namespace {

// The kernel above does the appending (it tells with each write) and the direct I/O (its buffers
// are not ours, and ours are not aligned).
int own_flags(int flags) {
  return (flags & ~(O_APPEND | O_DIRECT | O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC | O_NOCTTY |
         O_NONBLOCK;
}

}  // namespace

Outcome<Descriptor> LocalTree::open_file(NodeId node, int flags) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  if (inode->symlink) return Errno{ELOOP};
  Descriptor fd(::open(ProcPath(inode->path.get()).text, own_flags(flags)));
  if (!fd.valid()) return Errno::last();
  return fd;
}

Outcome<std::pair<Entry, Descriptor>> LocalTree::create(NodeId parent, const std::string& name,
                                                        mode_t mode, int flags, Who who) {
  Held dir = find(parent);
  if (!dir) return Errno{ESTALE};
  if (!one_name(name)) return Errno{EINVAL};
  // What somebody else made meanwhile is not ours to give to the caller: with ESTALE the kernel
  // walks the path once more, finds it, and checks rights as for any file that was there.
  int creating = own_flags(flags) | O_CREAT | O_NOFOLLOW | O_EXCL;
  Descriptor fd(::openat(dir->path.get(), name.c_str(), creating, mode));
  if (!fd.valid()) return errno == EEXIST && !(flags & O_EXCL) ? Errno{ESTALE} : Errno::last();
  auto entry = made(parent, name, 0, who);
  if (!entry.ok()) return Errno{entry.error()};
  return std::pair(entry.value(), std::move(fd));
}

Outcome<Descriptor> LocalTree::open_directory(NodeId node) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  Descriptor fd(::openat(inode->path.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return Errno::last();
  return fd;
}

// ---- extended attributes -----------------------------------------------------------------------

// A symlink cannot be named through /proc without being followed, and takes no user attributes.

Outcome<std::string> LocalTree::getxattr(NodeId node, const std::string& name) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  if (inode->symlink) return Errno{ENODATA};
  ProcPath path(inode->path.get());
  return whole(
      [&](char* value, size_t size) { return ::getxattr(path.text, name.c_str(), value, size); });
}

Outcome<std::string> LocalTree::listxattr(NodeId node) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  if (inode->symlink) return std::string();
  ProcPath path(inode->path.get());
  return whole([&](char* names, size_t size) { return ::listxattr(path.text, names, size); });
}

Outcome0 LocalTree::setxattr(NodeId node, const std::string& name, const std::string& value,
                             int flags) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  if (inode->symlink) return Errno{EPERM};
  return outcome_of(::setxattr(ProcPath(inode->path.get()).text, name.c_str(), value.data(),
                               value.size(), flags));
}

Outcome0 LocalTree::removexattr(NodeId node, const std::string& name) {
  Held inode = find(node);
  if (!inode) return Errno{ESTALE};
  if (inode->symlink) return Errno{EPERM};
  return outcome_of(::removexattr(ProcPath(inode->path.get()).text, name.c_str()));
}

}  // namespace linkspan::local
