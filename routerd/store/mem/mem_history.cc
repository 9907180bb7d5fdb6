// Versions, the log, and their retention.
#include <algorithm>

#include "linkspan/forked.h"
#include "routerd/store/logged_path.h"
#include "routerd/store/mem/mem_mutate.h"

namespace linkspan::store::mem {
namespace {

constexpr int64_t kDayNs = 86400ll * 1000000000ll;
constexpr uint64_t kPruneRows = 1000;  // removed per call at most

// Everything that ended before it is past the volume's retention.
Time horizon(const MemVolume& volume, Time now) {
  return Time{now.ns - static_cast<int64_t>(volume.keep_days) * kDayNs};
}

// A node without a name may still be open somewhere: it stays a day at least.
Time orphan_horizon(const MemVolume& volume, Time now) {
  return std::min(horizon(volume, now), Time{now.ns - kDayNs});
}

// The oldest versions that retention gives up: by number, or replaced before the horizon.
uint64_t prune_history(MemNode& node, const MemVolume& volume, Time now, uint64_t most) {
  const size_t keep = std::max<size_t>(volume.keep_versions, 1);
  auto& history = node.history;
  uint64_t removed = 0;
  const auto expired = [&] {
    return history.size() > keep || history[0].replaced < horizon(volume, now);
  };
  while (removed < most && history.size() > 1 && expired()) {
    history.erase(history.begin());
    ++removed;
  }
  return removed;
}

uint64_t prune_log(Tenant& tenant, Time now, uint64_t most) {
  uint64_t removed = 0;
  const auto expired = [&](const LoggedChange& logged) {
    return removed < most && logged.change.at < horizon(tenant.volumes.at(logged.volume), now) &&
           ++removed > 0;
  };
  tenant.log.erase(std::remove_if(tenant.log.begin(), tenant.log.end(), expired), tenant.log.end());
  return removed;
}

}  // namespace

void Transaction::add_version(MemNode& node, std::shared_ptr<const Content> content,
                              const char* what) {
  uint64_t last = node.attr.version.value;
  if (node.replaced_by && last < kForked) last += kForked;
  node.attr.version = Version{last + 1};
  node.attr.size = content->size();
  node.attr.allocated = content->stored();
  const VersionInfo info{node.attr.version,
                         content->size(),
                         m_.author.principal,
                         m_.author.sandbox,
                         m_.author.session,
                         m_.now,
                         what,
                         node.attr.ino};
  if (!node.history.empty()) node.history.back().replaced = m_.now;
  node.history.push_back({info, std::move(content), {}});
}

void Transaction::add_unmerged(MemNode& node, std::shared_ptr<const Content> content) {
  add_version(node, std::move(content), kUnmerged);
  reply.unmerged = node.attr.version;
  reply.merged = true;
}

void Transaction::log(const char* what, const MemNode& node, LoggedChange where) {
  where.change.ino = node.attr.ino;
  where.change.version = node.attr.version;
  where.change.size = node.attr.size;
  log(what, std::move(where));
}

void Transaction::log(const char* what, LoggedChange where) {
  Change& change = where.change;
  change.seq = m_.seq;
  change.what = what;
  change.volume = tenant_.volumes.at(where.volume).volume.name;
  change.principal = m_.author.principal;
  change.sandbox = m_.author.sandbox;
  change.session = m_.author.session;
  change.at = m_.now;
  change.path = logged_path(std::move(change.path));
  change.old_path = logged_path(std::move(change.old_path));
  // Numbers are drawn before the mutex is: two mutations may come in the other order.
  const auto at =
      std::upper_bound(tenant_.log.begin(), tenant_.log.end(), m_.seq,
                       [](Seq seq, const LoggedChange& logged) { return seq < logged.change.seq; });
  tenant_.log.insert(at, std::move(where));
}

void Transaction::log(const char* what, const MemNode& node) {
  LoggedChange where{{}, node.volume, {}, {}};
  if (!node.names.empty()) where.parent = node.names.front().first;
  where.change.path = tenant_.path_of(node);
  log(what, node, std::move(where));
}

Applied Transaction::finish(VolumeId volume, std::initializer_list<const MemNode*> nodes) {
  usage_.volume = volume;
  Volume& counted = tenant_.volumes.at(volume).volume;
  counted.used_bytes += static_cast<uint64_t>(usage_.bytes);
  counted.used_files += static_cast<uint64_t>(usage_.files);
  reply.seq = m_.seq;
  for (const MemNode* node : nodes) reply.nodes.push_back(to_node(*node));
  return Applied{std::move(reply), usage_, false};
}

// Nobody has settled the conflict that it was kept for, or only since the horizon.
bool kept_for_a_conflict(const Tenant& tenant, Ino ino, Time horizon) {
  return std::any_of(tenant.conflicts.begin(), tenant.conflicts.end(), [&](const auto& kept) {
    const MemConflict& conflict = kept.second;
    return conflict.conflict.theirs == ino && (!conflict.settled || *conflict.settled >= horizon);
  });
}

Result<uint64_t> MemStore::prune(TenantId id, Time now) {
  const std::lock_guard lock(mutex_);
  Tenant* tenant = find_tenant(id);
  if (tenant == nullptr)
    return fail(Code::not_found, "there is no tenant " + std::to_string(id.value));
  uint64_t removed = prune_log(*tenant, now, kPruneRows);
  for (auto at = tenant->nodes.begin(); at != tenant->nodes.end() && removed < kPruneRows;) {
    const auto here = at++;
    MemNode& node = here->second;
    const MemVolume& volume = tenant->volumes.at(node.volume);
    const Time before = orphan_horizon(volume, now);
    if (node.attr.nlink == 0 && node.attr.ctime < before &&
        !kept_for_a_conflict(*tenant, here->first, before)) {
      const Ino gone = here->first;
      tenant->nodes.erase(here);
      ++removed;
      std::erase_if(tenant->conflicts,
                    [&](const auto& kept) { return kept.second.conflict.theirs == gone; });
    } else {
      removed += prune_history(node, volume, now, kPruneRows - removed);
    }
  }
  return removed;
}

}  // namespace linkspan::store::mem
