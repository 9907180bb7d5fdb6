#include "fusefs/fuse/control_handles.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace linkspan::fuse {

void ControlHandle::write(Request& r, uint64_t, std::string_view) {
  r.error(EROFS);
}

void TextHandle::read(Request& r, uint64_t offset, size_t size) {
  const size_t at = std::min<uint64_t>(offset, text_.size());
  r.bytes(std::string_view(text_).substr(at, size));
}

void LiveHandle::read(Request& r, uint64_t offset, size_t size) {
  if (offset >= file_.size) {
    r.bytes({});
    return;
  }
  const Turn turn(*slow_, kSlowRequests);
  if (!turn) {
    r.error(EBUSY);
    return;
  }
  const auto data = file_.read(r.caller(), offset, std::min<uint64_t>(size, file_.size - offset));
  if (data.ok())
    r.bytes(std::string_view(*data).substr(0, size));
  else
    r.error(data.error());
}

void QueryHandle::write(Request& r, uint64_t offset, std::string_view data) {
  if (data.size() > kQueryBytes) {
    r.error(EMSGSIZE);
    return;
  }
  bool taken = false;
  {
    const std::lock_guard lock(mutex_);
    taken = state_ != State::asking;
    if (taken) {
      request_ = data;
      answer_.clear();
      begin_ = offset + data.size();
      state_ = State::asked;
    }
  }
  if (taken)
    r.written(data.size());
  else
    r.error(EBUSY);
}

// True: this thread is the one to ask.
bool QueryHandle::begin(std::string* request) {
  const std::lock_guard lock(mutex_);
  if (state_ != State::asked) return false;
  state_ = State::asking;
  *request = request_;
  return true;
}

void QueryHandle::end(State state, std::string answer) {
  const std::lock_guard lock(mutex_);
  answer_ = std::move(answer);
  state_ = state;
}

// False: not now, others wait for the router already.
bool QueryHandle::ask(Request& r, const std::string& request) {
  const Turn turn(*slow_, kSlowRequests);
  if (!turn) {
    end(State::asked, {});
    return false;
  }
  try {
    end(State::answered, (*query_)(r.caller(), request));
  } catch (...) {
    end(State::idle, {});
    throw;
  }
  return true;
}

void QueryHandle::read(Request& r, uint64_t offset, size_t size) {
  std::string request, part;
  int error = 0;
  if (begin(&request) && !ask(r, request)) error = EBUSY;
  if (error == 0) {
    const std::lock_guard lock(mutex_);
    if (state_ == State::asking)
      error = EBUSY;
    else if (state_ != State::answered || offset < begin_)
      error = EINVAL;
    else if (offset - begin_ < answer_.size())
      part = answer_.substr(offset - begin_, size);
  }
  if (error != 0)
    r.error(error);
  else
    r.bytes(part);
}

}  // namespace linkspan::fuse
