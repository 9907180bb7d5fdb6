// The workspace, where it cannot be a bind mount: a local directory, served with the semantics of
// the filesystem it lies on.
//
// Every inode the kernel knows is held by an O_PATH descriptor and reached through it, one name at
// a time with O_NOFOLLOW: no symlink, rename or race leads out of the directory. That takes one
// descriptor an inode, so open() raises the process's soft limit to the hard one.
//
// Threads: all methods from any thread. Errors are the local filesystem's.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fusefs/local/outcome.h"
#include "linkspan/error.h"

namespace linkspan::local {

using NodeId = uint64_t;  // 1 is the directory itself; never reused
inline constexpr NodeId kRootNode = 1;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

struct Entry {
  NodeId node = 0;
  struct stat st = {};
};

struct Who {  // creates; only looked at when the process is root
  uint32_t uid = 0, gid = 0;
};

struct Changes {  // as of setattr
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<off_t> size;
  std::optional<timespec> atime, mtime;  // tv_nsec: UTIME_NOW too
};

class LocalTree {
 public:
  // Sets the process's umask to 0: the kernel has applied the caller's already. `not_found`,
  // `not_directory`, `access_denied`.
  static Result<std::unique_ptr<LocalTree>> open(const std::string& directory);
  ~LocalTree();

  // Each Entry takes a reference on its node, which forget() gives back.
  Outcome<Entry> lookup(NodeId parent, const std::string& name);
  void forget(NodeId node, uint64_t count);
  size_t nodes() const;

  Outcome<struct stat> getattr(NodeId node);
  Outcome<struct stat> setattr(NodeId node, const Changes& changes, int fd);  // fd -1: none open
  Outcome<std::string> readlink(NodeId node);
  Outcome<struct statvfs> statfs(NodeId node);

  Outcome<Entry> mknod(NodeId parent, const std::string& name, mode_t mode, Who who);
  Outcome<Entry> mkdir(NodeId parent, const std::string& name, mode_t mode, Who who);
  Outcome<Entry> symlink(NodeId parent, const std::string& name, const std::string& target,
                         Who who);
  Outcome<Entry> link(NodeId node, NodeId parent, const std::string& name);
  Outcome0 unlink(NodeId parent, const std::string& name);
  Outcome0 rmdir(NodeId parent, const std::string& name);
  Outcome0 rename(NodeId from, const std::string& from_name, NodeId to, const std::string& to_name,
                  unsigned flags);

  // Flags as of open(2). O_APPEND and O_DIRECT stay with the kernel above us.
  Outcome<Descriptor> open_file(NodeId node, int flags);
  Outcome<std::pair<Entry, Descriptor>> create(NodeId parent, const std::string& name, mode_t mode,
                                               int flags, Who who);
  Outcome<Descriptor> open_directory(NodeId node);

  Outcome<std::string> getxattr(NodeId node, const std::string& name);
  Outcome<std::string> listxattr(NodeId node);  // names, each with its NUL
  Outcome0 setxattr(NodeId node, const std::string& name, const std::string& value, int flags);
  Outcome0 removexattr(NodeId node, const std::string& name);

 private:
  struct Inode {
    Descriptor path;  // O_PATH
    dev_t device = 0;
    ino_t number = 0;
    bool symlink = false;
    uint64_t references = 0;
  };
  using Held = std::shared_ptr<Inode>;  // keeps the descriptor while a call uses it
  using Key = std::pair<dev_t, ino_t>;

  explicit LocalTree(Descriptor root);
  Held find(NodeId node) const;  // null: unknown (a kernel that forgot too much)
  Outcome<Entry> made(NodeId parent, const std::string& name, int result, Who who);
  Outcome<Entry> hold(Descriptor path, const struct stat& st);

  mutable std::mutex mutex_;  // innermost; not held during file operations
  std::unordered_map<NodeId, Held> nodes_;
  std::map<Key, NodeId> by_key_;
  NodeId next_ = kRootNode + 1;
  const bool root_user_;
};

}  // namespace linkspan::local
