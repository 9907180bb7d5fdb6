#include "routerd/config/token.h"

#include <gtest/gtest.h>

#include <set>

namespace linkspan::config {
namespace {

TEST(Token, HasTheFormOfTheContract) {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const auto token = store::new_token();
    ASSERT_TRUE(token.ok());
    EXPECT_EQ(token->size(), 4u + 43u);
    EXPECT_TRUE(token->starts_with("lsp_"));
    EXPECT_EQ(token->find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789-_"),
              std::string::npos);
    EXPECT_TRUE(seen.insert(*token).second);
  }
}

TEST(Token, HashIsSha256) {
  // FIPS 180-2, appendix B.1
  EXPECT_EQ(to_hex(store::hash_token("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const auto parsed = parse_token_hash(to_hex(store::hash_token("abc")));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, store::hash_token("abc"));
}

}  // namespace
}  // namespace linkspan::config
