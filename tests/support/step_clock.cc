// Preloaded into a program under test: its wall clock, and nothing else, is off by what the file
// says that LINKSPAN_TEST_CLOCK names (nanoseconds, 8 bytes of this machine's order, shared): so a
// test steps the clock of one process while the machine's goes on. Time namespaces cannot do that.
//
// A wait of the kernel until a wall clock time is not moved along: a program that waits so waits
// wrongly, as it would on a machine whose clock is set back.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>

namespace {

constexpr int64_t kSecond = 1'000'000'000;

const std::atomic<int64_t>* open_offset() {
  const char* path = std::getenv("LINKSPAN_TEST_CLOCK");
  if (path == nullptr) return nullptr;
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* at = ::mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  return at == MAP_FAILED ? nullptr : static_cast<const std::atomic<int64_t>*>(at);
}

int64_t offset() {
  static const std::atomic<int64_t>* const kOffset = open_offset();
  return kOffset == nullptr ? 0 : kOffset->load(std::memory_order_relaxed);
}

int real_gettime(clockid_t clock, timespec* out) {
  using Gettime = int (*)(clockid_t, timespec*);
  static const auto kNext = reinterpret_cast<Gettime>(::dlsym(RTLD_NEXT, "clock_gettime"));
  return kNext(clock, out);
}

int64_t wall(clockid_t clock) {
  timespec now{};
  real_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec + offset();
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) noexcept {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return real_gettime(clock, out);
  const int64_t now = wall(clock);
  *out = {now / kSecond, now % kSecond};
  return 0;
}

int gettimeofday(timeval* out, void*) noexcept {
  const int64_t now = wall(CLOCK_REALTIME);
  *out = {now / kSecond, now % kSecond / 1000};
  return 0;
}

time_t time(time_t* out) noexcept {
  const time_t now = wall(CLOCK_REALTIME) / kSecond;
  if (out != nullptr) *out = now;
  return now;
}

}  // extern "C"
