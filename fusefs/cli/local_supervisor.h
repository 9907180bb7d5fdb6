// The process that keeps the embedded default running: starts PostgreSQL and the router as its
// children, starts them again when they die, and stops them when the last user is gone. Users hold
// a shared lock, so even one that is killed counts as gone.
#pragma once

#include <string>

namespace linkspan::cli {

struct SupervisorOptions {
  std::string state_dir;  // as --state-dir
  int ready_fd = -1;      // gets lines "progress TEXT", then "ready", or "error TEXT..." to the end
};

// Runs until nobody needs the servers or SIGTERM; an exit status.
int supervise_local(const SupervisorOptions& options);

}  // namespace linkspan::cli
