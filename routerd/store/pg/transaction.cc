#include "routerd/store/pg/transaction.h"

#include <cassert>
#include <cstring>

#include "routerd/store/logged_path.h"
#include "routerd/store/pg/reply_codec.h"
#include "routerd/store/pg/statements_history.h"

namespace linkspan::store::pg {
namespace {

// Results that were answered are forgotten once in so many operations of a session.
constexpr uint64_t kForgetEvery = 64;

}  // namespace

Place place_of(const Rows& path) {
  Place place;
  for (int row = 0; row < path.count(); ++row) {
    place.above.push_back(Ino{path.u64(row, 0)});
    const std::string_view name = path.bytes(row, 1);
    place.path = place.path.empty() ? std::string(name) : std::string(name) + "/" + place.path;
  }
  return place;
}

Transaction::Transaction(Connection& conn, const Mutation& m, const OpHeader& op, bool ask_result)
    : conn_(conn), m_(m), op_(op), ask_result_(ask_result && op.number) {
  conn_.queue(sql::kBegin);
  conn_.queue(sql::kLockShared, Params().i32(kFenceLock).i32(static_cast<int32_t>(tenant().value)));
  conn_.queue(sql::kEpoch, params());
  if (ask_result_) conn_.queue(sql::kFindResult, params().id(m_.author.session).id(op_.number));
}

size_t Transaction::ask(const Statement& statement, const Params& params) {
  conn_.queue(statement, params);
  return queued_++;
}

void Transaction::write(const Statement& statement, const Params& params) {
  conn_.queue(statement, params);
  ++queued_;
}

Status Transaction::check_fence(const Rows& epoch) const {
  if (epoch.empty())
    return fail(Code::stale_node, "there is no tenant " + std::to_string(tenant().value));
  if (epoch.u64(0, 0) == m_.epoch.value) return ok();
  return fail(Code::fenced, "tenant '" + epoch.text(0, 1) + "' is owned by another router now");
}

Status Transaction::take_result(const Rows& result) {
  if (result.empty()) return ok();
  if (is_ruled_out(result.bytes(0, 0))) {
    ruled_out_ = result.bytes(0, 0);
    return ok();
  }
  LINKSPAN_TRY(MutationReply stored, decode_reply(result.bytes(0, 0)));
  replay_ = Applied{std::move(stored), {}, true};
  return ok();
}

Status Transaction::fetch() {
  queued_ = 0;
  LINKSPAN_TRY(answers_, conn_.flush());
  if (owner_) return ok();
  const ptrdiff_t own = ask_result_ ? 4 : 3;
  LINKSPAN_CHECK(check_fence(answers_[2]));
  owner_ = true;
  if (ask_result_) LINKSPAN_CHECK(take_result(answers_[3]));
  answers_.erase(answers_.begin(), answers_.begin() + own);
  if (replay_) return fail(Code::exists, "applied before");
  return ok();
}

Status Transaction::check_refusal() {
  if (!owner_ || replay_ || !op_.number) return ok();
  LINKSPAN_TRY(const Rows found,
               conn_.run(sql::kFindResult, params().id(m_.author.session).id(op_.number)));
  return take_result(found);
}

void Transaction::add_version(const NodeRow& node, const char* what) {
  const Author& author = m_.author;
  write(sql::kAddVersion, params()
                              .u64(node.history)
                              .id(node.attr.version)
                              .id(node.attr.ino)
                              .u64(node.dver)
                              .u64(node.floor)
                              .u64(node.attr.size)
                              .id(author.session)
                              .time(m_.now)
                              .bytes(what)
                              .bytes(author.principal)
                              .bytes(author.sandbox));
}

void Transaction::own_history(NodeRow& node) {
  if (node.owns_history) return;
  write(sql::kForkHistory, params().u64(node.history).id(m_.seq).id(node.attr.version));
  node.history = m_.seq.value;
  node.owns_history = true;
}

void Transaction::lose_name(const NodeRow& node, bool shares_history) {
  Params p = params();
  p.id(node.attr.ino).i32(static_cast<int32_t>(node.volume.value)).time(m_.now);
  shares_history ? p.u64(node.history).id(m_.author.session) : p.null().null();
  write(sql::kAddOrphan, p);
}

void Transaction::count_before(const NodeRow& node) {
  usage_.bytes -= node.live_bytes();
  usage_.files -= node.live_files();
}

void Transaction::count_after(const NodeRow& node) {
  usage_.bytes += node.live_bytes();
  usage_.files += node.live_files();
}

void Transaction::log(const ChangeRecord& change) {
  const NodeRow& node = *change.node;
  const std::string path = logged_path(change.path), old_path = logged_path(change.old_path);
  Params p = params();  // which keeps views
  p.i32(static_cast<int32_t>(node.volume.value)).id(m_.seq);
  p.id(node.attr.ino).id(node.attr.version);
  change.made_version ? p.u64(node.history) : p.null();
  p.id(change.dir);
  change.old_dir&& change.old_dir != change.dir ? p.id(change.old_dir) : p.null();
  p.id(m_.author.session).time(m_.now).u64(node.attr.size).i64(usage_.bytes).i64(usage_.files);
  p.bytes(change.what).bytes(m_.author.principal).bytes(m_.author.sandbox).bytes(path);
  change.old_path.empty() ? p.null() : p.bytes(old_path);
  change.fork != 0 ? p.u64(change.fork).id(change.fork_version) : p.null().null();
  write(sql::kAddChange, p);
  logged_ = true;
}

Applied Transaction::finish(VolumeId volume, std::initializer_list<const NodeRow*> nodes) {
  usage_.volume = volume;
  reply.seq = m_.seq;
  for (const NodeRow* node : nodes) reply.nodes.push_back(node->to_node());
  return Applied{std::move(reply), usage_, false};
}

Status Transaction::commit(const Applied& applied) {
  if (!logged_ && !op_.number && queued_ == 0) return ok();  // the rollback follows
  std::string stored;
  if (op_.number) {
    stored = encode_reply(applied.reply);
    if (!ruled_out_.empty())
      write(sql::kTryAnew, params().id(m_.author.session).id(op_.number).bytes(ruled_out_));
    write(sql::kAddResult, params().id(m_.author.session).id(op_.number).bytes(stored));
    if (op_.number.value % kForgetEvery == 0 && op_.answered_below.value > 1)
      write(sql::kForgetResults, params().id(m_.author.session).id(op_.answered_below));
  }
  conn_.commit_follows();
  conn_.queue(sql::kCommit);
  LINKSPAN_TRY(const std::vector<Rows> rows, conn_.sync());
  if (std::strcmp(rows.back().tag(), "COMMIT") == 0) return ok();
  return fail(Code::internal, "PostgreSQL answered COMMIT with " + std::string(rows.back().tag()));
}

namespace {

// `unanswered`: the usage of an attempt whose COMMIT was not answered.
Result<Applied> attempt(Transaction& tx, const Operation& operation,
                        std::optional<UsageDelta>* unanswered) {
  Result<Applied> applied = operation(tx);
  if (applied.ok()) {
    const Status committed = tx.commit(*applied);
    if (committed.ok()) return applied;
    if (tx.connection().failure().lost) *unanswered = applied->usage;
    return committed.error();
  }
  // What was queued after the refusal is taken back with the rest.
  if (!tx.connection().failure().happened && !tx.again()) LINKSPAN_CHECK(tx.check_refusal());
  if (auto replay = tx.replay()) {
    // Applied by an earlier attempt of this very call: nobody has counted what it used.
    if (*unanswered) replay->usage = **unanswered;
    return std::move(*replay);
  }
  return applied;
}

// To `busy` a caller would say that nothing happened.
Error outcome_unknown(const Error& last) {
  return fail(Code::unavailable,
              "an earlier attempt may have been committed; the last one: " + last.message);
}

}  // namespace

Result<Applied> run_mutation(Pool& pool, const Mutation& m, const OpHeader& op,
                             const Operation& operation) {
  Attempts attempts(pool.limits());
  bool ask_result = op.retry;
  std::optional<UsageDelta> unanswered;
  for (;;) {
    Failure why;
    Error error;
    bool again = false, decided = false;
    {
      auto lease = pool.checkout(&why);
      if (lease.ok()) {
        Connection& conn = **lease;
        Transaction tx(conn, m, op, ask_result);
        Result<Applied> applied = attempt(tx, operation, &unanswered);
        why = conn.failure();
        decided = tx.refused();
        conn.rollback();
        if (applied.ok()) return applied;
        error = applied.error();
        decided = decided || error.code == Code::fenced;
        again = tx.again() && !why.lost;
      } else {
        error = lease.error();
      }
    }
    const Verdict verdict = again ? Verdict::retry : judge(why);
    if (verdict == Verdict::give_up || !attempts.again()) {
      if (!unanswered || decided) return error;
      if (m.unanswered) *m.unanswered = true;
      return outcome_unknown(error);
    }
    if (verdict == Verdict::find_result) ask_result = true;
  }
}

}  // namespace linkspan::store::pg
