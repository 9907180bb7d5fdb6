// Reading a file that may never answer (a mount whose process is stopped), without hanging with it.
#pragma once

#include <chrono>
#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

// The file's content, read by a child process that is given up at the deadline. `timed_out`;
// `unavailable` (ENOTCONN: the mount is dead); `not_found` and others as open(2) says.
Result<std::string> read_within(const std::string& path, std::chrono::milliseconds timeout);
// Whether a mount answers; errors as above, `access_denied` for another user's.
Status stat_within(const std::string& path, std::chrono::milliseconds timeout);

// Whether control files are at `root` ("" for /): also when they do not answer, or not any more.
bool has_control_files(const std::string& root, std::chrono::milliseconds timeout);

}  // namespace linkspan::cli
