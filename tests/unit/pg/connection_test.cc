// One connection: errors within a pipeline, a server that goes away or says nothing.
#include "routerd/store/pg/connection.h"

#include <gtest/gtest.h>

#include "tests/support/slowdown.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"
#include "tests/unit/pg/pg_proxy.h"

namespace linkspan::test {
namespace {

using store::pg::Connection;
using store::pg::Failure;
using store::pg::Limits;
using store::pg::Params;
using store::pg::Rows;
using store::pg::Statement;

constexpr Statement kOne{"one", "SELECT 1::bigint"};
constexpr Statement kEcho{"echo", "SELECT $1::bytea, $2::bigint, $3::text"};
constexpr Statement kDivide{"divide", "SELECT 1 / $1::integer"};
constexpr Statement kWrong{"wrong", "SELECT nothing FROM nowhere"};
constexpr Statement kBegin{"begin", "BEGIN"};
constexpr Statement kInsert{"insert", "INSERT INTO public.kept VALUES ($1::bigint)"};
constexpr Statement kCount{"count", "SELECT count(*) FROM public.kept"};
constexpr Statement kCommit{"commit", "COMMIT"};

using Opened = std::unique_ptr<Connection>;

Opened open(const std::string& conninfo, const Limits& limits = {}) {
  Failure why;
  return must(Connection::open(conninfo, limits, &why));
}

class PgConnection : public ::testing::Test {
 protected:
  Opened open_here(const Limits& limits = {}) {
    return open(cluster().conninfo(database_), limits);
  }
  const std::string database_ = new_database();
};

TEST_F(PgConnection, ValuesAreBinary) {
  const Opened conn = open_here();
  const std::string bytes("\0\xff'\\x", 5);
  const Rows rows = must(conn->run(kEcho, Params().bytes(bytes).u64(~0ull).null()));
  EXPECT_EQ(rows.bytes(0, 0), bytes);
  EXPECT_EQ(rows.u64(0, 1), ~0ull);
  EXPECT_TRUE(rows.null(0, 2));
}

TEST_F(PgConnection, AnswersComeInOrderAcrossFlushes) {
  const Opened conn = open_here();
  conn->queue(kBegin);
  conn->queue(kOne);
  EXPECT_EQ(must(conn->flush()).size(), 2u);
  conn->queue(kDivide, Params().i32(1));
  EXPECT_EQ(must(conn->flush()).at(0).i32(0, 0), 1);
  EXPECT_FALSE(conn->at_rest());
  conn->rollback();
  EXPECT_TRUE(conn->at_rest());
}

TEST_F(PgConnection, AnErrorInAPipelineLeavesAUsableConnection) {
  const Opened conn = open_here();
  Outside(database_).run("CREATE TABLE public.kept (x bigint)");
  conn->queue(kBegin);
  conn->queue(kInsert, Params().i64(1));
  conn->queue(kDivide, Params().i32(0));
  conn->queue(kOne);     // never prepared by the server: it comes after the error
  conn->queue(kCommit);  // nor executed
  EXPECT_EQ(code_of(conn->sync()), Code::internal);
  EXPECT_EQ(conn->failure().sqlstate, "22012");
  EXPECT_FALSE(conn->lost());
  conn->rollback();
  EXPECT_EQ(conn->failure().sqlstate, "22012") << "kept for the retry policy";
  conn->forget_failure();
  EXPECT_TRUE(conn->at_rest());
  EXPECT_EQ(must(conn->run(kOne)).i64(0, 0), 1) << "prepared now";
  EXPECT_EQ(must(conn->run(kCount)).i64(0, 0), 0);
}

TEST_F(PgConnection, AnErrorBeforeTheSyncToo) {
  const Opened conn = open_here();
  conn->queue(kBegin);
  conn->queue(kWrong);
  conn->queue(kOne);
  EXPECT_FALSE(conn->flush().ok());
  EXPECT_EQ(conn->failure().sqlstate, "42P01");
  conn->rollback();
  conn->forget_failure();
  EXPECT_EQ(must(conn->run(kOne)).i64(0, 0), 1);
}

TEST_F(PgConnection, ATerminatedBackendIsALoss) {
  const Opened conn = open_here();
  must(conn->run(kOne));
  Outside(database_).run(
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
      "WHERE application_name = 'linkspan-routerd' AND datname = current_database()");
  const auto answer = conn->run(kOne);
  EXPECT_EQ(code_of(answer), Code::unavailable);
  EXPECT_TRUE(conn->lost());
  EXPECT_EQ(store::pg::judge(conn->failure()), store::pg::Verdict::retry);
}

TEST_F(PgConnection, AnIdleLossIsSeenInThePool) {
  const Opened conn = open_here();
  must(conn->run(kOne));
  EXPECT_TRUE(conn->idle_and_alive());
  Outside outside(database_);
  outside.run(
      "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity "
      "WHERE application_name = 'linkspan-routerd' AND datname = current_database()");
  EXPECT_FALSE(conn->idle_and_alive());
}

TEST_F(PgConnection, ASilentServerIsBounded) {
  PgProxy proxy(cluster_directory());
  Limits limits;
  limits.answer = std::chrono::milliseconds(300) * test::kSlowdown;
  limits.connect = std::chrono::milliseconds(300) * test::kSlowdown;
  const Opened conn = open(proxy.conninfo(database_), limits);
  must(conn->run(kOne));
  proxy.break_at(PgProxy::Break::silent);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(conn->run(kOne)), Code::timed_out);
  EXPECT_TRUE(conn->lost());
  Failure why;
  EXPECT_EQ(code_of(Connection::open(proxy.conninfo(database_), limits, &why)), Code::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5) * test::kSlowdown);
}

// More than the socket's buffers hold, in both directions at once.
TEST_F(PgConnection, LargeValuesDoNotBlock) {
  const Opened conn = open_here();
  const std::string large(8 << 20, 'x');
  for (int i = 0; i < 4; ++i) conn->queue(kEcho, Params().bytes(large).i64(i).null());
  const auto rows = must(conn->sync());
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[3].bytes(0, 0), large);
}

TEST(PgFailure, Verdicts) {
  using store::pg::judge;
  using store::pg::Verdict;
  const auto verdict = [](const std::string& state, const std::string& constraint = {}) {
    return judge(Failure{true, state, constraint, "", false, false, false});
  };
  for (const char* state : {"40001", "40P01", "57P01", "57P02", "57P03", "08006"})
    EXPECT_EQ(verdict(state), Verdict::retry) << state;
  for (const char* state : {"23505", "57014", "55P03", "53100", "42P01", "22012", "25006"})
    EXPECT_EQ(verdict(state), Verdict::give_up) << state;
  EXPECT_EQ(verdict("23505", "result_pkey"), Verdict::find_result);
  EXPECT_EQ(verdict("23505", "node_pkey"), Verdict::give_up);
  EXPECT_EQ(judge(Failure{true, "", "", "", true, false, true}), Verdict::find_result);
  EXPECT_EQ(judge(Failure{}), Verdict::give_up);
}

TEST(PgFailure, Codes) {
  const auto code = [](const std::string& state) {
    return store::pg::to_error(Failure{true, state, "", "", false, false, false}).code;
  };
  EXPECT_EQ(code("53100"), Code::no_space);
  EXPECT_EQ(code("55P03"), Code::timed_out);
  EXPECT_EQ(code("57014"), Code::timed_out);
  EXPECT_EQ(code("57P01"), Code::unavailable);
  EXPECT_EQ(code("25006"), Code::unavailable);
  EXPECT_EQ(code("40P01"), Code::busy);
  EXPECT_EQ(code("XX001"), Code::io);
  EXPECT_EQ(code("42601"), Code::internal);
}

}  // namespace
}  // namespace linkspan::test
