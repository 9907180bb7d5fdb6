#include "routerd/rpc/sweeper.h"

#include <pthread.h>

#include <algorithm>

namespace linkspan::rpc {

Sweeper::Sweeper(std::chrono::milliseconds period) : period_(period), thread_([this] { run(); }) {}

Sweeper::~Sweeper() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Sweeper::add(const std::shared_ptr<Sweepable>& what) {
  const std::lock_guard lock(mutex_);
  all_.push_back(what);
}

std::vector<std::shared_ptr<Sweepable>> Sweeper::alive() {
  std::vector<std::shared_ptr<Sweepable>> out;
  const std::lock_guard lock(mutex_);
  std::erase_if(all_, [&out](const std::weak_ptr<Sweepable>& weak) {
    auto one = weak.lock();
    if (one) out.push_back(std::move(one));
    return weak.expired();
  });
  return out;
}

void Sweeper::stop_all() {
  for (const auto& one : alive()) one->stop();
}

void Sweeper::run() {
  pthread_setname_np(pthread_self(), "rpc-sweeper");
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, period_, [this] { return ended_; })) {
    lock.unlock();
    const auto now = std::chrono::steady_clock::now();
    for (const auto& one : alive()) one->sweep(now);
    lock.lock();
  }
}

}  // namespace linkspan::rpc
