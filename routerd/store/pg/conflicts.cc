// What refused writers wrote, and the list of it.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/logged_path.h"
#include "routerd/store/pg/commit.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/reply_codec.h"
#include "routerd/store/pg/statements_content.h"
#include "routerd/store/pg/statements_history.h"

namespace linkspan::store::pg {
namespace {

constexpr uint64_t kCopyChunks = 256;  // by one statement: far from its time limit

// LS_CONFLICT
Conflict conflict_at(const Rows& rows, int row) {
  Conflict conflict;
  conflict.number = Seq{rows.u64(row, 0)};
  conflict.what = rows.text(row, 1);
  conflict.volume = rows.text(row, 2);
  conflict.path = rows.text(row, 3);
  conflict.ino = Ino{rows.u64(row, 4)};
  conflict.base_ino = Ino{rows.u64(row, 5)};
  conflict.base = Version{rows.u64(row, 6)};
  conflict.head = Version{rows.u64(row, 7)};
  conflict.theirs = Ino{rows.u64(row, 8)};
  conflict.size = rows.u64(row, 9);
  conflict.principal = rows.text(row, 10);
  conflict.sandbox = rows.text(row, 11);
  conflict.session = SessionId{rows.u64(row, 12)};
  conflict.at = rows.time(row, 13);
  return conflict;
}
constexpr int kVolumeAt = 14, kDirAt = 15, kSettledAt = 16;

// Which segments hold a content.
struct State {
  Ino ino;
  uint64_t dver = 0, floor = 0, size = 0;
};

// One keeping under way.
class Keep {
 public:
  Keep(Transaction& tx, const KeepRequest& request, Conflict* out)
      : tx_(tx), request_(request), out_(out) {}

  Result<Applied> run() {
    const Mutation& m = tx_.mutation();
    const size_t old =
        tx_.ask(sql::kConflictOf, tx_.params().id(m.author.session).id(request_.operation));
    const size_t result =
        tx_.ask(sql::kFindResult, tx_.params().id(m.author.session).id(request_.operation));
    const size_t from = tx_.ask(sql::kNode, tx_.params().id(request_.from));
    const size_t held =
        tx_.ask(sql::kHoldVersion, tx_.params().id(request_.from).id(request_.from_version));
    const size_t volume = tx_.ask(sql::kVolumeName, tx_.params().id(request_.from));
    const size_t dir = tx_.ask(sql::kNode, tx_.params().id(request_.dir));
    const size_t path =
        tx_.ask(sql::kPath, tx_.params().id(request_.dir ? request_.dir : request_.ino));
    LINKSPAN_CHECK(tx_.fetch());
    if (!tx_.answer(old).empty()) {
      *out_ = conflict_at(tx_.answer(old), 0);
      return Applied{};  // nothing was written: nothing is committed
    }
    if (request_.recall) return fail(Code::not_found, "the operation left no conflict");
    LINKSPAN_TRY(from_, look_at(tx_.answer(from)));
    volume_ = tx_.answer(volume).text(0, 0);
    if (!tx_.answer(result).empty()) ruled_out_ = tx_.answer(result).bytes(0, 0);
    const Rows version = tx_.answer(held);
    LINKSPAN_CHECK(find_place(tx_.answer(dir), tx_.answer(path)));
    LINKSPAN_TRY(state_, hold(version));
    return write();
  }

 private:
  Result<NodeRow> look_at(const Rows& rows) const {
    if (rows.empty()) return no_node(request_.from);
    NodeRow node = node_at(rows, 0);
    const Scope& scope = tx_.mutation().scope;
    LINKSPAN_CHECK(check_visible(scope, request_.from, node.volume));
    LINKSPAN_CHECK(check_writable(scope, node));
    LINKSPAN_CHECK(check_has_content(request_.from, node.attr.kind));
    return node;
  }

  // Where the refused write was to go.
  Status find_place(const Rows& dir, const Rows& rows) {
    const Place place = place_of(rows);
    if (!request_.dir) {
      dir_ = place.parent();
      path_ = place.path;
      return path_.empty() ? find_last_place() : ok();
    }
    if (dir.empty()) return no_node(request_.dir);
    const NodeRow node = node_at(dir, 0);
    LINKSPAN_CHECK(check_visible(tx_.mutation().scope, request_.dir, node.volume));
    LINKSPAN_CHECK(check_directory(request_.dir, node.attr.kind));
    dir_ = request_.dir;
    path_ = place.child(request_.name);
    return ok();
  }

  Status find_last_place() {
    const size_t last = tx_.ask(sql::kLastPlace, tx_.params().id(request_.ino));
    LINKSPAN_CHECK(tx_.fetch());
    const Rows rows = tx_.answer(last);
    if (rows.empty()) return ok();
    dir_ = Ino{rows.u64(0, 0)};
    path_ = rows.bytes(0, 1);
    return ok();
  }

  // The content to begin with. Its version's row is locked: prune leaves it, and with it the
  // segments. A head whose row was pruned with the history that another goes on with: the node is.
  Result<State> hold(const Rows& version) {
    if (!version.empty())
      return State{Ino{version.u64(0, 0)}, version.u64(0, 1), version.u64(0, 2), version.u64(0, 3)};
    const Version wanted = request_.from_version ? request_.from_version : from_.attr.version;
    if (wanted == from_.attr.version) {
      const size_t locked = tx_.ask(sql::kLockNode, tx_.params().id(request_.from));
      LINKSPAN_CHECK(tx_.fetch());
      if (tx_.answer(locked).empty()) return no_node(request_.from);
      const NodeRow node = node_at(tx_.answer(locked), 0);
      if (node.attr.version == wanted)
        return State{node.attr.ino, node.dver, node.floor, node.attr.size};
    }
    return fail(Code::not_found, "node " + std::to_string(request_.from.value) +
                                     " has no version " + std::to_string(wanted.value));
  }

  uint64_t kept() const { return std::min(request_.keep_below, state_.size); }

  Conflict describe() const {
    const Mutation& m = tx_.mutation();
    Conflict conflict;
    conflict.number = m.seq;
    conflict.what = request_.what;
    conflict.volume = volume_;
    conflict.path = logged_path(path_);
    conflict.ino = request_.ino;
    conflict.base_ino = request_.base_ino;
    conflict.base = request_.base;
    conflict.head = request_.head;
    conflict.theirs = m.new_ino;
    conflict.size = std::max(kept(), request_.size);
    conflict.principal = m.author.principal;
    conflict.sandbox = m.author.sandbox;
    conflict.session = m.author.session;
    conflict.at = m.now;
    return conflict;
  }

  void list(const Conflict& c) {
    Params p = tx_.params();  // which keeps views
    p.i32(static_cast<int32_t>(from_.volume.value)).id(c.number).id(c.ino).id(dir_);
    p.id(c.base_ino).id(c.base).id(c.head).id(c.theirs).u64(c.size);
    p.id(c.session).id(request_.operation).time(c.at);
    p.bytes(c.what).bytes(c.principal).bytes(c.sandbox).bytes(c.path);
    tx_.write(sql::kAddConflict, p);
  }

  NodeRow nameless() const {
    const Mutation& m = tx_.mutation();
    NodeRow node;
    node.volume = from_.volume;
    node.attr.ino = m.new_ino;
    node.attr.kind = Kind::file;
    node.attr.mode = from_.attr.mode;
    node.attr.uid = from_.attr.uid;
    node.attr.gid = from_.attr.gid;
    node.attr.nlink = 0;
    node.attr.atime = node.attr.btime = m.now;
    node.modify(m);
    node.attr.size = state_.size;
    node.history = m.seq.value;
    node.dver = state_.dver;
    node.floor = state_.floor;
    return node;
  }

  // The state's segments below what is kept, under the new number. The server copies them.
  Status copy(NodeRow& node) {
    const uint64_t chunks = (kept() + limits::kChunkBytes - 1) / limits::kChunkBytes;
    for (uint64_t first = 0; first < chunks; first += kCopyChunks) {
      const uint64_t end = std::min(first + kCopyChunks, chunks);
      Params p = tx_.params();
      p.id(state_.ino).i32(static_cast<int32_t>(first)).i32(static_cast<int32_t>(end));
      p.u64(state_.floor).u64(state_.dver).id(node.attr.ino);
      tx_.write(sql::kCopySegments, p);
      LINKSPAN_CHECK(tx_.fetch());
    }
    Params p = tx_.params();
    p.id(node.attr.ino).i32(0).i32(static_cast<int32_t>(chunks));
    const size_t filled = tx_.ask(sql::kRangeFilled, p.u64(node.floor).u64(node.dver));
    LINKSPAN_CHECK(tx_.fetch());
    node.attr.allocated = tx_.answer(filled).u64(0, 0);
    return ok();
  }

  Status lay(NodeRow& node) {
    CommitRequest commit;
    commit.ino = node.attr.ino;
    commit.keep_below = request_.keep_below;
    commit.size = request_.size;
    commit.extents = request_.extents;
    return write_over(tx_, node, commit);
  }

  Result<Applied> write() {
    const Conflict conflict = describe();
    list(conflict);  // first: of two that keep the same, the later one waits here
    NodeRow node = nameless();
    tx_.write(sql::kAddNode, add_node(tx_.tenant(), node));
    LINKSPAN_CHECK(copy(node));
    LINKSPAN_CHECK(lay(node));
    make_version(tx_, node, "conflict");
    tx_.save(node);
    tx_.lose_name(node);
    NodeRow meant;
    meant.volume = from_.volume;
    meant.attr.ino = request_.ino;
    meant.attr.size = conflict.size;
    tx_.log({"conflict", &meant, dir_, {}, path_, {}});
    heed_recall();
    *out_ = conflict;
    return tx_.finish(node.volume, {});
  }

  // It leaves no result, for a retry finds the conflict. But what Store::recall has ruled out since
  // this was begun must not come about, and what it ruled out before stays so: sql::kRuleOut.
  void heed_recall() {
    const auto put = [this](const Statement& statement) {
      Params p = tx_.params();
      p.id(tx_.mutation().author.session).id(request_.operation).bytes(ruled_out_);
      tx_.write(statement, p);
    };
    if (!ruled_out_.empty()) put(sql::kTryAnew);
    put(sql::kAddResult);
    if (ruled_out_.empty()) put(sql::kTryAnew);
  }

  Transaction& tx_;
  const KeepRequest& request_;
  Conflict* out_;
  std::string ruled_out_;  // what stands where the operation's result would, if anything does
  NodeRow from_;
  State state_;
  std::string volume_, path_;
  Ino dir_;
};

Result<Applied> settle_in(Transaction& tx, const SettleRequest& request) {
  const Mutation& m = tx.mutation();
  const size_t locked = tx.ask(sql::kLockConflict, tx.params().id(request.number));
  LINKSPAN_CHECK(tx.fetch());
  const Rows row = tx.answer(locked);
  if (row.empty() || row.boolean(0, kSettledAt)) return no_conflict(request.number);
  const Conflict conflict = conflict_at(row, 0);
  NodeRow node;
  node.volume = VolumeId{static_cast<uint64_t>(row.i32(0, kVolumeAt))};
  if (!visible(m.scope, node.volume)) return no_conflict(request.number);
  node.attr.ino = conflict.theirs;
  LINKSPAN_CHECK(check_writable(m.scope, node));
  node.attr.ino = conflict.ino;
  node.attr.size = conflict.size;
  tx.write(sql::kSettleConflict, tx.params().id(request.number).i64(m.now.ns));
  tx.log({"resolve", &node, Ino{row.u64(0, kDirAt)}, {}, conflict.path, {}});
  return tx.finish(node.volume, {});
}

}  // namespace

Result<std::string> PostgresStore::path_of(const Scope& scope, Ino ino) {
  const std::function<Result<std::string>(Connection&)> use =
      [&](Connection& conn) -> Result<std::string> {
    const auto params = [&] {
      return std::move(Params().i32(static_cast<int32_t>(scope.tenant.value)).id(ino));
    };
    conn.queue(sql::kNode, params());
    conn.queue(sql::kPath, params());
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty()) return no_node(ino);
    LINKSPAN_CHECK(check_visible(scope, ino, node_at(rows[0], 0).volume));
    return place_of(rows[1]).path;
  };
  return with_connection<std::string>(pool_, use);
}

Result<std::vector<std::string>> PostgresStore::paths_of(const Scope& scope, Ino ino,
                                                         uint32_t limit) {
  const std::function<Result<std::vector<std::string>>(Connection&)> use =
      [&](Connection& conn) -> Result<std::vector<std::string>> {
    const auto params = [&] {
      return std::move(Params().i32(static_cast<int32_t>(scope.tenant.value)).id(ino));
    };
    conn.queue(sql::kNode, params());
    conn.queue(sql::kPaths, params().i32(static_cast<int32_t>(limit)));
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty()) return no_node(ino);
    LINKSPAN_CHECK(check_visible(scope, ino, node_at(rows[0], 0).volume));
    std::vector<std::string> paths;
    for (int row = 0; row < rows[1].count(); ++row) {
      const std::string name = rows[1].text(row, 1);
      if (row == 0 || rows[1].i64(row, 0) != rows[1].i64(row - 1, 0))
        paths.push_back(name);
      else
        paths.back() = name + "/" + paths.back();
    }
    return paths;
  };
  return with_connection<std::vector<std::string>>(pool_, use);
}

Result<ConflictsReply> PostgresStore::conflicts(const Scope& scope,
                                                const ConflictsRequest& request) {
  LINKSPAN_CHECK(check(request));
  std::vector<int64_t> volumes;
  for (const auto* list : {&scope.readable, &scope.writable})
    for (const VolumeId id : *list) volumes.push_back(to_sql(id.value));
  const std::function<Result<ConflictsReply>(Connection&)> use =
      [&](Connection& conn) -> Result<ConflictsReply> {
    Params params;
    params.i32(static_cast<int32_t>(scope.tenant.value)).i64_array(volumes).id(request.after);
    LINKSPAN_TRY(const Rows rows, conn.run(sql::kConflicts, params.i64(request.limit)));
    ConflictsReply reply;
    for (int row = 0; row < rows.count(); ++row) reply.conflicts.push_back(conflict_at(rows, row));
    return reply;
  };
  return with_connection<ConflictsReply>(pool_, use);
}

Result<Conflict> PostgresStore::keep(const Mutation& m, const KeepRequest& request) {
  LINKSPAN_CHECK(check(request));
  Conflict conflict;
  LINKSPAN_CHECK(run_mutation(pool_, m, OpHeader{}, [&](Transaction& tx) {
    if (request.extents) request.extents->rewind();
    return Keep(tx, request, &conflict).run();
  }));
  return conflict;
}

Result<Applied> PostgresStore::settle(const Mutation& m, const SettleRequest& request) {
  LINKSPAN_CHECK(check(request));
  return run_mutation(pool_, m, request.op,
                      [&](Transaction& tx) { return settle_in(tx, request); });
}

}  // namespace linkspan::store::pg
