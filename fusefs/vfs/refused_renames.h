// rename(2) that answers ESTALE is tried once more by the kernel itself, at once and unseen by the
// program (retry_estale in fs/namei.c). A rename that was refused as a conflict would leave its
// file at the router twice. So the thread's next try of that rename, with no file opened between,
// is answered from here, once. By the names alone: what is known of the files behind them can have
// been dropped meanwhile, with the link. (A program's own next try that is taken for the kernel's
// loses nothing by it: the kernel tries that again, too.)
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "fusefs/cache/lru.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

// Threads: any.
class RefusedRenames {
 public:
  void note(int32_t tid, const RenameRequest& request, Error error) {
    std::lock_guard lock(mutex_);
    by_thread_.put(tid, Refused{request, std::move(error)});
    any_ = true;
  }
  // The answer of just before, if this is the kernel's second try.
  std::optional<Error> take(int32_t tid, const RenameRequest& request) {
    if (!any_) return std::nullopt;
    std::lock_guard lock(mutex_);
    const Refused* last = by_thread_.find(tid);
    if (last == nullptr) return std::nullopt;
    std::optional<Error> error;
    if (same(request, last->request)) error = last->error;
    by_thread_.erase(tid);
    return error;
  }
  // The thread opens a file: what it renames next is another save.
  void forget(int32_t tid) {
    if (!any_) return;
    std::lock_guard lock(mutex_);
    by_thread_.erase(tid);
  }

 private:
  struct Refused {
    RenameRequest request;
    Error error;
  };
  static bool same(const RenameRequest& a, const RenameRequest& b) {
    return a.from_parent == b.from_parent && a.from_name == b.from_name &&
           a.to_parent == b.to_parent && a.to_name == b.to_name && a.no_replace == b.no_replace &&
           a.exchange == b.exchange;
  }

  std::mutex mutex_;              // leaf
  std::atomic<bool> any_{false};  // ever noted: opens of those who never conflict pay no lock
  cache::LruMap<int32_t, Refused> by_thread_{256};
};

}  // namespace linkspan::vfs
