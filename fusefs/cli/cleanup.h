// Ending a mount from outside: its process is asked, or, if it is gone, what it left is taken away.
#pragma once

#include <string>

#include "fusefs/cli/mount_state.h"

namespace linkspan::cli {

// For a mount at `dir` whose process is gone: unmounts what is ours there (and what its state file
// names elsewhere), gives directories their modes back. `busy` if the process lives.
Status clean_up_dead(const std::string& mounts_dir, const std::string& dir);

// Is something of ours mounted at `dir`?
bool is_mounted_here(const std::string& dir);

}  // namespace linkspan::cli
