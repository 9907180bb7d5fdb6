#include "routerd/core/policy.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace linkspan::core {
namespace {

// Glob patterns of the last part of a path, without regard to case.
constexpr std::array kNeverMerged = {"*.json", "*.ipynb", "*.sqlite*", "*.db*"};

using Parts = std::vector<std::string>;

Parts parts_of(std::string_view text) {
  Parts parts;
  for (;;) {
    const size_t slash = text.find('/');
    parts.emplace_back(text.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

bool part_matches(const std::string& glob, const std::string& name) {
  return fnmatch(glob.c_str(), name.c_str(), 0) == 0;
}

// Each `**` takes as few parts as it can; where it goes on no longer, the last one takes one more.
bool parts_match(const Parts& glob, const Parts& path) {
  size_t g = 0, p = 0, after = 0, taken = 0;  // after: the last `**`; 0: there was none yet
  while (p < path.size()) {
    if (g < glob.size() && glob[g] == "**") {
      after = ++g;
      taken = p;
    } else if (g < glob.size() && part_matches(glob[g], path[p])) {
      ++g, ++p;
    } else if (after > 0) {
      g = after;
      p = ++taken;
    } else {
      return false;
    }
  }
  return g == glob.size();
}

}  // namespace

bool matches(std::string_view glob, std::string_view path) {
  if (path.empty()) return false;
  if (glob.find('/') == std::string_view::npos)
    return part_matches(std::string(glob), std::string(path.substr(path.rfind('/') + 1)));
  if (glob.starts_with('/')) glob.remove_prefix(1);
  Parts parts = parts_of(glob);
  if (parts.back() == "**") parts.emplace_back("*");
  return parts_match(parts, parts_of(path));
}

bool by_path(const Route& route) {
  return std::any_of(route.patterns.begin(), route.patterns.end(),
                     [](const PolicyPattern& p) { return p.glob.find('/') != std::string::npos; });
}

Policy effective_policy(const Route& route, std::string_view path) {
  for (const PolicyPattern& pattern : route.patterns)
    if (matches(pattern.glob, path)) return pattern.policy;
  if (route.policy != Policy::merge) return route.policy;
  const std::string name(path.substr(path.rfind('/') + 1));
  for (const char* pattern : kNeverMerged)
    if (fnmatch(pattern, name.c_str(), FNM_CASEFOLD) == 0) return Policy::reject;
  return route.policy;
}

}  // namespace linkspan::core
