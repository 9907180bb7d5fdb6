#include "routerd/core/session.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "linkspan/limits.h"
#include "routerd/core/tenant.h"

namespace linkspan::core {

Session::Session(Options options, Boot now)
    : record_(std::move(options.record)),
      tenant_(std::move(options.tenant)),
      slot_(options.slot),
      lease_(options.lease),
      seen_(now.time_since_epoch().count()),
      token_ends_(options.grant->ends.ns),
      grant_(std::move(options.grant)),
      lease_until_(lease_end(now)),
      last_number_(options.last_revocation.value_or(0)),
      acknowledged_(last_number_) {
  // It is told with the answer to Attach, which may be lost: so also until it says that it did.
  if (options.last_revocation) push_everything(now);
}

bool Session::proves(std::string_view secret) const {
  return secret.size() == record_.secret.size() &&
         CRYPTO_memcmp(secret.data(), record_.secret.data(), secret.size()) == 0;
}

std::shared_ptr<const Grant> Session::grant() const {
  const std::lock_guard lock(mutex_);
  return grant_;
}

void Session::set_grant(std::shared_ptr<const Grant> grant) {
  const std::lock_guard lock(mutex_);
  grant_ = std::move(grant);
  token_ends_.store(grant_->ends.ns, std::memory_order_relaxed);
}

void Session::token_ends(Time ends, const Grant* grant) {
  const std::lock_guard lock(mutex_);
  if (grant_.get() == grant) token_ends_.store(ends.ns, std::memory_order_relaxed);
}

void Session::seen(Boot now) {
  seen_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

OpNumber Session::answered_below(OpNumber said) {
  const std::lock_guard lock(mutex_);
  answered_below_ = std::max(answered_below_, said);
  return answered_below_;
}

std::optional<Holder> Session::holder() const {
  const std::lock_guard lock(mutex_);
  if (state_ != State::live) return std::nullopt;
  return tenant_->slots.holder(slot_);
}

bool Session::ended() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::ended;
}

bool Session::lost() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::lost;
}

std::optional<Boot> Session::lost_since() const {
  const std::lock_guard lock(mutex_);
  return state_ == State::lost ? std::optional(lost_since_) : std::nullopt;
}

// ---- lease ----

// A router that was stopped, or cut off from the store, may have a successor that knows nothing of
// what is granted here.
Boot Session::lease_end(Boot now) const {
  return std::min(now + lease_, tenant_->owned_until());
}

void Session::extend(Boot now) {
  if (!doomed()) lease_until_ = std::max(lease_until_, lease_end(now));
}

Session::Millis Session::lease_left(Boot now) const {
  if (lease_until_ <= now) return Millis{0};
  return std::chrono::duration_cast<Millis>(lease_until_ - now);
}

void Session::push_everything(Boot now) {
  auto revocation = std::make_shared<Revocation>();
  revocation->number = ++last_number_;
  revocation->seq = tenant_->sequencer.last();
  revocation->everything = true;
  unacknowledged_.push_back({std::move(revocation), nullptr, now});
}

// Something that is not known here any more. One "drop everything" on its way is enough.
void Session::has_missed(uint64_t last_revocation, Boot now) {
  last_number_ = std::max(last_number_, last_revocation);
  if (!must_drop(last_revocation)) push_everything(now);
}

// The mount's own count of the lease ran out before ours: it answers nothing from its caches any
// more. What it may have had cannot be stale for anybody, so nobody waits for it. Whatever it hears
// next from us begins with "drop everything", which stays in the queue until it says that it did.
void Session::lose(Boot now, Releases* releases) {
  state_ = State::lost;
  lost_since_ = now;
  overdue_ = overflowed_ = has_too_much_ = false;
  tenant_->slots.advance(slot_);
  for (Record& record : unacknowledged_)
    if (record.completion) releases->push_back(std::move(record.completion));
  releases->insert(releases->end(), overflow_waiters_.begin(), overflow_waiters_.end());
  overflow_waiters_.clear();
  unacknowledged_.clear();
  unawaited_ = 0;
  std::erase_if(outbox_, [](const Frame& frame) { return frame.kind == Frame::Kind::revoke; });
  push_everything(now);
}

void Session::come_back(Boot now) {
  if (state_ == State::lost) state_ = State::live;
  extend(now);
}

const Session::Record* Session::oldest_awaited() {
  while (unawaited_ < unacknowledged_.size() && !unacknowledged_[unawaited_].completion)
    ++unawaited_;
  return unawaited_ < unacknowledged_.size() ? &unacknowledged_[unawaited_] : nullptr;
}

Session::Tick Session::tick(Boot now, Millis grace) {
  Tick tick;
  const std::lock_guard lock(mutex_);
  if (state_ == State::live) {
    // A mount that renews but does not acknowledge must not hold a writer up for ever.
    const Record* awaited = oldest_awaited();
    if (awaited && now - awaited->queued >= lease_) overdue_ = true;
    if (now >= lease_until_) {
      lose(now, &tick.releases);
      tick.lost_now = true;
    }
  }
  tick.state = state_;
  tick.over = refused_ && state_ != State::live;
  tick.next = lease_until_;
  if (const Record* awaited = oldest_awaited(); awaited && !overdue_)
    tick.next = std::min(tick.next, awaited->queued + lease_);
  if (state_ == State::lost && !refused_) {
    const Boot seen{Boot::duration(seen_.load(std::memory_order_relaxed))};
    tick.next = std::max(lost_since_, seen) + grace;
    tick.over = now >= tick.next;
  }
  return tick;
}

bool Session::refuse(const Error& why, Boot now) {
  const std::lock_guard lock(mutex_);
  if (refused_ || state_ == State::ended) return false;
  refused_ = why;
  if (state_ == State::lost) return false;
  push_everything(now);
  drops_ = last_number_;
  push_revoke_frame(unacknowledged_.back());
  return true;
}

std::optional<Error> Session::refused() const {
  const std::lock_guard lock(mutex_);
  return refused_;
}

Releases Session::end(const Error& why) {
  Releases releases;
  const std::lock_guard lock(mutex_);
  if (state_ == State::ended) return releases;
  lose(Boot{}, &releases);
  state_ = State::ended;
  unacknowledged_.clear();
  outbox_.clear();
  if (sink_) outbox_.push_back({Frame::Kind::end, {}, false, 0, nullptr, why});
  tenant_->slots.give_back(slot_);
  return releases;
}

// ---- revocations ----

void Session::push_revoke_frame(const Record& record) {
  if (sink_) outbox_.push_back({Frame::Kind::revoke, {}, false, 0, record.revocation, {}});
}

void Session::enqueue(Revocation revocation, Holder holder,
                      const std::shared_ptr<Completion>& completion, Boot now) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::live || !tenant_->slots.current(holder)) return;
  if (completion) completion->hold();
  if (overflowed_ || unacknowledged_.size() >= limits::kRevocationQueue) {
    overflowed_ = true;
    if (completion) overflow_waiters_.push_back(completion);
    return;
  }
  revocation.number = ++last_number_;
  unacknowledged_.push_back(
      {std::make_shared<const Revocation>(std::move(revocation)), completion, now});
  push_revoke_frame(unacknowledged_.back());
}

void Session::give_up_caches(Holder holder) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::live && tenant_->slots.current(holder)) has_too_much_ = true;
}

void Session::acknowledge_locked(uint64_t revocation, Acknowledged* out) {
  while (!unacknowledged_.empty() && unacknowledged_.front().revocation->number <= revocation) {
    Record& record = unacknowledged_.front();
    acknowledged_ = record.revocation->number;
    if (record.completion) out->releases.push_back(std::move(record.completion));
    const auto& nodes = record.revocation->nodes;
    out->nodes.insert(out->nodes.end(), nodes.begin(), nodes.end());
    unacknowledged_.pop_front();
    if (unawaited_ > 0) --unawaited_;
  }
  if (state_ == State::live) out->holder = tenant_->slots.holder(slot_);
  overdue_ = false;  // tick() will see if the next is late too
  out->over = refused_ && acknowledged_ >= drops_;
}

Acknowledged Session::acknowledge(uint64_t revocation) {
  Acknowledged out;
  const std::lock_guard lock(mutex_);
  acknowledge_locked(std::min(revocation, last_number_), &out);
  return out;
}

// ---- stream ----

bool Session::must_drop(uint64_t last_revocation) const {
  return std::any_of(unacknowledged_.begin(), unacknowledged_.end(), [&](const Record& record) {
    return record.revocation->everything && record.revocation->number > last_revocation;
  });
}

bool Session::provable(uint64_t last_revocation) const {
  if (state_ != State::live) return false;
  if (last_revocation < acknowledged_ || last_revocation > last_number_) return false;
  return !must_drop(last_revocation);
}

bool Session::resume(uint64_t last_revocation, Boot now, Acknowledged* acknowledged) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::ended) return false;
  const bool resumed = provable(last_revocation);
  if (resumed) {
    acknowledge_locked(last_revocation, acknowledged);
  } else if (state_ == State::live) {
    has_missed(last_revocation, now);
  }
  come_back(now);
  return resumed;
}

Status Session::open_stream(uint64_t last_revocation, std::shared_ptr<StreamSink> sink, Boot now,
                            Acknowledged* acknowledged) {
  std::shared_ptr<StreamSink> replaced;
  {
    const std::lock_guard lock(mutex_);
    if (state_ == State::ended)
      return fail(Code::session_lost, "this session has ended; attach again");
    if (refused_) return *refused_;
    const bool resumed = provable(last_revocation);
    if (resumed) {
      acknowledge_locked(last_revocation, acknowledged);
    } else if (state_ == State::live) {
      has_missed(last_revocation, now);
    }
    come_back(now);
    replaced = std::exchange(sink_, std::move(sink));
    outbox_.clear();
    outbox_.push_back({Frame::Kind::welcome, lease_left(now), resumed, 0, nullptr, {}});
    for (const Record& record : unacknowledged_) push_revoke_frame(record);
  }
  if (replaced)
    replaced->end(fail(Code::unavailable, "a newer stream of this session took this one's place"));
  return ok();
}

void Session::close_stream(const StreamSink* sink) {
  std::shared_ptr<StreamSink> closed;  // freed outside the lock
  const std::lock_guard lock(mutex_);
  if (sink_.get() != sink) return;
  closed = std::move(sink_);
  sink_.reset();
  outbox_.clear();
}

void Session::renew(OpNumber answered_below, uint64_t nonce, Boot now) {
  const std::lock_guard lock(mutex_);
  if (state_ == State::ended || doomed()) return;
  answered_below_ = std::max(answered_below_, answered_below);
  const bool was_lost = state_ == State::lost;
  come_back(now);
  if (!sink_) return;
  if (was_lost) {
    outbox_.push_back({Frame::Kind::welcome, lease_left(now), false, 0, nullptr, {}});
    for (const Record& record : unacknowledged_) push_revoke_frame(record);
  }
  outbox_.push_back({Frame::Kind::renewed, lease_left(now), false, nonce, nullptr, {}});
}

void Session::send(StreamSink& sink, const Frame& frame) {
  switch (frame.kind) {
    case Frame::Kind::welcome:
      return sink.welcome(frame.lease, frame.resumed);
    case Frame::Kind::renewed:
      return sink.renewed(frame.nonce, frame.lease);
    case Frame::Kind::revoke:
      return sink.revoke(*frame.revocation);
    case Frame::Kind::end:
      return sink.end(frame.why);
  }
}

void Session::pump() {
  std::unique_lock lock(mutex_);
  if (pumping_) return;  // the one that pumps will come to ours
  pumping_ = true;
  while (sink_ && !outbox_.empty()) {
    const Frame frame = std::move(outbox_.front());
    outbox_.pop_front();
    const std::shared_ptr<StreamSink> sink = sink_;
    if (frame.kind == Frame::Kind::end) sink_.reset();
    lock.unlock();
    send(*sink, frame);
    lock.lock();
  }
  pumping_ = false;
}

}  // namespace linkspan::core
