// Tokens: configured, narrowed, bound, renewed, revoked.
#include <algorithm>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

using namespace std::chrono_literals;
using store::TokenHash;
using store::TokenRecord;
using store::ValidToken;

class Tokens : public StoreTest {};
LINKSPAN_CONFORMANCE(Tokens);

TokenRecord token(const std::string& tenant, uint8_t fill) {
  TokenRecord record;
  static uint8_t salt = 0;
  record.hash.fill(fill);
  record.hash[0] = ++salt;
  for (size_t i = 0; i < tenant.size() && i < 20; ++i) record.hash[i + 1] = tenant[i];
  record.tenant = tenant;
  record.principal = "agent \xc3\xa9";
  record.sandbox = "box";
  record.expires = Time{1800000000000000001};
  Route route;
  route.path = "memory/sub";
  route.volume = "memory";
  route.rights = Access::append_only;
  route.policy = Policy::reject;
  route.timeout_ms = 1234;
  record.routes = {route, Route{}};
  record.routes[1].path = "skills";
  record.routes[1].volume = "other";
  record.routes[1].policy = Policy::last_writer_wins;
  record.routes[0].reaches = {"a/b", "\xff\n c"};
  record.bind = true;
  record.sources = {"10.0.0.0/8", "::1"};
  record.renew = 90s;
  record.routes[1].patterns = {{"*.csv", Policy::reject},
                               {"\xc3\xa4/**/*.log", Policy::last_writer_wins},
                               {"*", Policy::merge},
                               {.glob = "journal/**",
                                .access = Access::append_only,
                                .no_exec = true,
                                .max_bytes = uint64_t{1} << 33,
                                .allowed = {"*.md", "\xc3\xa4*"}},
                               {.glob = "secret", .access = Access::none, .no_exec = false}};
  return record;
}

void expect_same(const TokenRecord& a, const TokenRecord& b) {
  EXPECT_EQ(a.hash, b.hash);
  EXPECT_EQ(a.tenant, b.tenant);
  EXPECT_EQ(a.principal, b.principal);
  EXPECT_EQ(a.sandbox, b.sandbox);
  EXPECT_EQ(a.expires, b.expires);
  EXPECT_EQ(a.revoked, b.revoked);
  EXPECT_EQ(a.bind, b.bind);
  EXPECT_EQ(a.sources, b.sources);
  EXPECT_EQ(a.renew, b.renew);
  EXPECT_EQ(a.parent, b.parent);
  EXPECT_EQ(a.bound_to, b.bound_to);
  EXPECT_EQ(a.renewed_until, b.renewed_until);
  ASSERT_EQ(a.routes.size(), b.routes.size());
  for (size_t i = 0; i < a.routes.size(); ++i) {
    EXPECT_EQ(a.routes[i].path, b.routes[i].path);
    EXPECT_EQ(a.routes[i].volume, b.routes[i].volume);
    EXPECT_EQ(a.routes[i].rights, b.routes[i].rights);
    EXPECT_EQ(a.routes[i].policy, b.routes[i].policy);
    EXPECT_EQ(a.routes[i].timeout_ms, b.routes[i].timeout_ms);
    EXPECT_EQ(a.routes[i].patterns, b.routes[i].patterns);
    EXPECT_EQ(a.routes[i].reaches, b.routes[i].reaches);
  }
}

TEST_P(Tokens, RevokesTheTokensThatAreNotKept) {
  const std::string other = new_tenant_name();
  must(store_->provision({other, {}}, world().now()));
  const TokenRecord kept = token(tenant_, 1), first = token(tenant_, 2), second = token(tenant_, 3),
                    foreign = token(other, 4);
  for (const TokenRecord& record : {kept, first, second, foreign}) must(store_->put_token(record));
  EXPECT_EQ(must(store_->revoke_other_tokens(tenant_, {kept.hash, foreign.hash})), 2u);
  EXPECT_FALSE(must(store_->find_token(kept.hash)).revoked);
  EXPECT_TRUE(must(store_->find_token(first.hash)).revoked);
  EXPECT_TRUE(must(store_->find_token(second.hash)).revoked);
  EXPECT_FALSE(must(store_->find_token(foreign.hash)).revoked) << "of another tenant";
  EXPECT_EQ(must(store_->revoke_other_tokens(tenant_, {kept.hash})), 0u);
  must(store_->put_token(first));
  EXPECT_FALSE(must(store_->find_token(first.hash)).revoked);
  EXPECT_EQ(code_of(store_->revoke_other_tokens("nobody-" + tenant_, {})), Code::not_found);
}

TEST_P(Tokens, SaysWhichTokensAreStillValid) {
  const TokenRecord first = token(tenant_, 0xA1), second = token(tenant_, 0xA2);
  TokenRecord revoked = token(tenant_, 0xA3);
  revoked.revoked = true;
  for (const TokenRecord& record : {first, second, revoked}) must(store_->put_token(record));
  const store::TokenHash nobody = token(tenant_, 0xA4).hash;
  std::vector<store::TokenHash> valid;
  for (const store::ValidToken& one :
       must(store_->valid_tokens({second.hash, nobody, revoked.hash, first.hash, second.hash}))) {
    EXPECT_EQ(one.ends, first.expires);
    valid.push_back(one.hash);
  }
  std::sort(valid.begin(), valid.end());
  valid.erase(std::unique(valid.begin(), valid.end()), valid.end());
  EXPECT_EQ(valid, (std::vector{first.hash, second.hash}));
  EXPECT_TRUE(must(store_->valid_tokens({})).empty());
}

TEST_P(Tokens, TokensAreKeptAndReplaced) {
  TokenRecord record = token(tenant_, 0xEE);
  EXPECT_EQ(code_of(store_->find_token(record.hash)), Code::not_found);
  must(store_->put_token(record));
  expect_same(must(store_->find_token(record.hash)), record);
  record.routes[0].patterns.swap(record.routes[1].patterns);
  record.routes[0].patterns.pop_back();
  must(store_->put_token(record));
  expect_same(must(store_->find_token(record.hash)), record);
  record.revoked = true;
  record.routes.pop_back();
  record.routes[0].patterns.clear();
  record.expires = {};
  must(store_->put_token(record));
  expect_same(must(store_->find_token(record.hash)), record);
  store::TokenHash near = record.hash;
  near[31] ^= 1;
  EXPECT_EQ(code_of(store_->find_token(near)), Code::not_found);
}

TEST_P(Tokens, ATokenNeedsItsTenant) {
  EXPECT_EQ(code_of(store_->put_token(token("nobody-" + new_tenant_name(), 1))), Code::not_found);
}

// ---- narrowed ones ----

constexpr Time kNow{1'700'000'000'000'000'000};

TokenRecord below(const TokenRecord& parent, uint8_t fill) {
  TokenRecord record = token(parent.tenant, fill);
  record.parent = parent.hash;
  record.bind = false;
  record.sources.clear();
  record.renew = 0s;
  return record;
}

std::vector<TokenHash> valid_of(store::Store& store, const std::vector<TokenRecord>& tokens) {
  std::vector<TokenHash> asked, valid;
  for (const TokenRecord& one : tokens) asked.push_back(one.hash);
  for (const ValidToken& one : must(store.valid_tokens(asked))) valid.push_back(one.hash);
  return valid;
}

TEST_P(Tokens, ANarrowedOneIsKeptAndEndsWithThoseAboveIt) {
  const TokenRecord root = token(tenant_, 1), other = token(tenant_, 2);
  for (const TokenRecord& record : {root, other}) must(store_->put_token(record));
  TokenRecord child = below(root, 3), grandchild = below(child, 4);
  grandchild.expires = Time{1750000000000000000};
  must(store_->narrow_token(child, root.hash, kNow));
  must(store_->narrow_token(grandchild, root.hash, kNow));
  expect_same(must(store_->find_token(grandchild.hash)), grandchild);
  EXPECT_EQ(must(store_->valid_tokens({grandchild.hash})),
            (std::vector<ValidToken>{{grandchild.hash, grandchild.expires}}));
  must(store_->renew_tokens({{child.hash, Time{1720000000000000000}}}, kNow));
  EXPECT_EQ(must(store_->valid_tokens({grandchild.hash}))[0].ends, Time{1720000000000000000});

  EXPECT_EQ(must(store_->revoke_other_tokens(tenant_, {root.hash})), 1u);
  EXPECT_EQ(valid_of(*store_, {root, child, grandchild}).size(), 3u)
      << "nobody lists narrowed ones";
  EXPECT_EQ(must(store_->revoke_other_tokens(tenant_, {})), 1u);
  EXPECT_TRUE(valid_of(*store_, {root, child, grandchild}).empty());
  must(store_->put_token(root));
  EXPECT_EQ(valid_of(*store_, {root, child, grandchild}), std::vector{root.hash})
      << "they stay revoked";
  TokenRecord nobodys = below(other, 5);
  nobodys.parent = token(tenant_, 6).hash;
  EXPECT_EQ(code_of(store_->narrow_token(nobodys, root.hash, kNow)), Code::not_found);
}

TEST_P(Tokens, OneHasSoManyNarrowedOnes) {
  TokenRecord root = token(tenant_, 1);
  root.expires = {};
  must(store_->put_token(root));
  std::vector<TokenRecord> children;
  for (size_t i = 0; i < limits::kTokenChildren; ++i) {
    children.push_back(below(root, 2));
    children.back().expires = i == 0 ? Time{kNow.ns + 10} : Time{};
    must(store_->narrow_token(children.back(), root.hash, kNow));
  }
  must(store_->renew_tokens({{children[1].hash, Time{kNow.ns + 10}}}, kNow));
  const TokenRecord grandchild = below(children[0], 3), late = below(root, 4);
  must(store_->narrow_token(grandchild, root.hash, kNow));
  EXPECT_EQ(code_of(store_->narrow_token(late, root.hash, Time{kNow.ns + 9})), Code::busy);
  EXPECT_EQ(code_of(store_->find_token(late.hash)), Code::not_found);
  must(store_->narrow_token(late, root.hash, Time{kNow.ns + 10}));
  EXPECT_EQ(code_of(store_->find_token(children[1].hash)), Code::not_found);
  EXPECT_EQ(code_of(store_->find_token(grandchild.hash)), Code::not_found) << "with its parent";
  EXPECT_EQ(valid_of(*store_, {children[2], late}).size(), 2u);
}

TEST_P(Tokens, AFamilyHasSoMany) {
  const TokenRecord root = token(tenant_, 1);
  must(store_->put_token(root));
  uint64_t made = 0;
  for (TokenRecord parent = root; made < limits::kTokenFamily;) {
    TokenRecord last;
    for (size_t i = 0; i < limits::kTokenChildren && made < limits::kTokenFamily; ++i, ++made) {
      last = below(parent, 2);
      last.hash[20] = static_cast<uint8_t>(made);
      last.hash[21] = static_cast<uint8_t>(made >> 8);
      last.routes.clear();
      must(store_->narrow_token(last, root.hash, kNow));
    }
    parent = last;
    if (made < limits::kTokenFamily) continue;
    EXPECT_EQ(code_of(store_->narrow_token(below(last, 3), root.hash, kNow)), Code::busy);
  }
}

TEST_P(Tokens, OfTwoThatNarrowAtOnceOneIsTheLast) {
  const TokenRecord root = token(tenant_, 1);
  must(store_->put_token(root));
  for (size_t i = 0; i + 1 < limits::kTokenChildren; ++i)
    must(store_->narrow_token(below(root, 2), root.hash, kNow));
  std::vector<TokenRecord> racing;
  for (uint8_t i = 0; i < 8; ++i) racing.push_back(below(root, i));
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  for (const TokenRecord& one : racing)
    threads.emplace_back([&] { made += store_->narrow_token(one, root.hash, kNow).ok() ? 1 : 0; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(made, 1);
}

// ---- bound, renewed ----

TEST_P(Tokens, TheFirstToBindStays) {
  TokenRecord record = token(tenant_, 1);
  must(store_->put_token(record));
  const TokenHash first = store::hash_token("first"), second = store::hash_token("second");
  EXPECT_EQ(code_of(store_->bind_token(second, first)), Code::not_found);
  EXPECT_EQ(must(store_->bind_token(record.hash, first)), first);
  EXPECT_EQ(must(store_->bind_token(record.hash, second)), first);
  EXPECT_EQ(must(store_->find_token(record.hash)).bound_to, first);
  must(store_->put_token(record));
  EXPECT_EQ(must(store_->find_token(record.hash)).bound_to, first) << "a router started";
  record.bind = false;
  must(store_->put_token(record));
  record.bind = true;
  must(store_->put_token(record));
  EXPECT_EQ(must(store_->bind_token(record.hash, second)), second);
}

TEST_P(Tokens, RenewalsGoAheadOnlyAndNotFromTheDead) {
  TokenRecord record = token(tenant_, 1);
  record.expires = {};
  must(store_->put_token(record));
  const auto ends = [&] { return must(store_->valid_tokens({record.hash}))[0].ends; };
  const auto renew = [&](Time until, Time now) {
    must(store_->renew_tokens({{store::hash_token("nobody"), until}, {record.hash, until}}, now));
  };
  EXPECT_EQ(ends(), Time{});
  must(store_->renew_tokens({}, Time{1}));
  renew(Time{100}, Time{50});
  EXPECT_EQ(ends(), Time{100});
  EXPECT_EQ(must(store_->find_token(record.hash)).renewed_until, Time{100});
  renew(Time{90}, Time{60});
  EXPECT_EQ(ends(), Time{100});
  must(store_->put_token(record));
  EXPECT_EQ(ends(), Time{100}) << "a router started";
  renew(Time{200}, Time{100});
  EXPECT_EQ(ends(), Time{100}) << "it was over";
  record.expires = Time{80};
  must(store_->put_token(record));
  EXPECT_EQ(ends(), Time{80});
  record.renew = 0s;
  must(store_->put_token(record));
  EXPECT_EQ(must(store_->find_token(record.hash)).renewed_until, Time{});
}

}  // namespace
}  // namespace linkspan::test
