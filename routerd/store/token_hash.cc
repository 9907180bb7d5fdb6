#include <openssl/evp.h>

#include "routerd/store/tenancy.h"

namespace linkspan::store {

TokenHash hash_token(std::string_view token) {
  TokenHash hash{};
  EVP_Digest(token.data(), token.size(), hash.data(), nullptr, EVP_sha256(), nullptr);
  return hash;
}

}  // namespace linkspan::store
