// What the mount asks of the router: the operations of proto/linkspan/ops.h over one attached
// session. grpc_client.* is the real one; tests run the same vfs over an in-process one.
//
// Threads: every operation may be called from any thread; it blocks until the answer, the deadline,
// or the cancellation. Retries after a lost reply, a busy or restarting router or a lost session
// happen inside, under the same operation number, within the deadline (DESIGN 4, "Exactly once").
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/lock_ops.h"
#include "linkspan/ops.h"
#include "linkspan/token_ops.h"

namespace linkspan::client {

// Cancels one call: from fuse_req_interrupt_func or a fatal signal. Callbacks run at most once, on
// the thread that cancels.
class CancelToken {
 public:
  void cancel();
  bool cancelled() const;
  // `on_cancel` runs at once if it was cancelled already. Clear with set({}) before what it
  // captures goes away; set() waits for a callback that is running.
  void set(std::function<void()> on_cancel);

 private:
  mutable std::mutex mutex_;
  bool cancelled_ = false;
  std::function<void()> on_cancel_;
};

struct Call {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  CancelToken* cancel = nullptr;  // not owned
  // Mutations only; not owned. Carries one operation over several calls: with *operation == 0 the
  // client assigns a number and leaves it here when the call ends without the router's answer
  // (timed out, cancelled, unreachable: it may have been applied or not). A later call with that
  // number is the same operation, sent as a retry; until then the number stays unanswered
  // (OpHeader:: answered_below does not pass it). An answer, also an error of the router's, resets
  // it to 0.
  OpNumber* operation = nullptr;
  // A try that is under way over a link that works may go on for so much longer: a large commit.
  // Waiting for the router, or for another try, ends at the deadline all the same.
  std::chrono::milliseconds longer{0};
  // For how long the link may be gone, counted from when it went, not from when this call began:
  // calls that queue behind one another do not wait anew, each. One that begins when it has been
  // gone for longer waits only for what comes of trying it once more, half a second at most. Does
  // not end a try over a link that is there.
  std::chrono::milliseconds away = std::chrono::milliseconds::max();
};

struct SessionInfo {
  SessionId id;
  std::string tenant, principal, sandbox, router;
  std::string address;  // as was asked for: one, or several separated by commas
  std::vector<Route> routes;
  Time token_expires;                  // ns == 0: never
  std::chrono::seconds token_renew{};  // 0, or it ends so long after its last mount
};

enum class Link : uint8_t { connected, disconnected, ended };
struct LinkState {
  Link link = Link::disconnected;
  Time since;          // of this state, wall clock
  std::string reason;  // disconnected, ended: why, with the mend; of each router that was asked
  // connected: the one of SessionInfo::address that serves us, and what it calls itself. Else
  // empty.
  std::string address, router;
};

// Called on the client's stream thread, never while it holds a lock. Must not call the client.
class SessionListener {
 public:
  virtual ~SessionListener() = default;
  // Everything the revocation names must have left every cache, the kernel's too, when this
  // returns; the acknowledgement is sent then. Must not wait for a request (DESIGN 4a).
  virtual void on_revoke(const Revocation& revocation) = 0;
  // The lease ran out, or a resume could not prove that nothing was missed: drop everything. A
  // reply to a call that began before this must not be cached after it: nobody would revoke it.
  virtual void on_caches_lost() = 0;
  virtual void on_link(const LinkState& state) = 0;
  // Locks of this mount that others may have had meanwhile: whoever held them must not go on as if
  // nothing had happened. Before any call gets through again.
  virtual void on_locks_lost(const std::vector<Lock>& locks) { (void)locks; }
};

// Counters since attach(), for .linkspan/stats.
struct MethodStats {
  std::string_view name;  // "Lookup", ...
  uint64_t calls = 0;     // ended
  uint64_t failures = 0;  // of them without the router's answer: timed out, unavailable, cancelled
  uint64_t retries = 0;   // tries beyond the first
  uint64_t nanoseconds = 0;  // spent in them, waits and retries included
};
struct ClientStats {
  std::vector<MethodStats> methods;
  uint64_t reconnects = 0;   // streams opened after the first
  uint64_t sessions = 0;     // attached anew, the first included
  uint64_t revocations = 0;  // processed
  uint64_t caches_lost = 0;  // times that on_caches_lost was called
  uint64_t locks_held = 0;   // now
  uint64_t locks_lost = 0;   // could not be taken up again after the link was gone
};

class RouterClient {
 public:
  virtual ~RouterClient() = default;

  // Attaches; at most once. `unauthenticated`, `unavailable` (with the address and how long).
  virtual Result<SessionInfo> attach(const Call& call, SessionListener* listener) = 0;
  // Ends the session in an orderly way; what was cached is the caller's to drop. Idempotent.
  virtual void detach() = 0;
  virtual LinkState link() const = 0;
  // While true, what was learned under the session may be answered from caches.
  virtual bool lease_valid() const = 0;
  // For how long that is sure without another word from the router; 0: it is not.
  virtual std::chrono::nanoseconds lease_left() const = 0;
  virtual ClientStats stats() const { return {}; }
  // For a machine that may have been paused or set back to a snapshot, whose clocks did not see it:
  // the lease is over when this returns, what is under way is cancelled and tried again, and a new
  // session takes the place of this one (another copy of the machine may go on with it). Mutations
  // of which it is unknown whether the router applied them end with `io`.
  virtual void start_over() {}

  virtual Result<LookupReply> lookup(const Call& call, const LookupRequest& request) = 0;
  virtual Result<NodeReply> getattr(const Call& call, const GetAttrRequest& request) = 0;
  virtual Result<ReadDirReply> readdir(const Call& call, const ReadDirRequest& request) = 0;
  virtual Result<ReadReply> read(const Call& call, const ReadRequest& request) = 0;
  virtual Result<DataRangesReply> data_ranges(const Call& call,
                                              const DataRangesRequest& request) = 0;
  virtual Result<XattrsReply> xattrs(const Call& call, Ino ino) = 0;
  virtual Result<StatFsReply> statfs(const Call& call, Ino ino) = 0;
  virtual Result<std::vector<VersionInfo>> versions(const Call& call,
                                                    const VersionsRequest& request) = 0;
  virtual Result<ChangesReply> changes(const Call& call, const ChangesRequest& request) = 0;
  virtual Result<ConflictsReply> conflicts(const Call& call, const ConflictsRequest& request) = 0;
  // A token that may do less than this mount's. A lost answer leaves one that nobody knows.
  virtual Result<NarrowReply> narrow(const Call& call, const NarrowRequest& request) {
    (void)call, (void)request;
    return fail(Code::unsupported, "this client narrows no tokens");
  }
  // Streams the subtree; `page` is called for each directory page (dir, page); returning false
  // stops.
  virtual Status prefetch(const Call& call, Ino dir, uint64_t max_bytes, uint32_t max_nodes,
                          const std::function<bool(Ino, ReadDirReply)>& page) = 0;

  // Gives an unanswered operation up (Call::operation): it will not be sent again.
  virtual void forget_operation(OpNumber operation) { (void)operation; }
  // Of one that was forgotten. When it is answered the operation has been applied, or never will
  // be: what the router tells as of that number, or later, contains what became of it.
  virtual Result<Seq> give_up(const Call& call, OpNumber operation) {
    (void)call, (void)operation;
    return fail(Code::unsupported, "this client gives nothing up");
  }
  // Mutations: `op` in the request is filled in here, not by the caller. `io`: the session was
  // replaced (the router lost it) while it was unknown whether a try had been applied.
  virtual Result<MutationReply> create(const Call& call, CreateRequest request) = 0;
  virtual Result<MutationReply> remove(const Call& call, RemoveRequest request) = 0;
  virtual Result<MutationReply> rename(const Call& call, RenameRequest request) = 0;
  virtual Result<MutationReply> link(const Call& call, LinkRequest request) = 0;
  virtual Result<MutationReply> set_attributes(const Call& call, SetAttrRequest request) = 0;
  virtual Result<MutationReply> commit(const Call& call, CommitRequest request) = 0;
  virtual Result<MutationReply> set_xattr(const Call& call, SetXattrRequest request) = 0;
  virtual Result<MutationReply> settle(const Call& call, SettleRequest request) = 0;

  // Locks (linkspan/lock_ops.h). What is held is remembered here, and said again to a router that
  // does not know it. `call.operation` is needed, and carries the request's number: while it waits
  // (`would_block` of LockWait::queue), and when the call ended without an answer. Such a number
  // must be asked for again (`stay`) or be taken back.
  virtual Status set_lock(const Call& call, const Lock& lock, LockWait wait) {
    (void)call, (void)lock, (void)wait;
    return fail(Code::unsupported, "this client has no locks");
  }
  // ok: it had been granted before, and is held. `interrupted`: it is not, and never will be.
  virtual Status cancel_lock(const Call& call, const Lock& lock) {
    (void)call, (void)lock;
    return fail(Code::interrupted);
  }
  virtual Result<TestLockReply> test_lock(const Call& call, const Lock& lock) {
    (void)call, (void)lock;
    return fail(Code::unsupported, "this client has no locks");
  }
  // The strongest that the owner holds in the lock's range. Asks nobody.
  virtual LockType lock_held(const Lock& lock) const {
    (void)lock;
    return LockType::none;
  }
  // The owner holds something in the file, or a request of his is under way. Asks nobody.
  virtual bool has_locks(const Lock& lock) const {
    (void)lock;
    return false;
  }
};

}  // namespace linkspan::client
