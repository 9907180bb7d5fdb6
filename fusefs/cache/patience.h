// How long and until when a caller waits: its deadline and its cancellation, without knowing who
// cancels.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

#include "linkspan/error.h"

namespace linkspan::cache {

struct Patience {
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::function<bool()> cancelled = [] { return false; };
  // Calls `wake` (at once if cancelled already) until it is set to {}; setting waits for a call
  // that is running, so no lock that `wake` takes may be held.
  std::function<void(std::function<void()> wake)> on_cancel = [](auto) {};

  // Waits until `ready()` under `mutex`; notified through `changed`. Returns with the lock free.
  // `ready` may take what it finds: it is called under the lock, last with the answer true.
  template <class Ready>
  Status wait(std::mutex& mutex, std::condition_variable& changed, Ready ready) const {
    {
      std::lock_guard lock(mutex);
      if (ready()) return ok();
    }
    on_cancel([&] {
      std::lock_guard lock(mutex);
      changed.notify_all();
    });
    const Status status = wait_registered(mutex, changed, ready);
    on_cancel({});
    return status;
  }

 private:
  template <class Ready>
  Status wait_registered(std::mutex& mutex, std::condition_variable& changed, Ready ready) const {
    std::unique_lock lock(mutex);
    for (;;) {
      if (ready()) return ok();
      if (cancelled()) return fail(Code::interrupted, "the caller was interrupted");
      if (deadline == std::chrono::steady_clock::time_point::max()) {
        changed.wait(lock);
      } else if (changed.wait_until(lock, deadline) == std::cv_status::timeout) {
        if (ready()) return ok();
        return fail(Code::timed_out, "the router did not answer in time");
      }
    }
  }
};

}  // namespace linkspan::cache
