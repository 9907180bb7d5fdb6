// Lookups, listings, content and history.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_store.h"

namespace linkspan::store::mem {
namespace {

constexpr size_t kEntryCost = 160;  // of an entry on the wire beside its bytes, roughly

Status check_has_content(const MemNode& node) {
  if (node.is_file()) return ok();
  const std::string what = "node " + std::to_string(node.attr.ino.value);
  if (node.is_directory()) return fail(Code::is_directory, what + " is a directory");
  return fail(Code::invalid, what + " has no content");
}

// 0: the head.
Result<const Record*> find_version(const MemNode& node, Version version) {
  LINKSPAN_CHECK(check_has_content(node));
  const Version wanted = version ? version : node.attr.version;
  for (const Record& record : node.history)
    if (record.info.version == wanted) return &record;
  return fail(Code::not_found, "node " + std::to_string(node.attr.ino.value) + " has no version " +
                                   std::to_string(wanted.value));
}

bool touches(const LoggedChange& logged, Ino under) {
  return !under || logged.change.ino == under || logged.parent == under ||
         logged.old_parent == under;
}

}  // namespace

Result<LookupReply> MemStore::lookup(const Scope& scope, const LookupRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(MemNode * dir, tenant->find_directory(scope, request.parent));
  LookupReply reply;
  if (const MemNode* node = tenant->child(*dir, request.name))
    reply.node = to_node(*node, request.want_content);
  return reply;
}

Result<NodeReply> MemStore::getattr(const Scope& scope, const GetAttrRequest& request) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, request.ino));
  return NodeReply{to_node(*node, request.want_content), {}};
}

// Entries end before the page is full; an entry that fits only without its content comes without.
Result<ReadDirReply> MemStore::readdir(const Scope& scope, const ReadDirRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(MemNode * dir, tenant->find_directory(scope, request.dir));
  ReadDirReply reply;
  reply.dir = to_node(*dir);
  size_t bytes = 0;
  auto at = dir->order.upper_bound(request.after);
  for (; at != dir->order.end() && reply.entries.size() < request.limit; ++at) {
    const MemNode& node = *tenant->child(*dir, at->second);
    bytes += kEntryCost + at->second.size() + node.target.size();
    if (bytes > limits::kPageBytes && !reply.entries.empty()) break;
    const bool inlined = request.want_content && bytes + node.attr.size <= limits::kPageBytes;
    reply.entries.push_back({at->second, at->first, to_node(node, inlined)});
    if (reply.entries.back().node.content) bytes += node.attr.size;
  }
  reply.end = at == dir->order.end();
  return reply;
}

Result<ReadReply> MemStore::read(const Scope& scope, const ReadRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, request.ino));
  LINKSPAN_TRY(const Record* record, find_version(*node, request.version));
  return ReadReply{record->content->read(request.offset, request.length),
                   record->info.version,
                   record->content->size(),
                   {}};
}

Result<DataRangesReply> MemStore::data_ranges(const Scope& scope,
                                              const DataRangesRequest& request) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, request.ino));
  LINKSPAN_TRY(const Record* record, find_version(*node, request.version));
  DataRangesReply reply;
  reply.version = record->info.version;
  record->content->tell_ranges(request.offset, &reply);
  return reply;
}

Result<XattrsReply> MemStore::xattrs(const Scope& scope, Ino ino) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, ino));
  XattrsReply reply;
  for (const auto& [name, value] : node->xattrs) reply.xattrs.push_back({name, value});
  return reply;
}

Result<std::vector<VersionInfo>> MemStore::versions(const Scope& scope,
                                                    const VersionsRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, request.ino));
  LINKSPAN_CHECK(check_has_content(*node));
  std::vector<VersionInfo> out;
  for (auto at = node->history.rbegin(); at != node->history.rend(); ++at) {
    if (request.before && at->info.version >= request.before) continue;
    if (out.size() == request.limit) break;
    out.push_back(at->info);
  }
  return out;
}

Result<ChangesReply> MemStore::changes(const Scope& scope, const ChangesRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  const auto readable = [&](VolumeId id) {
    return std::count(scope.readable.begin(), scope.readable.end(), id) > 0 ||
           std::count(scope.writable.begin(), scope.writable.end(), id) > 0;
  };
  ChangesReply reply;
  for (const LoggedChange& logged : tenant->log) {
    if (logged.change.seq <= request.after) continue;
    if (!readable(logged.volume) || !touches(logged, request.under)) continue;
    if (!request.newest && reply.changes.size() == request.limit) break;
    reply.changes.push_back(logged.change);
  }
  if (request.newest && reply.changes.size() > request.limit)
    reply.changes.erase(reply.changes.begin(),
                        reply.changes.end() - static_cast<ptrdiff_t>(request.limit));
  return reply;
}

}  // namespace linkspan::store::mem
