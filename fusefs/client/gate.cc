#include "fusefs/client/gate.h"

#include <algorithm>

#include "fusefs/client/backoff.h"
#include "linkspan/clock.h"

namespace linkspan::client {

namespace {

constexpr std::chrono::hours kForever{24 * 365};  // no overflow when it is added to a time

}  // namespace

// ---- CallGuard ---------------------------------------------------------------------------------

CallGuard::CallGuard(Gate& gate, const Call& call)
    : gate_(gate),
      token_(call.cancel),
      deadline_(call.deadline),
      try_deadline_(call.deadline > Steady::max() - call.longer ? Steady::max()
                                                                : call.deadline + call.longer),
      away_(std::min<std::chrono::milliseconds>(call.away, kForever)) {
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
  LastChance chance;
  std::unique_lock lock(mutex_);
  for (;;) {
    const Steady now = std::chrono::steady_clock::now();
    if (call.cancelled()) return fail(Code::interrupted, "cancelled");
    if (ended_) return *ended_;
    if (now >= call.deadline()) return fail(Code::timed_out, state_.reason);
    if (live_ && (live_->link != failed_link || now >= again)) return live_;
    bool wanted = false;
    const Steady gives_up = gives_up_locked(call, now, failed_link, &chance, &wanted);
    if (now >= gives_up)
      return fail(Code::timed_out,
                  "away for " + seconds_text(now - *away_since_) +
                      (state_.reason.empty() ? std::string() : ": " + state_.reason));
    if (wanted && on_wanted) {
      lock.unlock();
      on_wanted();
      lock.lock();
      continue;
    }
    const Steady until = live_ ? std::min(gives_up, again) : gives_up;
    if (until == Steady::max()) {
      changed_.wait(lock);
    } else {
      changed_.wait_until(lock, until);
    }
  }
}

// Never after the call's deadline, which has not come yet. While there is a link that the call has
// not tried, its deadline counts alone.
Gate::Steady Gate::gives_up_locked(const CallGuard& call, Steady now, uint64_t failed_link,
                                   LastChance* chance, bool* wanted) {
  if (live_ && now - opened_ >= kLinkIsBack) {
    away_since_.reset();
    is_away_ = false;
  }
  if (!away_since_) return call.deadline();
  const Steady limit = *away_since_ + call.away();
  if (now < limit) return std::min(call.deadline(), limit);
  if (failed_link > went_) return now;  // it was there again, and no better
  if (live_) return call.deadline();
  const bool under_way = rounds_begun_ > rounds_over_;
  if (chance->round == 0) {
    if (!under_way && now - round_ended_ < kTriedJustNow) return now;
    *wanted = !under_way;
    chance->round = under_way ? rounds_begun_ : rounds_begun_ + 1;
    chance->until = (under_way ? round_began_ : now) + kLinkGrace;
  }
  if (rounds_over_ >= chance->round) return now;
  return std::min(call.deadline(), chance->until);
}

void Gate::answered(uint64_t link) {
  if (!is_away_.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(mutex_);
  if (!live_ || live_->link != link) return;
  away_since_.reset();
  is_away_ = false;
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
  LinkState state{Link::connected, Clock::system().now(), {}, live->address, live->router};
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return state_;
    last_link_ = live->link;
    opened_ = std::chrono::steady_clock::now();
    rounds_over_ = rounds_begun_;
    live_ = std::move(live);
    state_ = state;
  }
  changed_.notify_all();
  return state;
}

void Gate::trying() {
  const std::lock_guard lock(mutex_);
  ++rounds_begun_;
  round_began_ = std::chrono::steady_clock::now();
}

LinkState Gate::close(std::string reason, bool cancel_calls, Steady since) {
  LinkState state;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return state_;
    const Steady now = std::chrono::steady_clock::now();
    const bool was_back = live_ && now - opened_ >= kLinkIsBack;
    if (!away_since_ || was_back) {
      away_since_ = since;
      went_ = last_link_;
    }
    is_away_ = true;
    rounds_over_ = rounds_begun_;
    if (!live_) round_ended_ = now;
    state = close_locked(std::move(reason), cancel_calls);
  }
  changed_.notify_all();
  return state;
}

LinkState Gate::not_yet(std::string reason, bool cancel_calls) {
  const std::lock_guard lock(mutex_);
  if (ended_) return state_;
  return close_locked(std::move(reason), cancel_calls);
}

LinkState Gate::close_locked(std::string reason, bool cancel_calls) {
  live_ = nullptr;
  state_.address.clear();
  state_.router.clear();
  if (state_.link != Link::disconnected) state_.since = Clock::system().now();
  state_.link = Link::disconnected;
  state_.reason = std::move(reason);
  if (cancel_calls) cancel_calls_locked();
  return state_;
}

LinkState Gate::end(Error why) {
  LinkState state{Link::ended, Clock::system().now(), why.message, {}, {}};
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
