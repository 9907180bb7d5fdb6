// The router's heart: sessions, leases, what each session may have cached, revocation, policy and
// merge, over a Store. No gRPC, no SQL.
//
// Threads: all methods may be called from any thread. Reads block for the store only. A mutation
// blocks for the store, then returns; its `done` runs when every other holder of what it changed
// has acknowledged the revocation or lost its lease - on the acknowledging thread or the lease
// timer, so that no worker ever waits for a client (DESIGN 4a).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "linkspan/limits.h"
#include "linkspan/lock_ops.h"
#include "linkspan/ops.h"
#include "linkspan/token_ops.h"
#include "routerd/core/clock.h"
#include "routerd/store/store.h"

namespace linkspan::core {

struct Credentials {  // of one call: which session, proved by its secret
  SessionId session;
  std::string secret;     // 16 bytes
  std::string peer = {};  // gRPC's word for the address: "ipv4:10.1.2.3:4567", "unix:..."
};

struct AttachRequest {
  std::string token;
  std::string client;
  SessionId resume;  // 0: a new session
  std::string resume_secret;
  uint64_t resume_revocation = 0;
  std::string peer;      // address, as Credentials::peer
  std::string instance;  // of the sandbox; empty: it has none
};
struct AttachReply {
  SessionId session;
  std::string secret;
  std::chrono::milliseconds lease{};
  std::vector<Route> routes;
  std::string tenant, principal, sandbox, router;
  Seq seq;
  bool resumed = false;
  Time token_expires;
  std::chrono::seconds token_renew{};
};

// The router's end of a session's stream; implemented by routerd/rpc. Calls come from any thread,
// must not block and must not call back into the Router. One call at a time for each sink; none
// after end().
//
// Caches that were lost are told of by welcome(resumed = false) followed by a revocation of
// everything, which is acknowledged like any other: at a stream's beginning, or, when a lease ran
// out under a stream, at the next renewal (before its renewed()). Revocation numbers ascend; after
// such a loss some are left out. A session that does not acknowledge within a lease is not renewed
// any more (no renewed() comes) until it has acknowledged or lost its caches.
class StreamSink {
 public:
  virtual ~StreamSink() = default;
  virtual void welcome(std::chrono::milliseconds lease, bool resumed) = 0;
  virtual void renewed(uint64_t nonce, std::chrono::milliseconds lease) = 0;
  virtual void revoke(const Revocation& revocation) = 0;
  // Last call. `unavailable`: this stream only, a newer one took its place; else the session is
  // over.
  virtual void end(const Error& why) = 0;
};

using MutationDone = std::function<void(Result<MutationReply>)>;
using LockDone = std::function<void(Result<SetLockReply>)>;
using GiveUpDone = std::function<void(Result<Seq>)>;

struct RouterOptions {
  std::chrono::milliseconds lease = limits::kLease;
  std::chrono::milliseconds session_grace = limits::kSessionGrace;
  std::string name;  // version and instance, shown by `linkspan status`
  // What a session may have cached is remembered for so many nodes; of more, some are revoked
  // again.
  size_t interests_per_session = limits::kInterestsPerSession;
  const RouterClock* clock = &RouterClock::system();
  // No other router is ever started on this store: leases are granted without asking it first
  // whether the tenant is still ours, and so go on while it is away.
  bool sole = false;
};

class Router {
 public:
  virtual ~Router() = default;

  // `unauthenticated` names what is wrong with the token, never the token.
  virtual Result<AttachReply> attach(const AttachRequest& request) = 0;
  virtual Status detach(const Credentials& who) = 0;
  // A token that may do less than the one of `proof`, or else of the session `who`; of `who` only
  // the peer counts then. `unauthenticated`; `access_denied`: more than that may; `busy`: too many.
  virtual Result<NarrowReply> narrow(const Credentials& who, const NarrowProof& proof,
                                     const NarrowRequest& request) = 0;
  // Whose call it is, before it is taken in: `session_lost`, or `unauthenticated` for a wrong
  // secret or an expired token. Asks no store and does not block. Every other call checks by
  // itself.
  virtual Result<TenantId> check(const Credentials& who) = 0;
  // The stream is up: resends revocations after `last_revocation`, or says resumed = false. A
  // second stream of one session replaces the first.
  virtual Status open_stream(const Credentials& who, uint64_t last_revocation,
                             std::shared_ptr<StreamSink> sink) = 0;
  virtual void renew(SessionId session, OpNumber answered_below, uint64_t nonce) = 0;
  virtual void acknowledge(SessionId session, uint64_t revocation) = 0;
  virtual void stream_closed(SessionId session, const StreamSink* sink) = 0;

  virtual Result<LookupReply> lookup(const Credentials& who, const LookupRequest& request) = 0;
  virtual Result<NodeReply> getattr(const Credentials& who, const GetAttrRequest& request) = 0;
  virtual Result<ReadDirReply> readdir(const Credentials& who, const ReadDirRequest& request) = 0;
  virtual Result<ReadReply> read(const Credentials& who, const ReadRequest& request) = 0;
  virtual Result<DataRangesReply> data_ranges(const Credentials& who,
                                              const DataRangesRequest& request) = 0;
  virtual Result<XattrsReply> xattrs(const Credentials& who, Ino ino) = 0;
  virtual Result<StatFsReply> statfs(const Credentials& who, Ino ino) = 0;
  virtual Result<std::vector<VersionInfo>> versions(const Credentials& who,
                                                    const VersionsRequest& request) = 0;
  virtual Result<ChangesReply> changes(const Credentials& who, const ChangesRequest& request) = 0;

  virtual Result<ConflictsReply> conflicts(const Credentials& who,
                                           const ConflictsRequest& request) = 0;

  virtual void create(const Credentials& who, CreateRequest request, MutationDone done) = 0;
  virtual void remove(const Credentials& who, RemoveRequest request, MutationDone done) = 0;
  virtual void rename(const Credentials& who, RenameRequest request, MutationDone done) = 0;
  virtual void link(const Credentials& who, LinkRequest request, MutationDone done) = 0;
  virtual void set_attributes(const Credentials& who, SetAttrRequest request,
                              MutationDone done) = 0;
  virtual void commit(const Credentials& who, CommitRequest request, MutationDone done) = 0;
  virtual void set_xattr(const Credentials& who, SetXattrRequest request, MutationDone done) = 0;
  virtual void settle(const Credentials& who, SettleRequest request, MutationDone done) = 0;
  // A mutation of which the mount got no answer, and awaits none: it is not begun from now on.
  // `done` runs when it is not under way either; what is told as of that number, or later, contains
  // what became of it.
  virtual void give_up(const Credentials& who, OpNumber number, GiveUpDone done) = 0;

  // Locks (lock_ops.h). `done` may run long after set_lock() returned, on the thread of whoever
  // made room; who waits holds no thread, and is no call in the sense of stop().
  virtual void set_lock(const Credentials& who, const SetLockRequest& request, LockDone done) = 0;
  virtual Result<TestLockReply> test_lock(const Credentials& who,
                                          const TestLockRequest& request) = 0;
  virtual Result<CancelLockReply> cancel_lock(const Credentials& who,
                                              const CancelLockRequest& request) = 0;
  virtual Result<ReclaimLocksReply> reclaim_locks(const Credentials& who,
                                                  const ReclaimLocksRequest& request) = 0;
  // Whoever waits for a lock gets `unavailable`, and whoever waits for what became of a mutation
  // its error, now and from now on. Before stop().
  virtual void end_waits() = 0;

  // Stops taking new calls (`unavailable`), finishes what was accepted. Idempotent.
  virtual void stop() = 0;
};

std::unique_ptr<Router> make_router(std::unique_ptr<store::Store> store, RouterOptions options);

}  // namespace linkspan::core
