// Commits and renames before the store: by which policy, and within which quota.
#include <algorithm>
#include <utility>

#include "linkspan/fault_points.h"
#include "routerd/core/conflict.h"
#include "routerd/core/policy.h"
#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

constexpr int kQuotaLooks = 4;  // at a file that others change meanwhile

}  // namespace

// ---- by policy ----

Result<const Route*> RouterCore::rules_of(const Call& call, Ino ino) {
  if (const Route* only = call.grant->only_rules()) return only;
  LINKSPAN_TRY(const VolumeId volume, volume_of(call, ino));
  return &call.grant->rules(volume);
}

Result<store::Applied> RouterCore::commit_by_policy(const Call& call, CommitRequest request,
                                                    const store::Mutation& mutation) {
  if (request.append || planted(Fault::no_base)) request.base.reset();  // an append never conflicts
  // What may only be added to is not merged with: that could change what is there.
  if (!request.base || mutation.bounds.keeps_bytes) return store_->commit(mutation, request);
  LINKSPAN_TRY(const Route* rules, rules_of(call, request.ino));
  if (!by_name(*rules) && rules->policy != Policy::merge) {  // whatever its name
    if (rules->policy == Policy::last_writer_wins) request.base.reset();
    return store_->commit(mutation, request);
  }
  return Merger(*store_, mutation, *rules).commit(request);
}

Result<store::Applied> RouterCore::rename_by_policy(const Call& call, RenameRequest request,
                                                    const store::Mutation& mutation) {
  if (planted(Fault::no_base)) request.base_ino = Ino{};
  if (!request.base_ino) return store_->rename(mutation, request);
  LINKSPAN_TRY(const Route* rules, rules_of(call, request.to_parent));
  if (!by_name(*rules) && rules->policy != Policy::merge) {
    if (rules->policy == Policy::last_writer_wins) request.base_ino = Ino{};
    return store_->rename(mutation, request);
  }
  return Merger(*store_, mutation, *rules).rename(request);
}

// ---- by quota ----

// How much a commit adds is known only as its extents come by, and depends on what it replaces. The
// first try assumes that it replaces nothing; only when that does not fit, the node is looked at.
Result<store::Applied> RouterCore::commit_metered(const Call& call, const CommitRequest& request,
                                                  const store::Mutation& mutation,
                                                  Reserved& reserved) {
  LINKSPAN_TRY(const VolumeId volume, volume_of(call, request.ino));
  if (!call.tenant->usage.has_quota(volume)) return commit_by_policy(call, request, mutation);
  CommitRequest metered = request;
  reserved.emplace(&call.tenant->usage, volume);
  const auto extents = std::make_shared<MeteredExtents>(request.extents, &*reserved, 0, UINT64_MAX);
  metered.extents = extents;
  auto applied = commit_by_policy(call, metered, mutation);
  if (applied.ok() || request.append) return applied;
  // A merge that could not read on answers with the conflict.
  bool look = applied.code() == Code::quota || extents->refused();
  for (int looks = 0; look && looks < kQuotaLooks; ++looks) {
    applied = commit_over_head(call, request, mutation, volume, reserved);
    look = !applied.ok() && applied.code() == Code::quota;
  }
  return applied;
}

// The commit with what it replaces counted. It is bound to the version seen; where the policy would
// write over any, a newer one is told as `quota`: to be looked at again.
Result<store::Applied> RouterCore::commit_over_head(const Call& call, const CommitRequest& request,
                                                    const store::Mutation& mutation,
                                                    VolumeId volume, Reserved& reserved) {
  LINKSPAN_TRY(const Route* rules, rules_of(call, request.ino));
  Policy policy = rules->policy;
  if (request.base && by_name(*rules)) {
    LINKSPAN_TRY(policy, Merger(*store_, mutation, *rules).policy_of(request.ino));
  }
  LINKSPAN_TRY(const auto now, store_->getattr(mutation.scope, {request.ino, false}));
  const Attr& attr = now.node.attr;
  const uint64_t size = std::max(request.size, std::min(attr.size, request.keep_below));
  reserved.emplace(&call.tenant->usage, volume);
  if (request.extents) request.extents->rewind();
  CommitRequest metered = request;
  metered.extents = std::make_shared<MeteredExtents>(request.extents, &*reserved,
                                                     request.keep_below == 0 ? attr.allocated : 0,
                                                     size - std::min(size, attr.allocated));
  if (request.base && policy != Policy::last_writer_wins)
    return commit_by_policy(call, metered, mutation);
  metered.base = attr.version;
  metered.base_ino = Ino{};
  auto applied = store_->commit(mutation, metered);
  if (!applied.ok() && applied.code() == Code::conflict && !was_replaced(applied.error()))
    return fail(Code::quota,
                "the volume is almost full and the file is changed by others at once; "
                "try again");
  return applied;
}

// To the node that goes on with the history of a file that another replaced; see Merger.
Result<store::Applied> RouterCore::commit_to_successor(const Call& call, CommitRequest request,
                                                       const store::Mutation& mutation,
                                                       Reserved& reserved) {
  if (planted(Fault::no_base)) request.base.reset();
  LINKSPAN_TRY(const VolumeId volume, volume_of(call, request.ino));
  LINKSPAN_TRY(const Route* rules, rules_of(call, request.ino));
  const auto meter = [&](const Attr& head, CommitRequest* there) {
    if (!call.tenant->usage.has_quota(volume)) return;
    reserved.emplace(&call.tenant->usage, volume);
    const uint64_t size = std::max(there->size, std::min(head.size, there->keep_below));
    const uint64_t most = there->append ? UINT64_MAX : size - std::min(size, head.allocated);
    const bool whole = !there->append && there->keep_below == 0;
    there->extents = std::make_shared<MeteredExtents>(there->extents, &*reserved,
                                                      whole ? head.allocated : 0, most);
  };
  return Merger(*store_, mutation, *rules).commit_to_successor(request, meter);
}

}  // namespace linkspan::core
