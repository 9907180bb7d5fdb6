// Up to which change each key was revoked, so that a reply which a revocation overtook is never
// cached (DESIGN 4). Bounded: what falls out raises a floor for every key, which costs a few cache
// misses and never a stale answer. Not thread-safe: the owner locks.
#pragma once

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <utility>

#include "linkspan/types.h"

namespace linkspan::cache {

inline constexpr size_t kFenceKeys = 1 << 16;  // of each kind

template <class Key, class Hash = std::hash<Key>>
class Fence {
 public:
  explicit Fence(size_t capacity = kFenceKeys) : capacity_(capacity) {}

  // What is said of `key` with an as_of below `seq` is old from now on.
  void raise(const Key& key, Seq seq) {
    auto [it, inserted] = seqs_.try_emplace(key, seq);
    if (!inserted) {
      if (it->second >= seq) return;
      it->second = seq;
    }
    order_.emplace_back(key, seq);
    while (order_.size() > capacity_) forget_oldest();
  }

  // The same for every key.
  void raise_floor(Seq seq) { floor_ = std::max(floor_, seq); }

  bool admits(const Key& key, Seq as_of) const {
    if (as_of < floor_) return false;
    auto it = seqs_.find(key);
    return it == seqs_.end() || as_of >= it->second;
  }

  Seq floor() const { return floor_; }
  size_t size() const { return seqs_.size(); }

 private:
  void forget_oldest() {
    const auto& [key, seq] = order_.front();
    auto it = seqs_.find(key);
    if (it != seqs_.end() && it->second == seq) {  // else it was raised since and stands later
      raise_floor(seq);
      seqs_.erase(it);
    }
    order_.pop_front();
  }

  size_t capacity_;
  Seq floor_;
  std::unordered_map<Key, Seq, Hash> seqs_;
  std::deque<std::pair<Key, Seq>> order_;  // oldest first; holds each raise
};

}  // namespace linkspan::cache
