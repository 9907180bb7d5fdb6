// Tokens: configured ones and those narrowed from them.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_store.h"

namespace linkspan::store::mem {

const TokenRecord* MemStore::above(const TokenRecord& token) const {
  const auto at = tokens_.find(token.parent);
  return token.narrowed() && at != tokens_.end() ? &at->second : nullptr;
}

bool MemStore::is_below(const TokenRecord& token, const TokenHash& ancestor) const {
  const TokenRecord* at = above(token);
  while (at != nullptr && at->hash != ancestor) at = above(*at);
  return at != nullptr;
}

Status MemStore::put_token(const TokenRecord& token) {
  const std::lock_guard lock(mutex_);
  if (find_tenant(token.tenant) == nullptr) return no_tenant(token.tenant);
  TokenRecord& kept = tokens_[token.hash];
  const TokenRecord before = std::exchange(kept, token);
  kept.parent = {};
  kept.bound_to = token.bind ? before.bound_to : TokenHash{};
  kept.renewed_until = token.renew.count() > 0 ? before.renewed_until : Time{};
  if (before.revoked)
    for (auto& [hash, child] : tokens_)
      if (child.parent == token.hash) child.revoked = true;
  return ok();
}

Status MemStore::narrow_token(const TokenRecord& token, const TokenHash& root, Time now) {
  const std::lock_guard lock(mutex_);
  if (!tokens_.contains(token.parent)) return no_parent();
  const auto count = [&] {
    TokenFamily family;
    for (const auto& [hash, other] : tokens_) {
      if (other.parent == token.parent) ++family.children;
      if (is_below(other, root)) ++family.all;
    }
    return family;
  };
  const auto past = [&](Time end) { return end.ns != 0 && end <= now; };
  // It, or one between it and the root.
  const auto is_over = [&](const TokenRecord& other) {
    const TokenRecord* at = &other;
    while (at->hash != root && !at->revoked && !past(at->expires) && !past(at->renewed_until))
      at = above(*at);
    return at->hash != root;
  };
  if (!check_family(count()).ok()) {
    std::vector<TokenHash> over;
    for (const auto& [hash, other] : tokens_)
      if (is_below(other, root) && is_over(other)) over.push_back(hash);
    for (const TokenHash& hash : over) tokens_.erase(hash);
  }
  LINKSPAN_CHECK(check_family(count()));
  tokens_[token.hash] = token;
  return ok();
}

Result<uint64_t> MemStore::revoke_other_tokens(const std::string& tenant,
                                               const std::vector<TokenHash>& kept) {
  const std::lock_guard lock(mutex_);
  if (find_tenant(tenant) == nullptr) return no_tenant(tenant);
  uint64_t revoked = 0;
  for (auto& [hash, token] : tokens_) {
    if (token.tenant != tenant || token.revoked || token.narrowed() ||
        std::find(kept.begin(), kept.end(), hash) != kept.end())
      continue;
    token.revoked = true;
    ++revoked;
  }
  return revoked;
}

Result<TokenRecord> MemStore::find_token(const TokenHash& hash) {
  const std::lock_guard lock(mutex_);
  const auto at = tokens_.find(hash);
  if (at == tokens_.end()) return no_token();
  return at->second;
}

Result<std::vector<ValidToken>> MemStore::valid_tokens(const std::vector<TokenHash>& hashes) {
  const std::lock_guard lock(mutex_);
  std::vector<ValidToken> valid;
  for (const TokenHash& hash : hashes) {
    const auto found = tokens_.find(hash);
    if (found == tokens_.end()) continue;
    ValidToken told{hash, {}};
    const TokenRecord* at = &found->second;
    for (; at != nullptr && !at->revoked; at = above(*at))
      for (const Time end : {at->expires, at->renewed_until})
        if (end.ns != 0 && (told.ends.ns == 0 || end < told.ends)) told.ends = end;
    if (at == nullptr) valid.push_back(told);
  }
  return valid;
}

Result<TokenHash> MemStore::bind_token(const TokenHash& hash, const TokenHash& to) {
  const std::lock_guard lock(mutex_);
  const auto at = tokens_.find(hash);
  if (at == tokens_.end()) return no_token();
  if (at->second.bound_to == TokenHash{}) at->second.bound_to = to;
  return at->second.bound_to;
}

Status MemStore::renew_tokens(const std::vector<ValidToken>& until, Time now) {
  const std::lock_guard lock(mutex_);
  for (const ValidToken& token : until) {
    const auto at = tokens_.find(token.hash);
    if (at == tokens_.end()) continue;
    Time& end = at->second.renewed_until;
    if (end.ns == 0 || end > now) end = std::max(end, token.ends);
  }
  return ok();
}

}  // namespace linkspan::store::mem
