// The router of the embedded default: its tokens, its configuration, its process.
#pragma once

#include <chrono>
#include <string>

#include "fusefs/cli/local_layout.h"

namespace linkspan::cli {

// Writes the tokens if they are missing, and the configuration for this program and this store.
Status write_router_config(const LocalLayout& layout, const std::string& routerd,
                           const std::string& store_url);
// Starts it and returns when it listens. The child is told to stop when its parent ends.
Result<ProcessId> start_router(const LocalLayout& layout, const std::string& routerd,
                               std::chrono::milliseconds timeout);

}  // namespace linkspan::cli
