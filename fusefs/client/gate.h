// The gate that every call passes: open while the session's stream is up. Also the link's state,
// and the calls that are under way, so that those of a link that is given up can be cancelled.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "fusefs/client/router_client.h"

namespace linkspan::client {

struct Connection;  // connection.h

// Whoever gives up since the link is away for too long has it tried once more, and waits for what
// comes of it; but not for longer than this: a router that is stopped answers nothing.
inline constexpr std::chrono::milliseconds kLinkGrace{500};
// What came of a try is good for so long.
inline constexpr std::chrono::milliseconds kTriedJustNow{100};
// A link that was open for so long, or over which an answer came, was back.
inline constexpr std::chrono::milliseconds kLinkIsBack{1000};

// An attached session, on a connection that works.
struct Live {
  std::shared_ptr<Connection> connection;
  SessionId session;
  std::string credential;       // metadata of every call
  uint64_t generation = 0;      // one more with each new session id, from 1
  uint64_t link = 0;            // one more with each stream, from 1
  std::string address, router;  // LinkState
};

class Gate;

// One call from its begin to its end: cancelled by its token, or try by try when the link is given
// up. One thread uses it; the token and the gate cancel it from any.
class CallGuard {
 public:
  using Steady = std::chrono::steady_clock::time_point;

  CallGuard(Gate& gate, const Call& call);
  ~CallGuard();
  CallGuard(const CallGuard&) = delete;
  CallGuard& operator=(const CallGuard&) = delete;

  bool cancelled() const { return cancelled_.load(std::memory_order_acquire); }
  Steady deadline() const { return deadline_; }
  Steady try_deadline() const { return try_deadline_; }
  std::chrono::milliseconds away() const { return away_; }
  // While a try runs, cancelling it calls `cancel_try` (which must not block). False: the link was
  // given up meanwhile, or the call cancelled; nothing may be sent.
  bool begin_try(uint64_t link, std::function<void()> cancel_try);
  void end_try();

 private:
  friend class Gate;
  void cancel_try();

  Gate& gate_;
  CancelToken* const token_;
  const Steady deadline_, try_deadline_;
  const std::chrono::milliseconds away_;
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;  // last of all locks (after a token's and the gate's); held over cancel_try_
  std::function<void()> cancel_try_;
  uint64_t link_ = 0;  // of the try; under the gate's mutex
};

class Gate {
 public:
  using Steady = std::chrono::steady_clock::time_point;

  // -- for calls, any thread ---------------------------------------------------------------------
  // The session to use. A link other than `failed_link` at once, that one only from `again` on.
  // `interrupted`, `timed_out` (the deadline, or the link is away for too long: Call::away), or
  // what the session ended with.
  Result<std::shared_ptr<const Live>> wait(const CallGuard& call, uint64_t failed_link,
                                           Steady again);
  LinkState state() const;
  std::shared_ptr<const Live> live() const;  // null while closed
  void answered(uint64_t link);              // the router did, on this link: it is back

  // -- for the session ---------------------------------------------------------------------------
  LinkState open(std::shared_ptr<const Live> live);
  // The stream thread begins to ask every address, which ends with open() or close().
  void trying();
  // `cancel_calls`: nothing can come back on this link any more. `since`: when it went.
  LinkState close(std::string reason, bool cancel_calls, Steady since);
  LinkState not_yet(std::string reason, bool cancel_calls);  // as close(), with addresses left
  LinkState end(Error why);                                  // for good
  // Called when a link is wanted at once, without any lock. Set before the first call.
  std::function<void()> on_wanted;
  bool ended() const;

 private:
  friend class CallGuard;
  void cancel_calls_locked();
  LinkState close_locked(std::string reason, bool cancel_calls);
  // Of one wait, once the link has been away for too long: what comes of this one is its last.
  struct LastChance {
    uint64_t round = 0;  // 0: not chosen
    Steady until{};
  };
  Steady gives_up_locked(const CallGuard& call, Steady now, uint64_t failed_link,
                         LastChance* chance, bool* wanted);

  mutable std::mutex mutex_;  // after a token's; before a CallGuard's
  std::condition_variable changed_;
  std::shared_ptr<const Live> live_;
  std::optional<Error> ended_;
  LinkState state_;
  uint64_t given_up_ = 0;           // no try may begin on this link or an older one
  uint64_t last_link_ = 0;          // that was opened
  std::set<CallGuard*> under_way_;  // tries
  // Since when the link is away. Stays when it opens, until it has shown that it is back: one that
  // opens and breaks again and again, since its router has lost the database, is away all along.
  std::optional<Steady> away_since_;
  uint64_t went_ = 0;                            // the link that was the last before
  std::atomic<bool> is_away_{false};             // away_since_ is set; written under the mutex
  Steady opened_{};                              // the live link
  uint64_t rounds_begun_ = 0, rounds_over_ = 0;  // of asking every address; one at a time
  Steady round_began_{}, round_ended_{};
};

}  // namespace linkspan::client
