#include "fusefs/client/gate.h"

#include <algorithm>

#include "linkspan/clock.h"

namespace linkspan::client {

// ---- CallGuard ---------------------------------------------------------------------------------

CallGuard::CallGuard(Gate& gate, const Call& call)
    : gate_(gate),
      token_(call.cancel),
      deadline_(call.deadline),
      try_deadline_(call.deadline > Steady::max() - call.longer ? Steady::max()
                                                                : call.deadline + call.longer) {
  if (token_ == nullptr) return;
  token_->set([this] {
    cancelled_.store(true, std::memory_order_release);
    cancel_try();
    // A waiter checks cancelled_ under the gate's mutex: taking it here means none can miss this.
    { const std::lock_guard lock(gate_.mutex_); }
    gate_.changed_.notify_all();
  });
}

CallGuard::~CallGuard() {
  if (token_ != nullptr) token_->set({});
}

bool CallGuard::begin_try(uint64_t link, std::function<void()> cancel_try) {
  const std::lock_guard gate_lock(gate_.mutex_);
  if (link <= gate_.given_up_) return false;
  const std::lock_guard lock(mutex_);
  if (cancelled()) return false;
  cancel_try_ = std::move(cancel_try);
  link_ = link;
  gate_.under_way_.insert(this);
  return true;
}

void CallGuard::end_try() {
  const std::lock_guard gate_lock(gate_.mutex_);
  gate_.under_way_.erase(this);
  const std::lock_guard lock(mutex_);
  cancel_try_ = nullptr;
}

void CallGuard::cancel_try() {
  const std::lock_guard lock(mutex_);
  if (cancel_try_) cancel_try_();
}

// ---- Gate --------------------------------------------------------------------------------------

Result<std::shared_ptr<const Live>> Gate::wait(const CallGuard& call, uint64_t failed_link,
                                               Steady again) {
  std::unique_lock lock(mutex_);
  for (;;) {
    const Steady now = std::chrono::steady_clock::now();
    if (call.cancelled()) return fail(Code::interrupted, "cancelled");
    if (ended_) return *ended_;
    if (now >= call.deadline()) return fail(Code::timed_out, state_.reason);
    if (live_ && (live_->link != failed_link || now >= again)) return live_;
    const Steady until = live_ ? std::min(call.deadline(), again) : call.deadline();
    if (until == Steady::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, until);
    }
  }
}

LinkState Gate::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::shared_ptr<const Live> Gate::live() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

bool Gate::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_.has_value();
}

LinkState Gate::open(std::shared_ptr<const Live> live) {
  LinkState state{Link::connected, Clock::system().now(), {}};
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return state_;
    last_link_ = live->link;
    live_ = std::move(live);
    state_ = state;
  }
  changed_.notify_all();
  return state;
}

LinkState Gate::close(std::string reason, bool cancel_calls) {
  const std::lock_guard lock(mutex_);
  if (ended_) return state_;
  live_ = nullptr;
  if (state_.link != Link::disconnected) state_.since = Clock::system().now();
  state_.link = Link::disconnected;
  state_.reason = std::move(reason);
  if (cancel_calls) cancel_calls_locked();
  return state_;
}

LinkState Gate::end(Error why) {
  LinkState state{Link::ended, Clock::system().now(), why.message};
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return state_;
    live_ = nullptr;
    ended_ = std::move(why);
    state_ = state;
    cancel_calls_locked();
  }
  changed_.notify_all();
  return state;
}

void Gate::cancel_calls_locked() {
  given_up_ = last_link_;
  for (CallGuard* call : under_way_)
    if (call->link_ <= given_up_) call->cancel_try();
}

}  // namespace linkspan::client
