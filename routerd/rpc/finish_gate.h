// Decides when a streaming call may be finished. gRPC forbids Finish while another operation of the
// same call is being started, and destroys the call some time after it; yet the wish to finish
// comes from any thread (a worker, the core, the sweeper, a cancellation). So: whoever is about to
// use the call holds a Pin, and the last one out finishes it, once.
//
// Threads: any. No lock is held while gRPC is called.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "linkspan/error.h"

namespace linkspan::rpc {

class FinishGate {
 public:
  using Finish = std::function<void(const std::optional<Error>&)>;  // no error: success
  explicit FinishGate(Finish finish) : finish_(std::move(finish)) {}

  class Pin {
   public:
    Pin() = default;
    Pin(Pin&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Pin() {
      if (gate_) gate_->unpin();
    }
    // False: the call is over, or about to be; do not touch it.
    explicit operator bool() const { return gate_ != nullptr; }

   private:
    friend class FinishGate;
    explicit Pin(FinishGate* gate) : gate_(gate) {}
    FinishGate* gate_ = nullptr;
  };

  Pin pin() {
    const std::lock_guard lock(mutex_);
    if (wanted_) return Pin();
    ++pins_;
    return Pin(this);
  }
  // A pin also when finishing is wanted already, as long as it has not been done: for cancelling.
  Pin pin_late() {
    const std::lock_guard lock(mutex_);
    if (done_) return Pin();
    ++pins_;
    return Pin(this);
  }

  // The first one decides the result; false: another came before.
  bool want(std::optional<Error> result) {
    std::unique_lock lock(mutex_);
    if (wanted_) return false;
    wanted_ = true;
    result_ = std::move(result);
    settle(std::move(lock));
    return true;
  }

  bool wanted() const {
    const std::lock_guard lock(mutex_);
    return wanted_;
  }

 private:
  void unpin() {
    std::unique_lock lock(mutex_);
    --pins_;
    settle(std::move(lock));
  }
  void settle(std::unique_lock<std::mutex> lock) {
    if (!wanted_ || done_ || pins_ > 0) return;
    done_ = true;
    // After finish_ the call, and this with it, may be gone at any moment.
    const Finish finish = std::move(finish_);
    const std::optional<Error> result = std::move(result_);
    lock.unlock();
    finish(result);
  }

  mutable std::mutex mutex_;  // leaf
  Finish finish_;
  std::optional<Error> result_;
  unsigned pins_ = 0;
  bool wanted_ = false;
  bool done_ = false;
};

}  // namespace linkspan::rpc
