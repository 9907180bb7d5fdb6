// Ranges of addresses from which a token may be used: "10.0.0.0/8", "2001:db8::/32", "192.0.2.7".
// Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "linkspan/error.h"

namespace linkspan {

struct SourceRange {
  std::array<uint8_t, 16> address{};  // IPv4 as ::ffff:a.b.c.d
  unsigned bits = 128;                // of it that count
};

// `invalid`: the message says what would be right.
Result<SourceRange> parse_source_range(std::string_view text);
// Is a peer, as gRPC names it ("ipv4:10.1.2.3:4567", "ipv6:[::1]:80", "unix:/run/x"), in one of
// them? A unix socket counts as 127.0.0.1 and ::1; what is none of these is in no range.
bool holds(const std::vector<SourceRange>& ranges, std::string_view peer);

}  // namespace linkspan
