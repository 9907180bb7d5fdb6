// One FUSE connection: a mount, a session and its loop. Several live in one process: the top
// (control files), one for each route, and the workspace where it cannot be a bind mount.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "fusefs/fuse/mount.h"
#include "fusefs/fuse/session_context.h"
#include "linkspan/error.h"

struct fuse_session;

namespace linkspan::fuse {

class Notifier;

struct ConnectionOptions {
  MountOptions mount;
  // >= 0: no mount; speak FUSE over this SOCK_SEQPACKET socket (a fake kernel), which is taken.
  int socket = -1;
  unsigned max_threads = 64;
  unsigned idle_threads = 10;
  // From mount(2) to the kernel's INIT being answered: an idle machine takes a millisecond.
  std::chrono::milliseconds init_timeout{10000};
  // Once, when the connection has ended, by the kernel or by close(); on a thread of the
  // connection, so it must not close() it.
  std::function<void()> on_ended;
};

class Connection {
 public:
  // Mounts and answers until stop() or until the kernel ends it; when this returns, the mount
  // answers. `operations` and `notifier` (may be null) are not owned and outlive the connection.
  // Errors: those of mount_fuse(); `timed_out`.
  static Result<std::unique_ptr<Connection>> open(const ConnectionOptions& options,
                                                  Operations* operations, Notifier* notifier);
  ~Connection();  // close()
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::string& mountpoint() const;
  bool by_fusermount() const;
  bool allow_other() const;
  const Counters& counters() const;

  // Blocks until the kernel has ended the connection (unmounted by whoever, aborted) or close().
  void wait();
  bool ended() const;
  // Is it (still) on top at its mountpoint? Somebody may have taken it away lazily, while it is in
  // use, or from there alone, or have mounted something over it. Asks the kernel, not the mount.
  bool in_place() const;

  // Detaches the mount, lets requests in flight finish and ends the threads. What is still open on
  // it fails with ENOTCONN afterwards. Idempotent; not from a callback.
  Status close();

 private:
  class State;
  explicit Connection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace linkspan::fuse
