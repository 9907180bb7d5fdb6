// The mutations of one session that are under way, by operation number: a retry joins its first try
// instead of running beside it.
#pragma once

#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "linkspan/limits.h"
#include "routerd/core/router.h"

namespace linkspan::core {

// Threads: any. mutex_ is a leaf; replies are run by the caller, outside it.
class Operations {
 public:
  enum class Begin : uint8_t {
    first,   // run it, then finish()
    joined,  // the first try's finish() will give this reply out too
    full,    // limits::kRouterQueue are under way, or kTriesJoined tries of this one
    held_back,
    given_up,  // by the mount
    closed,    // the session is over
  };
  // Takes `reply` if the answer is `first` or `joined`.
  Begin begin(OpNumber number, MutationDone& reply);
  // It is not begun any more. `joined`: it is under way; then its finish() will give `done` out,
  // too. `full`: it is, and too many wait for it.
  enum class GivenUp : uint8_t { over, joined, full };
  GivenUp give_up(OpNumber number, MutationDone& done);
  // All who wait for this number; it is not under way any more.
  std::vector<MutationDone> finish(OpNumber number);

  // Of those under way; or `most`, if that is lower.
  OpNumber lowest(OpNumber most) const;

  // Others are to get what this session's mutations may rest on: nothing new begins before go_on().
  // True: nothing is under way either.
  bool hold_back();
  void go_on();
  bool idle() const;

  // The session is over: nothing new begins. True: nothing is under way either; else
  // closed_and_idle() will be true after the finish() of the last.
  bool close();
  bool closed_and_idle() const;

 private:
  mutable std::mutex mutex_;  // leaf
  std::map<OpNumber, std::vector<MutationDone>> running_;
  std::set<OpNumber> given_up_;  // the latest of them: answered_below covers those before
  bool closed_ = false;
  bool held_back_ = false;
};

}  // namespace linkspan::core
