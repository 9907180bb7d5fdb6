// A request of the kernel that is answered later, from another thread: a lock that is waited for.
// No thread of the loop waits with it. Any signal of its caller cancels it, as fcntl(2) and
// flock(2) say (other requests: interrupts.h).
#pragma once

#include <memory>

#include "fusefs/fuse/lowlevel.h"
#include "fusefs/fuse/session_context.h"
#include "linkspan/error.h"

namespace linkspan::fuse {

// Threads: any. Answered once; if nobody does, its end answers EIO.
class DeferredRequest {
 public:
  static std::shared_ptr<DeferredRequest> make(fuse_req_t raw, const char* operation,
                                               SessionContext& session);
  ~DeferredRequest();
  DeferredRequest(const DeferredRequest&) = delete;
  DeferredRequest& operator=(const DeferredRequest&) = delete;

  const std::shared_ptr<client::CancelToken>& cancel() const { return cancel_; }
  void answer(const Status& status);

 private:
  DeferredRequest(fuse_req_t raw, const char* operation, SessionContext& session);
  static void on_interrupt(fuse_req_t, void* self);
  void answer(int error);

  fuse_req_t raw_;
  const char* operation_;
  SessionContext& session_;
  const std::shared_ptr<client::CancelToken> cancel_;
};

}  // namespace linkspan::fuse
