// Tenants, volumes, tokens and sessions.
#include <algorithm>
#include <set>

#include "routerd/store/pg/node_row.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_tenancy.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
namespace {

constexpr uint32_t kRootMode = 0755;

Error no_tenant(const std::string& name) {
  return fail(Code::not_found, "there is no tenant '" + name + "'");
}

// The answer of sql::kEpoch.
Status check_epoch(const Rows& rows, TenantId tenant, Epoch epoch) {
  if (rows.empty()) return no_tenant(std::to_string(tenant.value));
  if (rows.u64(0, 0) == epoch.value) return ok();
  return fail(Code::fenced, "tenant '" + rows.text(0, 1) + "' is owned by another router now");
}

template <size_t N>
std::string_view view(const std::array<uint8_t, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <size_t N>
std::array<uint8_t, N> array_of(std::string_view bytes) {
  std::array<uint8_t, N> out{};
  std::copy_n(bytes.begin(), std::min(bytes.size(), N), out.begin());
  return out;
}

int32_t tenant_number(TenantId tenant) {
  return static_cast<int32_t>(tenant.value);
}

// One transaction of its own, repeated where that is right.
template <class T>
Result<T> transact(Pool& pool, const std::function<Result<T>(Connection&)>& body) {
  const std::function<Result<T>(Connection&)> use = [&](Connection& conn) -> Result<T> {
    conn.queue(sql::kBegin);
    LINKSPAN_TRY(T made, body(conn));
    conn.queue(sql::kCommit);
    LINKSPAN_CHECK(conn.sync());
    return made;
  };
  return with_connection<T>(pool, use);
}

Volume volume_at(const Rows& rows, int row) {
  Volume volume;
  volume.id = VolumeId{static_cast<uint64_t>(rows.i32(row, 0))};
  volume.name = rows.text(row, 1);
  volume.root = Ino{rows.u64(row, 2)};
  volume.used_bytes = rows.u64(row, 3);
  volume.used_files = rows.u64(row, 4);
  volume.quota_bytes = rows.u64(row, 5);
  volume.quota_files = rows.u64(row, 6);
  return volume;
}

NodeRow root_node(Ino ino, VolumeId volume, Time now) {
  NodeRow root;
  root.volume = volume;
  Attr& attr = root.attr;
  attr.ino = attr.parent = ino;
  attr.kind = Kind::directory;
  attr.mode = kRootMode;
  attr.nlink = 2;
  attr.atime = attr.mtime = attr.ctime = attr.btime = now;
  return root;
}

Params settings(Params params, const VolumeSpec& spec) {
  params.u64(spec.quota_bytes).u64(spec.quota_files).i64(spec.keep_versions).i64(spec.keep_days);
  return params;
}

Status add_volume(Connection& conn, TenantId tenant, const VolumeSpec& spec, Time now) {
  LINKSPAN_TRY(const Rows ino, conn.run(sql::kReserve, Params().i32(tenant_number(tenant)).i64(1)));
  const Ino root{ino.u64(0, 0)};
  Params params;
  params.i32(tenant_number(tenant)).bytes(spec.name).id(root);
  LINKSPAN_TRY(const Rows id, conn.run(sql::kAddVolume, settings(std::move(params), spec)));
  const VolumeId volume{static_cast<uint64_t>(id.i32(0, 0))};
  LINKSPAN_CHECK(conn.run(sql::kAddNode, add_node(tenant, root_node(root, volume, now))));
  return ok();
}

Result<TenantId> provision_in(Connection& conn, const TenantSpec& spec, Time now) {
  conn.queue(sql::kAddTenant, Params().bytes(spec.name));
  conn.queue(sql::kLockTenant, Params().bytes(spec.name));
  LINKSPAN_TRY(const std::vector<Rows> made, conn.sync());
  const TenantId tenant{static_cast<uint64_t>(made.back().i32(0, 0))};
  LINKSPAN_TRY(const Rows volumes, conn.run(sql::kVolumes, Params().i32(tenant_number(tenant))));
  for (const VolumeSpec& wanted : spec.volumes) {
    int row = 0;
    while (row < volumes.count() && volumes.bytes(row, 1) != wanted.name) ++row;
    if (row == volumes.count()) {
      LINKSPAN_CHECK(add_volume(conn, tenant, wanted, now));
    } else {
      Params id;
      id.i32(volumes.i32(row, 0));
      LINKSPAN_CHECK(conn.run(sql::kSetVolume, settings(std::move(id), wanted)));
    }
  }
  return tenant;
}

// The fence's exclusive lock first: every mutation of the old owner is over then, and none begins.
Result<TenantState> open_in(Connection& conn, const std::string& name,
                            std::chrono::milliseconds lease) {
  conn.queue(sql::kTenantNamed, Params().bytes(name));
  LINKSPAN_TRY(const std::vector<Rows> known, conn.sync());
  if (known.back().empty()) return no_tenant(name);
  const int32_t id = known.back().i32(0, 0);
  conn.queue(sql::kEndStuck, Params().i32(kFenceLock).i32(id));
  conn.queue(sql::kLockExclusive, Params().i32(kFenceLock).i32(id));
  conn.queue(sql::kLockTenant, Params().bytes(name));
  conn.queue(sql::kLastSeq, Params().i32(id));
  LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
  const Rows& tenant = rows[2];
  TenantState state;
  state.id = TenantId{static_cast<uint64_t>(id)};
  state.name = name;
  state.epoch = Epoch{tenant.u64(0, 1) + 1};
  const uint64_t counted = tenant.u64(0, 3);
  state.earlier_lease = std::chrono::milliseconds(tenant.i64(0, 4));
  state.last_seq = Seq{std::max(counted, rows[3].u64(0, 0))};
  conn.queue(sql::kCountUsage, Params().i32(id).u64(counted));
  conn.queue(sql::kTakeTenant,
             Params().i32(id).id(state.epoch).id(state.last_seq).i64(lease.count()));
  conn.queue(sql::kVolumes, Params().i32(id));
  LINKSPAN_TRY(const std::vector<Rows> taken, conn.sync());
  const Rows& volumes = taken.back();
  for (int row = 0; row < volumes.count(); ++row) state.volumes.push_back(volume_at(volumes, row));
  return state;
}

Route route_at(const Rows& rows, int row) {
  Route route;
  route.path = rows.text(row, 0);
  route.volume = rows.text(row, 1);
  route.rights = static_cast<Access>(rows.i16(row, 2));
  route.policy = static_cast<Policy>(rows.i16(row, 3));
  route.timeout_ms = static_cast<uint32_t>(rows.i64(row, 4));
  return route;
}

// Globs of names hold no '/'.
std::string joined(const std::vector<std::string>& globs) {
  std::string text;
  for (const std::string& glob : globs) text += (text.empty() ? "" : "/") + glob;
  return text;
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> globs;
  while (!text.empty()) {
    const size_t slash = text.find('/');
    globs.emplace_back(text.substr(0, slash));
    text.remove_prefix(slash == std::string_view::npos ? text.size() : slash + 1);
  }
  return globs;
}

PolicyPattern pattern_at(const Rows& rows, int row) {
  PolicyPattern pattern{rows.text(row, 6)};
  if (!rows.null(row, 7)) pattern.policy = static_cast<Policy>(rows.i16(row, 7));
  if (!rows.null(row, 8)) pattern.access = static_cast<Access>(rows.i16(row, 8));
  if (!rows.null(row, 9)) pattern.no_exec = rows.boolean(row, 9);
  if (!rows.null(row, 10)) pattern.max_bytes = rows.u64(row, 10);
  pattern.allowed = split(rows.bytes(row, 11));
  return pattern;
}

void add_pattern(Connection& conn, std::string_view hash, int32_t route, int32_t place,
                 const PolicyPattern& pattern) {
  const std::string allowed = joined(pattern.allowed);
  Params p;
  p.bytes(hash).i32(route).i32(place).bytes(pattern.glob);
  pattern.policy ? p.i16(static_cast<int16_t>(*pattern.policy)) : p.null();
  pattern.access ? p.i16(static_cast<int16_t>(*pattern.access)) : p.null();
  pattern.no_exec ? p.boolean(*pattern.no_exec) : p.null();
  pattern.max_bytes ? p.u64(*pattern.max_bytes) : p.null();
  conn.queue(sql::kAddPattern, p.bytes(allowed));
}

Result<TokenRecord> token_of(const TokenHash& hash, const Rows& token, const Rows& routes) {
  if (token.empty()) return fail(Code::not_found, "there is no such token");
  TokenRecord record;
  record.hash = hash;
  record.tenant = token.text(0, 0);
  record.principal = token.text(0, 1);
  record.sandbox = token.text(0, 2);
  record.expires = token.time(0, 3);
  record.revoked = token.boolean(0, 4);
  for (int row = 0; row < routes.count(); ++row) {
    if (row == 0 || routes.i32(row, 5) != routes.i32(row - 1, 5))
      record.routes.push_back(route_at(routes, row));
    if (!routes.null(row, 6)) record.routes.back().patterns.push_back(pattern_at(routes, row));
  }
  return record;
}

SessionRecord session_at(const Rows& rows, int row) {
  SessionRecord session;
  session.id = SessionId{rows.u64(row, 0)};
  session.tenant = TenantId{static_cast<uint64_t>(rows.i32(row, 1))};
  session.attached = rows.time(row, 2);
  session.token = array_of<std::tuple_size_v<TokenHash>>(rows.bytes(row, 3));
  session.secret = array_of<sizeof session.secret>(rows.bytes(row, 4));
  session.principal = rows.text(row, 5);
  session.sandbox = rows.text(row, 6);
  return session;
}

Result<Rows> query(Pool& pool, const Statement& statement, const std::function<Params()>& params) {
  const std::function<Result<Rows>(Connection&)> use = [&](Connection& conn) {
    return conn.run(statement, params());
  };
  return with_connection<Rows>(pool, use);
}

}  // namespace

Result<TenantId> PostgresStore::provision(const TenantSpec& spec, Time now) {
  if (spec.name.empty()) return fail(Code::invalid, "a tenant needs a name");
  for (const VolumeSpec& volume : spec.volumes)
    if (volume.name.empty()) return fail(Code::invalid, "a volume needs a name");
  return transact<TenantId>(pool_, [&](Connection& conn) { return provision_in(conn, spec, now); });
}

Result<TenantState> PostgresStore::open_tenant(const std::string& name,
                                               std::chrono::milliseconds lease) {
  return transact<TenantState>(pool_, [&](Connection& conn) { return open_in(conn, name, lease); });
}

Result<Ino> PostgresStore::reserve_inodes(TenantId tenant, uint32_t count) {
  if (count == 0) return fail(Code::invalid, "no inode numbers were asked for");
  LINKSPAN_TRY(const Rows rows, query(pool_, sql::kReserve, [&] {
                 return std::move(Params().i32(tenant_number(tenant)).i64(count));
               }));
  if (rows.empty()) return no_tenant(std::to_string(tenant.value));
  return Ino{rows.u64(0, 0)};
}

Result<bool> PostgresStore::is_served(const std::string& name, std::chrono::milliseconds silence) {
  LINKSPAN_TRY(const Rows rows, query(pool_, sql::kIsServed, [&] {
                 return std::move(Params().i32(kClaimLock).bytes(name).i64(silence.count()));
               }));
  return !rows.empty() && rows.boolean(0, 0);
}

Result<std::vector<Status>> PostgresStore::beat(const std::vector<Ownership>& owned) {
  return claims_.beat(owned);
}

Status PostgresStore::put_token(const TokenRecord& token) {
  const auto put = transact<Done>(pool_, [&](Connection& conn) -> Status {
    const std::string_view hash = view(token.hash);
    Params params;
    params.bytes(hash).bytes(token.tenant).bytes(token.principal).bytes(token.sandbox);
    params.time(token.expires).boolean(token.revoked);
    conn.queue(sql::kPutToken, params);
    conn.queue(sql::kDropRoutes, Params().bytes(hash));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[rows.size() - 2].affected() == 0) return no_tenant(token.tenant);
    int32_t place = 0;
    for (const Route& route : token.routes) {
      Params p;
      p.bytes(hash).i32(place).bytes(route.path).bytes(route.volume);
      p.i16(static_cast<int16_t>(route.rights)).i16(static_cast<int16_t>(route.policy));
      p.i64(route.timeout_ms);
      conn.queue(sql::kAddRoute, p);
      int32_t at = 0;
      for (const PolicyPattern& pattern : route.patterns)
        add_pattern(conn, hash, place, at++, pattern);
      ++place;
    }
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
      if (wanted.contains(array_of<std::tuple_size_v<TokenHash>>(valid.bytes(row, 0)))) continue;
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

Result<std::vector<TokenHash>> PostgresStore::valid_tokens(const std::vector<TokenHash>& hashes) {
  std::string joined_hashes;
  for (const TokenHash& hash : hashes) joined_hashes += view(hash);
  LINKSPAN_TRY(
      const Rows rows, query(pool_, sql::kStillValid, [&] {
        return std::move(Params().bytes(joined_hashes).i32(static_cast<int32_t>(hashes.size())));
      }));
  std::vector<TokenHash> valid;
  for (int row = 0; row < rows.count(); ++row)
    valid.push_back(array_of<std::tuple_size_v<TokenHash>>(rows.bytes(row, 0)));
  return valid;
}

// Under the fence's shared lock and by the epoch, as every mutation.
Status PostgresStore::put_session(const SessionRecord& session, Epoch epoch) {
  const auto put = transact<Done>(pool_, [&](Connection& conn) -> Status {
    Params params;
    params.id(session.id).i32(tenant_number(session.tenant)).time(session.attached);
    params.bytes(view(session.token)).bytes(view(session.secret));
    params.bytes(session.principal).bytes(session.sandbox).id(epoch);
    conn.queue(sql::kLockShared, Params().i32(kFenceLock).i32(tenant_number(session.tenant)));
    conn.queue(sql::kEpoch, Params().i32(tenant_number(session.tenant)));
    conn.queue(sql::kPutSession, params);
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    return check_epoch(rows[rows.size() - 2], session.tenant, epoch);
  });
  return put;
}

Result<SessionRecord> PostgresStore::find_session(SessionId id) {
  LINKSPAN_TRY(const Rows rows,
               query(pool_, sql::kSession, [&] { return std::move(Params().id(id)); }));
  if (rows.empty()) return fail(Code::not_found, "there is no such session");
  return session_at(rows, 0);
}

Result<std::vector<SessionRecord>> PostgresStore::live_sessions(TenantId tenant) {
  LINKSPAN_TRY(const Rows rows, query(pool_, sql::kSessions, [&] {
                 return std::move(Params().i32(tenant_number(tenant)));
               }));
  std::vector<SessionRecord> sessions;
  for (int row = 0; row < rows.count(); ++row) sessions.push_back(session_at(rows, row));
  return sessions;
}

Status PostgresStore::end_session(TenantId tenant, SessionId id, Epoch epoch) {
  const auto ended = transact<Done>(pool_, [&](Connection& conn) -> Status {
    conn.queue(sql::kLockShared, Params().i32(kFenceLock).i32(tenant_number(tenant)));
    conn.queue(sql::kEpoch, Params().i32(tenant_number(tenant)));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    LINKSPAN_CHECK(check_epoch(rows.back(), tenant, epoch));
    conn.queue(sql::kDropSession, Params().i32(tenant_number(tenant)).id(id));
    conn.queue(sql::kDropResults, Params().i32(tenant_number(tenant)).id(id));
    return ok();
  });
  return ended;
}

}  // namespace linkspan::store::pg
