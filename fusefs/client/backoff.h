// How long to wait before trying again, and whether to: the one place where retries are decided.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

#include "linkspan/error.h"

namespace linkspan::client {

struct BackoffLimits {
  std::chrono::milliseconds first{50};
  std::chrono::milliseconds last{1000};
};

// Exponential with jitter: each wait is drawn from [d/2, d], d doubling from `first` to `last`.
// One thread.
class Backoff {
 public:
  Backoff(BackoffLimits limits, uint64_t seed) : limits_(limits), random_(seed) {}
  std::chrono::nanoseconds next();
  void reset() { step_ = 0; }

 private:
  BackoffLimits limits_;
  std::minstd_rand random_;
  unsigned step_ = 0;
};

// Who said that a try failed.
enum class Origin : uint8_t {
  router,     // it answered with a domain error
  transport,  // gRPC: the try may have reached the router or not
  unsent,     // it was never given to the transport
  local,      // our own disk, or an answer that breaks the contract
};

struct Verdict {
  bool retry = false;          // within the deadline
  bool session_lost = false;   // attach again first
  bool maybe_applied = false;  // a mutation may have happened: only the same number may be sent
};

// `odd_failures`: tries of this call, this one included, that ended in a way that should not
// happen.
inline constexpr unsigned kOddFailures = 3;
bool is_odd(const Error& error, Origin origin);
Verdict judge(const Error& error, Origin origin, unsigned odd_failures);

std::string seconds_text(std::chrono::nanoseconds time);  // "2.5 s", for messages

}  // namespace linkspan::client
