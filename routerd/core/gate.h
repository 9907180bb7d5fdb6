// The door of the router: counts the calls inside, and closes.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>

namespace linkspan::core {

// Threads: any. mutex_ is a leaf.
class Gate {
 public:
  // Held by a call from its acceptance until its answer was given.
  class Pass {
   public:
    explicit Pass(Gate* gate) : gate_(gate) {}
    ~Pass() { gate_->leave(); }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;

   private:
    Gate* gate_;
  };

  // Null: closed.
  std::shared_ptr<Pass> enter() {
    const std::lock_guard lock(mutex_);
    if (closed_) return nullptr;
    ++inside_;
    return std::make_shared<Pass>(this);
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }
  void wait_until_empty() {
    std::unique_lock lock(mutex_);
    empty_.wait(lock, [this] { return inside_ == 0; });
  }

 private:
  void leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) empty_.notify_all();
  }

  mutable std::mutex mutex_;  // leaf
  std::condition_variable empty_;
  bool closed_ = false;
  size_t inside_ = 0;
};

}  // namespace linkspan::core
