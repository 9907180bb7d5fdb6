// Tokens: "lsp_" and 43 base64url characters, 256 random bits. Only their SHA-256 is ever kept.
#pragma once

#include <string>
#include <string_view>

#include "linkspan/error.h"
#include "routerd/store/store.h"

namespace linkspan::config {

std::string to_hex(const store::TokenHash& hash);
// 64 hexadecimal digits. `invalid`.
Result<store::TokenHash> parse_token_hash(std::string_view hex);

}  // namespace linkspan::config
