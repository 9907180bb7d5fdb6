// The mount's side of .linkspan/query: what programs in the sandbox may ask of the router through
// the mount, which has the token and the network. A request is one JSON object with "op"; the
// answer is a line of JSON ("ok", or "code" and "message"), after which the bytes of "read" come.
//
//   {"op": "changes", "route"?, "ino"?, "below"?, "author"?, "sandbox"?, "what"?, "since_ns"?,
//    "after"?, "before"?, "newest"?, "limit"?}        -> "changes": [...], "next"
//   {"op": "versions", "route", "ino", "before"?, "limit"?}  -> "versions": [...]
//   {"op": "node", "route", "ino"}    -> "kind", "mode", "uid", "gid", "size", "version",
//   "nlink"...
//   {"op": "read", "route", "ino", "version"?, "offset"?, "length"}  -> "version", "size", "length"
//   {"op": "conflicts", "after"?, "limit"?}           -> "conflicts": [...]
//   {"op": "settle", "number"}
//   {"op": "narrow", "reaches"?: [{"path", "rights"?}], "rights"?, "expires_ns"?, "sandbox"?}
//                                 -> "token", "principal", "sandbox", "expires_ns", "routes"
//   {"op": "resume"}                                  -> "connected", "reason"
// An inode of 0 or 1 is the route's root (in "changes": any node). Answers are bounded: lists may
// be shorter than asked, with "next" where to go on.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fusefs/client/router_client.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::cli {

inline constexpr uint32_t kQueryReadBytes = 256 << 10;  // of one "read"
inline constexpr size_t kQueryListBytes = 256 << 10;    // of one list's JSON, about

struct MountQueries {
  client::RouterClient* client = nullptr;  // not owned
  std::vector<Route> routes;
  vfs::Ownership ownership = vfs::Ownership::squash;
  uint32_t owner = 0;      // who mounted
  bool read_only = false;  // nothing may be written through this mount
  // Drops what this mount and the kernel cached; returns when that is done.
  std::function<void()> drop_everything;
  std::function<void()> settled = [] {};  // a conflict was

  // Any thread, several at once. Waits at most the route's timeout (while the router is away 10 s,
  // counted from when it went), or until caller.cancel.
  std::string answer(const vfs::Caller& caller, const std::string& request) const;
};

}  // namespace linkspan::cli
