// One connection to PostgreSQL, always in pipeline mode, never blocking past its bounds.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "linkspan/error.h"
#include "routerd/store/pg/failure.h"
#include "routerd/store/pg/values.h"

namespace linkspan::store::pg {

using Steady = std::chrono::steady_clock;

// An SQL statement; a constant with static storage (statements.h), known by its address. It is
// prepared at its first use on a connection.
struct Statement {
  const char* name;
  const char* sql;
};

// Threads: one at a time. A failure is returned as its domain error, and kept in failure() for the
// retry policy; after `lost` the connection must be thrown away.
class Connection {
 public:
  // `conninfo`: a libpq string or URL. Settings of the session (timeouts, planner) are made here.
  static Result<std::unique_ptr<Connection>> open(const std::string& conninfo, const Limits& limits,
                                                  Failure* why);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends one execution behind what is queued already. An error shows at the next flush.
  void queue(const Statement& statement, const Params& params = {});
  // Statements queued since the last flush.
  size_t queued() const { return queued_; }
  // Answers to all that was queued, in order. In a transaction the server goes on afterwards.
  Result<std::vector<Rows>> flush();
  // The same, and the end of the pipeline: without BEGIN, its implicit commit.
  Result<std::vector<Rows>> sync();
  // queue + sync, for a statement on its own.
  Result<Rows> run(const Statement& statement, const Params& params = {});
  // From here a loss means that nobody knows whether the transaction was committed.
  void commit_follows() { committing_ = true; }
  // Ends a transaction, whatever state it is in; failure() of before is kept.
  void rollback();
  // Several statements as text, outside of the pipeline, waiting up to `bound`.
  Status script(const std::string& sql, std::chrono::milliseconds bound);

  // While it lies in the pool: has the server closed it or said anything?
  bool idle_and_alive();
  const Failure& failure() const { return failure_; }
  void forget_failure() { failure_ = {}; }
  bool lost() const { return failure_.lost; }
  // Nothing is queued and no transaction is open: fit for the pool.
  bool at_rest() const {
    return !unsynced_ && sent_.empty() && PQtransactionStatus(conn_.get()) == PQTRANS_IDLE;
  }

 private:
  struct Finish {
    void operator()(PGconn* conn) const { PQfinish(conn); }
  };
  using Handle = std::unique_ptr<PGconn, Finish>;
  struct Sent {  // one message whose answer is awaited
    const Statement* statement;
    bool prepare;
  };

  Connection(Handle conn, const Limits& limits) : conn_(std::move(conn)), limits_(limits) {}
  Status handshake(Steady::time_point deadline);
  Status settle();
  Result<std::vector<Rows>> collect(bool to_sync);
  bool take(PGresult* result, const Sent& sent, std::vector<Rows>& out);
  bool drain_to_sync(Steady::time_point deadline);
  // One result, null at a separator; false: lost (recorded).
  bool next(PGresult** out, Steady::time_point deadline);
  bool send_all(Steady::time_point deadline);
  bool wait(bool write_too, Steady::time_point deadline);
  void lose(bool timed_out, std::string message);
  void record(const PGresult* result);

  Handle conn_;
  Limits limits_;
  Failure failure_;
  std::unordered_set<const Statement*> prepared_;
  std::vector<Sent> sent_;
  size_t queued_ = 0;
  bool committing_ = false;
  bool unsynced_ =
      false;  // flushed since the last sync: libpq does not know the transaction's state
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

// The parts of a conninfo that may be shown: never the password.
std::string describe(const std::string& conninfo);

}  // namespace linkspan::store::pg
