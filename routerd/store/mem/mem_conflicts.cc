// What refused writers wrote, and the list of it.
#include <algorithm>

#include "routerd/store/checks.h"
#include "routerd/store/logged_path.h"
#include "routerd/store/mem/mem_mutate.h"

namespace linkspan::store::mem {
namespace {

MemConflict* left_by(Tenant& tenant, SessionId session, OpNumber operation) {
  for (auto& [number, kept] : tenant.conflicts)
    if (kept.conflict.session == session && kept.operation == operation) return &kept;
  return nullptr;
}

// Of a file that has no name any more, as far as the log tells.
void find_last_place(const Tenant& tenant, Ino ino, LoggedChange* where) {
  for (auto at = tenant.log.rbegin(); at != tenant.log.rend(); ++at) {
    if (at->change.ino != ino || at->change.path.empty()) continue;
    where->parent = at->parent;
    where->change.path = at->change.path;
    return;
  }
}

// Where the refused write was to go.
Result<LoggedChange> find_place(Tenant& tenant, const Scope& scope, const KeepRequest& request,
                                VolumeId volume) {
  LoggedChange where{{}, volume, {}, {}};
  if (request.dir) {
    LINKSPAN_TRY(const MemNode* dir, tenant.find_directory(scope, request.dir));
    where.parent = request.dir;
    where.change.path = tenant.path_of(*dir, request.name);
  } else if (const auto node = tenant.find(scope, request.ino); node.ok() && *node != nullptr) {
    if (!(*node)->names.empty()) where.parent = (*node)->names.front().first;
    where.change.path = tenant.path_of(**node);
    if ((*node)->names.empty()) find_last_place(tenant, request.ino, &where);
  }
  where.change.ino = request.ino;
  return where;
}

MemNode& make_nameless(Transaction& tx, const MemNode& like,
                       std::shared_ptr<const Content> content) {
  const Mutation& m = tx.mutation();
  MemNode& node = tx.tenant().nodes[m.new_ino];
  node.volume = like.volume;
  node.attr.ino = m.new_ino;
  node.attr.kind = Kind::file;
  node.attr.mode = like.attr.mode;
  node.attr.uid = like.attr.uid;
  node.attr.gid = like.attr.gid;
  node.attr.nlink = 0;
  node.attr.atime = node.attr.btime = m.now;
  tx.modify(node);
  tx.add_version(node, std::move(content), "conflict");
  return node;
}

Conflict describe(const Mutation& m, const KeepRequest& request, const LoggedChange& where,
                  const Tenant& tenant, uint64_t size) {
  Conflict conflict;
  conflict.number = m.seq;
  conflict.what = request.what;
  conflict.volume = tenant.volumes.at(where.volume).volume.name;
  conflict.path = logged_path(where.change.path);
  conflict.ino = request.ino;
  conflict.base_ino = request.base_ino;
  conflict.base = request.base;
  conflict.head = request.head;
  conflict.theirs = m.new_ino;
  conflict.size = size;
  conflict.principal = m.author.principal;
  conflict.sandbox = m.author.sandbox;
  conflict.session = m.author.session;
  conflict.at = m.now;
  return conflict;
}

bool may_see(const Scope& scope, VolumeId volume) {
  const auto in = [volume](const std::vector<VolumeId>& volumes) {
    return std::find(volumes.begin(), volumes.end(), volume) != volumes.end();
  };
  return in(scope.readable) || in(scope.writable);
}

}  // namespace

Result<std::string> MemStore::path_of(const Scope& scope, Ino ino) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, ino));
  return tenant->path_of(*node);
}

Result<std::vector<std::string>> MemStore::paths_of(const Scope& scope, Ino ino, uint32_t limit) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, ino));
  std::vector<std::string> paths;
  for (const auto& [parent, name] : node->names) {
    if (paths.size() == limit) break;
    paths.push_back(tenant->path_of(tenant->at(parent), name));
  }
  return paths;
}

Result<ConflictsReply> MemStore::conflicts(const Scope& scope, const ConflictsRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  ConflictsReply reply;
  auto at = tenant->conflicts.upper_bound(request.after);
  for (; at != tenant->conflicts.end() && reply.conflicts.size() < request.limit; ++at)
    if (!at->second.settled && may_see(scope, at->second.volume))
      reply.conflicts.push_back(at->second.conflict);
  return reply;
}

Result<Conflict> MemStore::keep(const Mutation& m, const KeepRequest& request) {
  LINKSPAN_CHECK(check(request));
  Conflict conflict;
  const auto find_old = [&](Tenant& tenant) {
    const MemConflict* old = left_by(tenant, m.author.session, request.operation);
    if (old != nullptr) conflict = old->conflict;
    return old != nullptr;
  };
  std::vector<Extent> extents;
  if (!request.recall) {
    if (request.extents) request.extents->rewind();
    LINKSPAN_TRY(extents, take(ExtentReader::replacing(request.extents.get(), request.size)));
  }
  const auto kept = mutate(m, {}, [&](Transaction& tx) -> Result<Applied> {
    Tenant& tenant = tx.tenant();
    if (find_old(tenant)) return Applied{};
    if (request.recall) return fail(Code::not_found, "the operation left no conflict");
    LINKSPAN_TRY(const MemNode* from, tenant.find(m.scope, request.from));
    LINKSPAN_CHECK(check_writable(m.scope, *from));
    LINKSPAN_TRY(const Record* record, find_version(*from, request.from_version));
    LINKSPAN_TRY(LoggedChange where, find_place(tenant, m.scope, request, from->volume));
    CommitRequest commit;
    commit.keep_below = request.keep_below;
    commit.size = request.size;
    LINKSPAN_TRY(auto content, make_content(*record->content, commit, extents));
    where.change.size = make_nameless(tx, *from, std::move(content)).attr.size;
    conflict = describe(m, request, where, tenant, where.change.size);
    tenant.conflicts[m.seq] =
        MemConflict{conflict, where.volume, where.parent, request.operation, {}};
    const VolumeId volume = where.volume;
    tx.log("conflict", std::move(where));
    return tx.finish(volume, {});
  });
  if (!kept.ok()) return kept.error();
  return conflict;
}

Result<Applied> MemStore::settle(const Mutation& m, const SettleRequest& request) {
  LINKSPAN_CHECK(check(request));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    const auto at = tx.tenant().conflicts.find(request.number);
    if (at == tx.tenant().conflicts.end() || at->second.settled ||
        !may_see(m.scope, at->second.volume))
      return no_conflict(request.number);
    MemConflict& kept = at->second;
    LINKSPAN_CHECK(check_writable(m.scope, tx.tenant().at(kept.conflict.theirs)));
    kept.settled = m.now;
    LoggedChange where{{}, kept.volume, kept.dir, {}};
    where.change.ino = kept.conflict.ino;
    where.change.path = kept.conflict.path;
    where.change.size = kept.conflict.size;
    tx.log("resolve", std::move(where));
    return tx.finish(kept.volume, {});
  });
}

}  // namespace linkspan::store::mem
