// The life of the router: store, core, gRPC, until a signal ends it.
#pragma once

#include <chrono>

#include "routerd/config/config.h"

namespace linkspan::daemon {

// Blocks SIGTERM, SIGINT and SIGHUP in this thread and all that it starts; call it first in main().
void block_signals();
// Returns the exit status. `ready_fd`: -1 for none. `wait_store`: how long a store that is away at
// the start is tried again.
int serve(const config::Config& config, int ready_fd, std::chrono::seconds wait_store);

}  // namespace linkspan::daemon
