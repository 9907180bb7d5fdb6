#include "fusefs/client/lock_book.h"

#include <algorithm>

namespace linkspan::client {

void LockBook::begin(const Lock& lock) {
  const std::lock_guard guard(mutex_);
  Owner& owner = owners_[key(lock)];
  ++owner.under_way;
  if (gives_up(lock)) ++owner.giving_up;
}

void LockBook::end(const Lock& lock) {
  const std::lock_guard guard(mutex_);
  const auto at = owners_.find(key(lock));
  if (at == owners_.end()) return;
  --at->second.under_way;
  if (gives_up(lock)) --at->second.giving_up;
  tidy(at);
}

void LockBook::tidy(std::map<Key, Owner>::iterator at) {
  if (at->second.under_way != 0) return;
  at->second.ranges.compact();
  if (at->second.ranges.empty()) owners_.erase(at);
}

bool LockBook::set(const Lock& lock, uint64_t order, uint64_t link) {
  const std::lock_guard guard(mutex_);
  if (link < link_) return false;
  Owner& owner = owners_[key(lock)];
  owner.ranges.apply(lock.range, lock.type, order);
  owner.last_order = std::max(owner.last_order, order);
  if (lock.type != LockType::none) {
    owner.pid = lock.pid;
    owner.private_to_session = lock.private_to_session;
  }
  return true;
}

void LockBook::gave_up(const Lock& lock) {
  const std::lock_guard guard(mutex_);
  const auto at = owners_.find(key(lock));
  if (at == owners_.end() || !at->second.ranges.any()) return;
  at->second.ranges.apply(LockRange{}, LockType::none, ++at->second.last_order);
}

LockType LockBook::held(const Lock& lock) const {
  const std::lock_guard guard(mutex_);
  LockType strongest = LockType::none;
  const auto at = owners_.find(key(lock));
  if (at == owners_.end()) return strongest;
  at->second.ranges.each(lock.range, [&](const LockRange&, LockType type) {
    strongest = std::max(strongest, type);
    return true;
  });
  return strongest;
}

bool LockBook::has(const Lock& lock) const {
  const std::lock_guard guard(mutex_);
  return owners_.count(key(lock)) != 0;
}

size_t LockBook::size() const {
  const std::lock_guard guard(mutex_);
  return all().size();
}

std::vector<Lock> LockBook::all() const {
  std::vector<Lock> locks;
  for (const auto& [key, owner] : owners_) {
    Lock lock{std::get<0>(key), std::get<1>(key),        std::get<2>(key), {}, {},
              owner.pid,        owner.private_to_session};
    owner.ranges.each(LockRange{}, [&](const LockRange& range, LockType type) {
      lock.range = range;
      lock.type = type;
      locks.push_back(lock);
      return true;
    });
  }
  return locks;
}

std::vector<Lock> LockBook::told(uint64_t link) {
  const std::lock_guard guard(mutex_);
  link_ = link;
  return all();
}

std::vector<Lock> LockBook::lose(const std::vector<Lock>& locks) {
  const std::lock_guard guard(mutex_);
  std::vector<Lock> missed;
  for (const Lock& lock : locks) {
    const auto at = owners_.find(key(lock));
    if (at == owners_.end() || at->second.giving_up == 0) {
      missed.push_back(lock);
      ++losses_[lock.ino];
    }
    if (at == owners_.end()) continue;
    at->second.ranges = LockRanges();
    tidy(at);
  }
  return missed;
}

std::vector<Lock> LockBook::lose_all() {
  std::vector<Lock> locks;
  {
    const std::lock_guard guard(mutex_);
    locks = all();
  }
  return lose(locks);
}

uint64_t LockBook::losses(Ino ino) const {
  const std::lock_guard guard(mutex_);
  const auto at = losses_.find(ino);
  return at == losses_.end() ? 0 : at->second;
}

}  // namespace linkspan::client
