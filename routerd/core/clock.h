// Time comes in through a parameter, so that tests can step it.
#pragma once

#include <chrono>

#include "linkspan/types.h"

namespace linkspan::core {

// CLOCK_BOOTTIME: is never set, and goes on while the machine sleeps. A type of its own, so that
// its times do not get mixed with those of a clock that stands still meanwhile.
struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;
  static time_point now();
};
using Boot = BootClock::time_point;

class RouterClock {
 public:
  virtual ~RouterClock() = default;
  virtual Time now() const = 0;   // wall clock
  virtual Boot boot() const = 0;  // leases: others count on them while this machine sleeps
  static const RouterClock& system();
};

}  // namespace linkspan::core
