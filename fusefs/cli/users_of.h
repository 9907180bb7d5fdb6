// Which programs use a mount, told from /proc without touching the mount.
#pragma once

#include <string>
#include <vector>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

struct UseOfMount {
  pid_t pid = 0;
  std::string program;
  std::string how;  // "working directory", or the open file
};

// Uses of anything at or under `paths` by others than `except` and this process; at most `limit`.
std::vector<UseOfMount> users_of(const std::vector<std::string>& paths, pid_t except, size_t limit);

}  // namespace linkspan::cli
