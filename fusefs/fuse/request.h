// One request of the kernel, answered exactly once.
#pragma once

#include <memory>
#include <string_view>

#include "fusefs/fuse/lowlevel.h"
#include "fusefs/fuse/session_context.h"
#include "fusefs/vfs/vfs.h"
#include "linkspan/error.h"

namespace linkspan::fuse {

class DeferredRequest;

// Lives on the stack of a callback, on one thread. A request that was not answered when it goes is
// answered with EIO and logged. Every reply returns whether the kernel took it: where false, the
// caller was interrupted or the connection is gone, and what the reply would have handed over
// (a lookup count, a handle) must be taken back.
class Request {
 public:
  Request(fuse_req_t raw, const char* operation);
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  SessionContext& session() const { return session_; }
  fuse_req_t raw() const { return raw_; }
  // With a token that fires when the calling thread is dying.
  vfs::Caller caller() const;

  bool error(const Error& error);
  bool error(int positive_errno);
  bool done() { return error(0); }
  bool status(const Status& status) { return status.ok() ? done() : error(status.error()); }
  bool entry(const fuse_entry_param& entry);
  bool created(const fuse_entry_param& entry, const fuse_file_info& file);
  bool opened(const fuse_file_info& file);
  bool attributes(const struct stat& st, double timeout);
  bool link_target(const std::string& target);
  bool bytes(std::string_view data);
  bool data(fuse_bufvec* data);  // may splice from a descriptor
  bool written(size_t count);
  bool xattr_size(size_t size);
  bool filesystem(const struct statvfs& st);
  bool offset(uint64_t offset);
  bool lock(const struct flock& lock);
  void none();  // FORGET has no reply
  // To be answered later, from another thread; this object is done with it.
  std::shared_ptr<DeferredRequest> defer();

  bool answered() const { return raw_ == nullptr; }

 private:
  static void on_interrupt(fuse_req_t, void* self);
  fuse_req_t take();
  bool sent(int result);

  fuse_req_t raw_;
  const char* operation_;
  SessionContext& session_;
  fuse_ctx context_;
  std::shared_ptr<client::CancelToken> cancel_;  // outlives us in the interrupt watch
};

// Logs what a callback threw and answers EIO (ENOMEM for no memory).
void answer_exception(Request& request);

// Runs a callback's body: serve(raw, "lookup", [&](Request& r) {...}).
template <class Body>
void serve(fuse_req_t raw, const char* operation, Body&& body) noexcept {
  Request request(raw, operation);
  try {
    body(request);
  } catch (...) {
    answer_exception(request);
  }
}

}  // namespace linkspan::fuse
