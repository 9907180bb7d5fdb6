// Lookups, listings, content and history.
#include <algorithm>
#include <functional>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_store.h"

namespace linkspan::store::mem {
namespace {

constexpr size_t kEntryCost = 160;  // of an entry on the wire beside its bytes, roughly

bool contains(const std::vector<VolumeId>& volumes, VolumeId id) {
  return std::find(volumes.begin(), volumes.end(), id) != volumes.end();
}

// What a call looks at, and counts against kChangesScanned.
bool looked_at(const LoggedChange& logged, const ChangesRequest& request) {
  const Seq seq = logged.change.seq;
  if (seq <= request.after || (request.before && seq >= request.before)) return false;
  const Ino under = request.under;
  return !under || logged.change.ino == under || logged.parent == under ||
         logged.old_parent == under;
}

bool lies_below(const std::string& path, const std::string& top) {
  return path.compare(0, top.size(), top) == 0 &&
         (path.size() == top.size() || path[top.size()] == '/');
}

bool asked_for(const Change& change, const ChangesRequest& request) {
  if (change.at < request.since) return false;
  if (!request.principal.empty() && change.principal != request.principal) return false;
  if (!request.sandbox.empty() && change.sandbox != request.sandbox) return false;
  if (!request.what.empty() && change.what != request.what) return false;
  return request.below.empty() || lies_below(change.path, request.below) ||
         lies_below(change.old_path, request.below);
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

// Walks the log in the order that was asked for, as far as one call may.
template <class Log>
static ChangesReply look_through(const Log& begin, const Log& end, const ChangesRequest& request,
                                 const std::function<bool(VolumeId)>& told) {
  ChangesReply reply;
  size_t looks = 0;
  for (auto at = begin; at != end; ++at) {
    const Change& change = at->change;
    if (!looked_at(*at, request)) continue;
    if (told(at->volume) && asked_for(change, request)) {
      if (reply.changes.size() == request.limit) {
        reply.next = reply.changes.back().seq;
        return reply;
      }
      reply.changes.push_back(change);
    }
    if (++looks == limits::kChangesScanned) {
      reply.next = change.seq;
      return reply;
    }
  }
  return reply;
}

Result<ChangesReply> MemStore::changes(const Scope& scope, const ChangesRequest& request) {
  LINKSPAN_CHECK(check(request));
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  VolumeId only;
  if (request.volume_of) {
    LINKSPAN_TRY(const MemNode* node, tenant->find(scope, request.volume_of));
    only = node->volume;
  }
  const auto told = [&](VolumeId id) {
    if (only) return id == only;
    return contains(scope.readable, id) || contains(scope.writable, id);
  };
  const auto& log = tenant->log;
  if (!request.newest) return look_through(log.begin(), log.end(), request, told);
  ChangesReply reply = look_through(log.rbegin(), log.rend(), request, told);
  std::reverse(reply.changes.begin(), reply.changes.end());
  return reply;
}

}  // namespace linkspan::store::mem
