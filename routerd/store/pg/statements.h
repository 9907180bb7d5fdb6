// Every SQL statement of the store but the migrations, each with its parameters and columns. Those
// that lock say so. Node columns are read by node_row.h, in the order given here.
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
// (tenant, session, answered_below)
inline constexpr Statement kForgetResults{
    "forget_results",
    "DELETE FROM linkspan.result WHERE tenant = $1::integer AND session = $2::bigint "
    "AND op < $3::bigint"};

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
// (tenant, dir, name, dir, name) -> up to four nodes; locks them in ascending order
inline constexpr Statement kLockMove{
    "lock_move",
    "SELECT " LS_NODE
    " FROM linkspan.node n WHERE n.tenant = $1::integer "
    "AND n.ino = ANY(ARRAY[$2::bigint, $4::bigint, "
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
// (tenant, ino, volume, at, shared history or null)
inline constexpr Statement kAddOrphan{
    "add_orphan",
    "INSERT INTO linkspan.orphan (tenant, ino, volume, at, shared_history) "
    "VALUES ($1::integer, $2::bigint, $3::integer, $4::bigint, $5::bigint)"};

// -- the log and history -------------------------------------------------------------------------
// (tenant, volume, seq, ino, version, history, dir, old_dir, session, at, size, bytes, files, what,
// principal, sandbox, path, old_path, fork, fork_version)
inline constexpr Statement kAddChange{
    "add_change",
    "INSERT INTO linkspan.change (tenant, volume, seq, ino, version, history, dir, old_dir, "
    "session, at, size, bytes, files, what, principal, sandbox, path, old_path, fork, "
    "fork_version) VALUES "
    "($1::integer, $2::integer, $3::bigint, $4::bigint, $5::bigint, $6::bigint, $7::bigint, "
    "$8::bigint, $9::bigint, $10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::text, "
    "$15::text, $16::text, $17::bytea, $18::bytea, $19::bigint, $20::bigint)"};
// (tenant, history, version, ino, dver, floor, size, session, at, what, principal, sandbox)
inline constexpr Statement kAddVersion{
    "add_version",
    "INSERT INTO linkspan.version (tenant, history, version, ino, dver, floor, size, session, at, "
    "what, principal, sandbox) VALUES ($1::integer, $2::bigint, $3::bigint, $4::bigint, "
    "$5::bigint, $6::bigint, $7::bigint, $8::bigint, $9::bigint, $10::text, $11::text, "
    "$12::text)"};
// (tenant, history, new history, last version): a node that goes its own way takes a copy
inline constexpr Statement kForkHistory{
    "fork_history",
    "INSERT INTO linkspan.version (tenant, history, version, ino, dver, floor, size, session, at, "
    "what, principal, sandbox) SELECT tenant, $3::bigint, version, ino, dver, floor, size, "
    "session, at, what, principal, sandbox FROM linkspan.version WHERE tenant = $1::integer "
    "AND history = $2::bigint AND version <= $4::bigint"};
// (tenant, history, ino or 0, seq): drops its versions, or leaves them to the orphans that share
// it. The inodes that held them, but for the given one, may have segments that nobody needs any
// more.
inline constexpr Statement kDropHistory{
    "drop_history",
    "WITH shared AS MATERIALIZED (SELECT 1 FROM linkspan.orphan WHERE tenant = $1::integer "
    "AND shared_history = $2::bigint LIMIT 1), "
    "lost AS (INSERT INTO linkspan.lost_history (tenant, history) SELECT $1::integer, $2::bigint "
    "FROM shared), dropped AS (DELETE FROM linkspan.version WHERE tenant = $1::integer "
    "AND history = $2::bigint AND NOT EXISTS (SELECT 1 FROM shared) RETURNING ino) "
    "INSERT INTO linkspan.garbage (tenant, seq, ino) "
    "SELECT DISTINCT $1::integer, $4::bigint, ino FROM dropped WHERE ino <> $3::bigint"};
// (tenant, ino, before or 0, limit) -> version, size, principal, sandbox, session, at, what, ino
inline constexpr Statement kVersions{
    "versions",
    "SELECT v.version, v.size, v.principal, v.sandbox, v.session, v.at, v.what, v.ino "
    "FROM linkspan.node n JOIN linkspan.version v ON v.tenant = n.tenant "
    "AND v.history = n.history AND v.version <= n.version "
    "WHERE n.tenant = $1::integer AND n.ino = $2::bigint "
    "AND ($3::bigint = 0 OR v.version < $3::bigint) ORDER BY v.version DESC LIMIT $4::bigint"};
// Changes, in the order that is asked for, of a window of the log: its first kChangesScanned
// entries after one seq and before another.
// (tenant, volumes, after, before, limit, window, since, principal, sandbox, what, below[, ino])
// -> the first changes that the filters let through, one more than the limit if there are more.
// If there are not: a row with only a seq, the window's last, where the log goes on behind it.
#define LS_CHANGE                                                                        \
  "c.seq, c.what, c.ino, c.version, (SELECT v.name FROM linkspan.volume v WHERE v.id = " \
  "c.volume) AS volume, c.path, c.old_path, c.principal, c.sandbox, c.session, c.at, c.size "
#define LS_LOG(more)                                                            \
  "FROM linkspan.change c WHERE c.tenant = $1::integer AND c.seq > $3::bigint " \
  "AND c.seq < $4::bigint " more
#define LS_FILTERED(window, order)                                                             \
  "WITH m AS MATERIALIZED (SELECT " LS_CHANGE "FROM (" window                                  \
  ") c WHERE c.volume = ANY($2::bigint[]) AND c.at >= $7::bigint "                             \
  "AND ($8::text = '' OR c.principal = $8::text) AND ($9::text = '' OR c.sandbox = $9::text) " \
  "AND ($10::text = '' OR c.what = $10::text) AND (octet_length($11::bytea) = 0 "              \
  "OR c.path = $11::bytea OR c.old_path = $11::bytea "                                         \
  "OR substr(c.path, 1, octet_length($11::bytea) + 1) = $11::bytea || '\\x2f'::bytea "         \
  "OR substr(c.old_path, 1, octet_length($11::bytea) + 1) = $11::bytea || '\\x2f'::bytea) "    \
  "ORDER BY c.seq" order                                                                       \
  " LIMIT $5::bigint + 1) "                                                                    \
  "SELECT * FROM (SELECT * FROM m ORDER BY seq" order                                          \
  ") t UNION ALL "                                                                             \
  "SELECT e.seq, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM ("      \
  "SELECT c.seq FROM (" window                                                                 \
  ") c WHERE (SELECT count(*) FROM m) <= $5::bigint "                                          \
  "ORDER BY c.seq" order " OFFSET $6::bigint - 1) e"
#define LS_WHOLE_LOG(order) "SELECT c.* " LS_LOG("") "ORDER BY c.seq" order " LIMIT $6::bigint"
// Changes to a node, or to a directory's entries.
#define LS_LOG_UNDER(more, order) \
  "(SELECT c.* " LS_LOG(more) "ORDER BY c.seq" order " LIMIT $6::bigint)"
#define LS_WHOLE_UNDER(order) \
  "SELECT * FROM (" LS_LOG_UNDER("AND c.ino = $12::bigint ", order) " UNION ALL " LS_LOG_UNDER(   \
      "AND c.dir = $12::bigint AND c.ino <> $12::bigint ", order) " UNION ALL " LS_LOG_UNDER(     \
      "AND c.old_dir = $12::bigint AND c.ino <> $12::bigint AND c.dir <> $12::bigint ",           \
      order) ") c ORDER BY c.seq" order " LIMIT $6::bigint"
inline constexpr Statement kChanges{"changes", LS_FILTERED(LS_WHOLE_LOG(""), "")};
inline constexpr Statement kNewestChanges{"newest_changes",
                                          LS_FILTERED(LS_WHOLE_LOG(" DESC"), " DESC")};
inline constexpr Statement kChangesUnder{"changes_under", LS_FILTERED(LS_WHOLE_UNDER(""), "")};
inline constexpr Statement kNewestChangesUnder{"newest_changes_under",
                                               LS_FILTERED(LS_WHOLE_UNDER(" DESC"), " DESC")};

// -- conflicts -----------------------------------------------------------------------------------
#define LS_CONFLICT                                                                         \
  "c.number, c.what, v.name, c.path, c.ino, c.base_ino, c.base, c.head, c.theirs, c.size, " \
  "c.principal, c.sandbox, c.session, c.at, c.volume, c.dir, c.settled "                    \
  "FROM linkspan.conflict c JOIN linkspan.volume v ON v.id = c.volume WHERE c.tenant = "    \
  "$1::integer "
// (tenant, volumes, after, limit) -> conflicts that nobody settled
inline constexpr Statement kConflicts{
    "conflicts", "SELECT " LS_CONFLICT
                 "AND NOT c.settled AND c.number > $3::bigint AND c.volume = ANY($2::bigint[]) "
                 "ORDER BY c.number LIMIT $4::bigint"};
// (tenant, session, op) -> the conflict that the operation left
inline constexpr Statement kConflictOf{
    "conflict_of", "SELECT " LS_CONFLICT "AND c.session = $2::bigint AND c.op = $3::bigint"};
// (tenant, number) -> the conflict; locks it
inline constexpr Statement kLockConflict{
    "lock_conflict", "SELECT " LS_CONFLICT "AND c.number = $2::bigint FOR NO KEY UPDATE OF c"};
// (tenant, number)
inline constexpr Statement kSettleConflict{
    "settle_conflict",
    "UPDATE linkspan.conflict SET settled = true WHERE tenant = $1::integer "
    "AND number = $2::bigint"};
// (tenant, volume, number, ino, dir, base_ino, base, head, theirs, size, session, op, at, what,
// principal, sandbox, path)
inline constexpr Statement kAddConflict{
    "add_conflict",
    "INSERT INTO linkspan.conflict (tenant, volume, number, ino, dir, base_ino, base, head, "
    "theirs, "
    "size, session, op, at, what, principal, sandbox, path) VALUES ($1::integer, $2::integer, "
    "$3::bigint, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bigint, $9::bigint, "
    "$10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::text, $15::text, $16::text, "
    "$17::bytea)"};
// (tenant, ino) -> the name of its volume
inline constexpr Statement kVolumeName{
    "volume_name",
    "SELECT v.name FROM linkspan.node n JOIN linkspan.volume v ON v.id = n.volume "
    "WHERE n.tenant = $1::integer AND n.ino = $2::bigint"};
// (tenant, ino, version or 0) -> the state of that content: ino, dver, floor, size. Locks it
// against being pruned.
inline constexpr Statement kHoldVersion{
    "hold_version",
    "SELECT o.ino, o.dver, o.floor, o.size FROM linkspan.node n JOIN linkspan.version o "
    "ON o.tenant = n.tenant AND o.history = n.history AND o.version <= n.version AND o.version = "
    "CASE WHEN $3::bigint = 0 THEN n.version ELSE $3::bigint END WHERE n.tenant = $1::integer "
    "AND n.ino = $2::bigint FOR KEY SHARE OF o"};
// (tenant, ino, first chunk, end chunk, floor, dver, new ino): copies the state's segments
inline constexpr Statement kCopySegments{
    "copy_segments",
    "INSERT INTO linkspan.segment (tenant, ino, chunk, dver, part, base_dver, full_, start, len, "
    "weight, filled, data) SELECT $1::integer, $7::bigint, s.chunk, s.dver, s.part, s.base_dver, "
    "s.full_, s.start, s.len, s.weight, s.filled, s.data "
    "FROM generate_series($3::integer, $4::integer - 1) r(chunk) "
    "CROSS JOIN LATERAL (SELECT h.base_dver, h.dver, h.filled FROM linkspan.segment h "
    "WHERE h.tenant = $1::integer AND h.ino = $2::bigint AND h.chunk = r.chunk "
    "AND h.dver BETWEEN $5::bigint AND $6::bigint ORDER BY h.dver DESC, h.part DESC LIMIT 1) h "
    "CROSS JOIN LATERAL (SELECT s.* FROM linkspan.segment s WHERE s.tenant = $1::integer "
    "AND s.ino = $2::bigint AND s.chunk = r.chunk AND s.dver BETWEEN h.base_dver AND h.dver "
    "OFFSET 0) s WHERE h.filled > 0"};

// -- content -------------------------------------------------------------------------------------
// (tenant, ino, chunks) -> chunk, dver, base_dver, weight, filled of each chunk's newest row
inline constexpr Statement kChunkHeads{
    "chunk_heads",
    "SELECT h.chunk, h.dver, h.base_dver, h.weight, h.filled FROM linkspan.node n, "
    "unnest($3::bigint[]) c, LATERAL (SELECT h.chunk, h.dver, h.base_dver, h.weight, h.filled "
    "FROM linkspan.segment h WHERE h.tenant = n.tenant AND h.ino = n.ino AND h.chunk = c::integer "
    "AND h.dver BETWEEN n.floor AND n.dver ORDER BY h.dver DESC, h.part DESC LIMIT 1) h "
    "WHERE n.tenant = $1::integer AND n.ino = $2::bigint"};
// (tenant, ino) -> the same of the chunk in which the file ends
inline constexpr Statement kLastChunkHead{
    "last_chunk_head",
    "SELECT h.chunk, h.dver, h.base_dver, h.weight, h.filled FROM linkspan.node n, "
    "LATERAL (SELECT h.chunk, h.dver, h.base_dver, h.weight, h.filled FROM linkspan.segment h "
    "WHERE h.tenant = n.tenant AND h.ino = n.ino AND h.chunk = (n.size / 65536)::integer "
    "AND h.dver BETWEEN n.floor AND n.dver ORDER BY h.dver DESC, h.part DESC LIMIT 1) h "
    "WHERE n.tenant = $1::integer AND n.ino = $2::bigint"};
// (tenant, ino, chunk, base_dver, dver) -> start, len, data, in the order in which they are laid
inline constexpr Statement kChunkRows{
    "chunk_rows",
    "SELECT s.start, s.len, s.data FROM linkspan.segment s WHERE s.tenant = $1::integer "
    "AND s.ino = $2::bigint AND s.chunk = $3::integer AND s.dver BETWEEN $4::bigint AND "
    "$5::bigint ORDER BY s.dver, s.part"};
// (tenant, ino, chunk, dver, part, base_dver, full, start, len, weight, filled, data)
inline constexpr Statement kAddSegment{
    "add_segment",
    "INSERT INTO linkspan.segment (tenant, ino, chunk, dver, part, base_dver, full_, start, len, "
    "weight, filled, data) VALUES ($1::integer, $2::bigint, $3::integer, $4::bigint, "
    "$5::smallint, $6::bigint, $7::boolean, $8::integer, $9::integer, $10::integer, "
    "$11::integer, $12::bytea)"};
#define LS_RANGE_HEADS                                                               \
  "(SELECT DISTINCT ON (s.chunk) s.chunk, s.dver, s.filled FROM linkspan.segment s " \
  "WHERE s.tenant = $1::integer AND s.ino = $2::bigint AND s.chunk >= $3::integer "  \
  "AND s.chunk < $4::integer AND s.dver BETWEEN $5::bigint AND $6::bigint "          \
  "ORDER BY s.chunk, s.dver DESC, s.part DESC) h"
// (tenant, ino, first chunk, end chunk, floor, dver) -> bytes stored there
inline constexpr Statement kRangeFilled{
    "range_filled", "SELECT coalesce(sum(h.filled), 0)::bigint FROM " LS_RANGE_HEADS};
// (tenant, ino, first chunk, end chunk, floor, new dver): makes them holes, but for those that the
// new dver has written already
inline constexpr Statement kClearRange{
    "clear_range",
    "INSERT INTO linkspan.segment (tenant, ino, chunk, dver, part, base_dver, full_, start, len, "
    "weight, filled) SELECT $1::integer, $2::bigint, h.chunk, $6::bigint, 0, $6::bigint, true, "
    "0, 0, 0, 0 FROM " LS_RANGE_HEADS " WHERE h.filled > 0 AND h.dver < $6::bigint"};
// Rows of [offset, end) of the state (o.ino, o.dver, o.floor); data is cut to the range.
#define LS_RANGE_ROWS                                                                             \
  " LEFT JOIN LATERAL (SELECT s.chunk, s.dver, s.part, greatest(s.start, r.low) AS start, "       \
  "least(s.start + s.len, r.high) - greatest(s.start, r.low) AS len, substr(s.data, "             \
  "greatest(r.low - s.start, 0) + 1, least(s.start + s.len, r.high) - greatest(s.start, r.low)) " \
  "AS data FROM (SELECT c, greatest($3::bigint - c::bigint * 65536, 0)::integer AS low, "         \
  "least($4::bigint - c::bigint * 65536, 65536)::integer AS high FROM generate_series("           \
  "($3::bigint / 65536)::integer, ((least($4::bigint, o.size) - 1) / 65536)::integer) c) r "      \
  "CROSS JOIN LATERAL (SELECT h.base_dver, h.dver FROM linkspan.segment h "                       \
  "WHERE h.tenant = n.tenant AND h.ino = o.ino AND h.chunk = r.c "                                \
  "AND h.dver BETWEEN o.floor AND o.dver ORDER BY h.dver DESC, h.part DESC LIMIT 1) h "           \
  "CROSS JOIN LATERAL (SELECT s.chunk, s.dver, s.part, s.start, s.len, s.data "                   \
  "FROM linkspan.segment s WHERE s.tenant = n.tenant AND s.ino = o.ino AND s.chunk = r.c "        \
  "AND s.dver BETWEEN h.base_dver AND h.dver "                                                    \
  "AND s.start < r.high AND s.start + s.len > r.low OFFSET 0) s) s ON o.size > $3::bigint "       \
  "WHERE n.tenant = $1::integer AND n.ino = $2::bigint ORDER BY s.chunk, s.dver, s.part"
// (tenant, ino, offset, end > offset) -> volume, kind, version, size, chunk, start, len, data
inline constexpr Statement kRead{
    "read",
    "SELECT n.volume, n.kind, n.version, n.size, s.chunk, s.start, s.len, s.data "
    "FROM linkspan.node n CROSS JOIN LATERAL (SELECT n.ino, n.dver, n.floor, n.size) "
    "o" LS_RANGE_ROWS};
// (tenant, ino, offset, end, version) -> the same; version null: there is none
inline constexpr Statement kReadVersion{
    "read_version",
    "SELECT n.volume, n.kind, o.version, o.size, s.chunk, s.start, s.len, s.data "
    "FROM linkspan.node n LEFT JOIN linkspan.version o ON o.tenant = n.tenant "
    "AND o.history = n.history AND o.version = $5::bigint AND o.version <= "
    "n.version" LS_RANGE_ROWS};
#define LS_DATA_CHUNKS                                                                          \
  " LEFT JOIN LATERAL (SELECT DISTINCT ON (s.chunk) s.chunk, s.filled FROM linkspan.segment s " \
  "WHERE s.tenant = n.tenant AND s.ino = o.ino AND s.chunk >= $3::integer "                     \
  "AND s.dver BETWEEN o.floor AND o.dver ORDER BY s.chunk, s.dver DESC, s.part DESC "           \
  "LIMIT $4::bigint) h ON true WHERE n.tenant = $1::integer AND n.ino = $2::bigint ORDER BY "   \
  "h.chunk"
// (tenant, ino, first chunk, limit) -> volume, kind, version, size, chunk, filled
inline constexpr Statement kDataChunks{
    "data_chunks",
    "SELECT n.volume, n.kind, n.version, n.size, h.chunk, h.filled FROM linkspan.node n "
    "CROSS JOIN LATERAL (SELECT n.ino, n.dver, n.floor) o" LS_DATA_CHUNKS};
// (tenant, ino, first chunk, limit, version) -> the same; version null: there is none
inline constexpr Statement kVersionDataChunks{
    "version_data_chunks",
    "SELECT n.volume, n.kind, o.version, o.size, h.chunk, h.filled FROM linkspan.node n "
    "LEFT JOIN linkspan.version o ON o.tenant = n.tenant AND o.history = n.history "
    "AND o.version = $5::bigint AND o.version <= n.version" LS_DATA_CHUNKS};

// -- reads of nodes ------------------------------------------------------------------------------
// (tenant, dir, name) -> kind and volume of the directory, node (nulls: no such name)
inline constexpr Statement kLookup{
    "lookup", "SELECT p.kind, p.volume, " LS_NODE
              " FROM linkspan.node p LEFT JOIN (linkspan.dentry d JOIN "
              "linkspan.node n ON n.tenant = d.tenant AND n.ino = d.ino) ON d.tenant = p.tenant "
              "AND d.parent = p.ino AND d.name = $3::bytea "
              "WHERE p.tenant = $1::integer AND p.ino = $2::bigint"};
// The same, then start, len, data: one row for each segment of a small file.
inline constexpr Statement kLookupContent{
    "lookup_content",
    "SELECT p.kind, p.volume, " LS_NODE
    ", s.start, s.len, s.data FROM linkspan.node p "
    "LEFT JOIN (linkspan.dentry d JOIN linkspan.node n ON n.tenant = d.tenant AND n.ino = d.ino) "
    "ON d.tenant = p.tenant AND d.parent = p.ino AND d.name = $3::bytea" LS_SMALL_CONTENT(
        "true") " WHERE p.tenant = $1::integer AND p.ino = $2::bigint ORDER BY s.dver, s.part"};
// (tenant, ino) -> node, start, len, data: one row for each segment of a small file
inline constexpr Statement kNodeContent{
    "node_content",
    "SELECT " LS_NODE ", s.start, s.len, s.data FROM linkspan.node n" LS_SMALL_CONTENT(
        "true") " WHERE n.tenant = $1::integer AND n.ino = $2::bigint ORDER BY s.dver, s.part"};
// (tenant, dir, after, limit) -> name, cookie, node
inline constexpr Statement kReadDir{
    "readdir",
    "SELECT d.name, d.cookie, " LS_NODE
    " FROM linkspan.dentry d JOIN linkspan.node n "
    "ON n.tenant = d.tenant AND n.ino = d.ino WHERE d.tenant = $1::integer "
    "AND d.parent + 0 = $2::bigint AND d.cookie > $3::bigint ORDER BY d.cookie LIMIT $4::bigint"};
// The same with (budget): then inlined, start, len, data, a row for each segment of a small file as
// long as their sizes add up to less than the budget.
inline constexpr Statement kReadDirContent{
    "readdir_content",
    "SELECT n.name, n.cookie, " LS_NODE
    ", n.total <= $5::bigint, s.start, s.len, s.data FROM ("
    "SELECT d.name, d.cookie, n.*, sum(CASE WHEN n.kind = 1 AND n.size <= 65536 THEN n.size "
    "ELSE 0 END + octet_length(d.name) + 160) OVER (ORDER BY d.cookie) AS total "
    "FROM (SELECT d.* FROM linkspan.dentry d WHERE d.tenant = $1::integer "
    "AND d.parent + 0 = $2::bigint AND d.cookie > $3::bigint ORDER BY d.cookie LIMIT $4::bigint) d "
    "JOIN linkspan.node n ON n.tenant = d.tenant AND n.ino = d.ino) n" LS_SMALL_CONTENT(
        "n.total <= $5::bigint") " ORDER BY n.cookie, s.dver, s.part"};

// -- extended attributes -------------------------------------------------------------------------
// (tenant, ino) -> name, value
inline constexpr Statement kXattrs{
    "xattrs",
    "SELECT name, value FROM linkspan.xattr WHERE tenant = $1::integer "
    "AND ino = $2::bigint ORDER BY name"};
// (tenant, ino, name) -> is it there, bytes of the others, number of the others
inline constexpr Statement kXattrState{
    "xattr_state",
    "SELECT count(*) FILTER (WHERE name = $3::bytea) > 0, coalesce(sum(octet_length(name) + "
    "octet_length(value)) FILTER (WHERE name <> $3::bytea), 0)::bigint, "
    "count(*) FILTER (WHERE name <> $3::bytea) FROM linkspan.xattr WHERE tenant = $1::integer "
    "AND ino = $2::bigint"};
// (tenant, ino, name, value)
inline constexpr Statement kSetXattr{
    "set_xattr",
    "INSERT INTO linkspan.xattr (tenant, ino, name, value) VALUES ($1::integer, $2::bigint, "
    "$3::bytea, $4::bytea) ON CONFLICT (tenant, ino, name) DO UPDATE SET value = EXCLUDED.value"};
// (tenant, ino, name)
inline constexpr Statement kDropXattr{
    "drop_xattr",
    "DELETE FROM linkspan.xattr WHERE tenant = $1::integer AND ino = $2::bigint "
    "AND name = $3::bytea"};

// -- tenancy and sessions ------------------------------------------------------------------------
// (name): there or made; a lock on the row follows
inline constexpr Statement kAddTenant{
    "add_tenant",
    "INSERT INTO linkspan.tenant (name) VALUES ($1::text) ON CONFLICT (name) DO NOTHING"};
// (name) -> id, epoch, next_ino; locks it
inline constexpr Statement kLockTenant{
    "lock_tenant",
    "SELECT id, epoch, next_ino, last_seq FROM linkspan.tenant WHERE name = $1::text FOR UPDATE"};
// (name) -> id
inline constexpr Statement kTenantNamed{"tenant_named",
                                        "SELECT id FROM linkspan.tenant WHERE name = $1::text"};
// (tenant, epoch, last_seq)
inline constexpr Statement kTakeTenant{
    "take_tenant",
    "UPDATE linkspan.tenant SET epoch = $2::bigint, last_seq = $3::bigint, "
    "beat = clock_timestamp() WHERE id = $1::integer"};
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
    "AND $3::bigint * interval '1 millisecond', false) AND EXISTS (SELECT FROM pg_locks l "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
    "AND l.classid = $1::integer::oid AND l.objid = t.id::oid AND l.database = "
    "(SELECT d.oid FROM pg_database d WHERE d.datname = current_database())) "
    "FROM linkspan.tenant t WHERE t.name = $2::text"};
// (class, tenant) -> bool. Of the connection, not of a transaction.
inline constexpr Statement kClaim{"claim", "SELECT pg_try_advisory_lock($1::integer, $2::integer)"};
inline constexpr Statement kGiveUpClaim{"give_up_claim",
                                        "SELECT pg_advisory_unlock($1::integer, $2::integer)"};
// (tenant, epoch)
inline constexpr Statement kBeat{"beat",
                                 "UPDATE linkspan.tenant SET beat = clock_timestamp() "
                                 "WHERE id = $1::integer AND epoch = $2::bigint"};
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
// (hash, tenant name, principal, sandbox, expires, revoked)
inline constexpr Statement kPutToken{
    "put_token",
    "INSERT INTO linkspan.token (hash, tenant, principal, sandbox, expires, revoked) "
    "SELECT $1::bytea, id, $3::text, $4::text, $5::bigint, $6::boolean FROM linkspan.tenant "
    "WHERE name = $2::text ON CONFLICT (hash) DO UPDATE SET tenant = EXCLUDED.tenant, "
    "principal = EXCLUDED.principal, sandbox = EXCLUDED.sandbox, expires = EXCLUDED.expires, "
    "revoked = EXCLUDED.revoked"};
inline constexpr Statement kDropRoutes{"drop_routes",
                                       "DELETE FROM linkspan.token_route WHERE hash = $1::bytea"};
// (hash, place, path, volume, writable, policy, timeout_ms)
inline constexpr Statement kAddRoute{
    "add_route",
    "INSERT INTO linkspan.token_route (hash, place, path, volume, writable, policy, timeout_ms) "
    "VALUES ($1::bytea, $2::integer, $3::bytea, $4::text, $5::boolean, $6::smallint, "
    "$7::bigint)"};
// (hash) -> tenant name, principal, sandbox, expires, revoked
inline constexpr Statement kToken{
    "token",
    "SELECT t.name, k.principal, k.sandbox, k.expires, k.revoked FROM linkspan.token k "
    "JOIN linkspan.tenant t ON t.id = k.tenant WHERE k.hash = $1::bytea"};
// (tenant name) -> hash of each that is not revoked. Locks them.
inline constexpr Statement kValidTokens{
    "valid_tokens",
    "SELECT k.hash FROM linkspan.token k JOIN linkspan.tenant t ON t.id = k.tenant "
    "WHERE t.name = $1::text AND NOT k.revoked ORDER BY k.hash FOR UPDATE OF k"};
inline constexpr Statement kRevokeToken{
    "revoke_token", "UPDATE linkspan.token SET revoked = true WHERE hash = $1::bytea"};
// (hash) -> path, volume, writable, policy, timeout_ms
inline constexpr Statement kRoutes{
    "routes",
    "SELECT path, volume, writable, policy, timeout_ms FROM linkspan.token_route "
    "WHERE hash = $1::bytea ORDER BY place"};
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
                                        "AND session = $2::bigint"};
inline constexpr Statement kPing{"ping", "SELECT 1"};

// -- retention -----------------------------------------------------------------------------------
// What prune removes may come back after a crash: it is removed again.
inline constexpr Statement kLazyCommit{"lazy_commit", "SET LOCAL synchronous_commit = off"};
// A window of the log: (tenant, after seq, rows)
#define LS_WINDOW                                                                   \
  "WITH w AS (SELECT c.ctid, c.seq, c.volume, c.at, c.history, c.version, c.fork, " \
  "c.fork_version FROM "                                                            \
  "linkspan.change c "                                                              \
  "WHERE c.tenant = $1::integer AND c.seq > $2::bigint ORDER BY c.seq LIMIT $3::bigint)"
// (tenant, after, rows, volume, before time, distance, limit): of each history that got a version
// in the window and before the time, removes the versions that have the distance or more behind
// up to it (rows count: numbers have gaps)
// -> removed, last seq of the window, its first row of the volume at or after the time, rows
inline constexpr Statement kTrimVersions{
    "trim_versions", LS_WINDOW
    ", old AS (SELECT w.history, w.version, w.fork, w.fork_version FROM w WHERE w.volume = "
    "$4::integer "
    "AND w.at < $5::bigint AND w.history IS NOT NULL), "
    "due AS (SELECT m.history, (SELECT v.version FROM linkspan.version v "
    "WHERE v.tenant = $1::integer AND v.history = m.history AND v.version <= m.last "
    "ORDER BY v.version DESC OFFSET $6::bigint LIMIT 1) AS upto FROM "
    "(SELECT h.history, max(h.version) AS last FROM (SELECT history, version "
    "FROM old UNION ALL SELECT fork, coalesce(fork_version, version - 1) FROM old WHERE fork IS "
    "NOT NULL) h "
    "GROUP BY h.history) m), victim AS (SELECT v.ctid FROM due "
    "JOIN linkspan.version v ON v.tenant = $1::integer AND v.history = due.history "
    "AND v.version <= due.upto LIMIT $7::bigint FOR UPDATE OF v SKIP LOCKED), "
    "gone AS (DELETE FROM linkspan.version v WHERE v.ctid = ANY(ARRAY(SELECT ctid FROM victim)) "
    "RETURNING v.ino), "
    "left_over AS (INSERT INTO linkspan.garbage (tenant, seq, ino) "
    "SELECT DISTINCT $1::integer, 0, ino FROM gone ON CONFLICT DO NOTHING) "
    "SELECT (SELECT count(*) FROM gone), max(w.seq), min(w.seq) FILTER (WHERE "
    "w.volume = $4::integer AND w.at >= $5::bigint), count(*) FROM w"};
// (volume, seq)
inline constexpr Statement kSetTrimmed{
    "set_trimmed", "UPDATE linkspan.volume SET trimmed_seq = $2::bigint WHERE id = $1::integer"};
// (tenant, after, rows, volume, before time, new pruned_seq): removes the window's log entries of
// the volume that are older; those that open_tenant has not counted yet go into the volume's usage
// -> removed
inline constexpr Statement kCutLog{
    "cut_log", LS_WINDOW
    ", cut AS (DELETE FROM linkspan.change c WHERE c.ctid = ANY(ARRAY(SELECT w.ctid FROM w "
    "WHERE w.volume = $4::integer AND w.at < $5::bigint)) RETURNING c.seq, c.bytes, c.files), "
    "uncounted AS (SELECT sum(cut.bytes)::bigint AS bytes, "
    "sum(cut.files)::bigint AS files FROM cut, linkspan.tenant t WHERE t.id = $1::integer "
    "AND cut.seq > t.last_seq) UPDATE linkspan.volume v SET "
    "used_bytes = v.used_bytes + coalesce((SELECT bytes FROM uncounted), 0), "
    "used_files = v.used_files + coalesce((SELECT files FROM uncounted), 0), "
    "pruned_seq = $6::bigint WHERE v.id = $4::integer RETURNING (SELECT count(*) FROM cut)"};
// (tenant, volume, before time, limit): removes nodes without a name -> removed
inline constexpr Statement kDropOrphans{
    "drop_orphans",
    "WITH o AS (SELECT n.ino, n.history, n.owns_history FROM linkspan.orphan o "
    "JOIN linkspan.node n ON n.tenant = o.tenant AND n.ino = o.ino WHERE o.tenant = $1::integer "
    "AND o.volume = $2::integer AND o.at < $3::bigint AND n.ctime < $3::bigint ORDER BY o.at "
    "LIMIT $4::bigint FOR UPDATE OF n SKIP LOCKED), "
    "names AS (DELETE FROM linkspan.orphan x WHERE x.tenant = $1::integer "
    "AND x.ino = ANY(ARRAY(SELECT ino FROM o))), nodes AS (DELETE FROM linkspan.node x "
    "WHERE x.tenant = $1::integer AND x.ino = ANY(ARRAY(SELECT ino FROM o))), "
    "conflicts AS (DELETE FROM linkspan.conflict x WHERE x.tenant = $1::integer "
    "AND x.theirs = ANY(ARRAY(SELECT ino FROM o))), "
    "attributes AS (DELETE FROM linkspan.xattr x WHERE x.tenant = $1::integer "
    "AND x.ino = ANY(ARRAY(SELECT ino FROM o))), "
    "lost AS (INSERT INTO linkspan.lost_history (tenant, history) SELECT $1::integer, history "
    "FROM o WHERE owns_history AND history <> 0), "
    "left_over AS (INSERT INTO linkspan.garbage (tenant, seq, ino) SELECT $1::integer, 0, ino "
    "FROM o WHERE history <> 0 ON CONFLICT DO NOTHING) SELECT count(*) FROM o"};
// (tenant, limit): removes the versions of lost histories that no orphan shares -> histories
inline constexpr Statement kDropLost{
    "drop_lost",
    "WITH l AS (SELECT h.history FROM linkspan.lost_history h WHERE h.tenant = $1::integer "
    "AND NOT EXISTS (SELECT 1 FROM linkspan.orphan o WHERE o.tenant = $1::integer "
    "AND o.shared_history = h.history) ORDER BY h.history LIMIT $2::bigint), "
    "lost AS (DELETE FROM linkspan.lost_history h WHERE h.tenant = $1::integer "
    "AND h.history = ANY(ARRAY(SELECT history FROM l))), "
    "versions AS (DELETE FROM linkspan.version v WHERE v.tenant = $1::integer "
    "AND v.history = ANY(ARRAY(SELECT history FROM l)) RETURNING v.ino), "
    "left_over AS (INSERT INTO linkspan.garbage (tenant, seq, ino) "
    "SELECT DISTINCT $1::integer, 0, ino FROM versions ON CONFLICT DO NOTHING) "
    "SELECT count(*) FROM l"};
// (tenant, limit) -> seq, ino
inline constexpr Statement kGarbage{
    "garbage",
    "SELECT seq, ino FROM linkspan.garbage WHERE tenant = $1::integer "
    "ORDER BY seq, ino LIMIT $2::bigint"};
// (tenant, seq, ino)
inline constexpr Statement kForgetGarbage{"forget_garbage",
                                          "DELETE FROM linkspan.garbage WHERE tenant = $1::integer "
                                          "AND seq = $2::bigint AND ino = $3::bigint"};
// (tenant, ino, limit): removes segments that no state of the inode needs. A segment is needed by
// the first state at or after it, if any: one whose floor lies above it, or with a full segment of
// the same chunk in between, does not need it, and then no later one does.
inline constexpr Statement kSweep{
    "sweep",
    "DELETE FROM linkspan.segment x WHERE x.ctid = ANY(ARRAY(SELECT s.ctid "
    "FROM linkspan.segment s LEFT JOIN LATERAL (SELECT l.dver, l.floor FROM ("
    "(SELECT v.dver, v.floor FROM linkspan.version v WHERE v.tenant = $1::integer "
    "AND v.ino = $2::bigint AND v.dver >= s.dver ORDER BY v.dver LIMIT 1) UNION ALL "
    "SELECT n.dver, n.floor FROM linkspan.node n WHERE n.tenant = $1::integer "
    "AND n.ino = $2::bigint AND n.dver >= s.dver) l ORDER BY l.dver LIMIT 1) l ON true "
    "WHERE s.tenant = $1::integer AND s.ino = $2::bigint AND (l.dver IS NULL "
    "OR l.floor > s.dver OR EXISTS (SELECT 1 FROM linkspan.segment f WHERE "
    "f.tenant = $1::integer AND f.ino = $2::bigint AND f.chunk = s.chunk AND f.full_ "
    "AND f.dver > s.dver AND f.dver <= l.dver)) LIMIT $3::bigint))"};

}  // namespace sql
}  // namespace linkspan::store::pg
