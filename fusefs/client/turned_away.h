// A router that does not let this user connect to its unix socket (socket_users, socket_groups)
// says so in its GOAWAY, whose words gRPC (1.51) keeps to itself. Private to this folder.
#pragma once

#include <chrono>
#include <string>

namespace linkspan::client {

// Connects once more and listens for those words. Blocks, `most` at most. Empty: there are none.
std::string why_turned_away(const std::string& path, std::chrono::milliseconds most);

}  // namespace linkspan::client
