// The clock of leases goes on while the machine sleeps: a sleep is made up here, as the kernel
// shows it, by a clock_gettime of this program's own.
#include "routerd/core/clock.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

namespace {
std::atomic<long> slept_s{0};
}  // namespace

// NOLINTNEXTLINE: replaces libc's
extern "C" int clock_gettime(clockid_t id, timespec* out) noexcept {
  const long failed = syscall(SYS_clock_gettime, id, out);
  if (failed == 0 && id == CLOCK_BOOTTIME) out->tv_sec += slept_s;
  return static_cast<int>(failed);
}

namespace linkspan::core {
namespace {

using namespace std::chrono_literals;

TEST(RouterClock, LeasesCountTheTimeThatTheMachineSlept) {
  const RouterClock& clock = RouterClock::system();
  const auto boot = clock.boot();
  slept_s = 3600;
  const auto boot_passed = clock.boot() - boot;
  EXPECT_GE(boot_passed, 1h);
  EXPECT_LT(boot_passed, 2h);
}

}  // namespace
}  // namespace linkspan::core
