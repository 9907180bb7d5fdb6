// What a token allows, with volumes found: routes for the mount, the scope for the store.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "routerd/core/rules.h"
#include "routerd/store/store.h"

namespace linkspan::core {

struct Grant {
  store::TokenHash token{};
  std::string principal;
  std::vector<Route> routes;  // with volume_id and root
  store::Scope scope;
  Time expires;  // ns == 0: never

  bool expired(Time now) const { return expires.ns != 0 && now >= expires; }
  // Of the volumes whose use they restrict; the others cost nothing.
  struct Restriction {
    VolumeId volume;
    std::string name;  // of the volume
    Rules rules;
  };
  std::vector<Restriction> restrictions;
  const Rules* restriction(VolumeId volume) const;  // null: none
  const Rules* restriction(const std::string& volume) const;

  // The first writable route that leads to the volume: its policy and patterns count.
  const Route& rules(VolumeId volume) const;
  // Of any volume, where all writable routes agree on policy and patterns; else null.
  const Route* only_rules() const;
};

// `unauthenticated`: revoked or expired. The message never holds the token.
Status check_token(const store::TokenRecord& token, Time now);

// `access_denied`: a route leads to a volume that the tenant does not have.
Result<std::shared_ptr<const Grant>> make_grant(const store::TokenRecord& token, TenantId tenant,
                                                const std::vector<store::Volume>& volumes);

}  // namespace linkspan::core
