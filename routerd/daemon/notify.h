// Telling whoever started the router that it is ready, or stopping.
#pragma once

#include <string>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::daemon {

// systemd's notification socket ($NOTIFY_SOCKET), if there is one; `state` is "READY=1" and the
// like.
void notify_supervisor(const std::string& state);
// {"listen":["unix:/...","127.0.0.1:41234"]} and a newline; closes the descriptor.
Status write_ready(int fd, const std::vector<std::string>& listening);

}  // namespace linkspan::daemon
