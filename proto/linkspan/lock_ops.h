// Advisory locks across mounts: what is asked and what is answered, the same on both sides of the
// wire (see ops.h). The router keeps them in memory, a table for each tenant.
//
// A lock belongs to an owner: for record locks a process (or, with OFD locks, an open file), for
// flock an open file; the mount numbers them as its kernel does. Owners of two sessions are never
// the same. Record locks and flocks of one file do not see each other, as on a local Linux disk.
//
// Requests are numbered, apart from mutations: a lock may be waited for for hours, and must not
// hold up what mutations have answered. A retry repeats the number and joins its first try, or gets
// the result that it had. A number that was answered or cancelled can never set a lock any more,
// however late a duplicate of it arrives.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "linkspan/types.h"

namespace linkspan {

namespace limits {
inline constexpr uint64_t kLockEnd = 1ull << 63;        // no byte lies at or behind it
inline constexpr size_t kLocksPerSession = 16384;       // pieces held; then `no_space`
inline constexpr size_t kLockWaitersPerSession = 512;   // then `no_space`
inline constexpr size_t kLockResultsPerSession = 2048;  // unanswered, kept for retries
inline constexpr size_t kLockWaitersPerMount = 256;     // of one route; then `no_space`
}  // namespace limits

enum class LockKind : uint8_t { record = 1, flock = 2 };
enum class LockType : uint8_t { none = 0, shared = 1, exclusive = 2 };
enum class LockWait : uint8_t {
  no = 0,     // `would_block` if another holds what conflicts
  queue = 1,  // the same answer at once, but the request stands in the queue: ask again with `stay`
  stay = 2,   // the answer comes when it was granted, cancelled, or cannot be granted
};

struct LockRange {  // bytes [begin, end)
  uint64_t begin = 0, end = limits::kLockEnd;
  bool empty() const { return begin >= end; }
  bool overlaps(const LockRange& other) const { return begin < other.end && other.begin < end; }
  bool operator==(const LockRange&) const = default;
};

struct Lock {
  Ino ino;
  LockKind kind = LockKind::record;
  uint64_t owner = 0;
  LockType type = LockType::shared;  // none: an unlock
  LockRange range;                   // flock: all
  uint32_t pid = 0;                  // for F_GETLK; 0: not known
  // Conflicts with every lock of other sessions, shared ones too: for what only processes of one
  // machine can share (SQLite's "-shm").
  bool private_to_session = false;
  bool operator==(const Lock&) const = default;
};

// Errors: `would_block`; `deadlock` (record locks that are waited for); `interrupted` (the number
// was cancelled); `no_space` (too many of this session); `read_only` (the session may not write to
// the file's volume, so it may not hold up those who may); `stale_node`.
struct SetLockRequest {
  OpNumber number;
  OpNumber answered_below;  // every number below it was answered
  Lock lock;
  LockWait wait = LockWait::no;
};
// Ascending in the order in which the router changed what is locked, over restarts of it too.
struct SetLockReply {
  uint64_t order = 0;
};

struct TestLockRequest {
  Lock lock;
};
struct TestLockReply {
  std::optional<Lock> blocker;  // the first that conflicts; owner is 0
  bool same_session = false;    // then its pid is one of this mount
};

// Takes back a request that waits. It may have been granted before: then it stays so.
struct CancelLockRequest {
  OpNumber number;
  OpNumber answered_below;
};
struct CancelLockReply {
  bool granted = false;
  uint64_t order = 0;
};

// What a mount holds, said when it comes back to a router: before it sends anything else.
struct ReclaimLocksRequest {
  std::vector<Lock> locks;
};
// Of which others may have held conflicting locks meanwhile: they are gone.
struct ReclaimLocksReply {
  std::vector<uint32_t> lost;  // ascending indexes into `locks`
};

}  // namespace linkspan
