#include "fusefs/client/backoff.h"

#include <algorithm>

namespace linkspan::client {

std::chrono::nanoseconds Backoff::next() {
  constexpr unsigned kMaxShift = 20;
  const std::chrono::nanoseconds first = limits_.first, last = limits_.last;
  const auto longest = std::min(last, first * (int64_t{1} << std::min(step_, kMaxShift)));
  ++step_;
  std::uniform_int_distribution<int64_t> draw(longest.count() / 2, longest.count());
  return std::chrono::nanoseconds(draw(random_));
}

std::string seconds_text(std::chrono::nanoseconds time) {
  const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(time).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

bool is_odd(const Error& error, Origin origin) {
  return origin == Origin::transport && (error.code == Code::internal || error.code == Code::busy);
}

namespace {

Verdict judge_answer(Code code) {
  switch (code) {
    case Code::busy:
      return {.retry = true};  // refused before it was begun
    case Code::session_lost:
      return {.retry = true, .session_lost = true};
    // Stopping, or its store went away: the transaction may have been committed.
    case Code::unavailable:
    case Code::fenced:
    case Code::timed_out:
      return {.retry = true, .maybe_applied = true};
    default:
      return {};
  }
}

Verdict judge_transport(Code code, unsigned odd_failures) {
  switch (code) {
    case Code::unavailable:  // the connection broke
    case Code::interrupted:  // not by the caller (which ends the call first): the link was given up
      return {.retry = true, .maybe_applied = true};
    case Code::timed_out:
      return {.retry = false, .maybe_applied = true};
    default:
      return {.retry = odd_failures < kOddFailures, .maybe_applied = true};
  }
}

}  // namespace

Verdict judge(const Error& error, Origin origin, unsigned odd_failures) {
  switch (origin) {
    case Origin::router:
      return judge_answer(error.code);
    case Origin::transport:
      return judge_transport(error.code, odd_failures);
    case Origin::unsent:
      return {.retry = error.code == Code::unavailable};
    case Origin::local:
      return {};
  }
  return {};
}

}  // namespace linkspan::client
