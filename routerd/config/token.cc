#include "routerd/config/token.h"

namespace linkspan::config {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string to_hex(const store::TokenHash& hash) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t byte : hash) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

Result<store::TokenHash> parse_token_hash(std::string_view hex) {
  if (hex.starts_with("lsp_"))
    return fail(Code::invalid,
                "this is the token itself, which must not be kept; write its SHA-256, as "
                "`linkspan-routerd token new` prints it");
  store::TokenHash hash{};
  if (hex.size() != 2 * hash.size())
    return fail(Code::invalid, "has " + std::to_string(hex.size()) +
                                   " characters instead of 64; copy it from "
                                   "`linkspan-routerd token new`");
  for (size_t i = 0; i < hash.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0)
      return fail(Code::invalid,
                  "has characters that are no hexadecimal digits; copy it from "
                  "`linkspan-routerd token new`");
    hash[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return hash;
}

}  // namespace linkspan::config
