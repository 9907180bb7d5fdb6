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
  // Registers what is called once, on the cancelling thread, when the caller is cancelled (at once
  // if it was already); {} takes it back and waits for a call that is running. The canceller may
  // hold a lock of its own during that call, so nothing here is ever called under `mutex` below.
  std::function<void(std::function<void()> wake)> on_cancel = [](auto) {};

  // Waits until `ready()` under `mutex`; notified through `changed`. Returns with the lock free.
  // `ready` may take what it finds: once it has answered true it is not called again.
  template <class Ready>
  Status wait(std::mutex& mutex, std::condition_variable& changed, Ready ready) const {
    {
      std::lock_guard lock(mutex);
      if (ready()) return ok();
    }
    bool cancelled = false;  // under `mutex`
    on_cancel([&] {
      std::lock_guard lock(mutex);
      cancelled = true;
      changed.notify_all();
    });
    const Status status = wait_registered(mutex, changed, ready, cancelled);
    on_cancel({});
    return status;
  }

 private:
  template <class Ready>
  Status wait_registered(std::mutex& mutex, std::condition_variable& changed, Ready ready,
                         const bool& cancelled) const {
    std::unique_lock lock(mutex);
    bool is_ready = false;
    const auto over = [&] { return (is_ready = ready()) || cancelled; };
    if (deadline == std::chrono::steady_clock::time_point::max())
      changed.wait(lock, over);
    else
      changed.wait_until(lock, deadline, over);
    if (is_ready) return ok();
    if (cancelled) return fail(Code::interrupted, "the caller was interrupted");
    return fail(Code::timed_out, "the router did not answer in time");
  }
};

}  // namespace linkspan::cache
