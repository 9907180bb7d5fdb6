#include "linkspan/source_range.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "linkspan/percent.h"

namespace linkspan {

namespace {

using Bytes = std::array<uint8_t, 16>;
constexpr unsigned kMapped = 96;  // bits before an IPv4 address

struct Number {
  Bytes bytes{};
  bool v4 = false;
};

std::optional<Number> number(std::string_view text) {
  const std::string name(text);
  Number number;
  if (inet_pton(AF_INET6, name.c_str(), number.bytes.data()) == 1) return number;
  number = {};
  number.v4 = true;
  number.bytes[10] = number.bytes[11] = 0xff;
  if (inet_pton(AF_INET, name.c_str(), number.bytes.data() + kMapped / 8) == 1) return number;
  return std::nullopt;
}

bool holds(const SourceRange& range, const Bytes& address) {
  for (unsigned bit = 0; bit < range.bits; bit += 8) {
    const unsigned left = std::min(range.bits - bit, 8U);
    const auto mask = static_cast<uint8_t>(0xff00U >> left);
    if (((range.address[bit / 8] ^ address[bit / 8]) & mask) != 0) return false;
  }
  return true;
}

// Without port, brackets and zone. Newer gRPC writes "[::1]:80" as what stands in a URI:
// "%5B::1%5D:80".
std::string host_of(std::string_view peer) {
  std::string host = percent_decoded(peer);
  host.resize(std::min(host.rfind(':'), host.size()));
  if (host.starts_with('[')) host.erase(0, 1);
  host.resize(std::min(host.find_first_of("]%"), host.size()));
  return host;
}

}  // namespace

Result<SourceRange> parse_source_range(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = number(text.substr(0, slash));
  const auto wrong = [&](const std::string& why) {
    return fail(Code::invalid, "'" + std::string(text) + "' is no address range: " + why +
                                   "; write 10.0.0.0/8, 2001:db8::/32 or one address");
  };
  if (!address) return wrong("no IPv4 or IPv6 address before the '/'");
  SourceRange range{address->bytes, 128};
  if (slash == std::string_view::npos) return range;
  const auto bits = text.substr(slash + 1);
  const unsigned most = address->v4 ? 32 : 128;
  const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), range.bits);
  if (bits.empty() || error != std::errc{} || end != bits.data() + bits.size() || range.bits > most)
    return wrong("behind the '/' stands a number of bits, 0 to " + std::to_string(most));
  if (address->v4) range.bits += kMapped;
  SourceRange rest = range;  // what is behind the bits is a mistake, not a part of it
  for (unsigned bit = range.bits; bit < 128; ++bit)
    rest.address[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  if (rest.address != range.address)
    return wrong("there are bits set behind the first " + std::string(bits));
  return range;
}

bool holds(const std::vector<SourceRange>& ranges, std::string_view peer) {
  const auto in = [&](std::string_view text) {
    const auto address = number(text);
    return address && std::any_of(ranges.begin(), ranges.end(), [&](const SourceRange& range) {
             return holds(range, address->bytes);
           });
  };
  if (peer.starts_with("unix:") || peer.starts_with("unix-abstract:"))
    return in("127.0.0.1") || in("::1");
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return false;
  return in(host_of(peer.substr(5)));
}

}  // namespace linkspan
