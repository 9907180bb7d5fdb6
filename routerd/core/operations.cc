#include "routerd/core/operations.h"

#include <algorithm>
#include <utility>

namespace linkspan::core {
namespace {

constexpr size_t kGivenUp = 4096;  // numbers that are remembered

}  // namespace

Operations::Begin Operations::begin(OpNumber number, MutationDone& reply) {
  const std::lock_guard lock(mutex_);
  if (const auto at = running_.find(number); at != running_.end()) {
    if (at->second.size() >= limits::kTriesJoined) return Begin::full;
    at->second.push_back(std::move(reply));
    return Begin::joined;
  }
  if (given_up_.count(number)) return Begin::given_up;
  if (closed_) return Begin::closed;
  if (held_back_) return Begin::held_back;
  if (running_.size() >= limits::kRouterQueue) return Begin::full;
  running_[number].push_back(std::move(reply));
  return Begin::first;
}

Operations::GivenUp Operations::give_up(OpNumber number, MutationDone& done) {
  const std::lock_guard lock(mutex_);
  given_up_.insert(number);
  if (given_up_.size() > kGivenUp) given_up_.erase(given_up_.begin());
  const auto at = running_.find(number);
  if (at == running_.end()) return GivenUp::over;
  if (at->second.size() >= limits::kTriesJoined) return GivenUp::full;
  at->second.push_back(std::move(done));
  return GivenUp::joined;
}

std::vector<MutationDone> Operations::finish(OpNumber number) {
  const std::lock_guard lock(mutex_);
  auto node = running_.extract(number);
  return node ? std::move(node.mapped()) : std::vector<MutationDone>();
}

OpNumber Operations::lowest(OpNumber most) const {
  const std::lock_guard lock(mutex_);
  return running_.empty() ? most : std::min(most, running_.begin()->first);
}

bool Operations::hold_back() {
  const std::lock_guard lock(mutex_);
  held_back_ = true;
  return running_.empty();
}

void Operations::go_on() {
  const std::lock_guard lock(mutex_);
  held_back_ = false;
}

bool Operations::idle() const {
  const std::lock_guard lock(mutex_);
  return running_.empty();
}

bool Operations::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  return running_.empty();
}

bool Operations::closed_and_idle() const {
  const std::lock_guard lock(mutex_);
  return closed_ && running_.empty();
}

}  // namespace linkspan::core
