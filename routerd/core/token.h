// What a token allows, together with those that it was narrowed from; and narrowing. Pure
// functions.
#pragma once

#include <string>
#include <vector>

#include "linkspan/token_ops.h"
#include "routerd/store/store.h"

namespace linkspan::core {

struct Token {
  // As it is now: never more than what it was narrowed from allows now. `expires` is the first of
  // all; principal, sources, binding and renewal are those of the configured one.
  store::TokenRecord record;
  store::TokenHash root{};  // the configured one
  size_t depth = 0;         // how often it was narrowed
  Time ends_above;          // the first end but that of its own renewal; ns == 0: never
  Time ends;                // the first end
};

// `lineage`: itself, what it was narrowed from, and so on to the configured one. `unauthenticated`:
// it, or one of them, was revoked or is over; the message never holds the token.
Result<Token> make_token(const std::vector<store::TokenRecord>& lineage, Time now);
// The first of both; ns == 0: never.
Time first_end(Time a, Time b);

// What is to be stored of a token that is narrowed from this one, but for its hash. `sandbox`: of
// the session through which it is asked for, or the token's own. `access_denied`: the request asks
// for more than the token allows.
Result<store::TokenRecord> narrow(const Token& from, const NarrowRequest& request,
                                  const std::string& sandbox, Time now);

}  // namespace linkspan::core
