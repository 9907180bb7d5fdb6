// Counts what one mutation still waits for; runs its reply when nothing is left.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace linkspan::core {

// Threads: any. Created with one hold, its creator's. The last release() runs `reply` on its
// thread, so no lock may be held when calling it.
class Completion {
 public:
  explicit Completion(std::function<void()> reply) : reply_(std::move(reply)) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  void hold() { holds_.fetch_add(1, std::memory_order_relaxed); }
  void release() {
    if (holds_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    const auto reply = std::move(reply_);
    reply();
  }

 private:
  std::atomic<uint64_t> holds_{1};
  std::function<void()> reply_;
};

// Holds that were given up under some lock, to be released after it.
using Releases = std::vector<std::shared_ptr<Completion>>;
inline void release_all(const Releases& releases) {
  for (const auto& completion : releases) completion->release();
}

}  // namespace linkspan::core
