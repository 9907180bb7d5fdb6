#include "fusefs/client/call_loop.h"

namespace linkspan::client {

std::string_view to_string(Method method) {
  static constexpr std::array<std::string_view, kMethods> kNames = {
      "Lookup",   "GetAttr", "ReadDir",  "Read",       "GetXattrs",  "StatFs",
      "Versions", "Changes", "Prefetch", "Create",     "Remove",     "Rename",
      "Link",     "SetAttr", "Commit",   "SetXattr",   "DataRanges", "Conflicts",
      "Settle",   "SetLock", "TestLock", "CancelLock", "Narrow",     "GiveUp"};
  return kNames[static_cast<size_t>(method)];
}

CallLoop::CallLoop(CallContext& context, Method method, const Call& call, Operation* operation)
    : context_(context),
      method_(method),
      operation_(operation),
      guard_(context.gate, call),
      begun_(std::chrono::steady_clock::now()),
      busy_(context.busy, context.seed.fetch_add(1, std::memory_order_relaxed)),
      reconnect_(context.reconnect, context.seed.fetch_add(1, std::memory_order_relaxed)) {}

CallLoop::~CallLoop() {
  if (tries_ > 0 && !unanswered_) context_.gate.answered(link_);
  MethodCounters& counters = context_.counters[static_cast<size_t>(method_)];
  const std::chrono::nanoseconds time = std::chrono::steady_clock::now() - begun_;
  counters.calls.fetch_add(1, std::memory_order_relaxed);
  counters.nanoseconds.fetch_add(static_cast<uint64_t>(time.count()), std::memory_order_relaxed);
  if (tries_ > 1) counters.retries.fetch_add(tries_ - 1, std::memory_order_relaxed);
  if (unanswered_) counters.failures.fetch_add(1, std::memory_order_relaxed);
}

std::shared_ptr<const Live> CallLoop::next_try() {
  if (over_) return nullptr;
  auto live = context_.gate.wait(guard_, failed_link_, again_);
  if (!live.ok()) {
    if (!live.error().message.empty() && live.code() == Code::timed_out)
      last_failure_ = live.error().message;
    give_up(live.error());
    return nullptr;
  }
  if (operation_ != nullptr) {
    if (const Status chosen = operation_->choose((*live)->generation); !chosen.ok()) {
      give_up(chosen.error());
      return nullptr;
    }
  }
  ++tries_;
  link_ = (*live)->link;
  return std::move(*live);
}

void CallLoop::failed(const Failure& failure) {
  if (is_odd(failure.error, failure.origin)) ++odd_failures_;
  const Verdict verdict = judge(failure.error, failure.origin, odd_failures_);
  if (operation_ != nullptr && verdict.maybe_applied) operation_->maybe_applied();
  const bool answer = failure.origin == Origin::router && !verdict.retry;
  if (answer) {
    if (operation_ != nullptr) operation_->answered();
    over_ = true;
    error_ = failure.error;
    return;
  }
  if (failure.origin == Origin::router && failure.error.code == Code::busy)
    context_.gate.answered(link_);  // it is there, with its hands full
  last_failure_ = failure.error.message;
  if (guard_.cancelled()) return give_up(fail(Code::interrupted));
  if (!verdict.retry) return give_up(failure.error);
  if (verdict.session_lost) context_.suspect(link_);
  Backoff& backoff = failure.error.code == Code::busy ? busy_ : reconnect_;
  failed_link_ = link_;
  again_ = std::chrono::steady_clock::now() + backoff.next();
}

void CallLoop::give_up(Error error) {
  over_ = true;
  unanswered_ = true;
  if (error.code == Code::timed_out) error.message = describe("no answer from ");
  if (error.code == Code::interrupted) error.message = describe("cancelled while waiting for ");
  error_ = std::move(error);
}

std::string CallLoop::describe(const std::string& what) const {
  std::string text = std::string(to_string(method_)) + ": " + what + context_.address +
                     ", tried for " + seconds_text(std::chrono::steady_clock::now() - begun_);
  if (!last_failure_.empty()) text += " (" + last_failure_ + ")";
  return text;
}

}  // namespace linkspan::client
