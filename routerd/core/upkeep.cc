// What is done for a tenant every now and then, for nobody in particular: retention, and whether it
// and its tokens are still what they were when they were read.
#include <algorithm>
#include <utility>

#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kPrunePeriod = 60s;
constexpr int kOwnerChecks = 4;  // in one lease
constexpr std::chrono::hours kClockSlack{1};

}  // namespace

// All in one call, on a thread of its own: no tenant's lease ends because another's store is slow.
void RouterCore::look_after_ownership(Boot now) {
  if (ownership_checks_.begin(now, options_.lease / kOwnerChecks))
    ownership_->post([this] {
      check_owners(all_tenants());
      ownership_checks_.under_way = false;
    });
}

void RouterCore::look_after(const TenantPtr& tenant, Boot now) {
  if (tenant->retention.begin(now, kPrunePeriod))
    retention_->post([this, tenant] { prune(tenant); });
}

// A wall clock that jumps ahead would make all that is kept old at once.
Time RouterCore::sure_time() const {
  const auto up = std::chrono::nanoseconds(clock_.boot() - started_boot_ + kClockSlack);
  return std::min(clock_.now(), Time{started_.ns + up.count()});
}

// A failure is met again in a minute; the store says that it is away to those who wait for it.
void RouterCore::prune(const TenantPtr& tenant) {
  if (!gate_.closed() && !tenant->fenced) {
    const auto removed = store_->prune(tenant->id, sure_time());
    // Behind the other tenants, which so get their turn.
    if (removed.ok() && *removed > 0) return retention_->post([this, tenant] { prune(tenant); });
  }
  tenant->retention.under_way = false;
}

// A router that was replaced would find out at its next mutation only. Until it is sure again it
// grants no lease that reaches further; see Tenant::owned_until.
void RouterCore::check_owners(std::vector<TenantPtr> tenants) {
  std::erase_if(tenants, [](const TenantPtr& tenant) { return tenant->fenced.load(); });
  if (gate_.closed() || tenants.empty()) return;
  const Boot begun = clock_.boot();
  std::vector<store::Ownership> owned;
  for (const TenantPtr& tenant : tenants) {
    const auto earlier = begun < tenant->earlier_until ? tenant->earlier_lease : options_.lease;
    owned.push_back({tenant->id, tenant->epoch, std::max(earlier, options_.lease)});
  }
  const auto answers = store_->beat(owned);
  for (size_t i = 0; answers.ok() && i < tenants.size(); ++i) {
    const Status& owner = (*answers)[i];
    if (owner.ok()) tenants[i]->owned_until(begun + options_.lease);
    if (!owner.ok() && owner.code() == Code::fenced) fence(tenants[i]);
  }
}

void RouterCore::check_owner_if_due(const TenantPtr& tenant) {
  if (tenant->owned_until() - clock_.boot() < options_.lease / 2) check_owners({tenant});
}

}  // namespace linkspan::core
