// One attached mount, as the router sees it: its lease, its stream, the revocations it has not yet
// acknowledged, and its mutations under way.
//
// Life: live -(lease runs out)-> lost -(renewal, stream or attach)-> live ... -> ended. A lost
// session holds nothing in its caches; it may come back until the grace is over.
//
// Threads: any. mutex_ comes before those of the tenant's SlotTable and Sequencer, which are
// leaves. Sinks are called without it, one at a time and in order (pump()). Methods that return
// Releases leave the releasing to their caller, who must hold no lock.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "routerd/core/clock.h"
#include "routerd/core/completion.h"
#include "routerd/core/grant.h"
#include "routerd/core/moved_away.h"
#include "routerd/core/operations.h"
#include "routerd/core/router.h"
#include "routerd/core/slots.h"

namespace linkspan::core {

class Tenant;

// Held in one place by Session::enqueue: what to revoke, of whom.
struct Acknowledged {
  Releases releases;
  std::vector<RevokedNode> nodes;  // to settle in Interests
  std::optional<Holder> holder;
  bool over = false;  // it was refused, and has dropped everything: end() it
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  using Millis = std::chrono::milliseconds;

  struct Options {
    store::SessionRecord record;
    std::shared_ptr<Tenant> tenant;
    std::shared_ptr<const Grant> grant;
    uint32_t slot = 0;
    // Of a session of an earlier router: numbering goes on behind it, and nobody here knows what
    // the mount missed.
    std::optional<uint64_t> last_revocation;
    Millis lease{};
  };
  // The slot is the session's own from now on; the destructor does not give it back, end() does.
  Session(Options options, Boot now);

  const store::SessionRecord& record() const { return record_; }
  SessionId id() const { return record_.id; }
  const std::shared_ptr<Tenant>& tenant() const { return tenant_; }
  uint32_t slot() const { return slot_; }
  bool proves(std::string_view secret) const;  // constant time
  Operations& operations() { return operations_; }
  MovedAway& moved_away() { return moved_away_; }
  store::Author author() const { return {record_.principal, record_.sandbox, record_.id}; }

  std::shared_ptr<const Grant> grant() const;
  void set_grant(std::shared_ptr<const Grant> grant);
  // When its token ends now, as was asked of `grant`'s: one that was given since knows better.
  void token_ends(Time ends, const Grant* grant);
  bool token_over(Time now) const {
    const int64_t ends = token_ends_.load(std::memory_order_relaxed);
    return ends != 0 && now.ns >= ends;
  }
  // A call was made: keeps a lost session from being ended.
  void seen(Boot now);
  OpNumber answered_below(OpNumber said);  // the highest ever said

  // As whom to remember what a reply tells; none: lost or ended, nothing may be cached.
  std::optional<Holder> holder() const;

  // Attach of this very session again. True: no revocation was missed since `last_revocation`, the
  // caches may be kept. Renews the lease.
  bool resume(uint64_t last_revocation, Boot now, Acknowledged* acknowledged);
  // `session_lost`: ended.
  Status open_stream(uint64_t last_revocation, std::shared_ptr<StreamSink> sink, Boot now,
                     Acknowledged* acknowledged);
  void close_stream(const StreamSink* sink);
  void renew(OpNumber answered_below, uint64_t nonce, Boot now);
  Acknowledged acknowledge(uint64_t revocation);

  // Puts a revocation into the queue, and a hold of `completion` (null: nobody waits) until it was
  // acknowledged or the caches are lost. Nothing happens if `holder` lost its caches already.
  // pump() sends it.
  void enqueue(Revocation revocation, Holder holder, const std::shared_ptr<Completion>& completion,
               Boot now);
  // It has more than can be remembered: its lease is not renewed any more until it has lost its
  // caches, and all that is remembered of them goes.
  void give_up_caches(Holder holder);
  // Sends what waits to be sent. No lock may be held.
  void pump();

  enum class State : uint8_t { live, lost, ended };
  struct Tick {
    State state = State::live;
    bool lost_now = false;
    bool over = false;  // the grace is over: end() it
    Boot next;          // when to look again at the latest
    Releases releases;
  };
  Tick tick(Boot now, Millis grace);
  // Its token holds no longer: no call of it is answered, and it is told to drop everything. Others
  // wait for that, or for its lease, which is not renewed any more: until then its processes may
  // still read what it has. False: it has nothing, or was refused before.
  bool refuse(const Error& why, Boot now);
  std::optional<Error> refused() const;
  // Idempotent. The slot is given back.
  Releases end(const Error& why);
  bool ended() const;
  bool lost() const;
  std::optional<Boot> lost_since() const;  // none: not lost, or ended

 private:
  struct Record {
    std::shared_ptr<const Revocation> revocation;
    std::shared_ptr<Completion> completion;  // null: nobody waits
    Boot queued;
  };
  struct Frame {
    enum class Kind : uint8_t { welcome, renewed, revoke, end } kind;
    Millis lease{};
    bool resumed = false;
    uint64_t nonce = 0;
    std::shared_ptr<const Revocation> revocation;
    Error why;
  };

  // All with mutex_ held.
  bool doomed() const { return overdue_ || overflowed_ || has_too_much_ || refused_; }
  // `everything` behind `last_revocation` is in the queue.
  bool must_drop(uint64_t last_revocation) const;
  bool provable(uint64_t last_revocation) const;
  const Record* oldest_awaited();
  void acknowledge_locked(uint64_t revocation, Acknowledged* out);
  void push_everything(Boot now);
  void has_missed(uint64_t last_revocation, Boot now);
  void lose(Boot now, Releases* releases);
  void extend(Boot now);
  Boot lease_end(Boot now) const;
  void come_back(Boot now);
  void push_revoke_frame(const Record& record);
  Millis lease_left(Boot now) const;
  static void send(StreamSink& sink, const Frame& frame);

  const store::SessionRecord record_;
  const std::shared_ptr<Tenant> tenant_;
  const uint32_t slot_;
  const Millis lease_;
  Operations operations_;
  MovedAway moved_away_;
  std::atomic<int64_t> seen_;        // Boot ticks
  std::atomic<int64_t> token_ends_;  // Time::ns; 0: never. Written under mutex_.

  mutable std::mutex mutex_;  // after LockTable's, before SlotTable's and Sequencer's
  std::shared_ptr<const Grant> grant_;
  State state_ = State::live;
  Boot lease_until_;
  Boot lost_since_{};
  std::optional<Error> refused_;
  uint64_t drops_ = 0;  // the revocation of everything with which it was refused
  // Each stops its lease from being renewed: it does not acknowledge in time; or a revocation did
  // not fit into the queue, so that it will have to lose its caches; or it has more than is
  // remembered.
  bool overdue_ = false;
  bool overflowed_ = false;
  bool has_too_much_ = false;
  std::deque<Record> unacknowledged_;  // ascending numbers, <= limits::kRevocationQueue
  size_t unawaited_ = 0;               // so many at its front, at least, have no completion
  Releases overflow_waiters_;          // of what did not fit: until the lease has run out
  uint64_t last_number_;               // of a revocation, given out
  uint64_t acknowledged_;              // records up to here are gone
  OpNumber answered_below_;
  std::shared_ptr<StreamSink> sink_;
  std::deque<Frame> outbox_;
  bool pumping_ = false;
};

}  // namespace linkspan::core
