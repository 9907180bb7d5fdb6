// Where one version of a file has data, as far as the router was asked: for SEEK_DATA, SEEK_HOLE.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fusefs/vfs/range_map.h"
#include "linkspan/types.h"

namespace linkspan::vfs {

struct Sought {
  enum class What : uint8_t {
    found,    // at `at`
    nothing,  // there is none up to the end of file
    unknown,  // none before `at`: go on from there, with a map that knows it
  };
  What what = What::nothing;
  uint64_t at = 0;
  bool operator==(const Sought&) const = default;
};

// A value; constant once it is made.
struct DataMap {
  Version version;
  uint64_t size = 0;
  uint64_t begin = 0, until = 0;  // what is known
  std::vector<Range> data;        // ascending, disjoint; the rest of what is known is holes

  bool tells(uint64_t offset) const { return begin <= offset && (offset < until || until == size); }

  // The first byte of data, or of a hole, at or after `offset` < size, which tells(). The end of
  // file is a hole.
  Sought seek(uint64_t offset, bool wants_data) const {
    auto range = std::upper_bound(data.begin(), data.end(), offset,
                                  [](uint64_t at, const Range& r) { return at < r.end; });
    if (wants_data && range != data.end())
      return {Sought::What::found, std::max(offset, range->begin)};
    uint64_t at = offset;
    if (!wants_data)
      for (; range != data.end() && range->begin <= at; ++range) at = range->end;
    if (until < size && (wants_data || at >= until)) return {Sought::What::unknown, until};
    if (wants_data) return {Sought::What::nothing, 0};
    return {Sought::What::found, at};
  }
};

}  // namespace linkspan::vfs
