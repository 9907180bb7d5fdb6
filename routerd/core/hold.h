// Holds a tenant's mutations back after the router took it over: the sessions of the old owner may
// have caches that this one knows nothing of. Until each came back (and dropped them), ended, or
// must have lost its lease, nothing may change.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <vector>

#include "linkspan/types.h"
#include "routerd/core/clock.h"

namespace linkspan::core {

// Threads: any. mutex_ is a leaf. What is let go is returned to the caller, who runs it elsewhere.
class Hold {
 public:
  using Task = std::function<void()>;
  using Tasks = std::vector<Task>;
  enum class Answer : uint8_t { run, held, full };

  Hold(std::set<SessionId> awaited, Boot until);

  // `run`: nothing is held back, the task was not taken. `full`: limits::kRouterQueue are held.
  Answer defer(Task& task);
  // Held back for this one too.
  bool awaits(SessionId session) const;
  // It resumed or ended.
  Tasks heard_of(SessionId session);
  Tasks tick(Boot now);
  // The router stops: lets everything go at once.
  Tasks release();
  bool active() const { return active_.load(std::memory_order_acquire); }

 private:
  Tasks release_locked();

  std::atomic<bool> active_;
  const Boot until_;
  mutable std::mutex mutex_;  // leaf
  std::set<SessionId> awaited_;
  Tasks tasks_;
};

}  // namespace linkspan::core
