// The requests of one connection that are answered later (deferred.h), so that none outlives it.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>

#include "fusefs/client/router_client.h"

namespace linkspan::fuse {

// Threads: any. mutex_ is a leaf; tokens are cancelled outside it.
class DeferredSet {
 public:
  using Token = std::shared_ptr<client::CancelToken>;

  void add(const Token& token) {
    const std::lock_guard lock(mutex_);
    tokens_.insert(token);
  }
  void remove(const Token& token) {
    const std::lock_guard lock(mutex_);
    tokens_.erase(token);
    if (tokens_.empty()) empty_.notify_all();
  }
  // Returns when the last was answered. No new one may come.
  void cancel_and_wait() {
    std::set<Token> tokens;
    {
      const std::lock_guard lock(mutex_);
      tokens = tokens_;
    }
    for (const Token& token : tokens) token->cancel();
    std::unique_lock lock(mutex_);
    empty_.wait(lock, [this] { return tokens_.empty(); });
  }

 private:
  std::mutex mutex_;  // leaf
  std::condition_variable empty_;
  std::set<Token> tokens_;
};

}  // namespace linkspan::fuse
