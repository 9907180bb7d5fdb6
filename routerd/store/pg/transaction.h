// One mutation: one transaction, in as few round trips as it can be. First what it must know is
// asked for and locked in one go, then the operation decides in C++, then all its writes and the
// COMMIT go out together.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "routerd/store/pg/node_row.h"
#include "routerd/store/pg/pool.h"
#include "routerd/store/store.h"

namespace linkspan::store::pg {

// Where a node or a name is.
struct Place {
  std::string path;        // within the volume; empty: a root, or a node without a name
  std::vector<Ino> above;  // the directories above, the nearest first
  Ino parent() const { return above.empty() ? Ino{} : above.front(); }
  std::string child(const std::string& name) const {
    return path.empty() ? name : path + "/" + name;
  }
};
Place place_of(const Rows& path);  // of sql::kPath

// What the log says about a mutation.
struct ChangeRecord {
  const char* what = "";
  const NodeRow* node = nullptr;
  Ino dir, old_dir;  // 0: none
  std::string path, old_path;
  bool made_version = false;
  uint64_t fork = 0;     // key of the history's copy that a replaced node took; 0: none
  Version fork_version;  // its last version then
};

// Threads: one. Belongs to one attempt.
class Transaction {
 public:
  // `ask_result`: was this operation applied before?
  Transaction(Connection& conn, const Mutation& m, const OpHeader& op, bool ask_result);

  // Queues a question; the number of its answer after the next fetch().
  size_t ask(const Statement& statement, const Params& params);
  Status fetch();
  const Rows& answer(size_t number) const { return answers_[number]; }
  // Queues a write. It is sent with the next fetch() or with the COMMIT.
  void write(const Statement& statement, const Params& params);

  // Writes that several operations share. They add to the usage and the reply where they must.
  void save(const NodeRow& node) { write(sql::kSetNode, set_node(tenant(), node)); }
  void add_version(const NodeRow& node, const char* what);
  // Before a node gets a version: if its history is another's by now, it takes a copy of its own.
  void own_history(NodeRow& node);
  // nlink is 0 now. `shares_history`: another node goes on with its history.
  void lose_name(const NodeRow& node, bool shares_history = false);
  void log(const ChangeRecord& change);
  void count_before(const NodeRow& node);
  void count_after(const NodeRow& node);

  // Begin of every statement's parameters.
  Params params() const { return std::move(Params().i32(static_cast<int32_t>(tenant().value))); }
  TenantId tenant() const { return m_.scope.tenant; }
  const Mutation& mutation() const { return m_; }
  Connection& connection() { return conn_; }

  // The operation lost a race that a new attempt wins.
  Error run_again() {
    again_ = true;
    return fail(Code::busy, "the names change faster than they can be locked");
  }
  bool again() const { return again_; }

  Applied finish(VolumeId volume, std::initializer_list<const NodeRow*> nodes);
  MutationReply reply;

  // For run_mutation().
  Status commit(const Applied& applied);
  std::optional<Applied> replay() const { return replay_; }
  // After a domain error, before it is answered: the epoch and a stored result come first.
  Status check_refusal();
  // By the operation, or by the database at COMMIT; and no earlier attempt was applied.
  bool refused() const { return owner_ && !again_ && !replay_ && !conn_.failure().happened; }

 private:
  Status check_fence(const Rows& epoch) const;
  Status take_result(const Rows& result);

  Connection& conn_;
  const Mutation& m_;
  const OpHeader& op_;
  const bool ask_result_;
  bool owner_ = false;  // the fence was passed
  bool again_ = false;
  bool logged_ = false;
  size_t queued_ = 0;
  std::vector<Rows> answers_;
  std::optional<Applied> replay_;
  std::string ruled_out_;  // what stands where the result goes, if anything does
  UsageDelta usage_;
};

using Operation = std::function<Result<Applied>(Transaction&)>;

// Runs an operation to its end: attempts, replay, refusal. The one place that retries mutations.
Result<Applied> run_mutation(Pool& pool, const Mutation& m, const OpHeader& op,
                             const Operation& operation);

// Runs something on a connection, again where judge() says so: reads, and what may be repeated.
template <class T>
Result<T> with_connection(Pool& pool, const std::function<Result<T>(Connection&)>& use) {
  Attempts attempts(pool.limits());
  for (;;) {
    Failure why;
    Error error;
    {
      auto lease = pool.checkout(&why);
      if (lease.ok()) {
        auto result = use(**lease);
        if (result.ok()) return result;
        why = (*lease)->failure();
        error = result.error();
        (*lease)->rollback();
      } else {
        error = lease.error();
      }
    }
    if (judge(why) == Verdict::give_up || !attempts.again()) return error;
  }
}

}  // namespace linkspan::store::pg
