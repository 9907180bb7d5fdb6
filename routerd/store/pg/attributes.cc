// chmod, chown, utimensat, truncate, and extended attributes.
#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/pg/commit.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_content.h"

namespace linkspan::store::pg {
namespace {

void set_plain(NodeRow& node, const SetAttrRequest& request, Time now) {
  Attr& attr = node.attr;
  if (request.mode) attr.mode = *request.mode;
  if (request.uid) attr.uid = *request.uid;
  if (request.gid) attr.gid = *request.gid;
  if (request.atime) attr.atime = *request.atime;
  if (request.mtime) attr.mtime = *request.mtime;
  if (request.atime_now) attr.atime = now;
  if (request.mtime_now) attr.mtime = now;
}

Status truncate_for(Transaction& tx, const SetAttrRequest& request, NodeRow& node,
                    const Rows& heads) {
  LINKSPAN_CHECK(check_has_content(request.ino, node.attr.kind));
  node.modify(tx.mutation());
  LINKSPAN_CHECK(check_bounds(tx.mutation().bounds, node.attr.size, *request.size, false));
  if (*request.size == node.attr.size) return ok();
  tx.count_before(node);
  LINKSPAN_CHECK(truncate(tx, node, heads, *request.size));
  tx.count_after(node);
  tx.reply.version = node.attr.version;
  return ok();
}

Result<Applied> set_in(Transaction& tx, const SetAttrRequest& request) {
  const Mutation& m = tx.mutation();
  const size_t locked = tx.ask(sql::kLockNode, tx.params().id(request.ino));
  const size_t path = tx.ask(sql::kPath, tx.params().id(request.ino));
  size_t heads = 0;
  if (request.size)
    heads = tx.ask(sql::kChunkHeads,
                   tx.params()
                       .id(request.ino)
                       .i64_array({static_cast<int64_t>(*request.size / limits::kChunkBytes)}));
  LINKSPAN_CHECK(tx.fetch());
  if (tx.answer(locked).empty()) return no_node(request.ino);
  NodeRow node = node_at(tx.answer(locked), 0);
  const Place place = place_of(tx.answer(path));
  LINKSPAN_CHECK(check_visible(m.scope, request.ino, node.volume));
  LINKSPAN_CHECK(check_writable(m.scope, node));
  if (request.size) {
    const Rows known = tx.answer(heads);
    LINKSPAN_CHECK(truncate_for(tx, request, node, known));
  }
  node.touch(m);
  set_plain(node, request, m.now);
  tx.save(node);
  ChangeRecord change{
      request.size ? "truncate" : "setattr", &node, place.parent(), {}, place.path, {}};
  change.made_version = static_cast<bool>(tx.reply.version);
  tx.log(change);
  return tx.finish(node.volume, {&node});
}

Status check_xattr(const SetXattrRequest& request, const Rows& state) {
  const bool exists = state.boolean(0, 0);
  if (exists && request.value && request.create)
    return fail(Code::exists, "attribute '" + request.name + "' is there");
  if (!exists && (!request.value || request.replace))
    return fail(Code::no_attribute, "there is no attribute '" + request.name + "'");
  if (!request.value) return ok();
  if (!exists && state.u64(0, 2) >= limits::kXattrs) return too_many_xattrs();
  if (state.u64(0, 3) + request.name.size() + 1 > kXattrListBytes) return too_many_xattrs();
  const uint64_t total = state.u64(0, 1) + request.name.size() + request.value->size();
  if (total <= limits::kXattrTotalBytes) return ok();
  return fail(Code::no_space, "a node's attributes may have at most " +
                                  std::to_string(limits::kXattrTotalBytes) + " bytes");
}

Result<Applied> set_xattr_in(Transaction& tx, const SetXattrRequest& request) {
  const Mutation& m = tx.mutation();
  const auto name = [&] { return tx.params().id(request.ino).bytes(request.name); };
  const size_t locked = tx.ask(sql::kLockNode, tx.params().id(request.ino));
  const size_t path = tx.ask(sql::kPath, tx.params().id(request.ino));
  const size_t state = tx.ask(sql::kXattrState, name());
  LINKSPAN_CHECK(tx.fetch());
  if (tx.answer(locked).empty()) return no_node(request.ino);
  NodeRow node = node_at(tx.answer(locked), 0);
  LINKSPAN_CHECK(check_visible(m.scope, request.ino, node.volume));
  LINKSPAN_CHECK(check_writable(m.scope, node));
  LINKSPAN_CHECK(check_xattr(request, tx.answer(state)));
  const Place place = place_of(tx.answer(path));
  if (request.value) {
    tx.write(sql::kSetXattr, name().bytes(*request.value));
  } else {
    tx.write(sql::kDropXattr, name());
  }
  node.attr.has_xattrs = request.value.has_value() || tx.answer(state).i64(0, 2) > 0;
  node.touch(m);
  tx.save(node);
  tx.log({"setxattr", &node, place.parent(), {}, place.path, {}});
  return tx.finish(node.volume, {&node});
}

}  // namespace

Result<Applied> PostgresStore::set_attributes(const Mutation& m, const SetAttrRequest& request) {
  LINKSPAN_CHECK(check(request));
  if (request.relaxed) return relax(m, request);
  return run_mutation(pool_, m, request.op, [&](Transaction& tx) { return set_in(tx, request); });
}

// An access time after a read: one UPDATE, no change, no seq, no result to remember (a retry sets
// it again).
Result<Applied> PostgresStore::relax(const Mutation& m, const SetAttrRequest& request) {
  const auto tenant = static_cast<int32_t>(m.scope.tenant.value);
  const std::function<Result<Applied>(Connection&)> use = [&](Connection& conn) -> Result<Applied> {
    conn.queue(sql::kEpoch, Params().i32(tenant));
    conn.queue(sql::kNode, Params().i32(tenant).id(request.ino));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty() || rows[1].empty()) return no_node(request.ino);
    if (rows[0].u64(0, 0) != m.epoch.value)
      return fail(Code::fenced, "the tenant is owned by another router now");
    NodeRow node = node_at(rows[1], 0);
    LINKSPAN_CHECK(check_visible(m.scope, request.ino, node.volume));
    LINKSPAN_CHECK(check_writable(m.scope, node));
    set_plain(node, request, m.now);
    LINKSPAN_TRY(
        const Rows set,
        conn.run(sql::kSetAtime, Params().i32(tenant).id(request.ino).time(node.attr.atime)));
    if (set.empty()) return no_node(request.ino);
    Applied applied;
    applied.reply.seq = m.seq;
    applied.reply.nodes.push_back(node_at(set, 0).to_node());
    applied.usage.volume = node.volume;
    return applied;
  };
  return with_connection<Applied>(pool_, use);
}

Result<Applied> PostgresStore::set_xattr(const Mutation& m, const SetXattrRequest& request) {
  LINKSPAN_CHECK(check(request));
  return run_mutation(pool_, m, request.op,
                      [&](Transaction& tx) { return set_xattr_in(tx, request); });
}

}  // namespace linkspan::store::pg
