// Lookups, attributes, content.
#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/data_ranges.h"
#include "routerd/store/pg/content.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/small_content.h"
#include "routerd/store/pg/statements_content.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
namespace {

int32_t number(TenantId tenant) {
  return static_cast<int32_t>(tenant.value);
}

// The columns of sql::kRead, and, up to the chunk, of sql::kDataChunks.
enum ReadColumn { kVolume, kKind, kVersion, kSize, kChunkNumber, kStart, kLength, kData };
constexpr int kFilled = kChunkNumber + 1;

Status check_version(const Scope& scope, Ino ino, Version version, const Rows& rows) {
  if (rows.empty()) return no_node(ino);
  const VolumeId volume{static_cast<uint64_t>(rows.i32(0, kVolume))};
  LINKSPAN_CHECK(check_visible(scope, ino, volume));
  LINKSPAN_CHECK(check_has_content(ino, static_cast<Kind>(rows.i16(0, kKind))));
  if (!rows.null(0, kVersion)) return ok();
  return fail(Code::not_found, "node " + std::to_string(ino.value) + " has no version " +
                                   std::to_string(version.value));
}

Result<ReadReply> assemble(const Scope& scope, const ReadRequest& request, const Rows& rows) {
  LINKSPAN_CHECK(check_version(scope, request.ino, request.version, rows));
  ReadReply reply;
  reply.version = Version{rows.u64(0, kVersion)};
  reply.size = rows.u64(0, kSize);
  if (request.offset >= reply.size) return reply;
  const uint64_t length = std::min<uint64_t>(request.length, reply.size - request.offset);
  reply.data.assign(length, '\0');
  for (int row = 0; row < rows.count() && !rows.null(row, kChunkNumber); ++row) {
    std::optional<std::string_view> data;
    if (!rows.null(row, kData)) data = rows.bytes(row, kData);
    lay(reply.data, request.offset, static_cast<uint32_t>(rows.i32(row, kChunkNumber)),
        static_cast<uint32_t>(rows.i32(row, kStart)), static_cast<uint32_t>(rows.i32(row, kLength)),
        data);
  }
  return reply;
}

Result<DataRangesReply> assemble(const Scope& scope, const DataRangesRequest& request,
                                 const Rows& rows) {
  LINKSPAN_CHECK(check_version(scope, request.ino, request.version, rows));
  DataRangesReply reply;
  reply.version = Version{rows.u64(0, kVersion)};
  reply.size = reply.until = rows.u64(0, kSize);
  for (int row = 0; row < rows.count() && !rows.null(row, kChunkNumber); ++row) {
    const auto chunk = static_cast<uint64_t>(rows.i32(row, kChunkNumber));
    add_chunk(reply, request.offset, chunk, static_cast<uint64_t>(rows.i32(row, kFilled)));
    if (static_cast<size_t>(row) + 1 == limits::kDataRanges)
      reply.until = std::min(reply.size, (chunk + 1) * limits::kChunkBytes);
  }
  return reply;
}

}  // namespace

std::optional<std::string> small_content(const NodeRow& node, const Rows& rows, int first, int end,
                                         int column) {
  if (!node.is_file() || node.attr.size > limits::kInlineContent) return std::nullopt;
  std::string content(node.attr.size, '\0');
  for (int row = first; row < end && !rows.null(row, column); ++row) {
    std::optional<std::string_view> data;
    if (!rows.null(row, column + 2)) data = rows.bytes(row, column + 2);
    lay(content, 0, 0, static_cast<uint32_t>(rows.i32(row, column)),
        static_cast<uint32_t>(rows.i32(row, column + 1)), data);
  }
  return content;
}

Result<LookupReply> PostgresStore::lookup(const Scope& scope, const LookupRequest& request) {
  LINKSPAN_CHECK(check(request));
  const Statement& statement = request.want_content ? sql::kLookupContent : sql::kLookup;
  const std::function<Result<LookupReply>(Connection&)> use =
      [&](Connection& conn) -> Result<LookupReply> {
    LINKSPAN_TRY(
        const Rows rows,
        conn.run(statement,
                 Params().i32(number(scope.tenant)).id(request.parent).bytes(request.name)));
    if (rows.empty()) return no_node(request.parent);
    const VolumeId volume{static_cast<uint64_t>(rows.i32(0, 1))};
    LINKSPAN_CHECK(check_visible(scope, request.parent, volume));
    LINKSPAN_CHECK(check_directory(request.parent, static_cast<Kind>(rows.i16(0, 0))));
    LookupReply reply;
    constexpr int kNodeAt = 2;
    if (rows.null(0, kNodeAt)) return reply;
    const NodeRow node = node_at(rows, 0, kNodeAt);
    reply.node = node.to_node();
    if (request.want_content)
      reply.node->content = small_content(node, rows, 0, rows.count(), kNodeAt + kNodeColumns);
    return reply;
  };
  return with_connection<LookupReply>(pool_, use);
}

Result<NodeReply> PostgresStore::getattr(const Scope& scope, const GetAttrRequest& request) {
  const Statement& statement = request.want_content ? sql::kNodeContent : sql::kNode;
  const std::function<Result<NodeReply>(Connection&)> use =
      [&](Connection& conn) -> Result<NodeReply> {
    LINKSPAN_TRY(const Rows rows,
                 conn.run(statement, Params().i32(number(scope.tenant)).id(request.ino)));
    if (rows.empty()) return no_node(request.ino);
    const NodeRow node = node_at(rows, 0);
    LINKSPAN_CHECK(check_visible(scope, request.ino, node.volume));
    NodeReply reply{node.to_node(), {}};
    if (request.want_content)
      reply.node.content = small_content(node, rows, 0, rows.count(), kNodeColumns);
    return reply;
  };
  return with_connection<NodeReply>(pool_, use);
}

Result<ReadReply> PostgresStore::read(const Scope& scope, const ReadRequest& request) {
  LINKSPAN_CHECK(check(request));
  // Past any file nothing is read, but the node must still be there. No overflow below.
  const uint64_t offset = std::min(request.offset, limits::kFileBytes);
  const uint64_t end = offset + std::max<uint64_t>(request.length, 1);
  const std::function<Result<ReadReply>(Connection&)> use =
      [&](Connection& conn) -> Result<ReadReply> {
    Params params;
    params.i32(number(scope.tenant)).id(request.ino).u64(offset).u64(end);
    if (request.version) params.id(request.version);
    LINKSPAN_TRY(const Rows rows,
                 conn.run(request.version ? sql::kReadVersion : sql::kRead, params));
    return assemble(scope, request, rows);
  };
  return with_connection<ReadReply>(pool_, use);
}

Result<DataRangesReply> PostgresStore::data_ranges(const Scope& scope,
                                                   const DataRangesRequest& request) {
  const uint64_t first = std::min(request.offset, limits::kFileBytes) / limits::kChunkBytes;
  const std::function<Result<DataRangesReply>(Connection&)> use =
      [&](Connection& conn) -> Result<DataRangesReply> {
    Params params;
    params.i32(number(scope.tenant)).id(request.ino).i32(static_cast<int32_t>(first));
    params.i64(int64_t{limits::kDataRanges});
    if (request.version) params.id(request.version);
    LINKSPAN_TRY(const Rows rows,
                 conn.run(request.version ? sql::kVersionDataChunks : sql::kDataChunks, params));
    return assemble(scope, request, rows);
  };
  return with_connection<DataRangesReply>(pool_, use);
}

Result<XattrsReply> PostgresStore::xattrs(const Scope& scope, Ino ino) {
  const std::function<Result<XattrsReply>(Connection&)> use =
      [&](Connection& conn) -> Result<XattrsReply> {
    const auto params = [&] { return std::move(Params().i32(number(scope.tenant)).id(ino)); };
    conn.queue(sql::kNode, params());
    conn.queue(sql::kXattrs, params());
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty()) return no_node(ino);
    LINKSPAN_CHECK(check_visible(scope, ino, node_at(rows[0], 0).volume));
    XattrsReply reply;
    for (int row = 0; row < rows[1].count(); ++row)
      reply.xattrs.push_back({rows[1].text(row, 0), rows[1].text(row, 1)});
    return reply;
  };
  return with_connection<XattrsReply>(pool_, use);
}

}  // namespace linkspan::store::pg
