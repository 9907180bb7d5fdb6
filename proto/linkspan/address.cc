#include "linkspan/address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include <charconv>

namespace linkspan {
namespace {

constexpr size_t kUnixPathBytes = sizeof(sockaddr_un::sun_path) - 1;
constexpr const char* kForms = "write unix:/path/to.sock, tls://host:port or host:port";
constexpr std::string_view kTls = "tls://";

Error wrong(std::string what) {
  return fail(Code::invalid, std::move(what));
}

Result<Address> parse_unix(std::string_view path) {
  if (path.size() < 2 || path.front() != '/')
    return wrong("the socket's path must be absolute; write unix:/path/to.sock");
  if (path.find('\0') != std::string_view::npos) return wrong("the socket's path has a NUL in it");
  if (path.size() > kUnixPathBytes)
    return wrong("the socket's path has " + std::to_string(path.size()) +
                 " bytes, the kernel takes " + std::to_string(kUnixPathBytes) +
                 "; choose a shorter one");
  return Address{std::string(path), {}, 0, false};
}

Result<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    return wrong("'" + std::string(text) + "' is not a port; it is a number from 0 to 65535");
  return port;
}

}  // namespace

Result<Address> parse_address(std::string_view text) {
  if (text.starts_with("unix:")) return parse_unix(text.substr(5));
  if (text.starts_with("/"))
    return wrong("a path needs the prefix unix: (unix:" + std::string(text) + ")");
  const bool tls = text.starts_with(kTls);
  if (tls) text.remove_prefix(kTls.size());
  if (text.find_first_of("/ \t\r\n,") != std::string_view::npos) return wrong(kForms);
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0)
    return wrong(std::string("host or port is missing; ") + kForms);
  std::string_view host = text.substr(0, colon);
  if (host.front() == '[') {
    if (host.size() < 3 || host.back() != ']')
      return wrong("the brackets are not closed; write [::1]:7000");
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return wrong("an IPv6 address goes in brackets; write [::1]:7000");
  }
  LINKSPAN_TRY(const uint16_t port, parse_port(text.substr(colon + 1)));
  return Address{{}, std::string(host), port, tls};
}

std::string to_string(const Address& address) {
  if (address.is_unix()) return "unix:" + address.path;
  return (address.tls ? std::string(kTls) : std::string()) + host_and_port(address);
}

std::string host_and_port(const Address& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return (v6 ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

bool is_local(const Address& address) {
  if (address.is_unix() || address.host == "localhost") return true;
  in_addr v4{};
  if (inet_pton(AF_INET, address.host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, address.host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

}  // namespace linkspan
