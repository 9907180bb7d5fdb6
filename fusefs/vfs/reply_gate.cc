#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

ReplyGate::Pass::~Pass() {
  bool last = false;
  {
    std::lock_guard lock(gate_->mutex_);
    last = --gate_->writing_[side_] == 0;
  }
  if (last) gate_->left_.notify_all();
}

uint64_t ReplyGate::now() const {
  std::lock_guard lock(mutex_);
  return count_;
}

ReplyGate::Pass ReplyGate::enter(uint64_t as_of) {
  std::lock_guard lock(mutex_);
  const unsigned side = count_ % 2;
  ++writing_[side];
  return Pass(this, side, as_of == count_);
}

// New writes go to the other side, so a stream of them cannot hold a revocation up.
void ReplyGate::advance() {
  std::lock_guard one(advancing_);
  std::unique_lock lock(mutex_);
  const unsigned side = count_ % 2;
  ++count_;
  left_.wait(lock, [&] { return writing_[side] == 0; });
}

}  // namespace linkspan::vfs
