// Time comes in through a parameter, so that tests can step it.
#pragma once

#include <chrono>

#include "linkspan/types.h"

namespace linkspan {

class Clock {
 public:
  using Steady = std::chrono::steady_clock::time_point;
  virtual ~Clock() = default;
  virtual Time now() const = 0;       // wall clock
  virtual Steady steady() const = 0;  // leases and deadlines: never the wall clock
  static const Clock& system();
};

}  // namespace linkspan
