#include <openssl/evp.h>
#include <sys/random.h>

#include <cerrno>
#include <cstring>

#include "routerd/store/tenancy.h"

namespace linkspan::store {

namespace {

constexpr char kBase64Url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::string base64url(const std::array<uint8_t, 32>& bytes) {
  std::string out;
  uint32_t bits = 0;
  unsigned held = 0;
  for (const uint8_t byte : bytes) {
    bits = (bits << 8) | byte;
    for (held += 8; held >= 6; held -= 6) out += kBase64Url[(bits >> (held - 6)) & 63];
  }
  if (held > 0) out += kBase64Url[(bits << (6 - held)) & 63];
  return out;
}

}  // namespace

TokenHash hash_token(std::string_view token) {
  TokenHash hash{};
  EVP_Digest(token.data(), token.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

Result<std::string> new_token() {
  std::array<uint8_t, 32> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    return fail(Code::io, std::string("the kernel gave no random bytes: ") + std::strerror(errno));
  return "lsp_" + base64url(bytes);
}

}  // namespace linkspan::store
