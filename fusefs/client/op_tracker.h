// Numbers of mutations (DESIGN 4, "Exactly once"): ascending over the whole life of the client, so
// that a number also tells which session it was made under. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "linkspan/ops.h"

namespace linkspan::client {

class OpTracker {
 public:
  struct Pending {
    uint64_t generation = 0;     // of the session it belongs to
    bool sent = false;           // a try was sent: the next one is a retry
    bool maybe_applied = false;  // a try may have reached the router, with no answer
  };

  // A new number, unanswered.
  OpNumber begin(uint64_t generation);
  // Nothing: it was answered or forgotten.
  std::optional<Pending> find(OpNumber number) const;
  // What to send now with this number; marks it as sent.
  OpHeader send(OpNumber number);
  void maybe_applied(OpNumber number);
  // It was answered, or will never be sent again.
  void end(OpNumber number);
  // Every number of this session below it is answered.
  OpNumber answered_below(uint64_t generation) const;

 private:
  OpNumber answered_below_locked(uint64_t generation) const;

  mutable std::mutex mutex_;  // leaf
  uint64_t next_ = 1;
  std::map<uint64_t, Pending> pending_;
};

// One mutation from its first try to its answer, over several calls if `carried` is given
// (Call::operation). One thread.
class Operation {
 public:
  Operation(OpTracker& tracker, OpNumber* carried);
  ~Operation();
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  // Before a try under this session: keeps the number, or takes a new one where nothing can have
  // been applied under the old. `io`: the session was replaced and the outcome is unknown.
  Status choose(uint64_t generation);
  OpHeader header() { return tracker_.send(number_); }
  void maybe_applied() { tracker_.maybe_applied(number_); }
  void answered();

 private:
  OpTracker& tracker_;
  OpNumber* const carried_;
  OpNumber number_;  // 0: none yet, or answered
};

}  // namespace linkspan::client
