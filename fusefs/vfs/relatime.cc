#include "fusefs/vfs/relatime.h"

namespace linkspan::vfs {

Relatime::Relatime(Tree* tree, const VfsOptions* options) : tree_(tree), options_(options) {
  if (options_->route.writable()) thread_ = std::thread([this] { run(); });
}

Relatime::~Relatime() {
  stop();
}

void Relatime::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stop_.cancel();
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Relatime::due(const Attr& attr, Time now) const {
  if (!options_->route.writable()) return false;
  return attr.atime <= attr.mtime || attr.atime <= attr.ctime ||
         attr.atime.ns <= now.ns - kAccessTimeAge;
}

bool Relatime::accessed(Ino ino) {
  if (!options_->route.writable()) return false;
  const auto known = tree_->known_node(ino);
  const Time now = options_->clock->now();
  if (!known || !due(known->node.attr, now)) return false;
  tree_->set_atime(ino, now);
  {
    std::lock_guard lock(mutex_);
    if (waiting_.size() < kAccessTimes) waiting_[ino] = now;
  }
  wake_.notify_one();
  return true;
}

Status Relatime::settle(Ino ino, const cache::Patience& patience) {
  return patience.wait(mutex_, told_, [&] {
    waiting_.erase(ino);
    return telling_ != ino;
  });
}

void Relatime::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    const auto next = waiting_.extract(waiting_.begin());
    telling_ = next.key();
    lock.unlock();
    SetAttrRequest request;
    request.ino = next.key();
    request.atime = next.mapped();
    request.relaxed = true;
    // Lost if the router does not take it: that is what relaxed means.
    (void)tree_->client()->set_attributes(Doing::until_timeout(*options_, &stop_).call(),
                                          std::move(request));
    lock.lock();
    telling_ = {};
    told_.notify_all();
  }
}

}  // namespace linkspan::vfs
