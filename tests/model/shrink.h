// Delta debugging: the smallest part of a failing sequence that still fails, by leaving out ever
// smaller runs of it.
#pragma once

#include <functional>
#include <vector>

namespace linkspan::test {

constexpr size_t kShrinkTries = 3000;  // bound of the whole search

template <class T>
std::vector<T> shrink(std::vector<T> failing,
                      const std::function<bool(const std::vector<T>&)>& fails) {
  size_t tries = 0;
  for (size_t run = failing.size() / 2; run >= 1;) {
    bool smaller = false;
    for (size_t at = 0; at + run <= failing.size() && tries < kShrinkTries;) {
      std::vector<T> less = failing;
      less.erase(less.begin() + static_cast<ptrdiff_t>(at),
                 less.begin() + static_cast<ptrdiff_t>(at + run));
      ++tries;
      if (fails(less)) {
        failing = std::move(less);
        smaller = true;
      } else {
        at += run;
      }
    }
    if (tries >= kShrinkTries) break;
    if (!smaller || run > failing.size()) run /= 2;
  }
  return failing;
}

}  // namespace linkspan::test
