// Versions and the log.
#include <algorithm>

#include "routerd/store/checks.h"
#include "routerd/store/pg/postgres_store.h"
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

Result<ChangesReply> PostgresStore::changes(const Scope& scope, const ChangesRequest& request) {
  LINKSPAN_CHECK(check(request));
  std::vector<int64_t> volumes;
  for (const auto* list : {&scope.readable, &scope.writable})
    for (const VolumeId id : *list) volumes.push_back(to_sql(id.value));
  const std::function<Result<ChangesReply>(Connection&)> use =
      [&](Connection& conn) -> Result<ChangesReply> {
    Params params;
    params.i32(static_cast<int32_t>(scope.tenant.value)).i64_array(volumes).id(request.after);
    params.i64(request.limit);
    if (request.under) params.id(request.under);
    conn.queue(sql::kEpoch, Params().i32(static_cast<int32_t>(scope.tenant.value)));
    conn.queue(changes_statement(request), params);
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty())
      return fail(Code::stale_node, "there is no tenant " + std::to_string(scope.tenant.value));
    ChangesReply reply;
    for (int row = 0; row < rows[1].count(); ++row)
      reply.changes.push_back(change_at(rows[1], row));
    if (request.newest) std::reverse(reply.changes.begin(), reply.changes.end());
    return reply;
  };
  return with_connection<ChangesReply>(pool_, use);
}

Result<ConflictsReply> PostgresStore::conflicts(const Scope&, const ConflictsRequest&) {
  return ConflictsReply{};
}
Result<Conflict> PostgresStore::keep(const Mutation&, const KeepRequest&) {
  return fail(Code::unsupported, "conflicts are not kept yet");
}
Result<Applied> PostgresStore::settle(const Mutation&, const SettleRequest&) {
  return fail(Code::not_found, "there is no such conflict");
}

}  // namespace linkspan::store::pg
