// Changes of our own that ended without an answer: the caller was killed or its time was over. The
// router may have made them, or be about to, and tells everybody but us. So what they touch stays
// out of the caches (the caller of add() sees to that) until the router has said that they are
// over.
//
// The request is not sent again for that: whoever heard of a time-out may have done something else
// since, which must not be undone.
//
// Threads: any. One, started with the first, asks the router. mutex_ is a leaf.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "fusefs/vfs/calls.h"

namespace linkspan::vfs {

inline constexpr std::chrono::milliseconds kSettleRetryDelay{500};

class Unsettled {
 public:
  // `over`, on the thread: `touched` as it was given to add(), and what to drop now for it.
  using Over = std::function<void(const Revocation& touched, const Revocation& drop)>;
  // Neither is owned.
  Unsettled(client::RouterClient* client, const VfsOptions* options, Over over)
      : client_(client), options_(options), over_(std::move(over)) {}
  ~Unsettled() { stop(); }

  // `moves`: moves() before it was looked which nodes `touched` has.
  void add(OpNumber operation, Revocation touched, uint64_t moves);
  // These names changed (null: nobody says which), by others or by us: which node a change of ours
  // may have found there is not known any more.
  void names_moved(const std::vector<RevokedName>* names);
  uint64_t moves();
  void stop();

 private:
  struct Change {
    OpNumber operation;
    Revocation touched;
    bool everything = false;
  };
  void run();

  client::RouterClient* const client_;
  const VfsOptions* const options_;
  const Over over_;
  client::CancelToken stop_;

  std::mutex mutex_;  // leaf; guards what follows
  std::condition_variable wake_;
  std::deque<Change> changes_;  // the first is being asked for
  uint64_t moves_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace linkspan::vfs
