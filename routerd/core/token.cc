#include "routerd/core/token.h"

#include <algorithm>
#include <utility>

#include "linkspan/limits.h"
#include "linkspan/utc.h"

namespace linkspan::core {
namespace {

std::string in_quotes(std::string_view text) {
  return "'" + std::string(text) + "'";
}

// Neither revoked nor over. `self`: else it is one that the token was narrowed from.
Status check(const store::TokenRecord& token, bool self, Time now) {
  const std::string what =
      (self ? "the token of " : "the token that this one was narrowed from, of ") +
      in_quotes(token.principal);
  if (token.revoked)
    return fail(Code::unauthenticated, what + " was revoked; ask the operator for a new one");
  if (token.expires.ns != 0 && now >= token.expires)
    return fail(Code::unauthenticated,
                what + " expired at " + utc(token.expires) + "; ask the operator for a new one");
  if (token.renewed_until.ns != 0 && now >= token.renewed_until)
    return fail(Code::unauthenticated, what + " ended at " + utc(token.renewed_until) +
                                           ", since no mount used it any more; ask the operator "
                                           "for a new one");
  return ok();
}

const Route* route_at(const std::vector<Route>& routes, const std::string& path) {
  for (const Route& route : routes)
    if (route.path == path) return &route;
  return nullptr;
}

bool is_in(std::string_view path, std::string_view directory) {
  return path == directory || (path.starts_with(directory) && path[directory.size()] == '/');
}

// The configured token may have changed since: what it lost, or has elsewhere now, is gone here.
std::vector<Route> what_is_left(const std::vector<store::TokenRecord>& lineage) {
  std::vector<Route> left;
  for (const Route& own : lineage.front().routes) {
    const Route* at = &own;
    Access rights = own.rights;
    for (auto above = lineage.begin() + 1; above != lineage.end() && at != nullptr; ++above) {
      at = route_at(above->routes, own.path);
      if (at != nullptr && at->volume != own.volume) at = nullptr;
      if (at != nullptr) rights = std::min(rights, at->rights);
    }
    if (at == nullptr) continue;
    Route route = *at;
    route.rights = rights;
    route.reaches = own.reaches;
    left.push_back(std::move(route));
  }
  return left;
}

// What a token may do in a volume is the strictest of what all its routes there say: none that says
// something can be left out while another is kept.
Status check_rules_kept(const std::vector<Route>& above, const std::vector<Route>& kept) {
  for (const Route& rules : above) {
    if (rules.patterns.empty() && rules.reaches.empty()) continue;
    const bool same_volume = std::any_of(
        kept.begin(), kept.end(), [&](const Route& route) { return route.volume == rules.volume; });
    if (same_volume && route_at(kept, rules.path) == nullptr)
      return fail(Code::access_denied, "the route " + in_quotes(rules.path) +
                                           " has rules for the volume " + in_quotes(rules.volume) +
                                           ", which another route leads to as well; a narrower "
                                           "token has both or none of them");
  }
  return ok();
}

// The route that leads to a path under the mountpoint: the longest.
const Route* route_to(const std::vector<Route>& routes, const std::string& path) {
  const Route* found = nullptr;
  for (const Route& route : routes)
    if (is_in(path, route.path) && (found == nullptr || route.path.size() > found->path.size()))
      found = &route;
  return found;
}

Result<Access> lesser(const Route& route, const NarrowRequest::Reach& reach, Access most) {
  if (reach.rights > route.rights)
    return fail(Code::access_denied, "the token's rights in " + in_quotes(route.path) + " are \"" +
                                         std::string(rights_word(route.rights)) + "\", not \"" +
                                         std::string(rights_word(reach.rights)) + "\"");
  const Access rights = reach.rights == Access::none ? route.rights : reach.rights;
  return most == Access::none ? rights : std::min(rights, most);
}

// What of the route the path leaves.
Result<Route> narrowed(const std::vector<Route>& routes, const NarrowRequest::Reach& reach,
                       Access most) {
  const Route* const from = route_to(routes, reach.path);
  if (from == nullptr)
    return fail(Code::access_denied,
                "the token has no route that leads to " + in_quotes(reach.path));
  Route route = *from;
  LINKSPAN_TRY(route.rights, lesser(*from, reach, most));
  if (reach.path == from->path) return route;
  const std::string inside = reach.path.substr(from->path.size() + 1);
  const auto holds = [&](const std::string& to) { return is_in(inside, to); };
  if (!from->reaches.empty() && std::none_of(from->reaches.begin(), from->reaches.end(), holds))
    return fail(Code::access_denied,
                in_quotes(reach.path) + " is outside of what the token reaches");
  route.reaches = {inside};
  return route;
}

Status add(std::vector<Route>* routes, Route route) {
  const auto at = std::find_if(routes->begin(), routes->end(),
                               [&](const Route& r) { return r.path == route.path; });
  if (at == routes->end()) {
    routes->push_back(std::move(route));
    return ok();
  }
  if (at->rights != route.rights)
    return fail(Code::invalid, "a token has the same rights in all of a route: " +
                                   in_quotes(route.path) + " is asked for with two");
  if (at->reaches.empty() || route.reaches.empty())
    return fail(Code::invalid, "all of " + in_quotes(route.path) +
                                   " is asked for, and it or a part of it; ask for one of both");
  for (std::string& reach : route.reaches)
    if (std::find(at->reaches.begin(), at->reaches.end(), reach) == at->reaches.end())
      at->reaches.push_back(std::move(reach));
  if (at->reaches.size() <= limits::kReaches) return ok();
  return fail(Code::invalid, in_quotes(route.path) + " is narrowed to more than " +
                                 std::to_string(limits::kReaches) + " paths");
}

Result<std::vector<Route>> narrowed_routes(const std::vector<Route>& from,
                                           const NarrowRequest& request) {
  std::vector<NarrowRequest::Reach> reaches = request.reaches;
  if (reaches.empty())
    for (const Route& route : from) reaches.push_back({route.path, Access::none});
  std::vector<Route> routes;
  for (const NarrowRequest::Reach& reach : reaches) {
    LINKSPAN_TRY(Route route, narrowed(from, reach, request.rights));
    route.patterns.clear();  // the configured token's hold
    LINKSPAN_CHECK(add(&routes, std::move(route)));
  }
  return routes;
}

}  // namespace

Time first_end(Time a, Time b) {
  return a.ns == 0 || (b.ns != 0 && b < a) ? b : a;
}

Result<Token> make_token(const std::vector<store::TokenRecord>& lineage, Time now) {
  for (const store::TokenRecord& token : lineage)
    LINKSPAN_CHECK(check(token, &token == &lineage.front(), now));
  const store::TokenRecord& root = lineage.back();
  Token token{lineage.front(), root.hash, lineage.size() - 1, {}, {}};
  token.record.principal = root.principal;
  token.record.bind = root.bind;
  token.record.sources = root.sources;
  token.record.renew = root.renew;
  for (const store::TokenRecord& one : lineage) {
    token.record.expires = first_end(token.record.expires, one.expires);
    if (&one != &lineage.front()) token.ends_above = first_end(token.ends_above, one.renewed_until);
  }
  token.ends_above = first_end(token.ends_above, token.record.expires);
  token.ends = first_end(token.ends_above, token.record.renewed_until);
  token.record.routes = what_is_left(lineage);
  for (const store::TokenRecord& one : lineage) {
    if (one.tenant != root.tenant)
      return fail(Code::unauthenticated,
                  "the token that this one was narrowed from is another tenant's by now");
    if (const Status kept = check_rules_kept(one.routes, token.record.routes); !kept.ok())
      return fail(Code::unauthenticated, kept.error().message);
  }
  if (!token.record.routes.empty() || lineage.front().routes.empty()) return token;
  return fail(Code::unauthenticated,
              "the token that this one was narrowed from has none of its routes any more");
}

Result<store::TokenRecord> narrow(const Token& from, const NarrowRequest& request,
                                  const std::string& sandbox, Time now) {
  if (from.depth >= limits::kTokenDepth)
    return fail(Code::access_denied, "the token was narrowed " + std::to_string(from.depth) +
                                         " times already; use one from further up");
  if (request.expires.ns != 0 && request.expires <= now)
    return fail(Code::invalid, "the token would have expired already, at " + utc(request.expires));
  store::TokenRecord record;
  record.tenant = from.record.tenant;
  record.principal = from.record.principal;
  record.parent = from.record.hash;
  record.expires = first_end(from.record.expires, request.expires);
  record.sandbox = sandbox;
  if (!request.sandbox.empty()) record.sandbox += "/" + request.sandbox;
  if (record.sandbox.size() > limits::kLabelBytes)
    return fail(Code::invalid, "the sandbox would be called " + in_quotes(record.sandbox) +
                                   ", which is longer than 255 bytes");
  LINKSPAN_TRY(record.routes, narrowed_routes(from.record.routes, request));
  LINKSPAN_CHECK(check_rules_kept(from.record.routes, record.routes));
  return record;
}

}  // namespace linkspan::core
