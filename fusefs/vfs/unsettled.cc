#include "fusefs/vfs/unsettled.h"

#include <algorithm>

namespace linkspan::vfs {

void Unsettled::add(OpNumber operation, Revocation touched, uint64_t moves) {
  client_->forget_operation(operation);
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  const bool everything = touched.everything || moves != moves_;
  changes_.push_back({operation, std::move(touched), everything});
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  wake_.notify_all();
}

void Unsettled::names_moved(const std::vector<RevokedName>* names) {
  const std::lock_guard lock(mutex_);
  if (names != nullptr && names->empty()) return;
  ++moves_;
  for (Change& change : changes_) {
    change.everything |= names == nullptr;
    if (change.everything) continue;
    for (const RevokedName& name : change.touched.names)
      change.everything |= std::find(names->begin(), names->end(), name) != names->end();
  }
}

uint64_t Unsettled::moves() {
  const std::lock_guard lock(mutex_);
  return moves_;
}

void Unsettled::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.cancel();
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Unsettled::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (changes_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const OpNumber operation = changes_.front().operation;
    lock.unlock();
    const auto seq = client_->give_up(Doing::until_timeout(*options_, &stop_).call(), operation);
    lock.lock();
    if (!seq.ok() && transient(seq.code())) {
      std::rotate(changes_.begin(), changes_.begin() + 1, changes_.end());  // the others' turn
      wake_.wait_for(lock, kSettleRetryDelay, [this] { return stopping_; });
      continue;
    }
    const Change change = std::move(changes_.front());
    changes_.pop_front();
    lock.unlock();
    Revocation drop = change.touched;
    drop.everything = change.everything || !seq.ok();  // nobody says what became of it
    if (seq.ok()) drop.seq = *seq;
    over_(change.touched, drop);
    lock.lock();
  }
}

}  // namespace linkspan::vfs
