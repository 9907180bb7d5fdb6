#include "routerd/core/policy.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <string>

#include "routerd/core/glob.h"

namespace linkspan::core {
namespace {

// Glob patterns of the last part of a path, without regard to case.
constexpr std::array kNeverMerged = {"*.json", "*.ipynb", "*.sqlite*", "*.db*"};
constexpr const char* kBackups = "*~";  // of editors, which replace theirs without having read it

}  // namespace

bool by_name(const Route& route) {
  return std::any_of(route.patterns.begin(), route.patterns.end(),
                     [](const PolicyPattern& p) { return p.policy.has_value(); });
}

bool by_path(const Route& route) {
  if (route.policy == Policy::merge) return true;
  return std::any_of(route.patterns.begin(), route.patterns.end(), [](const PolicyPattern& p) {
    return p.policy && p.glob.find('/') != std::string::npos;
  });
}

Policy effective_policy(const Route& route, std::string_view path) {
  for (const PolicyPattern& pattern : route.patterns)
    if (pattern.policy && matches(pattern.glob, path)) return *pattern.policy;
  if (route.policy != Policy::merge) return route.policy;
  if (path.starts_with(".git/") || path.find("/.git/") != std::string_view::npos)
    return Policy::last_writer_wins;
  const std::string name(path.substr(path.rfind('/') + 1));
  if (fnmatch(kBackups, name.c_str(), 0) == 0) return Policy::last_writer_wins;
  for (const char* pattern : kNeverMerged)
    if (fnmatch(pattern, name.c_str(), FNM_CASEFOLD) == 0) return Policy::reject;
  return route.policy;
}

}  // namespace linkspan::core
