#include "fusefs/client/lease_clock.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace linkspan::client {

BootTime boot_now() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

Result<std::unique_ptr<LeaseWatch>> LeaseWatch::start(std::function<void()> on_lapse) {
  const int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
  if (timer < 0)
    return fail(Code::io, std::string("cannot make the lease's timer: ") + std::strerror(errno));
  const int stop = eventfd(0, EFD_CLOEXEC);
  if (stop < 0) {
    const int why = errno;
    close(timer);
    return fail(Code::io, std::string("cannot make the lease's eventfd: ") + std::strerror(why));
  }
  return std::unique_ptr<LeaseWatch>(new LeaseWatch(timer, stop, std::move(on_lapse)));
}

LeaseWatch::LeaseWatch(int timer, int stop, std::function<void()> on_lapse)
    : timer_(timer), stop_(stop), on_lapse_(std::move(on_lapse)), thread_([this] { run(); }) {}

LeaseWatch::~LeaseWatch() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(stop_, &one, sizeof one);
  thread_.join();
  close(timer_);
  close(stop_);
}

void LeaseWatch::arm(BootTime when) {
  const int64_t ns = std::max<int64_t>(when.count(), 1);  // 0 would disarm it
  itimerspec spec{};
  spec.it_value = {ns / 1000000000, ns % 1000000000};
  timerfd_settime(timer_, TFD_TIMER_ABSTIME, &spec, nullptr);
}

void LeaseWatch::run() {
  pollfd fds[2] = {{timer_, POLLIN, 0}, {stop_, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 2, -1) < 0) continue;  // EINTR
    if (fds[1].revents != 0) return;
    uint64_t expirations = 0;
    if (read(timer_, &expirations, sizeof expirations) == sizeof expirations) on_lapse_();
  }
}

}  // namespace linkspan::client
