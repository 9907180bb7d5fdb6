// rename(2) or truncate(2) that answers ESTALE is tried once more by the kernel itself, at once and
// unseen by the program (retry_estale in linux/namei.h). What was refused as a conflict would be
// kept at the router twice. So the thread's next try of the same, with no file opened between, is
// answered from here, once. By the names alone: what is known of the files behind them can have
// been dropped meanwhile, with the link. (A program's own next try that is taken for the kernel's
// loses nothing by it: the kernel tries that again, too.)
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "fusefs/cache/lru.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

// Threads: any.
class SecondTries {
 public:
  // What was asked for, as one text.
  static std::string of(const RenameRequest& r) {
    return std::to_string(r.from_parent.value) + "/" + r.from_name + "/" +
           std::to_string(r.to_parent.value) + "/" + r.to_name + "/" +
           std::to_string(r.no_replace + 2 * r.exchange);
  }
  static std::string of(Ino truncated, uint64_t size) {
    return std::to_string(truncated.value) + "/" + std::to_string(size);
  }

  void refused(int32_t tid, std::string what, Error error) {
    std::lock_guard lock(mutex_);
    by_thread_.put(tid, Refused{std::move(what), std::move(error)});
    any_ = true;
  }
  // The answer of just before, if this is the kernel's second try.
  std::optional<Error> take(int32_t tid, const std::string& what) {
    if (!any_) return std::nullopt;
    std::lock_guard lock(mutex_);
    const Refused* last = by_thread_.find(tid);
    if (last == nullptr) return std::nullopt;
    std::optional<Error> error;
    if (last->what == what) error = last->error;
    by_thread_.erase(tid);
    return error;
  }
  // The thread opens a file: what it asks for next is its own.
  void forget(int32_t tid) {
    if (!any_) return;
    std::lock_guard lock(mutex_);
    by_thread_.erase(tid);
  }

 private:
  struct Refused {
    std::string what;
    Error error;
  };

  std::mutex mutex_;              // leaf
  std::atomic<bool> any_{false};  // ever refused: opens of those who never conflict pay no lock
  cache::LruMap<int32_t, Refused> by_thread_{256};
};

}  // namespace linkspan::vfs
