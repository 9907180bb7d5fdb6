// The SQL statements of versions, the log, conflicts and retention.
#pragma once

#include "routerd/store/pg/statements.h"

namespace linkspan::store::pg::sql {

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
// (tenant, history, of history, above, head, one writing, session): takes another's versions below
// its head over (that, too, if it is another session's), numbered one by one above a number, but
// for those that are there, that are born empty, or that grew on under the same session's writing.
// Locks them against being pruned -> how many
inline constexpr Statement kAdoptHistory{
    "adopt_history",
    "WITH own AS MATERIALIZED (SELECT v.* FROM linkspan.version v WHERE v.tenant = $1::integer "
    "AND v.history = $3::bigint AND v.version <= $5::bigint FOR KEY SHARE OF v SKIP LOCKED), "
    "ordered AS (SELECT own.*, lead(own.session) OVER w AS next_session, lead(own.at) OVER w AS "
    "next_at, "
    "lead(own.size) OVER w AS next_size FROM own WINDOW w AS (ORDER BY own.version)), "
    "taken AS (INSERT INTO linkspan.version (tenant, history, version, ino, dver, floor, size, "
    "session, at, what, principal, sandbox) SELECT v.tenant, $2::bigint, "
    "$4::bigint + row_number() OVER (ORDER BY v.version), v.ino, v.dver, v.floor, v.size, "
    "v.session, v.at, v.what, v.principal, v.sandbox FROM ordered v WHERE (v.version < $5::bigint "
    "OR v.session <> $7::bigint) "
    "AND NOT (v.what = 'create' AND v.size = 0) AND NOT coalesce("
    "v.next_session = v.session AND v.next_size > v.size AND v.next_at - v.at < $6::bigint, false) "
    "AND NOT EXISTS (SELECT 1 FROM linkspan.version o WHERE o.tenant = v.tenant "
    "AND o.history = $2::bigint AND o.ino = v.ino AND o.dver = v.dver) RETURNING 1) "
    "SELECT count(*) FROM taken"};
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
// (tenant, ino) -> dir, path: the last name of a node that has none any more
inline constexpr Statement kLastPlace{
    "last_place",
    "SELECT c.dir, c.path FROM linkspan.change c WHERE c.tenant = $1::integer "
    "AND c.ino = $2::bigint AND c.path <> ''::bytea ORDER BY c.seq DESC LIMIT 1"};
// (tenant, number)
// Its bytes stay as long as those of a file that lost its last name now.
inline constexpr Statement kSettleConflict{
    "settle_conflict",
    "WITH c AS (UPDATE linkspan.conflict SET settled = true WHERE tenant = $1::integer "
    "AND number = $2::bigint RETURNING theirs) UPDATE linkspan.orphan o SET at = $3::bigint "
    "FROM c WHERE o.tenant = $1::integer AND o.ino = c.theirs"};
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

// -- retention -----------------------------------------------------------------------------------
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
// (tenant, volume, before time, limit): removes nodes without a name, but for those of conflicts
// that nobody settled -> removed
inline constexpr Statement kDropOrphans{
    "drop_orphans",
    "WITH o AS (SELECT n.ino, n.history, n.owns_history FROM linkspan.orphan o "
    "JOIN linkspan.node n ON n.tenant = o.tenant AND n.ino = o.ino WHERE o.tenant = $1::integer "
    "AND o.volume = $2::integer AND o.at < $3::bigint AND n.ctime < $3::bigint "
    "AND NOT EXISTS (SELECT 1 FROM linkspan.conflict c WHERE c.tenant = o.tenant "
    "AND c.theirs = o.ino AND NOT c.settled) ORDER BY o.at "
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

}  // namespace linkspan::store::pg::sql
