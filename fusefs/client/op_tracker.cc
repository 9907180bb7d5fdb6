#include "fusefs/client/op_tracker.h"

namespace linkspan::client {

OpNumber OpTracker::begin(uint64_t generation) {
  const std::lock_guard lock(mutex_);
  pending_.emplace_hint(pending_.end(), next_, Pending{generation, false, false});
  return OpNumber(next_++);
}

std::optional<OpTracker::Pending> OpTracker::find(OpNumber number) const {
  const std::lock_guard lock(mutex_);
  const auto it = pending_.find(number.value);
  if (it == pending_.end()) return std::nullopt;
  return it->second;
}

OpHeader OpTracker::send(OpNumber number) {
  const std::lock_guard lock(mutex_);
  const auto it = pending_.find(number.value);
  assert(it != pending_.end());
  const bool retry = std::exchange(it->second.sent, true);
  return {number, answered_below_locked(it->second.generation), retry};
}

void OpTracker::maybe_applied(OpNumber number) {
  const std::lock_guard lock(mutex_);
  if (const auto it = pending_.find(number.value); it != pending_.end())
    it->second.maybe_applied = true;
}

void OpTracker::end(OpNumber number) {
  const std::lock_guard lock(mutex_);
  pending_.erase(number.value);
}

OpNumber OpTracker::answered_below(uint64_t generation) const {
  const std::lock_guard lock(mutex_);
  return answered_below_locked(generation);
}

// Numbers of earlier sessions may still be pending (their callers have not come back for them);
// they hold nothing up in this one.
OpNumber OpTracker::answered_below_locked(uint64_t generation) const {
  for (const auto& [number, pending] : pending_)
    if (pending.generation == generation) return OpNumber(number);
  return OpNumber(next_);
}

Operation::Operation(OpTracker& tracker, OpNumber* carried)
    : tracker_(tracker), carried_(carried), number_(carried != nullptr ? *carried : OpNumber()) {}

Operation::~Operation() {
  const auto pending = number_ ? tracker_.find(number_) : std::nullopt;
  const bool open = pending && pending->maybe_applied && carried_ != nullptr;
  if (carried_ != nullptr) *carried_ = open ? number_ : OpNumber();
  if (pending && !open) tracker_.end(number_);
}

Status Operation::choose(uint64_t generation) {
  if (number_) {
    const auto pending = tracker_.find(number_);
    if (pending && pending->generation == generation) return ok();
    const bool unknown = !pending || pending->maybe_applied;
    answered();
    if (unknown)
      return fail(Code::io,
                  "the router lost this mount's session while a change was under way: it may have "
                  "been made or not; look before making it again");
  }
  number_ = tracker_.begin(generation);
  return ok();
}

void Operation::answered() {
  tracker_.end(number_);
  number_ = {};
}

}  // namespace linkspan::client
