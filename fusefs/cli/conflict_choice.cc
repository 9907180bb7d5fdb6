#include "fusefs/cli/conflict_choice.h"

#include <algorithm>

#include "fusefs/cli/rewrite.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

Result<ConflictName> parse_conflict(const std::string& text) {
  constexpr size_t kDigits = 18;  // so that it cannot overflow
  const auto end = text.find_last_not_of('/');
  const std::string path = end == std::string::npos ? "" : text.substr(0, end + 1);
  const std::string name = base_name(path);
  const size_t digits = std::min(name.find_first_not_of("0123456789"), name.size());
  const bool folder = digits < name.size() && name[digits] == '-';
  const uint64_t number = digits > 0 && digits <= kDigits ? std::stoull(name.substr(0, digits)) : 0;
  if (number == 0 || !(folder || text.size() == digits))
    return fail(Code::invalid, text +
                                   " is no conflict: give its number, or its folder in "
                                   ".linkspan/conflicts (ls DIR/.linkspan/conflicts)");
  return ConflictName{number, path.find('/') == std::string::npos ? std::string() : path};
}

Result<FoundConflict> find_conflict(const std::string& mount, const std::string& name) {
  LINKSPAN_TRY(const auto named, parse_conflict(name));
  const uint64_t number = named.number;
  LINKSPAN_TRY(auto root, find_mount_root(mount.empty() ? named.folder : mount));
  LINKSPAN_TRY(auto conflict, QueryClient(root).conflict(number));
  const auto* route = root.route_of_volume(conflict.volume);
  if (!route)
    return fail(Code::not_found, "conflict " + std::to_string(number) + " is in volume " +
                                     conflict.volume + ", which this mount does not show");
  FoundConflict found{root, std::move(conflict), *route, {}};
  found.file = root.dir + "/" + route->path + "/" + found.conflict.path;
  return found;
}

Status write_theirs(const FoundConflict& found, const std::string& path, bool must_be_new) {
  Rewrite rewrite;
  rewrite.path = path;
  rewrite.origin = {Origin::Kind::conflict, found.conflict.number.value};
  rewrite.must_be_new = must_be_new;
  rewrite.fill = [&](const Sink& sink) {
    return QueryClient(found.mount)
        .content(found.route.path, found.conflict.theirs, Version{1}, sink);
  };
  return linkspan::cli::rewrite(rewrite);
}

Status settle(const FoundConflict& found) {
  return QueryClient(found.mount).settle(found.conflict.number.value);
}

}  // namespace linkspan::cli
