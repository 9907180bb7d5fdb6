// Locks: whose they may be, and what waits for the sessions of an earlier router.
#include <algorithm>
#include <utility>

#include "routerd/core/router_core.h"

namespace linkspan::core {

// Who may only read must not hold up those who may write: on a read-only route locks are a matter
// of its own machine.
Status RouterCore::may_lock(const Call& call, Ino ino) {
  LINKSPAN_TRY(const VolumeId volume, volume_of(call, ino));
  const auto& writable = call.grant->scope.writable;
  if (std::find(writable.begin(), writable.end(), volume) != writable.end()) {
    LINKSPAN_TRY(auto guard, guard_of(call, ino));
    return guard ? guard->may_lock(ino) : ok();
  }
  return fail(Code::read_only, "the token may not write here, so it may not lock either");
}

void RouterCore::lock_now(const Call& call, const SetLockRequest& request, LockDone done) {
  Tenant& tenant = *call.tenant;
  if (tenant.fenced) return done(fail(Code::unavailable, "another router serves this tenant now"));
  // Also when it is granted later on. Who holds it here without knowing asks again.
  const auto checked = [this, tenant = call.tenant, done = std::move(done)](auto reply) {
    if (owns(*tenant)) return done(std::move(reply));
    done(fail(Code::unavailable, "the router has lost its database, or the tenant to another one"));
  };
  LockAnswers answers;
  tenant.locks.set(call.session->id(), request, checked, &answers);
}

void RouterCore::set_lock(const Credentials& who, const SetLockRequest& request, LockDone done) {
  const auto entered = enter(who);
  if (!entered.ok()) return done(entered.error());
  if (request.lock.type == LockType::none) return lock_now(*entered, request, std::move(done));
  if (const Status may = may_lock(*entered, request.lock.ino); !may.ok()) return done(may.error());
  Hold& hold = entered->tenant->lock_hold;
  if (!hold.active()) return lock_now(*entered, request, std::move(done));
  const auto later = std::make_shared<LockDone>(std::move(done));
  Hold::Task task = [this, call = *entered, request, later] {
    if (gate_.closed()) return (*later)(fail(Code::unavailable, "the router is stopping"));
    lock_now(call, request, std::move(*later));
  };
  switch (hold.defer(task)) {
    case Hold::Answer::held:
      return;
    case Hold::Answer::run:
      return lock_now(*entered, request, std::move(*later));
    case Hold::Answer::full:
      return (*later)(fail(Code::busy, "the router has just taken the tenant over"));
  }
}

Result<TestLockReply> RouterCore::test_lock(const Credentials& who,
                                            const TestLockRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LINKSPAN_CHECK(may_lock(call, request.lock.ino));
  if (call.tenant->lock_hold.active())  // what is held is not known yet
    return fail(Code::busy, "the router has just taken the tenant over");
  if (call.tenant->fenced || !owns(*call.tenant))
    return fail(Code::unavailable, "another router serves this tenant now");
  return call.tenant->locks.test(call.session->id(), request.lock);
}

Result<CancelLockReply> RouterCore::cancel_lock(const Credentials& who,
                                                const CancelLockRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  LockAnswers answers;
  return call.tenant->locks.cancel(call.session->id(), request, &answers);
}

Result<ReclaimLocksReply> RouterCore::reclaim_locks(const Credentials& who,
                                                    const ReclaimLocksRequest& request) {
  LINKSPAN_TRY(const Call call, enter(who));
  Tenant& tenant = *call.tenant;
  if (tenant.fenced || !owns(tenant))
    return fail(Code::unavailable, "another router may serve this tenant now");
  const bool anew = tenant.lock_hold.awaits(call.session->id());
  ReclaimLocksReply reply;
  {
    ReclaimLocksRequest allowed;  // what the token still lets it write to
    std::vector<uint32_t> places;
    for (uint32_t i = 0; i < request.locks.size(); ++i) {
      const Status may = may_lock(call, request.locks[i].ino);
      if (!may.ok() && may.code() != Code::read_only && may.code() != Code::access_denied &&
          may.code() != Code::stale_node)
        return may.error();  // the store is away: the mount asks again
      if (may.ok()) {
        allowed.locks.push_back(request.locks[i]);
        places.push_back(i);
      } else {
        reply.lost.push_back(i);
      }
    }
    LockAnswers answers;
    const auto told = tenant.locks.reclaim(call.session->id(), allowed, anew, &answers);
    for (const uint32_t index : told.lost) reply.lost.push_back(places[index]);
    std::sort(reply.lost.begin(), reply.lost.end());
  }
  background_->post_all(tenant.lock_hold.heard_of(call.session->id()));
  return reply;
}

void RouterCore::end_waits() {
  end_outcome_waits();
  for (const TenantPtr& tenant : all_tenants()) {
    LockAnswers answers;
    tenant->locks.stop(&answers);
    background_->post_all(tenant->lock_hold.release());
  }
}

}  // namespace linkspan::core
