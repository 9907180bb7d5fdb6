// What can be known before anything is mounted: each failure names the thing and the mend.
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

// There, a directory, empty (or `non_empty` given), and not a mount of ours that lives. A dead one
// (its process was killed) is `unavailable`: the caller cleans up and asks again.
Status check_mountpoint(const std::string& dir, bool non_empty);
// Readable and writable.
Status check_fuse_device(const std::string& device = "/dev/fuse");
// There and a directory we can enter, and not in the `mountpoint` (a real path), whose mount would
// hide it.
Status check_workspace(const std::string& dir, const std::string& mountpoint = {});
// Where large unsaved writes lie: a directory in which we can make files and write to them.
// `named`: who chose it, "--spool-dir" or "TMPDIR".
Status check_spool(const std::string& dir, const std::string& named);
// The one that was asked for, else that of the environment; checked.
Result<std::string> choose_spool(const std::string& asked);
// The --expose prefix: a directory that is there.
Status check_prefix(const std::string& prefix);
// Open for writing.
Status check_ready_fd(int fd);
// "unix:/absolute/path", "tls://host:port" or "host:port", or several, separated by commas.
Status check_router_address(const std::string& addresses);
// Without encryption only to this machine, unless it is `allowed` in so many words.
Status check_plaintext(const std::string& addresses, bool allowed);

}  // namespace linkspan::cli
