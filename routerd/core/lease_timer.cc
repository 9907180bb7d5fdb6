#include "routerd/core/lease_timer.h"

#include <algorithm>
#include <utility>

namespace linkspan::core {

LeaseTimer::LeaseTimer(const RouterClock* clock, std::chrono::milliseconds period, Tick tick)
    : clock_(clock), period_(period), tick_(std::move(tick)), thread_([this] { run(); }) {}

LeaseTimer::~LeaseTimer() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void LeaseTimer::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const Boot now = clock_->boot();
    const auto next = tick_(now);
    // At least a millisecond: what is due now was dealt with.
    const auto wait = std::clamp<Boot::duration>(next - now, std::chrono::milliseconds(1), period_);
    lock.lock();
    wake_.wait_for(lock, wait, [this] { return stopping_; });
  }
}

}  // namespace linkspan::core
