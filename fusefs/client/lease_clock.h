// Until when what the session learned may be answered from caches, and who is told when that ends.
//
// The time is CLOCK_BOOTTIME: a machine that slept must not believe in an old lease. The lease is
// counted from the moment its renewal was SENT, and taken as over a little early (kMargin of it),
// because the kernel's caches still have to be emptied before the router's own count ends.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "linkspan/error.h"
#include "linkspan/fault_points.h"

namespace linkspan::client {

using BootTime = std::chrono::nanoseconds;  // since boot, sleep included
BootTime boot_now();

// All methods from any thread, without a lock.
class LeaseClock {
 public:
  static constexpr int kMargin = 8;  // one 8th

  explicit LeaseClock(std::function<BootTime()> now = boot_now) : now_(std::move(now)) {}
  BootTime now() const { return now_(); }
  bool valid() const {
    const int64_t until = until_.load(std::memory_order_acquire);
    return now_().count() < until || (until != 0 && planted(Fault::ignore_lost_lease));
  }
  std::chrono::nanoseconds left() const {
    const int64_t until = until_.load(std::memory_order_acquire);
    if (until != 0 && planted(Fault::ignore_lost_lease)) return std::chrono::hours(1);
    return std::chrono::nanoseconds(std::max<int64_t>(0, until - now_().count()));
  }
  BootTime until() const { return BootTime(until_.load(std::memory_order_acquire)); }
  void grant(BootTime sent, std::chrono::milliseconds lease) {
    const std::chrono::nanoseconds length = lease;
    until_.store((sent + length - length / kMargin).count(), std::memory_order_release);
  }
  void drop() { until_.store(0, std::memory_order_release); }

 private:
  const std::function<BootTime()> now_;
  std::atomic<int64_t> until_{0};
};

// Calls `on_lapse` on a thread of its own when the armed time has come, also if the machine slept
// through it. `on_lapse` must not block.
class LeaseWatch {
 public:
  static Result<std::unique_ptr<LeaseWatch>> start(std::function<void()> on_lapse);
  ~LeaseWatch();
  void arm(BootTime when);  // any thread; replaces what was armed
  LeaseWatch(const LeaseWatch&) = delete;
  LeaseWatch& operator=(const LeaseWatch&) = delete;

 private:
  LeaseWatch(int timer, int stop, std::function<void()> on_lapse);
  void run();

  const int timer_;  // timerfd
  const int stop_;   // eventfd
  const std::function<void()> on_lapse_;
  std::thread thread_;
};

}  // namespace linkspan::client
