#include "fusefs/cli/conflict_choice.h"

#include "fusefs/cli/rewrite.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

Result<FoundConflict> find_conflict(const std::string& mount, uint64_t number) {
  LINKSPAN_TRY(auto root, find_mount_root(mount));
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
  rewrite.must_be_new = must_be_new;
  rewrite.fill = [&](int fd) {
    return QueryClient(found.mount)
        .content(found.route.path, found.conflict.theirs, Version{1},
                 [&](const std::string& piece) { return write_all(fd, piece); });
  };
  return linkspan::cli::rewrite(rewrite);
}

}  // namespace linkspan::cli
