// Counts the calls that were accepted and not answered yet, so that a graceful stop can refuse new
// ones and wait for those.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <utility>

namespace linkspan::rpc {

class Admission {
 public:
  // Held by a call until it is answered. Moves; any thread may drop it.
  class Ticket {
   public:
    Ticket() = default;
    Ticket(Ticket&& other) noexcept : from_(std::exchange(other.from_, nullptr)) {}
    Ticket& operator=(Ticket&& other) noexcept {
      std::swap(from_, other.from_);
      return *this;
    }
    ~Ticket() {
      if (from_) from_->leave();
    }
    explicit operator bool() const { return from_ != nullptr; }

   private:
    friend class Admission;
    explicit Ticket(Admission* from) : from_(from) {}
    Admission* from_ = nullptr;
  };

  // An empty ticket: the router is stopping.
  Ticket enter();
  void close();
  bool closed() const;
  // After close(): true once every ticket is gone, false at the deadline.
  bool wait_idle(std::chrono::steady_clock::time_point deadline);
  uint64_t inside() const;

 private:
  void leave();

  mutable std::mutex mutex_;  // leaf
  std::condition_variable idle_;
  uint64_t inside_ = 0;
  bool closed_ = false;
};

}  // namespace linkspan::rpc
