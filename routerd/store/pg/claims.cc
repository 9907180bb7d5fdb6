#include "routerd/store/pg/claims.h"

#include <map>

#include "routerd/store/pg/statements_tenancy.h"

namespace linkspan::store::pg {
namespace {

std::vector<int64_t> numbers(const std::vector<Ownership>& owned) {
  std::vector<int64_t> out;
  for (const Ownership& own : owned) out.push_back(to_sql(own.tenant.value));
  return out;
}

}  // namespace

Status Claims::connect() {
  if (conn_ && conn_->idle_and_alive()) return ok();
  held_.clear();  // they went with it
  Failure why;
  LINKSPAN_TRY(conn_, Connection::open(conninfo_, limits_, &why));
  return ok();
}

void Claims::give_up(TenantId tenant) {
  if (held_.erase(tenant) == 0) return;
  const auto id = static_cast<int32_t>(tenant.value);
  (void)conn_->run(sql::kGiveUpClaim, Params().i32(kClaimLock).i32(id)).ok();
}

Result<std::vector<Status>> Claims::check(const std::vector<Ownership>& owned) {
  LINKSPAN_TRY(const Rows rows, conn_->run(sql::kOwners, Params().i64_array(numbers(owned))));
  std::map<uint64_t, int> row_of;
  for (int row = 0; row < rows.count(); ++row)
    row_of[static_cast<uint64_t>(rows.i32(row, 0))] = row;
  std::vector<Status> answers;
  for (const Ownership& own : owned) {
    const auto at = row_of.find(own.tenant.value);
    if (at == row_of.end()) {
      const std::string number = std::to_string(own.tenant.value);
      answers.emplace_back(fail(Code::not_found, "there is no tenant " + number));
    } else if (rows.u64(at->second, 1) == own.epoch.value) {
      answers.push_back(ok());
    } else {
      answers.emplace_back(fail(Code::fenced, "tenant '" + rows.text(at->second, 2) +
                                                  "' is owned by another router now"));
      give_up(own.tenant);
    }
  }
  return answers;
}

// A claim that an earlier owner still holds only makes us look absent.
void Claims::claim(const std::vector<Ownership>& mine) {
  std::vector<Ownership> missing;
  for (const Ownership& own : mine)
    if (held_.count(own.tenant) == 0) missing.push_back(own);
  if (missing.empty()) return;
  const auto rows = conn_->run(sql::kClaim, Params().i32(kClaimLock).i64_array(numbers(missing)));
  for (int row = 0; rows.ok() && row < rows->count(); ++row)
    if (rows->boolean(row, 1)) held_.insert(TenantId{rows->u64(row, 0)});
}

// As little a beat that cannot be written (a full disk).
void Claims::say(const std::vector<Ownership>& mine) {
  std::vector<int64_t> epochs, leases;
  for (const Ownership& own : mine) {
    epochs.push_back(to_sql(own.epoch.value));
    leases.push_back(own.lease.count());
  }
  Params params;
  params.i64_array(numbers(mine)).i64_array(epochs).i64_array(leases);
  conn_->queue(sql::kBegin);
  conn_->queue(sql::kLazyCommit);
  conn_->queue(sql::kBeat, params);
  conn_->queue(sql::kCommit);
  if (!conn_->sync().ok()) conn_->rollback();
}

// Whether they are ours is what the caller rests on, and that was answered.
Result<std::vector<Status>> Claims::beat(const std::vector<Ownership>& owned) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_CHECK(connect());
  auto answers = check(owned);
  std::vector<Ownership> mine;
  for (size_t i = 0; answers.ok() && i < owned.size(); ++i)
    if ((*answers)[i].ok()) mine.push_back(owned[i]);
  if (!mine.empty()) {
    claim(mine);
    say(mine);
  }
  if (conn_->lost() || !conn_->at_rest()) conn_.reset();
  if (conn_) conn_->forget_failure();
  return answers;
}

}  // namespace linkspan::store::pg
