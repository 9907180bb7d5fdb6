// Which signals end a request. FUSE sends INTERRUPT for any signal, once, and then waits for the
// answer; a local filesystem's calls end early on fatal signals only (a Go runtime preempts its
// threads with SIGURG many times a second, and no program expects EINTR from stat). So a request is
// cancelled when its caller is about to die: looked up in /proc at the INTERRUPT, and again every
// few milliseconds while the request goes on, since the kernel sends no second INTERRUPT.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "fusefs/client/router_client.h"

namespace linkspan::fuse {

enum class CallerState : uint8_t {
  alive,    // no fatal signal is pending
  dying,    // one is, or the thread is gone
  unknown,  // of a foreign pid namespace, or hidden: cannot be told
};

// Reads /proc; about 30 us.
CallerState caller_state(int32_t tid);

class InterruptWatch {
 public:
  static constexpr std::chrono::milliseconds kPoll{20};  // while interrupted requests go on
  static constexpr std::chrono::milliseconds kUnknownGrace{1000};  // then a caller counts as dying

  using Probe = std::function<CallerState(int32_t tid)>;
  explicit InterruptWatch(Probe probe = caller_state);
  ~InterruptWatch();
  InterruptWatch(const InterruptWatch&) = delete;
  InterruptWatch& operator=(const InterruptWatch&) = delete;

  // From the loop's thread that read the INTERRUPT. Cancels now or later, or never if the token's
  // last owner lets go of it first.
  void on_interrupt(int32_t tid, const std::shared_ptr<client::CancelToken>& token);

 private:
  struct Watched {
    int32_t tid;
    std::weak_ptr<client::CancelToken> token;
    std::chrono::steady_clock::time_point since;
  };
  void run();
  bool settle(const Watched& watched) const;  // true: nothing more to watch

  const Probe probe_;
  std::mutex mutex_;  // innermost; never held while a token is cancelled
  std::condition_variable changed_;
  std::vector<Watched> watched_;  // at most one for each request in flight
  bool stopping_ = false;
  std::thread thread_;  // started with the first interrupt that is not fatal
};

}  // namespace linkspan::fuse
