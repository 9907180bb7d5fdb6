// Numbers of versions that a file gets once another file has replaced it, for those who hold it
// open. They are none of the history that goes on without it: whoever takes a version read of the
// one for a version of the other is told that there is no such version.
#pragma once

#include <cstdint>

#include "linkspan/types.h"

namespace linkspan {

inline constexpr uint64_t kForked = uint64_t{1} << 40;

// A commit over nothing but `before` made `after`.
constexpr bool follows(Version before, Version after) {
  const uint64_t next = before.value + 1;
  return after.value == next || (before.value < kForked && after.value == next + kForked);
}

}  // namespace linkspan
