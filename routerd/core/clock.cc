#include "routerd/core/clock.h"

#include <time.h>

#include "linkspan/clock.h"

namespace linkspan::core {
namespace {

class SystemClock final : public RouterClock {
 public:
  Time now() const override { return Clock::system().now(); }
  Boot boot() const override { return BootClock::now(); }
};

}  // namespace

Boot BootClock::now() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return time_point(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

const RouterClock& RouterClock::system() {
  static const SystemClock clock;
  return clock;
}

}  // namespace linkspan::core
