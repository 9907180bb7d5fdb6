// The connections of one mount command: the top, then what is mounted over its directories. Opened
// in order, closed in reverse.
//
//   MountSet mounts;
//   mounts.add_control(DIR, tree, {uid, gid});
//   Notifier notifier({.root = route.root, .read_only = !route.writable()});
//   auto vfs = vfs::make_vfs(client, &notifier, options);
//   mounts.add_route(DIR + "/memory", vfs.get(), &notifier, {.read_only = !route.writable()});
//   mounts.wait();      // until the top ended or interrupt() was called
//   mounts.close();     // then vfs and notifier may go
//
// add_*, close: from one thread. wait, interrupt, status: from any.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "fusefs/fuse/connection.h"
#include "fusefs/fuse/control_fs.h"
#include "fusefs/fuse/local_ops.h"
#include "fusefs/fuse/notifier.h"
#include "fusefs/fuse/vfs_ops.h"

namespace linkspan::fuse {

struct RouteMountOptions {
  bool read_only = false;
  OwnCalls* own = nullptr;  // not owned; null: nothing is asked of the mount by itself
  std::string fsname = "linkspan";
};

class MountSet {
 public:
  MountSet() = default;
  ~MountSet();  // close()
  MountSet(const MountSet&) = delete;
  MountSet& operator=(const MountSet&) = delete;

  // Each returns when the mount answers. On an error nothing of it is left; earlier ones stay until
  // close(). Neither vfs nor notifier is owned.
  Status add_control(const std::string& dir, ControlTree tree, ControlOptions options);
  Status add_route(const std::string& dir, vfs::Vfs* vfs, Notifier* notifier,
                   RouteMountOptions options);

  // The local directory `tree` at dir, for a workspace that cannot be a bind mount.
  Status add_local(const std::string& dir, std::unique_ptr<local::LocalTree> tree);

  // The first connection's mountpoint, when that ended (unmounted by somebody, aborted), or empty
  // after interrupt(). Another that ended is missing, see status(): the rest is served.
  std::string wait();
  // After wait(): returns when all have ended, or when none has for a while. Whoever unmounts a
  // tree (umount -R) does it mount by mount, and fails if we take one away before him.
  void settle();
  void interrupt();  // async-signal-safe it is not: call it from a thread that took the signal

  // Detaches and ends all, last first; the first error. Idempotent. Call Vfs::sync_all() before.
  Status close();

  struct State {
    std::string mountpoint;
    bool ended = false;
    bool in_place = false;  // what programs find at the mountpoint
    bool allow_other = false;
    uint64_t requests = 0, unexpected_errors = 0, unanswered = 0, failed_replies = 0, cancelled = 0;
  };
  std::vector<State> status() const;

 private:
  struct Part {
    std::unique_ptr<local::LocalTree> tree;
    std::unique_ptr<Operations> operations;  // over the tree, if there is one
    std::unique_ptr<Connection> connection;  // after operations: goes first
  };
  Status add(MountOptions mount, Part part, Notifier* notifier);

  mutable std::mutex mutex_;  // of all below; not held while connections open or close
  std::condition_variable changed_;
  std::vector<Part> parts_;
  std::string top_;    // where the first connection is mounted
  std::string ended_;  // the top, when it has
  size_t ended_count_ = 0;
  bool interrupted_ = false;
};

}  // namespace linkspan::fuse
