// Retention. Every step is a short transaction of its own, bounded in rows, which waits for nobody:
// what a writer has locked is left for the next time.
//
// The log is the index of what is due. A change that made version n says, when it is new, that the
// versions keep_versions behind n are one too many; and when it is older than keep_days, that those
// before n were replaced so long ago. Each volume remembers up to where its log was looked through.
#include <algorithm>
#include <limits>

#include "linkspan/limits.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_history.h"
#include "routerd/store/pg/statements_tenancy.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
namespace {

constexpr int64_t kDayNs = 86400ll * 1000000000ll;
constexpr int64_t kRows = 1000;    // removed by one call, about
constexpr int64_t kWindow = 2000;  // log entries looked through by one step
// Numbers are drawn before the mutation is done: so far behind the newest, all that will ever be in
// the log is there, but for a change whose COMMIT stayed unanswered while so many others went by.
constexpr int64_t kInFlight = 2 * limits::kRouterQueue;
constexpr int kWindows = 50;         // steps of one call for each volume
constexpr int64_t kOrphans = 200;    // removed by one step
constexpr int64_t kHistories = 50;   // removed by one step
constexpr int64_t kSegments = 5000;  // removed by one sweep of an inode
constexpr int64_t kSweeps = 1000;    // inodes swept by one call

struct PrunedVolume {
  int32_t id;
  int64_t keep_versions, keep_days;
  int64_t trimmed_seq, pruned_seq;
};

class Prune {
 public:
  Prune(Connection& conn, TenantId tenant, Time now)
      : conn_(conn), tenant_(static_cast<int32_t>(tenant.value)), now_(now.ns) {}

  Result<uint64_t> run() {
    conn_.queue(sql::kEpoch, Params().i32(tenant_));
    conn_.queue(sql::kVolumes, Params().i32(tenant_));
    conn_.queue(sql::kLastSeq, Params().i32(tenant_));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn_.sync());
    if (rows[0].empty())
      return fail(Code::not_found, "there is no tenant " + std::to_string(tenant_));
    settled_seq_ = rows[2].i64(0, 0) - kInFlight;
    for (int row = 0; row < rows[1].count() && removed_ < kRows; ++row) {
      const Rows& v = rows[1];
      PrunedVolume volume{v.i32(row, 0), v.i64(row, 7), v.i64(row, 8), v.i64(row, 9),
                          v.i64(row, 10)};
      LINKSPAN_CHECK(prune_volume(volume));
    }
    LINKSPAN_CHECK(repeat([&] { return drop_lost(); }));
    LINKSPAN_TRY(const int64_t swept, sweep());
    return static_cast<uint64_t>(removed_ > 0 ? removed_ : swept);
  }

 private:
  struct Trimmed {
    int64_t removed = 0;
    int64_t window = 0;  // rows
    int64_t last_seq = 0;
    int64_t first_young = 0;  // 0: all of the volume's are old
  };

  int64_t horizon(const PrunedVolume& volume) const { return now_ - volume.keep_days * kDayNs; }
  int64_t left() const { return std::max<int64_t>(kRows - removed_, 1); }

  // BEGIN, the lock that keeps prunes apart; false: another is at work.
  Result<bool> begin() {
    conn_.queue(sql::kBegin);
    conn_.queue(sql::kLazyCommit);
    conn_.queue(sql::kTryLock, Params().i32(kPruneLock).i32(tenant_));
    conn_.queue(sql::kLockShared, Params().i32(kFenceLock).i32(tenant_));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn_.sync());
    return rows[2].boolean(0, 0);
  }
  Status commit() {
    LINKSPAN_CHECK(conn_.run(sql::kCommit));
    return ok();
  }
  // One step: a transaction around `body`, which says whether there is more to do.
  template <class Body>
  Result<bool> step(Body body) {
    LINKSPAN_TRY(const bool alone, begin());
    if (!alone) {
      conn_.rollback();
      return false;
    }
    LINKSPAN_TRY(const bool more, body());
    LINKSPAN_CHECK(commit());
    return more;
  }
  template <class Body>
  Status repeat(Body body) {
    for (int i = 0; i < kWindows && removed_ < kRows; ++i) {
      LINKSPAN_TRY(const bool more, step(body));
      if (!more) break;
    }
    return ok();
  }

  Status prune_volume(PrunedVolume& volume) {
    LINKSPAN_CHECK(repeat([&] { return trim_by_number(volume); }));
    LINKSPAN_CHECK(repeat([&] { return cut_by_age(volume); }));
    return repeat([&] { return drop_orphans(volume); });
  }

  Result<Trimmed> trim(const PrunedVolume& volume, int64_t after, int64_t before,
                       int64_t distance) {
    Params params;
    params.i32(tenant_).i64(after).i64(kWindow).i32(volume.id).i64(before).i64(distance);
    params.i64(left());
    LINKSPAN_TRY(const Rows rows, conn_.run(sql::kTrimVersions, params));
    Trimmed trimmed{rows.i64(0, 0), rows.i64(0, 3), 0, 0};
    if (!rows.null(0, 1)) trimmed.last_seq = rows.i64(0, 1);
    if (!rows.null(0, 2)) trimmed.first_young = rows.i64(0, 2);
    removed_ += trimmed.removed;
    return trimmed;
  }

  Result<bool> trim_by_number(PrunedVolume& volume) {
    const int64_t most = left();
    LINKSPAN_TRY(const Trimmed trimmed,
                 trim(volume, volume.trimmed_seq, std::numeric_limits<int64_t>::max(),
                      std::max<int64_t>(volume.keep_versions, 1)));
    if (trimmed.removed >= most) return true;  // the same window again
    if (trimmed.window == 0) return false;
    const int64_t remembered = std::min(trimmed.last_seq, settled_seq_);
    if (remembered > volume.trimmed_seq)
      LINKSPAN_CHECK(conn_.run(sql::kSetTrimmed, Params().i32(volume.id).i64(remembered)));
    volume.trimmed_seq = trimmed.last_seq;
    return trimmed.window == kWindow;
  }

  Result<bool> cut_by_age(PrunedVolume& volume) {
    const int64_t most = left();
    const int64_t before = horizon(volume);
    LINKSPAN_TRY(const Trimmed trimmed, trim(volume, volume.pruned_seq, before, 1));
    if (trimmed.removed >= most) return true;
    if (trimmed.window == 0) return false;
    const int64_t upto = trimmed.first_young == 0 ? trimmed.last_seq : trimmed.first_young - 1;
    if (upto <= volume.pruned_seq) return false;
    Params params;
    params.i32(tenant_).i64(volume.pruned_seq).i64(kWindow).i32(volume.id).i64(before).i64(upto);
    LINKSPAN_TRY(const Rows cut, conn_.run(sql::kCutLog, params));
    removed_ += cut.i64(0, 0);
    volume.pruned_seq = upto;
    return trimmed.window == kWindow && trimmed.first_young == 0;
  }

  // A node without a name may still be open somewhere: it stays a day at least.
  Result<bool> drop_orphans(const PrunedVolume& volume) {
    const int64_t before = std::min(horizon(volume), now_ - kDayNs);
    Params params;
    params.i32(tenant_).i32(volume.id).i64(before).i64(kOrphans);
    LINKSPAN_TRY(const Rows dropped, conn_.run(sql::kDropOrphans, params));
    removed_ += dropped.i64(0, 0);
    return dropped.i64(0, 0) == kOrphans;
  }

  // Versions of files that are no more. They went with their node: not counted.
  Result<bool> drop_lost() {
    LINKSPAN_TRY(const Rows lost, conn_.run(sql::kDropLost, Params().i32(tenant_).i64(kHistories)));
    return lost.i64(0, 0) == kHistories;
  }

  // The segments that the removed versions and nodes leave. Returns how many of them went. One that
  // takes too long (of very many segments) is left for another time, not the others behind it.
  Result<int64_t> sweep() {
    LINKSPAN_TRY(const Rows inodes, conn_.run(sql::kGarbage, Params().i32(tenant_).i64(kSweeps)));
    int64_t swept = 0;
    for (int row = 0; row < inodes.count() && swept < kSegments; ++row) {
      const auto more = step([&] { return sweep_inode(inodes, row, swept); });
      if (!more.ok() && (more.code() != Code::timed_out || conn_.lost())) return more.error();
      if (!more.ok()) conn_.rollback();
      if (more.ok() && *more) break;
    }
    return swept;
  }

  Result<bool> sweep_inode(const Rows& inodes, int row, int64_t& swept) {
    Params params;
    params.i32(tenant_).i64(inodes.i64(row, 1)).i64(kSegments);
    LINKSPAN_TRY(const Rows gone, conn_.run(sql::kSweep, params));
    const auto count = static_cast<int64_t>(gone.affected());
    swept += count;
    if (count == kSegments) return true;
    Params done;
    done.i32(tenant_).i64(inodes.i64(row, 0)).i64(inodes.i64(row, 1));
    LINKSPAN_CHECK(conn_.run(sql::kForgetGarbage, done));
    return false;
  }

  Connection& conn_;
  const int32_t tenant_;
  const int64_t now_;
  int64_t settled_seq_ = 0;
  int64_t removed_ = 0;
};

}  // namespace

Result<uint64_t> PostgresStore::prune(TenantId tenant, Time now) {
  const std::function<Result<uint64_t>(Connection&)> use = [&](Connection& conn) {
    return Prune(conn, tenant, now).run();
  };
  return with_connection<uint64_t>(pool_, use);
}

}  // namespace linkspan::store::pg
