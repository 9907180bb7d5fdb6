// What every operation of the mount has in common: until when it may take, which failures leave its
// outcome open, and whose a node looks to be.
#pragma once

#include <utility>

#include "fusefs/cache/patience.h"
#include "fusefs/client/router_client.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

// One call into the vfs: its deadline is counted from its beginning, over all its RPCs. While the
// router is away the route's timeout is counted from when it went: the kernel sends calls that
// change one directory, or the flushes of a process that ends, one after the other.
struct Doing {
  std::chrono::steady_clock::time_point deadline;
  client::CancelToken* cancel = nullptr;
  std::chrono::milliseconds away = std::chrono::milliseconds::max();

  static Doing until_timeout(const VfsOptions& options, client::CancelToken* cancel) {
    const std::chrono::milliseconds timeout(options.route.timeout_ms);
    return Doing{options.clock->steady() + timeout, cancel, timeout};
  }
  // Waits the whole timeout, however long the router has been away: once, for what is lost else.
  static Doing last_chance(const VfsOptions& options, client::CancelToken* cancel) {
    Doing doing = until_timeout(options, cancel);
    doing.away = std::chrono::milliseconds::max();
    return doing;
  }
  // The same caller, with the whole time again: after a part that was done.
  Doing renewed(const VfsOptions& options) const {
    Doing doing = until_timeout(options, cancel);
    doing.away = away;
    return doing;
  }
  client::Call call(OpNumber* operation = nullptr, std::chrono::milliseconds longer = {}) const {
    return client::Call{deadline, cancel, operation, longer, away};
  }
  cache::Patience patience() const {
    cache::Patience patience;
    patience.deadline = deadline;
    if (cancel)
      patience.on_cancel = [token = cancel](std::function<void()> wake) {
        token->set(std::move(wake));
      };
    return patience;
  }
};

// As callers see it: squashed, every node is the mount user's.
inline Attr shown(const VfsOptions& options, Attr attr) {
  if (options.ownership == Ownership::squash) {
    attr.uid = options.uid;
    attr.gid = options.gid;
  }
  return attr;
}

// The router may yet do it, or did it unheard: what was sent must be kept and sent again.
inline bool transient(Code code) {
  switch (code) {
    case Code::timed_out:
    case Code::unavailable:
    case Code::busy:
    case Code::session_lost:
    case Code::interrupted:
    case Code::fenced:
      return true;
    default:
      return false;
  }
}

// Of a commit for another's sake: what the router refused and keeps is told to who wrote it
// (OpenFile::errors), not to whose call came by.
inline Status but_for_conflicts(Status saved) {
  return !saved.ok() && saved.code() == Code::conflict ? ok() : saved;
}

}  // namespace linkspan::vfs
