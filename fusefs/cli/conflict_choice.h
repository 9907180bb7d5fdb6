// What `restore --conflict` and `resolve` share: a conflict, found by its number, and the file it
// was meant for.
#pragma once

#include <string>

#include "fusefs/cli/query_client.h"

namespace linkspan::cli {

struct FoundConflict {
  MountRoot mount;
  Conflict conflict;
  MountRoute route;  // of its volume
  std::string file;  // absolute
};
// `mount`: a path on the mount, or empty (find_mount_root).
Result<FoundConflict> find_conflict(const std::string& mount, uint64_t number);
// Writes what was refused to `path`, all at once.
Status write_theirs(const FoundConflict& found, const std::string& path, bool must_be_new);

}  // namespace linkspan::cli
