#include "fusefs/client/router_client.h"

namespace linkspan::client {

// The callback runs under mutex_: that is what makes set({}) wait for one that is running, so that
// what it captured may go away. It may not call this token; it may take locks of its own.
void CancelToken::cancel() {
  const std::lock_guard lock(mutex_);
  if (cancelled_) return;
  cancelled_ = true;
  if (on_cancel_) std::exchange(on_cancel_, nullptr)();
}

bool CancelToken::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_;
}

void CancelToken::set(std::function<void()> on_cancel) {
  const std::lock_guard lock(mutex_);
  if (!cancelled_) {
    on_cancel_ = std::move(on_cancel);
  } else {
    on_cancel_ = nullptr;
    if (on_cancel) on_cancel();
  }
}

}  // namespace linkspan::client
