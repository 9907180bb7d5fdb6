// The locks of one tenant, in memory: who holds which ranges, who waits for what, and the numbers
// of requests, so that a retry joins its first try and a late duplicate does nothing. See
// linkspan/lock_ops.h for what is promised.
//
// Fairness: who waits is served in the order of arrival among those that conflict; a request that
// does not wait looks at what is held only, as fcntl(2) says. Where this order would make a circle
// of waiting owners that the locks alone do not make, the order gives way. A circle of record locks
// alone is `deadlock` for whoever closes it.
//
// A session whose lease ran out keeps its locks until its grace is over, but loses those that
// another asks for: as soon as none of its changes is under way, since each may have been made
// under them. It may begin none then before it has heard of it.
//
// Threads: any. mutex_ comes before a session's (what open() is given is called under it). Nothing
// blocks: who waits is answered later, by whoever makes room; answers are run by the caller,
// outside the lock.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "linkspan/error.h"
#include "linkspan/lock_ops.h"
#include "linkspan/lock_ranges.h"
#include "routerd/core/router.h"

namespace linkspan::core {

// What is to be answered once no lock is held.
class LockAnswers {
 public:
  LockAnswers() = default;
  ~LockAnswers() { give(); }
  LockAnswers(const LockAnswers&) = delete;
  LockAnswers& operator=(const LockAnswers&) = delete;
  void add(LockDone done, const Result<SetLockReply>& result) {
    answers_.emplace_back(std::move(done), result);
  }
  void give() {
    for (auto& [done, result] : std::exchange(answers_, {})) done(std::move(result));
  }

 private:
  std::vector<std::pair<LockDone, Result<SetLockReply>>> answers_;
};

// The request numbers of one session: what each came to, as long as it may be asked again.
class LockNumbers {
 public:
  using Outcome = Result<SetLockReply>;

  void answered(uint64_t below);
  uint64_t answered_below() const { return answered_below_; }
  // The outcome of a finished number: `invalid` once it was answered for sure. Nothing: not seen,
  // or what it was granted was broken.
  std::optional<Outcome> find(uint64_t number) const;
  void finish(uint64_t number, Outcome outcome, const Lock& asked = {});
  // All that the owner had in the file is gone. Maybe nobody heard that it was granted: who asks
  // again waits again.
  void broken(Ino ino, LockKind kind, uint64_t owner);
  // The session told this one, so it did hear, and is told that it is lost.
  void lost(const Lock& told);

 private:
  struct Finished {
    Outcome outcome;
    Lock asked;
    bool broken = false;
    bool granted(Ino ino, LockKind kind, uint64_t owner) const {
      return outcome.ok() && asked.type != LockType::none && asked.ino == ino &&
             asked.kind == kind && asked.owner == owner;
    }
  };
  void forget_below(uint64_t number);

  uint64_t answered_below_ = 0;
  std::map<uint64_t, Finished> outcomes_;  // the highest kLockResultsPerSession
  // All finished numbers from answered_below_ on, as [begin, end). Few pieces: numbers are used in
  // turn, and every one is finished but those that wait.
  std::map<uint64_t, uint64_t> finished_;
};

class LockTable {
 public:
  // `first_order`: orders are above it; above all that an earlier table gave out.
  explicit LockTable(uint64_t first_order) : order_(first_order) {}

  struct SessionCalls {
    std::function<bool()> lost;  // its lease has run out
    // Another is to get a lock of this one's. False: not before lease_lost() is called again.
    std::function<bool()> give_up;
    std::function<void()> told;  // it knows by now what it lost
  };
  // Before a session's first request. The calls are made under this table's lock.
  void open(SessionId session, SessionCalls calls);
  // All it holds and waits for is gone.
  void end(SessionId session, LockAnswers* answers);
  // It waits for nothing any more; what it holds stays until end().
  void end_waits(SessionId session, LockAnswers* answers);
  // Its lease ran out: what it waits for ends with `unavailable` (it asks again when it is back),
  // and who waits for what it holds gets it.
  void lease_lost(SessionId session, LockAnswers* answers);
  // Nothing waits any more, now or later: `unavailable`.
  void stop(LockAnswers* answers);

  void set(SessionId session, const SetLockRequest& request, LockDone done, LockAnswers* answers);
  TestLockReply test(SessionId session, const Lock& lock);
  CancelLockReply cancel(SessionId session, const CancelLockRequest& request, LockAnswers* answers);
  // `anew`: held under an earlier router, and nobody can have had them since; else what is not in
  // the table any more is lost. Of an owner that lost one lock of a file, all of that file go.
  ReclaimLocksReply reclaim(SessionId session, const ReclaimLocksRequest& request, bool anew,
                            LockAnswers* answers);

  struct Counts {
    uint64_t held = 0, waiting = 0, broken = 0;
  };
  Counts counts() const;

 private:
  struct Owner {
    SessionId session;
    uint64_t id = 0;
    auto operator<=>(const Owner&) const = default;
  };
  struct FileId {
    Ino ino;
    LockKind kind{};
    auto operator<=>(const FileId&) const = default;
  };
  struct Held {
    LockRanges ranges;
    uint32_t pid = 0;
    bool private_to_session = false;
  };
  struct Waiter {
    FileId file;
    Owner owner;
    uint64_t number = 0;
    Lock lock;
    bool may_pass = false;  // does not wait for those before it, only for what is held
    std::vector<LockDone> dones;
  };
  using Queue = std::list<Waiter>;
  struct File {
    std::map<Owner, Held> held;
    Queue queue;
  };
  using Files = std::map<FileId, File>;
  struct Session {
    SessionCalls calls;
    LockNumbers numbers;
    size_t pieces = 0;                            // held
    std::map<uint64_t, Queue::iterator> waiting;  // by number
    std::map<FileId, size_t> files;               // owners and waiters of it there
  };

  // All with mutex_ held.
  Session* find(SessionId session);
  bool is_lost(SessionId session);
  bool gives_up(SessionId session);
  File& file(const FileId& id) { return files_[id]; }
  void tidy(const FileId& id);
  static bool clash(const Owner& asker, const Lock& ask, const Owner& other, const LockRange& range,
                    LockType type, bool private_to_session);
  bool clash(const Waiter& a, const Waiter& b) const;
  static bool covers(const File& file, const Owner& owner, const Lock& lock);
  // The first that holds what the lock conflicts with; lost sessions' locks make way.
  std::optional<std::pair<Owner, Lock>> blocker(const FileId& id, const Owner& owner,
                                                const Lock& lock, bool break_lost);
  bool must_queue(File& file, const Waiter& waiter, Queue::const_iterator until);
  bool grantable(File& file, const Waiter& waiter, Queue::const_iterator until);
  Result<SetLockReply> apply(const FileId& id, const Owner& owner, const Lock& lock);
  void drop_owner(const FileId& id, const Owner& owner);
  void break_owner(const FileId& id, const Owner& owner);
  void count_file(Session* session, const FileId& id, int by);
  void remove(Queue::iterator waiter);
  void finish(Queue::iterator waiter, const Result<SetLockReply>& result, LockAnswers* answers);
  void regrant(const FileId& id, LockAnswers* answers);
  void drop_waiters(Session* session, const Error& why, LockAnswers* answers);
  void give_up_answered(Session* session, LockAnswers* answers);

  // Circles (lock_circles.cc).
  struct Edge {
    Owner to;
    Waiter* by_order = nullptr;  // who waits for `to` only because that came first
  };
  std::vector<Edge> edges(Waiter& waiter, bool with_order);
  bool find_circle(Waiter& waiter, bool with_order, std::vector<Waiter*>* by_order);
  // False: the waiter closes a circle.
  bool may_wait(Waiter& waiter);

  mutable std::mutex mutex_;  // before Session's
  uint64_t order_;
  bool stopped_ = false;
  uint64_t broken_ = 0;
  Files files_;
  std::map<SessionId, Session> sessions_;
  std::multimap<Owner, Waiter*> waits_;  // of record locks, by who waits
};

}  // namespace linkspan::core
