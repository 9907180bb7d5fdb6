#include "routerd/core/policy.h"

#include <fnmatch.h>

#include <array>
#include <string>

namespace linkspan::core {
namespace {

// Glob patterns of the last part of a path, without regard to case.
constexpr std::array kNeverMerged = {"*.json", "*.ipynb", "*.sqlite*", "*.db*"};

}  // namespace

Policy effective_policy(Policy route, std::string_view path) {
  if (route != Policy::merge) return route;
  const std::string name(path.substr(path.rfind('/') + 1));
  for (const char* pattern : kNeverMerged)
    if (fnmatch(pattern, name.c_str(), FNM_CASEFOLD) == 0) return Policy::reject;
  return route;
}

}  // namespace linkspan::core
