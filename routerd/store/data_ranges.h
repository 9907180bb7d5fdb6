// How stores put a reply about data ranges together, chunk by chunk.
#pragma once

#include <algorithm>

#include "linkspan/limits.h"
#include "linkspan/ops.h"

namespace linkspan::store {

// The next chunk that holds something: its data are its first `filled` bytes. Ascending.
inline void add_chunk(DataRangesReply& reply, uint64_t offset, uint64_t chunk, uint64_t filled) {
  const uint64_t begin = std::max(chunk * limits::kChunkBytes, offset);
  const uint64_t end = std::min(chunk * limits::kChunkBytes + filled, reply.size);
  if (begin >= end) return;
  if (!reply.ranges.empty() && reply.ranges.back().end == begin) {
    reply.ranges.back().end = end;
  } else {
    reply.ranges.push_back({begin, end});
  }
}

}  // namespace linkspan::store
