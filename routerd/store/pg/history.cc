// Versions and the log.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_history.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
namespace {

VersionInfo version_at(const Rows& rows, int row) {
  VersionInfo info;
  info.version = Version{rows.u64(row, 0)};
  info.size = rows.u64(row, 1);
  info.principal = rows.text(row, 2);
  info.sandbox = rows.text(row, 3);
  info.session = SessionId{rows.u64(row, 4)};
  info.at = rows.time(row, 5);
  info.what = rows.text(row, 6);
  info.ino = Ino{rows.u64(row, 7)};
  return info;
}

// LS_CHANGE
Change change_at(const Rows& rows, int row) {
  Change change;
  change.seq = Seq{rows.u64(row, 0)};
  change.what = rows.text(row, 1);
  change.ino = Ino{rows.u64(row, 2)};
  change.version = Version{rows.u64(row, 3)};
  change.volume = rows.text(row, 4);
  change.path = rows.text(row, 5);
  change.old_path = rows.text(row, 6);
  change.principal = rows.text(row, 7);
  change.sandbox = rows.text(row, 8);
  change.session = SessionId{rows.u64(row, 9)};
  change.at = rows.time(row, 10);
  change.size = rows.u64(row, 11);
  return change;
}

const Statement& changes_statement(const ChangesRequest& request) {
  if (request.under) return request.newest ? sql::kNewestChangesUnder : sql::kChangesUnder;
  return request.newest ? sql::kNewestChanges : sql::kChanges;
}

// Of what the statement answers: the changes that were asked for, one more if there are more, and
// where its window of the log ended if it did.
ChangesReply page_of(const Rows& rows, const ChangesRequest& request) {
  ChangesReply reply;
  constexpr int kWhat = 1;
  for (int row = 0; row < rows.count(); ++row) {
    if (rows.null(row, kWhat)) {
      reply.next = Seq{rows.u64(row, 0)};
    } else if (reply.changes.size() == request.limit) {
      reply.next = reply.changes.back().seq;
    } else {
      reply.changes.push_back(change_at(rows, row));
    }
  }
  if (request.newest) std::reverse(reply.changes.begin(), reply.changes.end());
  return reply;
}

}  // namespace

Result<std::vector<VersionInfo>> PostgresStore::versions(const Scope& scope,
                                                         const VersionsRequest& request) {
  LINKSPAN_CHECK(check(request));
  const auto tenant = static_cast<int32_t>(scope.tenant.value);
  using Infos = std::vector<VersionInfo>;
  const std::function<Result<Infos>(Connection&)> use = [&](Connection& conn) -> Result<Infos> {
    conn.queue(sql::kNode, Params().i32(tenant).id(request.ino));
    conn.queue(sql::kVersions,
               Params().i32(tenant).id(request.ino).id(request.before).i64(request.limit));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty()) return no_node(request.ino);
    const NodeRow node = node_at(rows[0], 0);
    LINKSPAN_CHECK(check_visible(scope, request.ino, node.volume));
    LINKSPAN_CHECK(check_has_content(request.ino, node.attr.kind));
    Infos infos;
    for (int row = 0; row < rows[1].count(); ++row) infos.push_back(version_at(rows[1], row));
    return infos;
  };
  return with_connection<Infos>(pool_, use);
}

// The volumes that the caller asks about.
static Result<std::vector<int64_t>> volumes_told(Connection& conn, const Scope& scope,
                                                 const ChangesRequest& request) {
  const auto tenant = static_cast<int32_t>(scope.tenant.value);
  std::vector<int64_t> volumes;
  if (!request.volume_of) {
    for (const auto* list : {&scope.readable, &scope.writable})
      for (const VolumeId id : *list) volumes.push_back(to_sql(id.value));
    return volumes;
  }
  LINKSPAN_TRY(const Rows node, conn.run(sql::kNode, Params().i32(tenant).id(request.volume_of)));
  if (node.empty()) return no_node(request.volume_of);
  const VolumeId volume = node_at(node, 0).volume;
  LINKSPAN_CHECK(check_visible(scope, request.volume_of, volume));
  volumes.push_back(to_sql(volume.value));
  return volumes;
}

Result<ChangesReply> PostgresStore::changes(const Scope& scope, const ChangesRequest& request) {
  LINKSPAN_CHECK(check(request));
  const auto tenant = static_cast<int32_t>(scope.tenant.value);
  const std::function<Result<ChangesReply>(Connection&)> use =
      [&](Connection& conn) -> Result<ChangesReply> {
    LINKSPAN_TRY(const std::vector<int64_t> volumes, volumes_told(conn, scope, request));
    Params params;
    params.i32(tenant).i64_array(volumes).id(request.after);
    params.i64(request.before ? to_sql(request.before.value) : INT64_MAX);
    params.i64(request.limit).i64(limits::kChangesScanned).time(request.since);
    params.bytes(request.principal).bytes(request.sandbox).bytes(request.what);
    params.bytes(request.below);
    if (request.under) params.id(request.under);
    conn.queue(sql::kEpoch, Params().i32(tenant));
    conn.queue(changes_statement(request), params);
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty())
      return fail(Code::stale_node, "there is no tenant " + std::to_string(scope.tenant.value));
    return page_of(rows[1], request);
  };
  return with_connection<ChangesReply>(pool_, use);
}

}  // namespace linkspan::store::pg
