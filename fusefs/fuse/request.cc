#include "fusefs/fuse/request.h"

#include <cerrno>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "fusefs/fuse/deferred.h"
#include "fusefs/fuse/errno_table.h"
#include "fusefs/fuse/log.h"

namespace linkspan::fuse {

Request::Request(fuse_req_t raw, const char* operation)
    : raw_(raw),
      operation_(operation),
      session_(*static_cast<SessionContext*>(fuse_req_userdata(raw))),
      context_(*fuse_req_ctx(raw)),
      cancel_(std::make_shared<client::CancelToken>()) {
  session_.counters.requests.fetch_add(1, std::memory_order_relaxed);
  // Runs at once if the INTERRUPT was read before the request.
  fuse_req_interrupt_func(raw_, &Request::on_interrupt, this);
}

Request::~Request() {
  if (answered()) return;
  session_.counters.unanswered.fetch_add(1, std::memory_order_relaxed);
  log(LogLevel::error, session_.name + ": " + operation_ + " was not answered; EIO");
  error(EIO);
}

void Request::on_interrupt(fuse_req_t, void* self) {
  auto* request = static_cast<Request*>(self);
  request->session_.interrupts.on_interrupt(request->context_.pid, request->cancel_);
}

vfs::Caller Request::caller() const {
  return {context_.uid, context_.gid, context_.pid, cancel_.get()};
}

fuse_req_t Request::take() {
  // Waits for an on_interrupt() that is running: after this, none touches this object.
  fuse_req_interrupt_func(raw_, nullptr, nullptr);
  return std::exchange(raw_, nullptr);
}

bool Request::sent(int result) {
  if (result == 0) return true;
  session_.counters.failed_replies.fetch_add(1, std::memory_order_relaxed);
  return false;
}

bool Request::error(const Error& error) {
  if (!is_expected(error.code)) {
    session_.counters.unexpected_errors.fetch_add(1, std::memory_order_relaxed);
    log(LogLevel::error, session_.name + ": " + operation_ + ": " +
                             std::string(to_string(error.code)) + ": " + error.message);
  }
  if (error.code == Code::interrupted)
    session_.counters.cancelled.fetch_add(1, std::memory_order_relaxed);
  return this->error(to_errno(error.code));
}

bool Request::error(int positive_errno) {
  return sent(fuse_reply_err(take(), positive_errno));
}

bool Request::entry(const fuse_entry_param& entry) {
  return sent(fuse_reply_entry(take(), &entry));
}

bool Request::created(const fuse_entry_param& entry, const fuse_file_info& file) {
  return sent(fuse_reply_create(take(), &entry, &file));
}

bool Request::opened(const fuse_file_info& file) {
  return sent(fuse_reply_open(take(), &file));
}

bool Request::attributes(const struct stat& st, double timeout) {
  return sent(fuse_reply_attr(take(), &st, timeout));
}

bool Request::link_target(const std::string& target) {
  return sent(fuse_reply_readlink(take(), target.c_str()));
}

bool Request::bytes(std::string_view data) {
  return sent(fuse_reply_buf(take(), data.data(), data.size()));
}

bool Request::data(fuse_bufvec* data) {
  return sent(fuse_reply_data(take(), data, FUSE_BUF_SPLICE_MOVE));
}

bool Request::written(size_t count) {
  return sent(fuse_reply_write(take(), count));
}

bool Request::xattr_size(size_t size) {
  return sent(fuse_reply_xattr(take(), size));
}

bool Request::filesystem(const struct statvfs& st) {
  return sent(fuse_reply_statfs(take(), &st));
}

bool Request::offset(uint64_t offset) {
  return sent(fuse_reply_lseek(take(), static_cast<off_t>(offset)));
}

bool Request::lock(const struct flock& lock) {
  return sent(fuse_reply_lock(take(), &lock));
}

std::shared_ptr<DeferredRequest> Request::defer() {
  return DeferredRequest::make(take(), operation_, session_);
}

void Request::none() {
  fuse_reply_none(take());
}

void answer_exception(Request& request) {
  std::string what = "an unknown exception";
  int reply = EIO;
  try {
    throw;
  } catch (const std::bad_alloc&) {
    what = "out of memory";
    reply = ENOMEM;
  } catch (const std::exception& e) {
    what = e.what();
  } catch (...) {
  }
  request.session().counters.unexpected_errors.fetch_add(1, std::memory_order_relaxed);
  log(LogLevel::error, request.session().name + ": a callback threw: " + what);
  if (!request.answered()) request.error(reply);
}

}  // namespace linkspan::fuse
