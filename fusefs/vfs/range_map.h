// Which bytes of a file a buffer has something to say about: disjoint ranges, each of data or a
// hole of zeros. Not thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

namespace linkspan::vfs {

struct Range {  // bytes [begin, end)
  uint64_t begin = 0;
  uint64_t end = 0;
  bool operator==(const Range&) const = default;
};

class RangeMap {
 public:
  struct Piece {
    uint64_t begin = 0;
    uint64_t end = 0;
    bool hole = false;
    bool operator==(const Piece&) const = default;
  };

  void set(uint64_t begin, uint64_t end, bool hole) {
    if (begin >= end) return;
    erase(begin, end);
    auto next = pieces_.lower_bound(begin);
    if (next != pieces_.begin()) {
      auto before = std::prev(next);
      if (before->second.end == begin && before->second.hole == hole) {
        begin = before->first;
        pieces_.erase(before);
      }
    }
    if (next != pieces_.end() && next->first == end && next->second.hole == hole) {
      end = next->second.end;
      pieces_.erase(next);
    }
    pieces_[begin] = {end, hole};
  }

  // Nothing is said of these bytes any more.
  void erase(uint64_t begin, uint64_t end) {
    if (begin >= end) return;
    auto it = pieces_.lower_bound(begin);
    if (it != pieces_.begin()) {
      auto before = std::prev(it);
      const Tail tail = before->second;
      if (tail.end > begin) {
        before->second.end = begin;
        if (tail.end > end) pieces_[end] = tail;
      }
    }
    while (it != pieces_.end() && it->first < end) {
      const Tail tail = it->second;
      it = pieces_.erase(it);
      if (tail.end > end) {
        pieces_[end] = tail;
        break;
      }
    }
  }

  // The pieces within [begin, end), clipped to it, ascending.
  template <class Visit>
  void visit(uint64_t begin, uint64_t end, Visit visit) const {
    auto it = pieces_.upper_bound(begin);
    if (it != pieces_.begin() && std::prev(it)->second.end > begin) --it;
    for (; it != pieces_.end() && it->first < end; ++it)
      visit(Piece{std::max(begin, it->first), std::min(end, it->second.end), it->second.hole});
  }

  // The first piece that ends after `at`, whole; false if there is none.
  bool next(uint64_t at, Piece* out) const {
    auto it = pieces_.upper_bound(at);
    if (it != pieces_.begin() && std::prev(it)->second.end > at) --it;
    if (it == pieces_.end()) return false;
    *out = Piece{it->first, it->second.end, it->second.hole};
    return true;
  }

  bool empty() const { return pieces_.empty(); }
  size_t size() const { return pieces_.size(); }
  uint64_t end() const { return pieces_.empty() ? 0 : pieces_.rbegin()->second.end; }

 private:
  struct Tail {
    uint64_t end;
    bool hole;
  };
  std::map<uint64_t, Tail> pieces_;  // by begin
};

}  // namespace linkspan::vfs
