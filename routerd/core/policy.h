// Which files a commit may be merged for.
#pragma once

#include <cstddef>
#include <string_view>

#include "linkspan/types.h"

namespace linkspan::core {

inline constexpr size_t kMergeBytes = 1 << 20;  // larger files are never merged
inline constexpr int kMergeAttempts = 64;       // while others keep moving the head on

// The policy for a file of this name under a route's policy: what is no text of independent lines
// (JSON, databases) is never line-merged but rejected. `path` may be a bare name; empty: not known.
Policy effective_policy(Policy route, std::string_view path);

}  // namespace linkspan::core
