// linkspan resume
#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/query_client.h"

namespace linkspan::cli {

namespace {

Status resume(const std::string& dir) {
  LINKSPAN_TRY(const auto mount, find_mount_root(dir));
  LINKSPAN_TRY(const auto resumed, QueryClient(mount).resume());
  say(dir + ": everything cached is dropped, " +
      (resumed.connected ? "and the mount has a new session"
                         : "but the router is away: " + resumed.reason));
  return ok();
}

}  // namespace

int resume_command(const ResumeOptions& options) {
  auto dirs = options.dir.empty() ? all_mount_dirs() : std::vector<std::string>{options.dir};
  if (dirs.empty()) return complain("no mounts to resume");
  int status = kSuccess;
  for (const auto& dir : dirs)
    if (const auto done = resume(dir); !done.ok()) status = complain(done.error());
  return status;
}

}  // namespace linkspan::cli
