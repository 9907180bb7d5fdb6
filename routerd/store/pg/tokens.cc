// Tokens: configured ones and those narrowed from them.
#include <set>

#include "routerd/store/checks.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_tenancy.h"
#include "routerd/store/pg/statements_tokens.h"
#include "routerd/store/pg/tenancy_parts.h"

namespace linkspan::store::pg {
namespace {

TokenHash hash_at(const Rows& rows, int row, int column) {
  return array_of<std::tuple_size_v<TokenHash>>(rows.bytes(row, column));
}

constexpr char kBetweenGlobs = '/';  // globs of names hold none
constexpr char kBetweenReaches = '\0';
constexpr char kBetweenSources = ' ';

std::string joined(const std::vector<std::string>& parts, char between) {
  std::string text;
  for (const std::string& part : parts) {
    if (&part != &parts.front()) text += between;
    text += part;
  }
  return text;
}

std::vector<std::string> split(std::string_view text, char between) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = text.find(between);
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return parts;
}

Route route_at(const Rows& rows, int row) {
  Route route;
  route.path = rows.text(row, 0);
  route.volume = rows.text(row, 1);
  route.rights = static_cast<Access>(rows.i16(row, 2));
  route.policy = static_cast<Policy>(rows.i16(row, 3));
  route.timeout_ms = static_cast<uint32_t>(rows.i64(row, 4));
  route.reaches = split(rows.bytes(row, 12), kBetweenReaches);
  return route;
}

PolicyPattern pattern_at(const Rows& rows, int row) {
  PolicyPattern pattern{rows.text(row, 6)};
  if (!rows.null(row, 7)) pattern.policy = static_cast<Policy>(rows.i16(row, 7));
  if (!rows.null(row, 8)) pattern.access = static_cast<Access>(rows.i16(row, 8));
  if (!rows.null(row, 9)) pattern.no_exec = rows.boolean(row, 9);
  if (!rows.null(row, 10)) pattern.max_bytes = rows.u64(row, 10);
  pattern.allowed = split(rows.bytes(row, 11), kBetweenGlobs);
  return pattern;
}

void add_pattern(Connection& conn, std::string_view hash, int32_t route, int32_t place,
                 const PolicyPattern& pattern) {
  const std::string allowed = joined(pattern.allowed, kBetweenGlobs);
  Params p;
  p.bytes(hash).i32(route).i32(place).bytes(pattern.glob);
  pattern.policy ? p.i16(static_cast<int16_t>(*pattern.policy)) : p.null();
  pattern.access ? p.i16(static_cast<int16_t>(*pattern.access)) : p.null();
  pattern.no_exec ? p.boolean(*pattern.no_exec) : p.null();
  pattern.max_bytes ? p.u64(*pattern.max_bytes) : p.null();
  conn.queue(sql::kAddPattern, p.bytes(allowed));
}

void add_routes(Connection& conn, const TokenRecord& token) {
  int32_t place = 0;
  for (const Route& route : token.routes) {
    const std::string reaches = joined(route.reaches, kBetweenReaches);
    Params p;
    p.bytes(view(token.hash)).i32(place).bytes(route.path).bytes(route.volume);
    p.i16(static_cast<int16_t>(route.rights)).i16(static_cast<int16_t>(route.policy));
    p.i64(route.timeout_ms).bytes(reaches);
    conn.queue(sql::kAddRoute, p);
    int32_t at = 0;
    for (const PolicyPattern& pattern : route.patterns)
      add_pattern(conn, view(token.hash), place, at++, pattern);
    ++place;
  }
}

Result<TokenRecord> token_of(const TokenHash& hash, const Rows& token, const Rows& routes) {
  if (token.empty()) return no_token();
  TokenRecord record;
  record.hash = hash;
  record.tenant = token.text(0, 0);
  record.principal = token.text(0, 1);
  record.sandbox = token.text(0, 2);
  record.expires = token.time(0, 3);
  record.revoked = token.boolean(0, 4);
  record.bind = token.boolean(0, 5);
  record.sources = split(token.bytes(0, 6), kBetweenSources);
  record.renew = std::chrono::seconds(token.i64(0, 7));
  record.parent = hash_at(token, 0, 8);
  record.bound_to = hash_at(token, 0, 9);
  record.renewed_until = token.time(0, 10);
  for (int row = 0; row < routes.count(); ++row) {
    if (row == 0 || routes.i32(row, 5) != routes.i32(row - 1, 5))
      record.routes.push_back(route_at(routes, row));
    if (!routes.null(row, 6)) record.routes.back().patterns.push_back(pattern_at(routes, row));
  }
  return record;
}

}  // namespace

Status PostgresStore::put_token(const TokenRecord& token) {
  const auto put = transact<Done>(pool_, [&](Connection& conn) -> Status {
    const std::string_view hash = view(token.hash);
    Params params;
    params.bytes(hash).bytes(token.tenant).bytes(token.principal).bytes(token.sandbox);
    const std::string sources = joined(token.sources, kBetweenSources);
    params.time(token.expires).boolean(token.revoked).boolean(token.bind);
    params.bytes(sources).i64(token.renew.count());
    conn.queue(sql::kRevokeNarrowed, Params().bytes(hash));
    conn.queue(sql::kPutToken, params);
    conn.queue(sql::kDropRoutes, Params().bytes(hash));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[rows.size() - 2].affected() == 0) return no_tenant(token.tenant);
    add_routes(conn, token);
    return ok();
  });
  return put;
}

Status PostgresStore::narrow_token(const TokenRecord& token, const TokenHash& root, Time now) {
  const auto put = transact<Done>(pool_, [&](Connection& conn) -> Status {
    const auto check = [&](const Rows& counts) {
      if (!counts.boolean(0, 2)) return Status(no_parent());
      return check_family({counts.u64(0, 0), counts.u64(0, 1)});
    };
    const auto ask = [&] {
      conn.queue(sql::kFamily, Params().bytes(view(root)).bytes(view(token.parent)));
    };
    conn.queue(sql::kLockToken, Params().bytes(view(root)));  // of two at once one counts the other
    ask();
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (Status room = check(rows.back()); !room.ok() && room.code() == Code::busy) {
      conn.queue(sql::kDropOver, Params().bytes(view(root)).time(now));
      ask();
      LINKSPAN_TRY(const std::vector<Rows> again, conn.sync());
      LINKSPAN_CHECK(check(again.back()));
    } else {
      LINKSPAN_CHECK(room);
    }
    Params params;
    params.bytes(view(token.hash)).bytes(token.tenant).bytes(token.principal).bytes(token.sandbox);
    params.time(token.expires).bytes(view(token.parent));
    conn.queue(sql::kNarrowToken, params);
    add_routes(conn, token);
    return ok();
  });
  return put;
}

Result<uint64_t> PostgresStore::revoke_other_tokens(const std::string& tenant,
                                                    const std::vector<TokenHash>& kept) {
  const std::set<TokenHash> wanted(kept.begin(), kept.end());
  return transact<uint64_t>(pool_, [&](Connection& conn) -> Result<uint64_t> {
    conn.queue(sql::kTenantNamed, Params().bytes(tenant));
    conn.queue(sql::kValidTokens, Params().bytes(tenant));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    const Rows& valid = rows.back();
    if (rows[rows.size() - 2].empty()) return no_tenant(tenant);
    uint64_t revoked = 0;
    for (int row = 0; row < valid.count(); ++row) {
      if (wanted.contains(hash_at(valid, row, 0))) continue;
      conn.queue(sql::kRevokeToken, Params().bytes(valid.bytes(row, 0)));
      ++revoked;
    }
    return revoked;
  });
}

Result<TokenRecord> PostgresStore::find_token(const TokenHash& hash) {
  const std::function<Result<TokenRecord>(Connection&)> use =
      [&](Connection& conn) -> Result<TokenRecord> {
    conn.queue(sql::kToken, Params().bytes(view(hash)));
    conn.queue(sql::kRoutes, Params().bytes(view(hash)));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    return token_of(hash, rows[0], rows[1]);
  };
  return with_connection<TokenRecord>(pool_, use);
}

Result<std::vector<ValidToken>> PostgresStore::valid_tokens(const std::vector<TokenHash>& hashes) {
  std::string joined_hashes;
  for (const TokenHash& hash : hashes) joined_hashes += view(hash);
  LINKSPAN_TRY(
      const Rows rows, query(pool_, sql::kStillValid, [&] {
        return std::move(Params().bytes(joined_hashes).i32(static_cast<int32_t>(hashes.size())));
      }));
  std::vector<ValidToken> valid;
  for (int row = 0; row < rows.count(); ++row)
    valid.push_back({hash_at(rows, row, 0), rows.time(row, 1)});
  return valid;
}

Result<TokenHash> PostgresStore::bind_token(const TokenHash& hash, const TokenHash& to) {
  LINKSPAN_TRY(const Rows rows, query(pool_, sql::kBindToken, [&] {
                 return std::move(Params().bytes(view(hash)).bytes(view(to)));
               }));
  if (rows.empty()) return no_token();
  return hash_at(rows, 0, 0);
}

Status PostgresStore::renew_tokens(const std::vector<ValidToken>& until, Time now) {
  std::string hashes;
  std::vector<int64_t> ends;
  for (const ValidToken& token : until) {
    hashes += view(token.hash);
    ends.push_back(token.ends.ns);
  }
  LINKSPAN_TRY(const Rows rows, query(pool_, sql::kRenewTokens, [&] {
                 Params params;
                 params.bytes(hashes).i64_array(ends).i32(static_cast<int32_t>(ends.size()));
                 return std::move(params.time(now));
               }));
  (void)rows;
  return ok();
}

}  // namespace linkspan::store::pg
