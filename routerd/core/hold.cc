#include "routerd/core/hold.h"

#include <utility>

#include "linkspan/limits.h"

namespace linkspan::core {

Hold::Hold(std::set<SessionId> awaited, Boot until)
    : active_(!awaited.empty()), until_(until), awaited_(std::move(awaited)) {}

Hold::Answer Hold::defer(Task& task) {
  if (!active()) return Answer::run;
  const std::lock_guard lock(mutex_);
  if (!active()) return Answer::run;
  if (tasks_.size() >= limits::kRouterQueue) return Answer::full;
  tasks_.push_back(std::move(task));
  return Answer::held;
}

Hold::Tasks Hold::release_locked() {
  awaited_.clear();
  active_.store(false, std::memory_order_release);
  return std::exchange(tasks_, {});
}

bool Hold::awaits(SessionId session) const {
  const std::lock_guard lock(mutex_);
  return awaited_.count(session) != 0;
}

Hold::Tasks Hold::heard_of(SessionId session) {
  if (!active()) return {};
  const std::lock_guard lock(mutex_);
  if (awaited_.erase(session) == 0 || !awaited_.empty()) return {};
  return release_locked();
}

Hold::Tasks Hold::tick(Boot now) {
  if (!active() || now < until_) return {};
  return release();
}

Hold::Tasks Hold::release() {
  const std::lock_guard lock(mutex_);
  return release_locked();
}

}  // namespace linkspan::core
