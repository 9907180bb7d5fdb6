// The SQL statements of tokens.
#pragma once

#include "routerd/store/pg/statements.h"

namespace linkspan::store::pg::sql {

// (hash): where it was revoked, what was narrowed from it is so for good
inline constexpr Statement kRevokeNarrowed{
    "revoke_narrowed",
    "UPDATE linkspan.token c SET revoked = true FROM linkspan.token k "
    "WHERE k.hash = $1::bytea AND k.revoked AND c.parent = k.hash"};
// (hash, tenant name, principal, sandbox, expires, revoked, bind, sources, renew)
inline constexpr Statement kPutToken{
    "put_token",
    "INSERT INTO linkspan.token AS k (hash, tenant, principal, sandbox, expires, revoked, bind, "
    "sources, renew) SELECT $1::bytea, id, $3::text, $4::text, $5::bigint, $6::boolean, "
    "$7::boolean, $8::text, $9::bigint FROM linkspan.tenant WHERE name = $2::text "
    "ON CONFLICT (hash) DO UPDATE SET tenant = EXCLUDED.tenant, "
    "principal = EXCLUDED.principal, sandbox = EXCLUDED.sandbox, expires = EXCLUDED.expires, "
    "revoked = EXCLUDED.revoked, bind = EXCLUDED.bind, sources = EXCLUDED.sources, "
    "renew = EXCLUDED.renew, parent = NULL, "
    "bound_to = CASE WHEN EXCLUDED.bind THEN k.bound_to END, "
    "renewed_until = CASE WHEN EXCLUDED.renew > 0 THEN k.renewed_until END"};
// (hash, tenant name, principal, sandbox, expires, parent)
inline constexpr Statement kNarrowToken{
    "narrow_token",
    "INSERT INTO linkspan.token (hash, tenant, principal, sandbox, expires, revoked, parent) "
    "SELECT $1::bytea, id, $3::text, $4::text, $5::bigint, false, $6::bytea "
    "FROM linkspan.tenant WHERE name = $2::text"};
// (hash)
inline constexpr Statement kLockToken{
    "lock_token", "SELECT FROM linkspan.token WHERE hash = $1::bytea FOR UPDATE"};
#define LS_FAMILY(root)                                                            \
  "WITH RECURSIVE family AS (SELECT hash FROM linkspan.token WHERE parent = " root \
  "::bytea UNION ALL SELECT k.hash FROM linkspan.token k JOIN family f ON k.parent = f.hash) "
// (root, parent) -> narrowed from the parent, and from the root, also indirectly; is the parent
// there
inline constexpr Statement kFamily{
    "family", LS_FAMILY("$1") "SELECT (SELECT count(*) FROM linkspan.token WHERE parent = "
                              "$2::bytea), (SELECT count(*) FROM family), "
                              "EXISTS (SELECT FROM linkspan.token WHERE hash = $2::bytea)"};
// (root, now): those that are over, with what was narrowed from them
inline constexpr Statement kDropOver{
    "drop_over", LS_FAMILY("$1") "DELETE FROM linkspan.token k USING family f WHERE k.hash = "
                                 "f.hash AND (k.revoked OR k.expires BETWEEN 1 AND $2::bigint "
                                 "OR k.renewed_until <= $2::bigint)"};
inline constexpr Statement kDropRoutes{"drop_routes",
                                       "DELETE FROM linkspan.token_route WHERE hash = $1::bytea"};
// (hash, place, path, volume, rights, policy, timeout_ms, reaches)
inline constexpr Statement kAddRoute{
    "add_route",
    "INSERT INTO linkspan.token_route (hash, place, path, volume, rights, policy, timeout_ms, "
    "reaches) VALUES ($1::bytea, $2::integer, $3::bytea, $4::text, $5::smallint, $6::smallint, "
    "$7::bigint, $8::bytea)"};
// (hash) -> tenant name, principal, sandbox, expires, revoked, bind, sources, renew, parent,
// bound_to, renewed_until
inline constexpr Statement kToken{
    "token",
    "SELECT t.name, k.principal, k.sandbox, k.expires, k.revoked, k.bind, k.sources, k.renew, "
    "k.parent, k.bound_to, coalesce(k.renewed_until, 0) FROM linkspan.token k "
    "JOIN linkspan.tenant t ON t.id = k.tenant WHERE k.hash = $1::bytea"};
// (tenant name) -> hash of each configured one that is not revoked. Locks them.
inline constexpr Statement kValidTokens{
    "valid_tokens",
    "SELECT k.hash FROM linkspan.token k JOIN linkspan.tenant t ON t.id = k.tenant "
    "WHERE t.name = $1::text AND NOT k.revoked AND k.parent IS NULL ORDER BY k.hash "
    "FOR UPDATE OF k"};
// (hashes, one behind the other, how many) -> hash and end of each that is there and neither
// revoked nor narrowed from one that is
inline constexpr Statement kStillValid{
    "still_valid",
    "WITH RECURSIVE up AS (SELECT DISTINCT h.hash, h.hash AS at FROM (SELECT substring($1::bytea "
    "FROM 32 * i + 1 FOR 32) AS hash FROM generate_series(0, $2::integer - 1) i) h "
    "UNION ALL SELECT up.hash, k.parent FROM up JOIN linkspan.token k ON k.hash = up.at "
    "WHERE k.parent IS NOT NULL) "
    "SELECT up.hash, coalesce(min(least(nullif(k.expires, 0), k.renewed_until)), 0) FROM up "
    "JOIN linkspan.token k ON k.hash = up.at GROUP BY up.hash HAVING NOT bool_or(k.revoked)"};
// (hash, to) -> to whom it is bound
inline constexpr Statement kBindToken{
    "bind_token",
    "UPDATE linkspan.token SET bound_to = coalesce(bound_to, $2::bytea) WHERE hash = $1::bytea "
    "RETURNING bound_to"};
// (hashes, one behind the other, their ends, how many, now)
inline constexpr Statement kRenewTokens{
    "renew_tokens",
    "UPDATE linkspan.token k SET renewed_until = greatest(k.renewed_until, u.ends) FROM (SELECT "
    "substring($1::bytea FROM 32 * i + 1 FOR 32) AS hash, ($2::bigint[])[i + 1] AS ends "
    "FROM generate_series(0, $3::integer - 1) i) u WHERE k.hash = u.hash "
    "AND (k.renewed_until IS NULL OR k.renewed_until > $4::bigint)"};
inline constexpr Statement kRevokeToken{
    "revoke_token", "UPDATE linkspan.token SET revoked = true WHERE hash = $1::bytea"};
// (hash) -> path, volume, rights, policy, timeout_ms, place; glob, policy, access, no_exec,
// max_bytes, allowed of a pattern; reaches. A row for each pattern, or one with nulls.
inline constexpr Statement kRoutes{
    "routes",
    "SELECT r.path, r.volume, r.rights, r.policy, r.timeout_ms, r.place, p.glob, p.policy, "
    "p.access, p.no_exec, p.max_bytes, p.allowed, r.reaches FROM linkspan.token_route r LEFT JOIN "
    "linkspan.token_pattern p "
    "ON p.hash = r.hash AND p.route = r.place WHERE r.hash = $1::bytea "
    "ORDER BY r.place, p.place"};
// (hash, place of the route, place, glob, policy, access, no_exec, max_bytes, allowed)
inline constexpr Statement kAddPattern{
    "add_pattern",
    "INSERT INTO linkspan.token_pattern (hash, route, place, glob, policy, access, no_exec, "
    "max_bytes, allowed) VALUES ($1::bytea, $2::integer, $3::integer, $4::text, $5::smallint, "
    "$6::smallint, $7::boolean, $8::bigint, $9::text)"};
#undef LS_FAMILY

}  // namespace linkspan::store::pg::sql
