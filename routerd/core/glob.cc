#include "routerd/core/glob.h"

#include <fnmatch.h>

#include <string>

namespace linkspan::core {
namespace {

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

bool is_of_names(std::string_view glob) {
  return glob.find('/') == std::string_view::npos;
}

Parts parts_of_glob(std::string_view glob) {
  if (glob.starts_with('/')) glob.remove_prefix(1);
  Parts parts = parts_of(glob);
  if (parts.back() == "**") parts.emplace_back("*");
  return parts;
}

// How much of a glob some names have used up: in which of its parts, or behind the last, the next
// name may go on.
using Reached = std::vector<bool>;

// A `**` may also stand for nothing.
void pass_over(const Parts& glob, Reached* reached) {
  for (size_t i = 0; i < glob.size(); ++i)
    if ((*reached)[i] && glob[i] == "**") (*reached)[i + 1] = true;
}

Reached reach(const Parts& glob, std::string_view path) {
  Reached reached(glob.size() + 1);
  reached[0] = true;
  pass_over(glob, &reached);
  if (path.empty()) return reached;
  for (const std::string& name : parts_of(path)) {
    Reached next(glob.size() + 1);
    for (size_t i = 0; i < glob.size(); ++i) {
      if (!reached[i]) continue;
      if (glob[i] == "**")
        next[i] = true;
      else if (part_matches(glob[i], name))
        next[i + 1] = true;
    }
    pass_over(glob, &next);
    reached = std::move(next);
  }
  return reached;
}

// What was used up to its end matches nothing below.
Reached below(const Parts& glob, std::string_view directory) {
  Reached reached = reach(glob, directory);
  reached.back() = false;
  return reached;
}

}  // namespace

bool matches(std::string_view glob, std::string_view path) {
  if (path.empty()) return false;
  if (is_of_names(glob))
    return part_matches(std::string(glob), std::string(path.substr(path.rfind('/') + 1)));
  return reach(parts_of_glob(glob), path).back();
}

bool tells_apart(std::string_view glob, std::string_view directory, std::string_view other) {
  if (is_of_names(glob)) return false;
  const Parts parts = parts_of_glob(glob);
  return below(parts, directory) != below(parts, other);
}

}  // namespace linkspan::core
