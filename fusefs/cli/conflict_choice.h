// What `restore --conflict` and `resolve` share: a conflict, found by its number, and the file it
// was meant for.
#pragma once

#include <string>

#include "fusefs/cli/query_client.h"
#include "fusefs/cli/rewrite.h"

namespace linkspan::cli {

// A conflict as people name it: by its number, or by its folder in .linkspan/conflicts, which says
// the mount as well.
struct ConflictName {
  uint64_t number = 0;
  std::string folder;  // a path; empty: only the number was given
};
// `invalid` with the mend.
Result<ConflictName> parse_conflict(const std::string& text);

struct FoundConflict {
  MountRoot mount;
  Conflict conflict;
  MountRoute route;  // of its volume
  std::string file;  // absolute
};
// `mount`: a path on the mount, or empty (that of the folder, else find_mount_root).
Result<FoundConflict> find_conflict(const std::string& mount, const std::string& name);
// What was refused, to be the content of the file. `found` outlives it.
Rewrite theirs(const FoundConflict& found);
// Gives the file content that was made of its version `over` (0: of that which the conflict was
// held against). `conflict` with the mend: it is another one by now, which would be gone from it.
Status save_over(const FoundConflict& found, Version over, Rewrite what);
// With the file as it was chosen to be.
Status settle(const FoundConflict& found);

}  // namespace linkspan::cli
