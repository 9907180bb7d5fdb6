// Percent-encoding of URIs (RFC 3986, 2.1).
#pragma once

#include <string>
#include <string_view>

namespace linkspan {

// With each %XX as its byte. What is no such triplet stays as it is.
std::string percent_decoded(std::string_view text);

}  // namespace linkspan
