// How a path is written into the log of changes, in every store.
#pragma once

#include <string>
#include <string_view>

#include "linkspan/limits.h"

namespace linkspan::store {

// Directories nest without bound, a log entry does not: of a path above kPathBytes the last names
// that fit stay, behind ".../". The name of the file itself always does.
inline std::string logged_path(std::string path) {
  constexpr std::string_view kCut = "...";
  if (path.size() <= limits::kPathBytes) return path;
  const auto slash = path.find('/', path.size() - limits::kPathBytes + kCut.size());
  return std::string(kCut) + path.substr(slash);
}

}  // namespace linkspan::store
