// rename(2) that answers ESTALE is tried once more by the kernel itself, at once and unseen by the
// program. A rename that was refused as a conflict would leave its file at the router twice. So the
// second try of the same rename by the same thread is answered from here, once.
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "fusefs/cache/lru.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

// Threads: any.
class RefusedRenames {
 public:
  using Steady = std::chrono::steady_clock::time_point;

  // `moved`: what is under the old name, as far as known.
  void note(int32_t tid, const RenameRequest& request, Ino moved, Error error, Steady now) {
    std::lock_guard lock(mutex_);
    by_thread_.put(tid, Refused{request, moved, std::move(error), now + kSoon});
  }
  // The answer of just before, if this is the kernel's second try.
  std::optional<Error> take(int32_t tid, const RenameRequest& request, Ino moved, Steady now) {
    std::lock_guard lock(mutex_);
    const Refused* last = by_thread_.find(tid);
    if (last == nullptr) return std::nullopt;
    std::optional<Error> error;
    if (now < last->until && moved == last->moved && same(request, last->request))
      error = last->error;
    by_thread_.erase(tid);
    return error;
  }

 private:
  static constexpr std::chrono::milliseconds kSoon{1000};
  struct Refused {
    RenameRequest request;
    Ino moved;
    Error error;
    Steady until;
  };
  static bool same(const RenameRequest& a, const RenameRequest& b) {
    return a.from_parent == b.from_parent && a.from_name == b.from_name &&
           a.to_parent == b.to_parent && a.to_name == b.to_name && a.base_ino == b.base_ino &&
           a.base_version == b.base_version && a.no_replace == b.no_replace &&
           a.exchange == b.exchange;
  }

  std::mutex mutex_;  // leaf
  cache::LruMap<int32_t, Refused> by_thread_{256};
};

}  // namespace linkspan::vfs
