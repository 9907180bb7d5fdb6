#include "routerd/rpc/admission.h"

namespace linkspan::rpc {

Admission::Ticket Admission::enter() {
  const std::lock_guard lock(mutex_);
  if (closed_) return Ticket();
  ++inside_;
  return Ticket(this);
}

void Admission::leave() {
  const std::lock_guard lock(mutex_);
  // Notified under the lock: after it, whoever waits may destroy this.
  if (--inside_ == 0 && closed_) idle_.notify_all();
}

void Admission::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

bool Admission::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

bool Admission::wait_idle(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return idle_.wait_until(lock, deadline, [this] { return inside_ == 0; });
}

uint64_t Admission::inside() const {
  const std::lock_guard lock(mutex_);
  return inside_;
}

}  // namespace linkspan::rpc
