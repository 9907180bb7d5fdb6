#include "routerd/core/rules.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "routerd/core/glob.h"

namespace linkspan::core {
namespace {

constexpr const char* kByReaches = "by the paths that the token was narrowed to";

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

std::string by(const PolicyPattern& pattern) {
  return "by the token's pattern " + quoted(pattern.glob);
}

void limit_access(Ruling* ruling, Access access, const std::string& by) {
  if (access >= ruling->access) return;
  ruling->access = access;
  ruling->access_by = by;
}

void forbid_exec(Ruling* ruling, const std::string& by) {
  if (ruling->no_exec) return;
  ruling->no_exec = true;
  ruling->no_exec_by = by;
}

void limit_bytes(Ruling* ruling, uint64_t bytes, const std::string& by) {
  if (bytes >= ruling->max_bytes) return;
  ruling->max_bytes = bytes;
  ruling->max_bytes_by = by;
}

// The first that matches and speaks of it.
template <class Speaks>
const PolicyPattern* first_that(const std::vector<PolicyPattern>& patterns, std::string_view path,
                                Speaks speaks) {
  for (const PolicyPattern& pattern : patterns)
    if (speaks(pattern) && matches(pattern.glob, path)) return &pattern;
  return nullptr;
}

template <class T>
const PolicyPattern* first(const std::vector<PolicyPattern>& patterns, std::string_view path,
                           std::optional<T> PolicyPattern::*aspect) {
  return first_that(patterns, path,
                    [aspect](const PolicyPattern& p) { return (p.*aspect).has_value(); });
}

}  // namespace

void Ruling::and_also(const Ruling& other) {
  limit_access(this, other.access, other.access_by);
  above = std::min(above, other.above);
  if (other.no_exec) forbid_exec(this, other.no_exec_by);
  limit_bytes(this, other.max_bytes, other.max_bytes_by);
}

void Rules::add(const Route& route) {
  root_ = route.root;
  if (route.rights > rights_) {
    rights_ = route.rights;
    rights_by_ = "by the rights \"" + std::string(rights_word(rights_)) + "\" of route " +
                 quoted(route.path);
  }
  std::vector<PolicyPattern> list;
  for (const PolicyPattern& pattern : route.patterns)
    if (pattern.restricts()) list.push_back(pattern);
  if (!list.empty()) lists_.push_back(std::move(list));
  if (!route.reaches.empty()) reaches_.push_back(route.reaches);
}

// What the paths that the token was narrowed to leave, whatever else is said of this one.
Access Rules::reach(std::string_view path) const {
  const auto is_in = [](std::string_view inner, std::string_view outer) {
    return outer.empty() || inner == outer ||
           (inner.starts_with(outer) && inner[outer.size()] == '/');
  };
  Access all = Access::read_write;
  for (const auto& reaches : reaches_) {
    Access best = Access::none;
    for (const std::string& reach : reaches) {
      if (is_in(path, reach)) best = Access::read_write;
      if (is_in(reach, path)) best = std::max(best, Access::read_only);
    }
    all = std::min(all, best);
  }
  return all;
}

// What the patterns say of this path, whatever they say of those above it.
Ruling Rules::of_itself(std::string_view path) const {
  Ruling ruling;
  for (const auto& list : lists_) {
    if (const auto* p = first(list, path, &PolicyPattern::access))
      limit_access(&ruling, *p->access, by(*p));
    if (const auto* p = first(list, path, &PolicyPattern::no_exec); p != nullptr && *p->no_exec)
      forbid_exec(&ruling, by(*p));
    if (const auto* p = first(list, path, &PolicyPattern::max_bytes))
      limit_bytes(&ruling, *p->max_bytes, by(*p));
  }
  return ruling;
}

Ruling Rules::at(std::string_view path) const {
  Ruling ruling;
  limit_access(&ruling, rights_, rights_by_);
  for (size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    const Ruling above = of_itself(path.substr(0, slash));
    limit_access(&ruling, above.access, above.access_by);
  }
  const size_t last = path.rfind('/');
  const auto parent = path.substr(0, last == std::string_view::npos ? 0 : last);
  const Access above = std::min(ruling.access, reach(parent));
  ruling.and_also(of_itself(path));
  limit_access(&ruling, reach(path), kByReaches);
  ruling.above = above;
  return ruling;
}

Ruling Rules::strictest() const {
  Ruling ruling;
  limit_access(&ruling, rights_, rights_by_);
  for (const auto& list : lists_)
    for (const PolicyPattern& pattern : list) {
      if (pattern.access) limit_access(&ruling, *pattern.access, by(pattern));
      if (pattern.no_exec.value_or(false)) forbid_exec(&ruling, by(pattern));
      if (pattern.max_bytes) limit_bytes(&ruling, *pattern.max_bytes, by(pattern));
    }
  if (!reaches_.empty()) limit_access(&ruling, Access::none, kByReaches);
  ruling.above = ruling.access;
  return ruling;
}

Status Rules::allows_name(std::string_view path) const {
  for (const auto& list : lists_) {
    const auto* pattern =
        first_that(list, path, [](const PolicyPattern& p) { return !p.allowed.empty(); });
    if (pattern == nullptr) continue;
    const auto& globs = pattern->allowed;
    if (std::any_of(globs.begin(), globs.end(),
                    [&](const std::string& glob) { return matches(glob, path); }))
      continue;
    std::string names;
    for (const std::string& glob : globs) names += (names.empty() ? "" : ", ") + quoted(glob);
    return fail(Code::not_permitted, quoted(path) + " may not be made, only names like " + names +
                                         " may, " + by(*pattern));
  }
  return ok();
}

Status Rules::allows_move(std::string_view directory, std::string_view other) const {
  for (const auto& list : lists_)
    for (const PolicyPattern& pattern : list)
      if (tells_apart(pattern.glob, directory, other))
        return fail(Code::cross_volume, "what is in " + quoted(directory) +
                                            " would come under other rules in " + quoted(other) +
                                            ", " + by(pattern) + "; copy it");
  if (at(directory).access == at(other).access) return ok();
  return fail(Code::cross_volume, "what is in " + quoted(directory) +
                                      " would come under other rules in " + quoted(other) +
                                      "; copy it");
}

Status check_access(const Ruling& ruling, Access needed, std::string_view what) {
  if (ruling.access >= needed) return ok();
  const auto refuse = [&](Code code, const char* may) {
    return fail(code, quoted(what) + may + ruling.access_by);
  };
  switch (ruling.access) {
    case Access::none:
      return refuse(Code::access_denied, " is denied ");
    case Access::read_only:
      return refuse(Code::access_denied, " may only be read ");
    case Access::append_only:
      return refuse(Code::not_permitted, " may only be made and added to ");
    default:
      return refuse(Code::not_permitted, " may not be removed, renamed or replaced ");
  }
}

Status check_exec(const Ruling& ruling, Kind kind, uint32_t mode, std::string_view what) {
  if (!ruling.no_exec || kind != Kind::file || (mode & 0111) == 0) return ok();
  return fail(Code::not_permitted,
              quoted(what) + " may not have execute bits " + ruling.no_exec_by);
}

}  // namespace linkspan::core
