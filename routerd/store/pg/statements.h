// The SQL statements of transactions, nodes and names; the others are in statements_content.h,
// statements_history.h and statements_tenancy.h. Each with its parameters and columns; those that
// lock say so. Node columns are read by node_row.h, in the order given here.
#pragma once

#include <cstdint>

#include "routerd/store/pg/connection.h"

namespace linkspan::store::pg {

// First half of the two-part advisory lock keys; the second is the tenant.
inline constexpr int32_t kFenceLock = 0x4c530001;    // shared: a mutation; exclusive: open_tenant
inline constexpr int32_t kTreeLock = 0x4c530002;     // directories that move to another parent
inline constexpr int32_t kPruneLock = 0x4c530003;    // one prune at a time
inline constexpr int32_t kMigrateLock = 0x4c530004;  // second half 0
inline constexpr int32_t kClaimLock = 0x4c530005;    // the owner's, while it lives (claims.h)

inline constexpr int kNodeColumns = 23;
#define LS_NODE                                                                            \
  "n.ino, n.volume, n.kind, n.owns_history, n.has_xattrs, n.mode, n.nlink, n.uid, n.gid, " \
  "n.size, n.allocated, n.atime, n.mtime, n.ctime, n.btime, n.seq, n.version, n.history, " \
  "n.dver, n.floor, n.parent, n.last_cookie, n.target"
// Subqueries end with OFFSET 0 where the planner must not look into them: it would read all of a
// file's segments and then choose, as long as tables are small.
// The rows that make up a small file: chunk 0 of `n`, in the order in which they are laid.
#define LS_SMALL_CONTENT(condition)                                                            \
  " LEFT JOIN LATERAL (SELECT s.* FROM (SELECT h.base_dver, h.dver FROM linkspan.segment h "   \
  "WHERE n.kind = 1 AND n.size BETWEEN 1 AND 65536 AND " condition                             \
  " AND h.tenant = n.tenant AND h.ino = n.ino AND h.chunk = 0 "                                \
  "AND h.dver BETWEEN n.floor AND n.dver ORDER BY h.dver DESC, h.part DESC LIMIT 1) h "        \
  "CROSS JOIN LATERAL (SELECT s.dver, s.part, s.start, s.len, s.data FROM linkspan.segment s " \
  "WHERE s.tenant = n.tenant AND s.ino = n.ino AND s.chunk = 0 "                               \
  "AND s.dver BETWEEN h.base_dver AND h.dver OFFSET 0) s) s ON true"

namespace sql {

// -- transactions --------------------------------------------------------------------------------
inline constexpr Statement kBegin{"begin", "BEGIN"};
inline constexpr Statement kCommit{"commit", "COMMIT"};
// In a transaction: what it does may come undone in a crash of the server. It is done again then.
inline constexpr Statement kLazyCommit{"lazy_commit", "SET LOCAL synchronous_commit = off"};
// (class, tenant) locks
inline constexpr Statement kLockShared{
    "lock_shared", "SELECT pg_advisory_xact_lock_shared($1::integer, $2::integer)"};
inline constexpr Statement kLockExclusive{"lock_exclusive",
                                          "SELECT pg_advisory_xact_lock($1::integer, $2::integer)"};
inline constexpr Statement kTryLock{"try_lock",
                                    "SELECT pg_try_advisory_xact_lock($1::integer, $2::integer)"};
// (tenant) -> epoch, name. A statement of its own after the fence's lock, for a fresh snapshot.
inline constexpr Statement kEpoch{"epoch",
                                  "SELECT epoch, name FROM linkspan.tenant WHERE id = $1::integer"};
// (tenant, session, op) -> reply
inline constexpr Statement kFindResult{
    "find_result",
    "SELECT reply FROM linkspan.result WHERE tenant = $1::integer AND session = $2::bigint "
    "AND op = $3::bigint"};
// (tenant, session, op, reply)
inline constexpr Statement kAddResult{"add_result",
                                      "INSERT INTO linkspan.result (tenant, session, op, reply) "
                                      "VALUES ($1::integer, $2::bigint, $3::bigint, $4::bytea)"};
inline constexpr Statement kLockBriefly{"lock_briefly",
                                        "SELECT set_config('lock_timeout', '200', true)"};
// (tenant, session, op, bytes): in place of no result, or of older such bytes (reply_codec.h),
// which stay until no transaction of before can be under way: until the tenant's next owner.
#define LS_RULED_OUT "reply < '\\x01'::bytea"
inline constexpr Statement kRuleOut{
    "rule_out",
    "INSERT INTO linkspan.result AS r (tenant, session, op, reply) "
    "VALUES ($1::integer, $2::bigint, $3::bigint, $4::bytea) ON CONFLICT (tenant, session, op) "
    "DO UPDATE SET reply = EXCLUDED.reply WHERE r." LS_RULED_OUT};
// (tenant, session, op, bytes)
inline constexpr Statement kTryAnew{
    "try_anew",
    "DELETE FROM linkspan.result WHERE tenant = $1::integer AND session = $2::bigint "
    "AND op = $3::bigint AND reply = $4::bytea"};
// (tenant)
inline constexpr Statement kForgetRuledOut{
    "forget_ruled_out", "DELETE FROM linkspan.result WHERE tenant = $1::integer AND " LS_RULED_OUT};
// (tenant, session, answered_below)
inline constexpr Statement kForgetResults{
    "forget_results",
    "DELETE FROM linkspan.result WHERE tenant = $1::integer AND session = $2::bigint "
    "AND op < $3::bigint AND NOT " LS_RULED_OUT};

// -- nodes and names -----------------------------------------------------------------------------
// (tenant, ino) -> node
inline constexpr Statement kNode{"node", "SELECT " LS_NODE
                                         " FROM linkspan.node n WHERE n.tenant = $1::integer "
                                         "AND n.ino = $2::bigint"};
// (tenant, ino) -> node; locks it
inline constexpr Statement kLockNode{"lock_node",
                                     "SELECT " LS_NODE
                                     " FROM linkspan.node n WHERE n.tenant = $1::integer "
                                     "AND n.ino = $2::bigint FOR NO KEY UPDATE OF n"};
// (tenant, ino); locks it if nobody else does, fails with 55P03 otherwise
inline constexpr Statement kLockNodeNow{"lock_node_now",
                                        "SELECT " LS_NODE
                                        " FROM linkspan.node n WHERE n.tenant = $1::integer "
                                        "AND n.ino = $2::bigint FOR NO KEY UPDATE OF n NOWAIT"};
// (tenant, ino, ino) -> nodes; locks them in ascending order
inline constexpr Statement kLockPair{"lock_pair",
                                     "SELECT " LS_NODE
                                     " FROM linkspan.node n WHERE n.tenant = $1::integer "
                                     "AND n.ino = ANY(ARRAY[$2::bigint, $3::bigint]) "
                                     "ORDER BY n.ino FOR NO KEY UPDATE OF n"};
// (tenant, dir, name) -> the directory and the node of that name; locks them in ascending order
inline constexpr Statement kLockEntry{
    "lock_entry",
    "SELECT " LS_NODE
    " FROM linkspan.node n WHERE n.tenant = $1::integer "
    "AND n.ino = ANY(ARRAY[$2::bigint, "
    "(SELECT d.ino FROM linkspan.dentry d WHERE d.tenant = $1::integer AND d.parent = $2::bigint "
    "AND d.name = $3::bytea)]) ORDER BY n.ino FOR NO KEY UPDATE OF n"};
// (tenant, dir, name, dir, name, ino) -> up to five nodes; locks them in ascending order
inline constexpr Statement kLockMove{
    "lock_move",
    "SELECT " LS_NODE
    " FROM linkspan.node n WHERE n.tenant = $1::integer "
    "AND n.ino = ANY(ARRAY[$2::bigint, $4::bigint, $6::bigint, "
    "(SELECT d.ino FROM linkspan.dentry d WHERE d.tenant = $1::integer AND d.parent = $2::bigint "
    "AND d.name = $3::bytea), "
    "(SELECT d.ino FROM linkspan.dentry d WHERE d.tenant = $1::integer AND d.parent = $4::bigint "
    "AND d.name = $5::bytea)]) ORDER BY n.ino FOR NO KEY UPDATE OF n"};
// (tenant, dir, name, dir, name, lock class) -> a row if one of the two is a directory; locks the
// tenant's tree in that case
inline constexpr Statement kLockTree{
    "lock_tree",
    "SELECT pg_advisory_xact_lock($6::integer, $1::integer) WHERE EXISTS ("
    "SELECT 1 FROM linkspan.dentry d JOIN linkspan.node n ON n.tenant = d.tenant AND n.ino = d.ino "
    "WHERE d.tenant = $1::integer AND d.parent = $2::bigint AND d.name = $3::bytea "
    "AND n.kind = 2) OR EXISTS ("
    "SELECT 1 FROM linkspan.dentry d JOIN linkspan.node n ON n.tenant = d.tenant AND n.ino = d.ino "
    "WHERE d.tenant = $1::integer AND d.parent = $4::bigint AND d.name = $5::bytea "
    "AND n.kind = 2)"};
// (tenant, dir, name) -> ino
inline constexpr Statement kEntry{
    "entry",
    "SELECT d.ino FROM linkspan.dentry d WHERE d.tenant = $1::integer AND d.parent = $2::bigint "
    "AND d.name = $3::bytea"};
// (tenant, dir, name) -> node
inline constexpr Statement kChild{
    "child", "SELECT " LS_NODE
             " FROM linkspan.dentry d JOIN linkspan.node n ON n.tenant = d.tenant "
             "AND n.ino = d.ino WHERE d.tenant = $1::integer AND d.parent = $2::bigint "
             "AND d.name = $3::bytea"};
// (tenant, dir, name) -> has the directory of that name any entries?
inline constexpr Statement kChildHasEntries{
    "child_has_entries",
    "SELECT EXISTS (SELECT 1 FROM linkspan.dentry e WHERE e.tenant = $1::integer AND e.parent = "
    "(SELECT d.ino FROM linkspan.dentry d WHERE d.tenant = $1::integer AND d.parent = $2::bigint "
    "AND d.name = $3::bytea))"};
// (tenant, ino) -> (parent, name) of its oldest name, then those of its parents, up to the root
inline constexpr Statement kPath{
    "path",
    "WITH RECURSIVE up(parent, name, depth) AS ("
    "(SELECT d.parent, d.name, 1 FROM linkspan.dentry d WHERE d.tenant = $1::integer "
    "AND d.ino = $2::bigint ORDER BY d.seq, d.cookie LIMIT 1) UNION ALL "
    "SELECT d.parent, d.name, up.depth + 1 FROM up CROSS JOIN LATERAL (SELECT e.parent, e.name "
    "FROM linkspan.dentry e WHERE e.tenant = $1::integer AND e.ino = up.parent OFFSET 0) d "
    "WHERE up.depth < 4096) "
    "SELECT parent, name FROM up"};
// (tenant, ino, limit) -> (which of its names, name) of each, the oldest first, then those of its
// parents, up to the root
inline constexpr Statement kPaths{
    "paths",
    "WITH RECURSIVE names AS (SELECT row_number() OVER (ORDER BY d.seq, d.cookie) AS place, "
    "d.parent, d.name FROM linkspan.dentry d WHERE d.tenant = $1::integer AND d.ino = $2::bigint "
    "ORDER BY d.seq, d.cookie LIMIT $3::integer), up(place, parent, name, depth) AS ("
    "SELECT place, parent, name, 1 FROM names UNION ALL "
    "SELECT up.place, d.parent, d.name, up.depth + 1 FROM up CROSS JOIN LATERAL (SELECT e.parent, "
    "e.name FROM linkspan.dentry e WHERE e.tenant = $1::integer AND e.ino = up.parent OFFSET 0) d "
    "WHERE up.depth < 4096) "
    "SELECT place, name FROM up ORDER BY place, depth"};
// (tenant, volume, ino, kind, has_xattrs.. as node_row.h binds it)
inline constexpr Statement kAddNode{
    "add_node",
    "INSERT INTO linkspan.node (tenant, ino, volume, kind, owns_history, has_xattrs, mode, nlink, "
    "uid, gid, size, allocated, atime, mtime, ctime, btime, seq, version, history, dver, floor, "
    "parent, last_cookie, target) VALUES ($1::integer, $2::bigint, $3::integer, $4::smallint, "
    "$5::boolean, $6::boolean, $7::integer, $8::integer, $9::bigint, $10::bigint, $11::bigint, "
    "$12::bigint, $13::bigint, $14::bigint, $15::bigint, $16::bigint, $17::bigint, $18::bigint, "
    "$19::bigint, $20::bigint, $21::bigint, $22::bigint, $23::bigint, $24::bytea)"};
// All that can change of a node, as node_row.h binds it.
inline constexpr Statement kSetNode{
    "set_node",
    "UPDATE linkspan.node SET owns_history = $3::boolean, has_xattrs = $4::boolean, "
    "mode = $5::integer, nlink = $6::integer, uid = $7::bigint, gid = $8::bigint, "
    "size = $9::bigint, allocated = $10::bigint, atime = $11::bigint, mtime = $12::bigint, "
    "ctime = $13::bigint, seq = $14::bigint, version = $15::bigint, history = $16::bigint, "
    "dver = $17::bigint, floor = $18::bigint, parent = $19::bigint, last_cookie = $20::bigint "
    "WHERE tenant = $1::integer AND ino = $2::bigint"};
// (tenant, ino, atime) -> node; a relaxed access time
inline constexpr Statement kSetAtime{
    "set_atime",
    "UPDATE linkspan.node n SET atime = $3::bigint WHERE n.tenant = $1::integer "
    "AND n.ino = $2::bigint RETURNING " LS_NODE};
// (tenant, dir, name, ino, cookie, seq)
inline constexpr Statement kAddEntry{
    "add_entry",
    "INSERT INTO linkspan.dentry (tenant, parent, name, ino, cookie, seq) VALUES ($1::integer, "
    "$2::bigint, $3::bytea, $4::bigint, $5::bigint, $6::bigint)"};
// (tenant, dir, name, ino, seq): the name keeps its place
inline constexpr Statement kSetEntry{
    "set_entry",
    "UPDATE linkspan.dentry SET ino = $4::bigint, seq = $5::bigint WHERE tenant = $1::integer "
    "AND parent = $2::bigint AND name = $3::bytea"};
// (tenant, dir, name)
inline constexpr Statement kDropEntry{
    "drop_entry",
    "DELETE FROM linkspan.dentry WHERE tenant = $1::integer AND parent = $2::bigint "
    "AND name = $3::bytea"};
// (tenant, ino, volume, at, shared history or null, session or null)
inline constexpr Statement kAddOrphan{
    "add_orphan",
    "INSERT INTO linkspan.orphan (tenant, ino, volume, at, shared_history, replaced_by) "
    "VALUES ($1::integer, $2::bigint, $3::integer, $4::bigint, $5::bigint, $6::bigint)"};
// (tenant, ino, session, whoever's) -> a row if another session's rename took its last name, or
// anybody's
inline constexpr Statement kReplacedByOther{
    "replaced_by_other",
    "SELECT 1 FROM linkspan.orphan WHERE tenant = $1::integer AND ino = $2::bigint "
    "AND shared_history IS NOT NULL AND ($4::boolean OR replaced_by <> $3::bigint)"};
// (tenant, ino) -> the node that goes on with the history of one that was replaced: who made its
// newest version, if that still has a name and this history
inline constexpr Statement kSuccessor{
    "successor",
    "SELECT n.ino FROM linkspan.orphan o CROSS JOIN LATERAL (SELECT v.ino FROM linkspan.version v "
    "WHERE v.tenant = $1::integer AND v.history = o.shared_history ORDER BY v.version DESC LIMIT "
    "1) "
    "v JOIN linkspan.node n ON n.tenant = $1::integer AND n.ino = v.ino "
    "AND n.history = o.shared_history AND n.owns_history AND n.nlink > 0 "
    "WHERE o.tenant = $1::integer AND o.ino = $2::bigint AND o.shared_history IS NOT NULL"};

}  // namespace sql

}  // namespace linkspan::store::pg
