#include "fusefs/fuse/deferred.h"

#include <cerrno>
#include <string>
#include <utility>

#include "fusefs/fuse/errno_table.h"
#include "fusefs/fuse/log.h"

namespace linkspan::fuse {

std::shared_ptr<DeferredRequest> DeferredRequest::make(fuse_req_t raw, const char* operation,
                                                       SessionContext& session) {
  return std::shared_ptr<DeferredRequest>(new DeferredRequest(raw, operation, session));
}

DeferredRequest::DeferredRequest(fuse_req_t raw, const char* operation, SessionContext& session)
    : raw_(raw),
      operation_(operation),
      session_(session),
      cancel_(std::make_shared<client::CancelToken>()) {
  session_.deferred.add(cancel_);
  // Runs at once if the INTERRUPT came before.
  fuse_req_interrupt_func(raw_, &DeferredRequest::on_interrupt, this);
}

DeferredRequest::~DeferredRequest() {
  if (raw_ == nullptr) return;
  session_.counters.unanswered.fetch_add(1, std::memory_order_relaxed);
  log(LogLevel::error, session_.name + ": " + operation_ + " was not answered; EIO");
  answer(EIO);
}

void DeferredRequest::on_interrupt(fuse_req_t, void* self) {
  static_cast<DeferredRequest*>(self)->cancel_->cancel();
}

void DeferredRequest::answer(const Status& status) {
  if (status.ok()) return answer(0);
  if (status.code() == Code::interrupted)
    session_.counters.cancelled.fetch_add(1, std::memory_order_relaxed);
  if (!is_expected(status.code()))
    log(LogLevel::error, session_.name + ": " + operation_ + ": " + status.error().message);
  answer(to_lock_errno(status.code()));
}

void DeferredRequest::answer(int error) {
  fuse_req_t raw = std::exchange(raw_, nullptr);
  // Waits for an on_interrupt() that is running.
  fuse_req_interrupt_func(raw, nullptr, nullptr);
  if (fuse_reply_err(raw, error) != 0)
    session_.counters.failed_replies.fetch_add(1, std::memory_order_relaxed);
  session_.deferred.remove(cancel_);  // the session may go from here on
}

}  // namespace linkspan::fuse
