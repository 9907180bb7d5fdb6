// What became of an operation whose call ended without saying so.
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/reply_codec.h"
#include "routerd/store/pg/tenancy_parts.h"

namespace linkspan::store::pg {
namespace {

Params operation(const Mutation& m, OpNumber number) {
  Params params;
  params.i32(static_cast<int32_t>(m.scope.tenant.value)).id(m.author.session).id(number);
  return params;
}

}  // namespace

Result<bool> PostgresStore::is_applied(const Mutation& m, OpNumber number) {
  LINKSPAN_TRY(const Rows found,
               query(pool_, sql::kFindResult, [&] { return operation(m, number); }));
  return !found.empty() && !is_ruled_out(found.bytes(0, 0));
}

// A transaction whose COMMIT was sent can be anywhere: its server process stopped with all of it
// still to be read, or about to commit. It ends with the row of the result. So that row is made
// here: who comes later cannot make it again, and is undone; who has made it, and not committed
// yet, is waited for, not long: others want to know, too.
Result<std::optional<MutationReply>> PostgresStore::recall(const Mutation& m, OpNumber number) {
  const std::string out = ruled_out(m.seq);
  using Found = std::optional<MutationReply>;
  return transact<Found>(pool_, [&](Connection& conn) -> Result<Found> {
    const auto tenant = static_cast<int32_t>(m.scope.tenant.value);
    conn.queue(sql::kLockBriefly);
    conn.queue(sql::kLockShared, Params().i32(kFenceLock).i32(tenant));
    conn.queue(sql::kEpoch, Params().i32(tenant));
    LINKSPAN_TRY(const std::vector<Rows> owner, conn.flush());
    LINKSPAN_CHECK(check_epoch(owner.back(), m.scope.tenant, m.epoch));
    conn.queue(sql::kRuleOut, operation(m, number).bytes(out));
    conn.queue(sql::kFindResult, operation(m, number));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.flush());
    if (rows.back().empty()) return fail(Code::busy, "the operation is being tried anew");
    if (is_ruled_out(rows.back().bytes(0, 0))) return Found();
    LINKSPAN_TRY(MutationReply reply, decode_reply(rows.back().bytes(0, 0)));
    return Found(std::move(reply));
  });
}

}  // namespace linkspan::store::pg
