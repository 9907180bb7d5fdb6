#include "routerd/core/grant.h"

#include <algorithm>
#include <utility>
namespace linkspan::core {
namespace {

void add_once(std::vector<VolumeId>& ids, VolumeId id) {
  if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
}

std::vector<Grant::Restriction> restrictions_of(const Grant& grant) {
  std::vector<Grant::Restriction> restrictions;
  for (const VolumeId volume : grant.scope.readable) {
    Grant::Restriction restriction{volume, {}, {}};
    for (const Route& route : grant.routes) {
      if (route.volume_id != volume) continue;
      restriction.name = route.volume;
      restriction.rules.add(route);
    }
    if (restriction.rules.restrict()) restrictions.push_back(std::move(restriction));
  }
  return restrictions;
}

}  // namespace

const Rules* Grant::restriction(VolumeId volume) const {
  for (const Restriction& restriction : restrictions)
    if (restriction.volume == volume) return &restriction.rules;
  return nullptr;
}

const Rules* Grant::restriction(const std::string& volume) const {
  for (const Restriction& restriction : restrictions)
    if (restriction.name == volume) return &restriction.rules;
  return nullptr;
}

const Route& Grant::rules(VolumeId volume) const {
  for (const Route& route : routes)
    if (route.writable() && route.volume_id == volume) return route;
  static const Route none = [] {
    Route route;
    route.policy = Policy::reject;
    return route;
  }();
  return none;
}

const Route* Grant::only_rules() const {
  const Route* only = nullptr;
  for (const Route& route : routes) {
    if (!route.writable()) continue;
    if (only && (only->policy != route.policy || only->patterns != route.patterns)) return nullptr;
    only = &route;
  }
  return only;
}

Result<std::vector<SourceRange>> parse_sources(const std::vector<std::string>& texts) {
  std::vector<SourceRange> sources;
  for (const std::string& text : texts) {
    LINKSPAN_TRY(const SourceRange range, parse_source_range(text));
    sources.push_back(range);
  }
  return sources;
}

Status check_source(const std::vector<SourceRange>& sources, const std::string& principal,
                    const std::string& peer) {
  if (sources.empty() || holds(sources, peer)) return ok();
  return fail(Code::unauthenticated, "the token of '" + principal + "' may not be used from " +
                                         (peer.empty() ? "an unknown address" : peer) +
                                         "; ask the operator (sources) for one that may");
}

Result<std::shared_ptr<const Grant>> make_grant(const Token& from, TenantId tenant,
                                                const std::vector<store::Volume>& volumes) {
  const store::TokenRecord& token = from.record;
  auto grant = std::make_shared<Grant>();
  grant->token = token.hash;
  grant->root = from.root;
  grant->principal = token.principal;
  grant->expires = token.expires;
  grant->ends = from.ends;
  grant->renew = token.renew;
  LINKSPAN_TRY(grant->sources, parse_sources(token.sources));
  grant->scope.tenant = tenant;
  for (Route route : token.routes) {
    const auto at = std::find_if(volumes.begin(), volumes.end(),
                                 [&](const auto& volume) { return volume.name == route.volume; });
    if (at == volumes.end())
      return fail(Code::access_denied, "the grant's route '" + route.path + "' leads to volume '" +
                                           route.volume + "', which tenant '" + token.tenant +
                                           "' does not have; the operator can create it");
    route.volume_id = at->id;
    route.root = at->root;
    add_once(grant->scope.readable, at->id);
    if (route.writable()) add_once(grant->scope.writable, at->id);
    grant->routes.push_back(std::move(route));
  }
  grant->restrictions = restrictions_of(*grant);
  return std::shared_ptr<const Grant>(std::move(grant));
}

}  // namespace linkspan::core
