// Tenants, volumes and sessions.

#include "routerd/store/pg/node_row.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_tenancy.h"
#include "routerd/store/pg/tenancy_parts.h"

namespace linkspan::store::pg {
namespace {

constexpr uint32_t kRootMode = 0755;

int32_t tenant_number(TenantId tenant) {
  return static_cast<int32_t>(tenant.value);
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
  conn.queue(sql::kForgetRuledOut, Params().i32(id));
  conn.queue(sql::kCountUsage, Params().i32(id).u64(counted));
  conn.queue(sql::kTakeTenant,
             Params().i32(id).id(state.epoch).id(state.last_seq).i64(lease.count()));
  conn.queue(sql::kVolumes, Params().i32(id));
  LINKSPAN_TRY(const std::vector<Rows> taken, conn.sync());
  const Rows& volumes = taken.back();
  for (int row = 0; row < volumes.count(); ++row) state.volumes.push_back(volume_at(volumes, row));
  return state;
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
