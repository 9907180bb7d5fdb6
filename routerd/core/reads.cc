// Reads: what they tell is entered before the store is asked (View).
#include <algorithm>
#include <utility>

#include "routerd/core/router_core.h"
#include "routerd/core/view.h"
#include "routerd/store/checks.h"

namespace linkspan::core {
namespace {

// Reads that were overtaken by a mutation of a node they found are done again, so often; then they
// are answered as not to be cached.
constexpr int kReadAttempts = 3;

// Passes the store's answer about `ino` on.
template <class Reply>
Result<Reply> seen(View& view, Ino ino, Result<Reply> reply) {
  if (!reply.ok() && reply.code() == Code::stale_node) view.is_gone(ino);
  return reply;
}

}  // namespace

Result<LookupReply> RouterCore::lookup(const Credentials& who, const LookupRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(store::check(request));
  for (int attempt = 1;; ++attempt) {
    View view(*call.tenant, *call.session);
    view.will_tell(request.parent, kHeldNames);
    LINKSPAN_TRY(LookupReply reply,
                 seen(view, request.parent, store_->lookup(call.grant->scope, request)));
    if (reply.node) {
      view.told(reply.node->attr.ino);
      learn_volume(call, request.parent, reply.node->attr.ino);
    }
    LINKSPAN_TRY(auto guard, guard_of(call, request.parent));
    if (guard)
      LINKSPAN_CHECK(
          guard->tell(request.parent, request.name, reply.node ? &*reply.node : nullptr));
    if (view.overtaken() && attempt < kReadAttempts) continue;
    reply.as_of = view.as_of();
    return reply;
  }
}

Result<NodeReply> RouterCore::getattr(const Credentials& who, const GetAttrRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  View view(*call.tenant, *call.session);
  view.will_tell(request.ino, kHeldNode);
  LINKSPAN_TRY(NodeReply reply,
               seen(view, request.ino, store_->getattr(call.grant->scope, request)));
  LINKSPAN_TRY(auto guard, guard_of(call, request.ino));
  if (guard) LINKSPAN_CHECK(guard->tell(&reply.node));
  reply.as_of = view.as_of();
  return reply;
}

Result<ReadDirReply> RouterCore::readdir(const Credentials& who, const ReadDirRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(store::check(request));
  for (int attempt = 1;; ++attempt) {
    View view(*call.tenant, *call.session);
    view.will_tell(request.dir, kHeldNode | kHeldListing | kHeldNames);
    LINKSPAN_TRY(ReadDirReply reply,
                 seen(view, request.dir, store_->readdir(call.grant->scope, request)));
    for (const DirEntry& entry : reply.entries) {
      view.told(entry.node.attr.ino);
      learn_volume(call, request.dir, entry.node.attr.ino);
    }
    LINKSPAN_TRY(auto guard, guard_of(call, request.dir));
    if (guard) LINKSPAN_CHECK(guard->tell(request.dir, &reply));
    if (view.overtaken() && attempt < kReadAttempts) continue;
    reply.as_of = view.as_of();
    return reply;
  }
}

Result<ReadReply> RouterCore::read(const Credentials& who, const ReadRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(store::check(request));
  View view(*call.tenant, *call.session);
  if (!request.version) view.will_tell(request.ino, kHeldNode);  // old versions never change
  auto answer = store_->read(call.grant->scope, request);
  if (!request.version) answer = seen(view, request.ino, std::move(answer));
  LINKSPAN_TRY(ReadReply reply, std::move(answer));
  LINKSPAN_CHECK(may_read(call, request.ino));
  reply.as_of = view.as_of();
  return reply;
}

// Tells of a version, not of the head: nothing that a revocation would have to take back.
Result<DataRangesReply> RouterCore::data_ranges(const Credentials& who,
                                                const DataRangesRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_TRY(DataRangesReply reply, store_->data_ranges(call.grant->scope, request));
  LINKSPAN_CHECK(may_read(call, request.ino));
  return reply;
}

Result<XattrsReply> RouterCore::xattrs(const Credentials& who, Ino ino) {
  LINKSPAN_TRY(const Call call, enter(who));
  View view(*call.tenant, *call.session);
  view.will_tell(ino, kHeldNode);
  LINKSPAN_TRY(XattrsReply reply, seen(view, ino, store_->xattrs(call.grant->scope, ino)));
  LINKSPAN_CHECK(may_read(call, ino));
  reply.as_of = view.as_of();
  return reply;
}

Result<VolumeId> RouterCore::volume_of(const Call& call, Ino ino) {
  const auto& volumes = call.grant->scope.readable;
  if (const auto known = call.tenant->nodes.find(ino);
      known && std::find(volumes.begin(), volumes.end(), *known) != volumes.end())
    return *known;
  for (const VolumeId volume : volumes) {
    const store::Scope only{call.tenant->id, {volume}, {}};
    const auto node = store_->getattr(only, {ino, false});
    if (!node.ok() && node.code() != Code::stale_node) return node.error();
    if (!node.ok()) continue;
    call.tenant->nodes.learn(ino, volume);
    return volume;
  }
  return fail(Code::stale_node, "there is no node " + std::to_string(ino.value));
}

Result<StatFsReply> RouterCore::statfs(const Credentials& who, Ino ino) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_TRY(const VolumeId volume, volume_of(call, ino));
  return call.tenant->usage.statfs(volume);
}

Result<std::vector<VersionInfo>> RouterCore::versions(const Credentials& who,
                                                      const VersionsRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(store::check(request));
  LINKSPAN_TRY(auto versions, store_->versions(call.grant->scope, request));
  LINKSPAN_CHECK(may_read(call, request.ino));
  return versions;
}

Result<ChangesReply> RouterCore::changes(const Credentials& who, const ChangesRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(store::check(request));
  const Seq as_of = call.tenant->sequencer.stable();
  LINKSPAN_TRY(ChangesReply reply, store_->changes(call.grant->scope, request));
  std::erase_if(reply.changes, [&](const Change& change) {
    return !may_be_told(call, change.volume, change.path) ||
           (!change.old_path.empty() && !may_be_told(call, change.volume, change.old_path));
  });
  reply.as_of = as_of;
  return reply;
}

Result<ConflictsReply> RouterCore::conflicts(const Credentials& who,
                                             const ConflictsRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(store::check(request));
  LINKSPAN_TRY(ConflictsReply reply, store_->conflicts(call.grant->scope, request));
  for (;;) {
    const bool full = reply.conflicts.size() == request.limit;
    const Seq last = full ? reply.conflicts.back().number : Seq{};
    std::erase_if(reply.conflicts, [&](const Conflict& conflict) {
      return !may_be_told(call, conflict.volume, conflict.path);
    });
    // An empty page would say that there are no more.
    if (!full || !reply.conflicts.empty()) return reply;
    ConflictsRequest next = request;
    next.after = last;
    LINKSPAN_TRY(reply, store_->conflicts(call.grant->scope, next));
  }
}

}  // namespace linkspan::core
