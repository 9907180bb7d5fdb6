// Where a router listens, and where a mount finds it: "unix:/path/to.sock", "tls://host:port", or
// "host:port", which is plain TCP ("[::1]:7000" for IPv6). Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "linkspan/error.h"

namespace linkspan {

struct Address {
  std::string path;   // unix sockets: absolute; empty for TCP
  std::string host;   // TCP: a name or a number, without brackets
  uint16_t port = 0;  // TCP: 0 lets the kernel choose
  bool tls = false;
  bool is_unix() const { return !path.empty(); }
  bool operator==(const Address&) const = default;
};

// `invalid`: the message says what is wrong and what would be right, without naming a file.
Result<Address> parse_address(std::string_view text);
// As it is written in a configuration.
std::string to_string(const Address& address);
// "host:port", as gRPC and resolvers take it.
std::string host_and_port(const Address& address);
// Can only this machine reach it? "localhost" counts; a name that must be resolved does not.
bool is_local(const Address& address);

}  // namespace linkspan
