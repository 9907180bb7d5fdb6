// The thread that notices when leases run out.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "routerd/core/clock.h"

namespace linkspan::core {

// Calls `tick(now)` on its own thread at the time that the last call returned, but at least every
// `period` of real time: so that a clock that jumps (a test's, or a machine's that was paused) is
// noticed. mutex_ is a leaf; not held during `tick`.
class LeaseTimer {
 public:
  using Tick = std::function<Boot(Boot now)>;

  LeaseTimer(const RouterClock* clock, std::chrono::milliseconds period, Tick tick);
  ~LeaseTimer();  // waits for a tick under way

 private:
  void run();

  const RouterClock* clock_;
  const std::chrono::milliseconds period_;
  const Tick tick_;
  std::mutex mutex_;  // leaf
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all else is there
};

}  // namespace linkspan::core
