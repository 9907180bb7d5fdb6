// The process that serves a mount: opens the session, says that it is ready, waits for a reason to
// end, takes everything away. The body of `mount` (foreground or background) and of `run`'s server.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/file_lock.h"
#include "fusefs/cli/mount_session.h"

namespace linkspan::cli {

struct ServeOptions {
  SessionOptions session;
  std::optional<PlaceLock> place;  // let go when the mount is there, or has failed
  // Gets "ready JSON\n" or "error TEXT" to its end; -1: none. A reader that is gone ends the mount.
  int report_fd = -1;
  int ready_fd = -1;                                // gets the JSON line; -1: none
  int stop_fd = -1;                                 // end of file on it ends the mount; -1: none
  std::function<void(MountSession&)> before_close;  // after the reason to end came
};

// Blocks SIGTERM, SIGINT, SIGHUP; call before the process has threads. An exit status.
int serve_mount(ServeOptions options);

// What serve_mount() reports, on the other side. The JSON line, or the error.
Result<std::string> await_report(int fd);

// spdlog's default logger: to `log.file`; else to stderr if `to_stderr`, else nowhere.
Status set_up_log(const LogOptions& log, bool to_stderr);

}  // namespace linkspan::cli
