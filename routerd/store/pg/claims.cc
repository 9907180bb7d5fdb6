#include "routerd/store/pg/claims.h"

#include "routerd/store/pg/statements.h"

namespace linkspan::store::pg {
namespace {

Params of(int32_t lock, TenantId tenant) {
  return std::move(Params().i32(lock).i32(static_cast<int32_t>(tenant.value)));
}

}  // namespace

Status Claims::connect() {
  if (conn_ && conn_->idle_and_alive()) return ok();
  held_.clear();  // they went with it
  Failure why;
  LINKSPAN_TRY(conn_, Connection::open(conninfo_, limits_, &why));
  return ok();
}

Status Claims::check(TenantId tenant, Epoch epoch) {
  const auto id = static_cast<int32_t>(tenant.value);
  LINKSPAN_TRY(const Rows rows, conn_->run(sql::kEpoch, Params().i32(id)));
  if (rows.empty()) return fail(Code::not_found, "there is no tenant " + std::to_string(id));
  if (rows.u64(0, 0) == epoch.value) return ok();
  if (held_.erase(tenant) != 0) (void)conn_->run(sql::kGiveUpClaim, of(kClaimLock, tenant)).ok();
  return fail(Code::fenced, "tenant '" + rows.text(0, 1) + "' is owned by another router now");
}

// Whether it is ours is what the caller rests on, and that was answered. A claim that an earlier
// owner still holds, and a beat that cannot be written (a full disk), only make us look absent.
Status Claims::beat(TenantId tenant, Epoch epoch) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_CHECK(connect());
  const Status owner = check(tenant, epoch);
  if (owner.ok()) {
    if (held_.count(tenant) == 0) {
      const auto claimed = conn_->run(sql::kClaim, of(kClaimLock, tenant));
      if (claimed.ok() && claimed->boolean(0, 0)) held_.insert(tenant);
    }
    conn_->queue(sql::kBegin);
    conn_->queue(sql::kLazyCommit);
    conn_->queue(sql::kBeat, Params().i32(static_cast<int32_t>(tenant.value)).id(epoch));
    conn_->queue(sql::kCommit);
    if (!conn_->sync().ok()) conn_->rollback();
  }
  if (conn_->lost() || !conn_->at_rest()) conn_.reset();
  if (conn_) conn_->forget_failure();
  return owner;
}

}  // namespace linkspan::store::pg
