// What becomes of a write whose base is not the head any more, by the file's name.
#pragma once

#include <cstddef>
#include <string_view>

#include "linkspan/types.h"

namespace linkspan::core {

inline constexpr size_t kMergeBytes = 1 << 20;  // larger files are never merged
inline constexpr int kMergeAttempts = 64;       // while others keep moving the head on

// The policy for the file of this path (from the volume's root on) under a route. The first of the
// route's patterns that matches decides: it is the operator's word, also where it says `merge` of
// JSON. Else, under `merge`, what is no text of independent lines (JSON, databases) is never
// line-merged but rejected, and editors' backups (NAME~) go to the last writer; so does what is
// below a directory .git: git has locks of its own, and writes COMMIT_EDITMSG in place without
// having read it. Else the route's policy. An empty path is one that is not known: no pattern
// matches. Unless by_path(route), a bare name is as good as the path.
Policy effective_policy(const Route& route, std::string_view path);

// Has the route a pattern that speaks of it; and does it look at more than the name?
bool by_name(const Route& route);
bool by_path(const Route& route);

}  // namespace linkspan::core
