// The locked ranges of one owner in one file: setting a part splits and merges them, as fcntl(2)
// does. Each piece remembers the order in which it was set, so that answers that arrive in another
// order (the mount's view) come to the same result.
//
// Threads: the caller's. Half-open ranges; pieces do not overlap.
#pragma once

#include <iterator>
#include <map>

#include "linkspan/lock_ops.h"

namespace linkspan {

class LockRanges {
 public:
  struct Piece {
    uint64_t end = 0;
    LockType type = LockType::none;
    uint64_t order = 0;
  };

  // Sets what of the range was set before `order`. Unlocked parts stay as pieces until compact().
  void apply(const LockRange& range, LockType type, uint64_t order) {
    if (range.empty()) return;
    split(range.begin);
    split(range.end);
    uint64_t at = range.begin;
    auto it = pieces_.lower_bound(range.begin);
    while (at < range.end) {
      if (it == pieces_.end() || it->first > at) {
        const uint64_t end =
            it == pieces_.end() ? range.end : (it->first < range.end ? it->first : range.end);
        pieces_.emplace_hint(it, at, Piece{end, type, order});
        at = end;
      } else {
        if (it->second.order < order) {
          it->second.type = type;
          it->second.order = order;
        }
        at = it->second.end;
        ++it;
      }
    }
  }
  // Nothing that was set earlier is still to come: unlocked pieces go, equal neighbours are one. In
  // and around the range.
  void compact(const LockRange& range = {}) {
    auto it = pieces_.lower_bound(range.begin);
    if (it != pieces_.begin()) --it;
    while (it != pieces_.end() && it->first <= range.end) {
      if (it->second.type == LockType::none) {
        it = pieces_.erase(it);
        continue;
      }
      if (it != pieces_.begin()) {
        const auto before = std::prev(it);
        if (before->second.end == it->first && before->second.type == it->second.type) {
          before->second.end = it->second.end;
          if (before->second.order < it->second.order) before->second.order = it->second.order;
          it = pieces_.erase(it);
          continue;
        }
      }
      ++it;
    }
  }

  // Every byte is held, at least so strongly.
  bool covers(const LockRange& range, LockType type) const {
    uint64_t at = range.begin;
    for (auto it = first(range.begin); it != pieces_.end() && at < range.end; ++it) {
      if (it->first > at || it->second.type < type) return false;
      at = it->second.end;
    }
    return at >= range.end;
  }
  // Calls `visit(range, type)` for each locked piece that overlaps, in order, until it says false.
  template <class Visit>
  void each(const LockRange& range, Visit&& visit) const {
    for (auto it = first(range.begin); it != pieces_.end() && it->first < range.end; ++it) {
      if (it->second.type == LockType::none || it->second.end <= range.begin) continue;
      if (!visit(LockRange{it->first, it->second.end}, it->second.type)) return;
    }
  }
  bool any() const {
    for (const auto& [begin, piece] : pieces_)
      if (piece.type != LockType::none) return true;
    return false;
  }
  size_t size() const { return pieces_.size(); }
  bool empty() const { return pieces_.empty(); }

 private:
  using Map = std::map<uint64_t, Piece>;
  Map::const_iterator first(uint64_t at) const {
    auto it = pieces_.upper_bound(at);
    return it == pieces_.begin() ? it : std::prev(it);
  }
  void split(uint64_t at) {
    auto it = pieces_.upper_bound(at);
    if (it == pieces_.begin()) return;
    --it;
    if (it->first == at || it->second.end <= at) return;
    Piece rest = it->second;
    it->second.end = at;
    pieces_.emplace(at, rest);
  }

  Map pieces_;  // by begin
};

}  // namespace linkspan
