// Pages of directories.
#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/small_content.h"
#include "routerd/store/pg/statements_content.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
namespace {

constexpr size_t kEntryCost = 160;  // of an entry on the wire beside its bytes, as in the SQL

// Columns: name, cookie, node, and with content: in the budget, start, len, data.
constexpr int kNodeAt = 2;
constexpr int kInBudget = kNodeAt + kNodeColumns;

// Adds the entries that fit on the page. An entry's segments are rows that follow each other.
void fill(ReadDirReply& reply, const ReadDirRequest& request, const Rows& rows) {
  size_t bytes = 0;
  int row = 0;
  while (row < rows.count() && reply.entries.size() < request.limit) {
    const NodeRow node = node_at(rows, row, kNodeAt);
    int end = row + 1;
    const int64_t cookie = rows.i64(row, 1);
    while (end < rows.count() && rows.i64(end, 1) == cookie) ++end;
    const std::string_view name = rows.bytes(row, 0);
    bytes += kEntryCost + name.size() + node.target.size();
    if (bytes > limits::kPageBytes && !reply.entries.empty()) return;
    DirEntry entry{std::string(name), Cookie{rows.u64(row, 1)}, node.to_node()};
    const bool inlined = request.want_content && rows.boolean(row, kInBudget) &&
                         bytes + node.attr.size <= limits::kPageBytes;
    if (inlined) entry.node.content = small_content(node, rows, row, end, kInBudget + 1);
    if (entry.node.content) bytes += node.attr.size;
    reply.entries.push_back(std::move(entry));
    row = end;
  }
  reply.end = row == rows.count();
}

}  // namespace

Result<ReadDirReply> PostgresStore::readdir(const Scope& scope, const ReadDirRequest& request) {
  LINKSPAN_CHECK(check(request));
  const auto tenant = static_cast<int32_t>(scope.tenant.value);
  const std::function<Result<ReadDirReply>(Connection&)> use =
      [&](Connection& conn) -> Result<ReadDirReply> {
    conn.queue(sql::kNode, Params().i32(tenant).id(request.dir));
    // One more than asked for says whether there are any.
    Params page;
    page.i32(tenant).id(request.dir).id(request.after).i64(int64_t{request.limit} + 1);
    if (request.want_content) page.i64(int64_t{limits::kPageBytes});
    conn.queue(request.want_content ? sql::kReadDirContent : sql::kReadDir, page);
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty()) return no_node(request.dir);
    const NodeRow dir = node_at(rows[0], 0);
    LINKSPAN_CHECK(check_visible(scope, request.dir, dir.volume));
    LINKSPAN_CHECK(check_directory(request.dir, dir.attr.kind));
    ReadDirReply reply;
    reply.dir = dir.to_node();
    fill(reply, request, rows[1]);
    return reply;
  };
  return with_connection<ReadDirReply>(pool_, use);
}

}  // namespace linkspan::store::pg
