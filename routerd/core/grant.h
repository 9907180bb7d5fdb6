// What a token allows, with volumes found: routes for the mount, the scope for the store.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/source_range.h"
#include "routerd/core/rules.h"
#include "routerd/core/token.h"
#include "routerd/store/store.h"

namespace linkspan::core {

struct Grant {
  store::TokenHash token{};
  store::TokenHash root{};  // the configured one that it was narrowed from, or itself
  std::string principal;
  std::vector<Route> routes;  // with volume_id and root
  store::Scope scope;
  Time expires;                      // at the latest; ns == 0: never
  Time ends;                         // as it was when this was made; sessions move it ahead
  std::chrono::seconds renew{};      // by so much
  std::vector<SourceRange> sources;  // empty: from anywhere

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

// `unauthenticated`: the token may not be used from there.
Status check_source(const std::vector<SourceRange>& sources, const std::string& principal,
                    const std::string& peer);
Result<std::vector<SourceRange>> parse_sources(const std::vector<std::string>& texts);
// `access_denied`: a route leads to a volume that the tenant does not have.
Result<std::shared_ptr<const Grant>> make_grant(const Token& token, TenantId tenant,
                                                const std::vector<store::Volume>& volumes);

}  // namespace linkspan::core
