// The SQL statements that read nodes, files' content and extended attributes, and write the latter
// two.
#pragma once

#include "routerd/store/pg/statements.h"

namespace linkspan::store::pg::sql {

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
// (tenant, ino, name) -> is it there; of the others: their bytes, number, bytes in a list of names
inline constexpr Statement kXattrState{
    "xattr_state",
    "SELECT count(*) FILTER (WHERE name = $3::bytea) > 0, coalesce(sum(octet_length(name) + "
    "octet_length(value)) FILTER (WHERE name <> $3::bytea), 0)::bigint, "
    "count(*) FILTER (WHERE name <> $3::bytea), coalesce(sum(octet_length(name) + 1) "
    "FILTER (WHERE name <> $3::bytea), 0)::bigint FROM linkspan.xattr WHERE tenant = $1::integer "
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

}  // namespace linkspan::store::pg::sql
