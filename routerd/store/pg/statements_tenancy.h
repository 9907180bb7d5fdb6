// The SQL statements of tenants, their owners and sessions.
#pragma once

#include "routerd/store/pg/statements.h"

namespace linkspan::store::pg::sql {

// -- tenancy and sessions ------------------------------------------------------------------------
// (name): there or made; a lock on the row follows
inline constexpr Statement kAddTenant{
    "add_tenant",
    "INSERT INTO linkspan.tenant (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING"};
// (name) -> id, epoch, next_ino, last_seq, lease; locks it
inline constexpr Statement kLockTenant{
    "lock_tenant",
    "SELECT id, epoch, next_ino, last_seq, coalesce(lease, 0) FROM linkspan.tenant "
    "WHERE name = $1::text FOR UPDATE"};
// (name) -> id
inline constexpr Statement kTenantNamed{"tenant_named",
                                        "SELECT id FROM linkspan.tenant WHERE name = $1::text"};
// (tenant, epoch, last_seq, lease)
inline constexpr Statement kTakeTenant{
    "take_tenant",
    "UPDATE linkspan.tenant SET epoch = $2::bigint, last_seq = $3::bigint, "
    "beat = clock_timestamp(), lease = greatest(lease, $4::bigint) WHERE id = $1::integer"};
// (class of the fence, tenant): ends the transactions of a stopped or unreachable owner, which
// would keep the fence, and rows, locked for as long as its connections live. One that waits for
// its client for a second is such, or too slow to be waited for.
inline constexpr Statement kEndStuck{
    "end_stuck",
    "SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
    "AND l.classid = $1::integer::oid AND l.objid = $2::integer::oid "
    "AND a.datname = current_database() AND a.usename = current_user "
    "AND a.pid <> pg_backend_pid() AND a.wait_event_type = 'Client' "
    "AND a.state_change < clock_timestamp() - interval '1 second'"};
// (class of the claim, tenant name, silence in ms) -> bool; nothing: no such tenant
inline constexpr Statement kIsServed{
    "is_served",
    "SELECT coalesce(clock_timestamp() - t.beat BETWEEN interval '0' "
    "AND coalesce(t.lease, $3::bigint) * interval '1 millisecond', false) AND EXISTS (SELECT FROM "
    "pg_locks l "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
    "AND l.classid = $1::integer::oid AND l.objid = t.id::oid AND l.database = "
    "(SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) "
    "FROM linkspan.tenant t WHERE t.name = $2::text"};
// (tenants) -> id, epoch, name
inline constexpr Statement kOwners{
    "owners",
    "SELECT id, epoch, name FROM linkspan.tenant WHERE id = ANY($1::bigint[]::integer[])"};
// (class, tenants) -> id, bool. Of the connection, not of a transaction.
inline constexpr Statement kClaim{"claim",
                                  "SELECT o.id, pg_try_advisory_lock($1::integer, o.id::integer) "
                                  "FROM unnest($2::bigint[]) AS o(id)"};
inline constexpr Statement kGiveUpClaim{"give_up_claim",
                                        "SELECT pg_advisory_unlock($1::integer, $2::integer)"};
// (tenants, epochs, leases). One whose row is locked is left out: no tenant waits for another.
inline constexpr Statement kBeat{
    "beat",
    "WITH mine AS (SELECT t.id, o.lease "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS o(id, epoch, lease) "
    "JOIN linkspan.tenant t ON t.id = o.id::integer AND t.epoch = o.epoch "
    "FOR NO KEY UPDATE OF t SKIP LOCKED) "
    "UPDATE linkspan.tenant t SET beat = clock_timestamp(), lease = m.lease "
    "FROM mine m WHERE t.id = m.id"};
// (tenant, count) -> the first of them
inline constexpr Statement kReserve{"reserve",
                                    "UPDATE linkspan.tenant SET next_ino = next_ino + $2::bigint "
                                    "WHERE id = $1::integer RETURNING next_ino - $2::bigint"};
// (tenant) -> the highest seq that was ever in the log
inline constexpr Statement kLastSeq{
    "last_seq",
    "SELECT greatest((SELECT max(seq) FROM linkspan.change WHERE tenant = $1::integer), "
    "(SELECT max(pruned_seq) FROM linkspan.volume WHERE tenant = $1::integer), 0)"};
// (tenant, seq): adds the changes after seq to the volumes' usage
inline constexpr Statement kCountUsage{
    "count_usage",
    "UPDATE linkspan.volume v SET used_bytes = v.used_bytes + u.bytes, "
    "used_files = v.used_files + u.files FROM (SELECT c.volume, sum(c.bytes)::bigint AS bytes, "
    "sum(c.files)::bigint AS files FROM linkspan.change c WHERE c.tenant = $1::integer "
    "AND c.seq > $2::bigint GROUP BY c.volume) u WHERE v.tenant = $1::integer "
    "AND v.id = u.volume"};
// (tenant) -> id, name, root, used_bytes, used_files, quota_bytes, quota_files, keep_versions,
// keep_days, trimmed_seq, pruned_seq
inline constexpr Statement kVolumes{
    "volumes",
    "SELECT id, name, root, used_bytes, used_files, quota_bytes, quota_files, keep_versions, "
    "keep_days, trimmed_seq, pruned_seq FROM linkspan.volume WHERE tenant = $1::integer "
    "ORDER BY id"};
// (tenant, name, root, quota_bytes, quota_files, keep_versions, keep_days) -> id
inline constexpr Statement kAddVolume{
    "add_volume",
    "INSERT INTO linkspan.volume (tenant, name, root, quota_bytes, quota_files, keep_versions, "
    "keep_days) VALUES ($1::integer, $2::text, $3::bigint, $4::bigint, $5::bigint, $6::bigint, "
    "$7::bigint) RETURNING id"};
// (volume, quota_bytes, quota_files, keep_versions, keep_days); fewer versions: trim all again
inline constexpr Statement kSetVolume{
    "set_volume",
    "UPDATE linkspan.volume SET quota_bytes = $2::bigint, quota_files = $3::bigint, "
    "keep_versions = $4::bigint, keep_days = $5::bigint, trimmed_seq = CASE WHEN "
    "$4::bigint < keep_versions THEN 0 ELSE trimmed_seq END WHERE id = $1::integer "
    "AND (quota_bytes, quota_files, keep_versions, keep_days) IS DISTINCT FROM "
    "($2::bigint, $3::bigint, $4::bigint, $5::bigint)"};
// (id, tenant, attached, token, secret, principal, sandbox, epoch); nothing: another owner
inline constexpr Statement kPutSession{
    "put_session",
    "INSERT INTO linkspan.session (id, tenant, attached, token, secret, principal, sandbox) "
    "SELECT $1::bigint, id, $3::bigint, $4::bytea, $5::bytea, $6::text, $7::text "
    "FROM linkspan.tenant WHERE id = $2::integer AND epoch = $8::bigint "
    "ON CONFLICT (id) DO UPDATE SET "
    "tenant = EXCLUDED.tenant, attached = EXCLUDED.attached, token = EXCLUDED.token, "
    "secret = EXCLUDED.secret, principal = EXCLUDED.principal, sandbox = EXCLUDED.sandbox"};
#define LS_SESSION                                                  \
  "SELECT id, tenant, attached, token, secret, principal, sandbox " \
  "FROM linkspan.session "
inline constexpr Statement kSession{"session", LS_SESSION "WHERE id = $1::bigint"};
inline constexpr Statement kSessions{"sessions",
                                     LS_SESSION "WHERE tenant = $1::integer ORDER BY id"};
inline constexpr Statement kDropSession{"drop_session",
                                        "DELETE FROM linkspan.session WHERE tenant = $1::integer "
                                        "AND id = $2::bigint"};
// (tenant, session): its results
inline constexpr Statement kDropResults{"drop_results",
                                        "DELETE FROM linkspan.result WHERE tenant = $1::integer "
                                        "AND session = $2::bigint AND NOT " LS_RULED_OUT};
inline constexpr Statement kPing{"ping", "SELECT 1"};

}  // namespace linkspan::store::pg::sql
