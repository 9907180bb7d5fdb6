// What happens to a mutation when its transaction is refused, cut off, or its fate unknown.
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "routerd/store/pg/pg_store.h"
#include "routerd/store/pg/transaction.h"
#include "tests/support/slowdown.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"
#include "tests/unit/pg/pg_proxy.h"

namespace linkspan::test {
namespace {

using store::Applied;
using store::pg::Limits;
using store::pg::Pool;
using store::pg::Statement;
using store::pg::Transaction;

class PgRetry : public ::testing::Test {
 protected:
  std::shared_ptr<store::Store> open_store(const std::string& conninfo, const Limits& limits = {}) {
    return must(store::make_pg_store({conninfo, 4}, limits));
  }
  const std::string database_ = new_database();
};

constexpr Statement kFail40001{"fail_40001",
                               "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$"};
constexpr Statement kFail22000{"fail_22000",
                               "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '22000'; END $$"};

// Runs an operation that fails with a statement the first few times.
Result<Applied> run_failing(Pool& pool, World& world, const Statement& failing, int failures,
                            int& attempts) {
  store::Mutation m = world.next();
  bool unanswered = false;
  m.unanswered = &unanswered;
  const OpHeader op = world.op();
  attempts = 0;
  auto result = store::pg::run_mutation(pool, m, op, [&](Transaction& tx) -> Result<Applied> {
    ++attempts;
    if (attempts <= failures) tx.ask(failing, {});
    LINKSPAN_CHECK(tx.fetch());
    Applied applied;
    applied.reply.seq = m.seq;
    return applied;
  });
  EXPECT_FALSE(unanswered);
  return result;
}

TEST_F(PgRetry, BySqlstateAndBounded) {
  World world(open_store(cluster().conninfo(database_)), "tenant");
  Limits limits;
  limits.attempts = 5;
  Pool pool(cluster().conninfo(database_), 2, limits);
  int attempts = 0;
  EXPECT_TRUE(run_failing(pool, world, kFail40001, 3, attempts).ok());
  EXPECT_EQ(attempts, 4);
  EXPECT_EQ(code_of(run_failing(pool, world, kFail40001, 100, attempts)), Code::busy);
  EXPECT_EQ(attempts, 5);
  EXPECT_EQ(code_of(run_failing(pool, world, kFail22000, 100, attempts)), Code::internal);
  EXPECT_EQ(attempts, 1) << "nothing that a retry would mend";
}

TEST_F(PgRetry, DeadlocksEndInSuccess) {
  World world(open_store(cluster().conninfo(database_)), "tenant");
  const std::string tenant = std::to_string(world.state().id.value);
  const Ino a = world.make_file(world.root(), "a"), b = world.make_file(world.root(), "b");
  // Somebody else locks the two files in the other order than link() does.
  Outside outside(database_);
  outside.run("BEGIN");
  outside.run("SELECT 1 FROM linkspan.node WHERE ino = " + std::to_string(b.value) +
              " AND tenant = " + tenant + " FOR UPDATE");
  std::thread other([&] {
    Outside looks(database_);
    while (looks.run("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0") {
    }
    try {
      outside.run("SELECT 1 FROM linkspan.node WHERE ino = " + std::to_string(a.value) +
                  " AND tenant = " + tenant + " FOR UPDATE");
    } catch (const std::exception&) {
      // it may be the one that is chosen
    }
    outside.run("ROLLBACK");
  });
  const auto moved = world.exchange(world.root(), "a", world.root(), "b");
  other.join();
  EXPECT_TRUE(moved.ok());
  EXPECT_EQ(world.find(world.root(), "b")->attr.ino, a);
}

// The append of 8 bytes is there once, whatever happened to its COMMIT.
void append_through_a_break(PgProxy::Break where, const std::string& database) {
  PgProxy proxy(cluster_directory());
  std::shared_ptr<store::Store> store =
      must(store::make_pg_store({proxy.conninfo(database), 4}, Limits{}));
  World world(store, "tenant");
  const Ino ino = world.make_file(world.root(), "log", "begin ");
  const int connections = proxy.connections();
  proxy.break_at(where);
  const Applied applied = must(world.append(ino, "once"));
  EXPECT_GT(proxy.connections(), connections) << "the break did not happen";
  EXPECT_EQ(applied.replayed, where == PgProxy::Break::after_commit);
  EXPECT_EQ(applied.usage.bytes, 4) << "counted by nobody yet, whoever applied it";
  EXPECT_EQ(applied.reply.offset, 6u);
  EXPECT_EQ(applied.reply.version, Version{3});
  EXPECT_EQ(world.content(ino), "begin once");
  EXPECT_EQ(world.versions(ino).size(), 3u);
}

TEST_F(PgRetry, ALostAnswerToCommitIsFound) {
  append_through_a_break(PgProxy::Break::after_commit, database_);
}

TEST_F(PgRetry, ALostCommitIsRunAgain) {
  append_through_a_break(PgProxy::Break::before_commit, database_);
}

// The answer to the first attempt's COMMIT is lost; what the later attempts do.
class PgUnanswered : public PgRetry {
 protected:
  using Later = std::function<Status(Transaction&)>;
  Result<Applied> run(PgProxy::Break where, const Later& later) {
    Limits limits;
    limits.attempts = 3;
    Pool pool(proxy_.conninfo(database_), 2, limits);
    proxy_.break_at(where);
    attempts_ = 0;
    op_ = world_.op();
    const store::Mutation m = world_.next();
    return store::pg::run_mutation(pool, m, op_, [&](Transaction& tx) -> Result<Applied> {
      if (++attempts_ > 1) LINKSPAN_CHECK(later(tx));
      LINKSPAN_CHECK(tx.fetch());
      Applied applied;
      applied.reply.seq = m.seq;
      return applied;
    });
  }
  static Status fail_first(Transaction& tx) {
    tx.ask(kFail40001, {});
    return ok();
  }

  PgProxy proxy_{cluster_directory()};
  World world_{open_store(cluster().conninfo(database_)), "tenant"};
  OpHeader op_;
  int attempts_ = 0;
};

TEST_F(PgUnanswered, ABusyDatabaseDoesNotSayThatNothingHappened) {
  for (const auto where : {PgProxy::Break::after_commit, PgProxy::Break::before_commit}) {
    EXPECT_EQ(code_of(run(where, fail_first)), Code::unavailable);
    EXPECT_EQ(attempts_, 3);
  }
  const auto race = [](Transaction& tx) -> Status {
    LINKSPAN_CHECK(tx.fetch());
    return tx.run_again();
  };
  EXPECT_EQ(code_of(run(PgProxy::Break::before_commit, race)), Code::unavailable);
  EXPECT_EQ(attempts_, 3);
}

TEST_F(PgUnanswered, ARefusalIsOneAllTheSame) {
  const auto refuse = [](Transaction& tx) -> Status {
    LINKSPAN_CHECK(tx.fetch());
    return fail(Code::exists);
  };
  EXPECT_EQ(code_of(run(PgProxy::Break::before_commit, refuse)), Code::exists);
  EXPECT_EQ(attempts_, 2);
}

// The server may be at that COMMIT still, while the second attempt looks for its result: what then
// is in the second one's way can be its own doing.
TEST_F(PgUnanswered, ARefusalByTheFirstAttemptIsNone) {
  must(world_.create(world_.root(), "somebody's result"));
  const auto commits_late = [&](Transaction& tx) -> Status {
    LINKSPAN_CHECK(tx.fetch());
    Outside(database_).run("INSERT INTO linkspan.result SELECT tenant, session, " +
                           std::to_string(op_.number.value) +
                           ", reply FROM linkspan.result WHERE op = 1");
    return fail(Code::exists);
  };
  EXPECT_TRUE(must(run(PgProxy::Break::before_commit, commits_late)).replayed);
  EXPECT_EQ(attempts_, 2);
}

// The server may be at the COMMIT of an earlier call still, when a retry looks for its result; what
// it then runs into is that.
TEST_F(PgRetry, ARetryThatMeetsItsOwnFirstTryIsAnsweredWithThat) {
  World world(open_store(cluster().conninfo(database_)), "tenant");
  must(world.create(world.root(), "somebody's result"));
  Pool pool(cluster().conninfo(database_), 2, Limits{});
  const store::Mutation m = world.next();
  OpHeader op = world.op();
  op.retry = true;
  int attempts = 0;
  const auto applied = must(store::pg::run_mutation(pool, m, op, [&](Transaction& tx) {
    return [&]() -> Result<Applied> {
      ++attempts;
      LINKSPAN_CHECK(tx.fetch());
      Outside(database_).run("INSERT INTO linkspan.result SELECT tenant, session, " +
                             std::to_string(op.number.value) +
                             ", reply FROM linkspan.result WHERE op = 1");
      return Applied{};
    }();
  }));
  EXPECT_TRUE(applied.replayed);
  EXPECT_EQ(attempts, 2);
}

// A server process that stands still when it is to COMMIT, and goes on long after.
class PgStopped : public PgRetry {
 protected:
  void TearDown() override { go_on(); }

  static Limits impatient() {
    Limits limits;
    limits.answer = std::chrono::milliseconds(500) * test::kSlowdown;
    limits.lock = std::chrono::milliseconds(300) * test::kSlowdown;
    limits.attempts = 2;
    return limits;
  }
  // Each that is applied leaves a mark.
  Result<Applied> run(const store::Mutation& m, const OpHeader& op, bool stops) {
    static constexpr Statement kMark{"mark", "INSERT INTO linkspan.mark VALUES (1)"};
    Pool pool(cluster().conninfo(database_), 2, impatient());
    int attempts = 0;
    return store::pg::run_mutation(pool, m, op, [&](Transaction& tx) -> Result<Applied> {
      if (stops && ++attempts > 1) tx.ask(kFail40001, {});
      LINKSPAN_CHECK(tx.fetch());
      tx.write(kMark, {});
      if (stops) stop_whose_transaction_it_is();
      Applied applied;
      applied.reply.seq = m.seq;
      return applied;
    });
  }
  void stop_whose_transaction_it_is() {
    pid_ = std::stoi(Outside(database_).run(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND "
        "database = (SELECT oid FROM pg_database WHERE datname = current_database())"));
    ASSERT_EQ(::kill(pid_, SIGSTOP), 0);
  }
  void go_on() {
    if (pid_ != 0) ::kill(pid_, SIGCONT);
  }
  void goes_on_and_ends() {
    go_on();
    Outside looks(database_);
    while (looks.run("SELECT count(*) FROM pg_stat_activity WHERE pid = " + std::to_string(pid_)) !=
           "0") {
    }
  }
  std::string marks() { return Outside(database_).run("SELECT count(*) FROM linkspan.mark"); }

  World world_{open_store(cluster().conninfo(database_), impatient()), "tenant"};
  const std::string made_ = Outside(database_).run("CREATE TABLE linkspan.mark (x integer)");
  int pid_ = 0;
};

TEST_F(PgStopped, WhatWasRuledOutIsNeverAppliedAndCanBeTriedAgain) {
  OpHeader op = world_.op();
  const store::Mutation m = world_.next();
  bool unanswered = false;
  store::Mutation told = m;
  told.unanswered = &unanswered;
  EXPECT_EQ(code_of(run(told, op, true)), Code::unavailable);
  EXPECT_TRUE(unanswered);
  // The server has not read of the COMMIT yet.
  EXPECT_FALSE(must(world_.store().recall(m, op.number)));
  EXPECT_FALSE(must(world_.store().is_applied(m, op.number)));
  goes_on_and_ends();
  EXPECT_EQ(marks(), "0");
  op.retry = true;
  EXPECT_FALSE(must(run(world_.next(), op, false)).replayed);
  EXPECT_TRUE(must(run(world_.next(), op, false)).replayed);
  EXPECT_EQ(marks(), "1");
  EXPECT_TRUE(must(world_.store().recall(world_.next(), op.number)));
}

// What its transaction reads as content, when all of it is there but what follows from that.
class StopsMeanwhile final : public ExtentSource {
 public:
  explicit StopsMeanwhile(std::function<void()> stop) : stop_(std::move(stop)) {}
  Result<bool> next(Extent* out) override {
    if (stop_) std::exchange(stop_, nullptr)();
    *out = {0, 4, "mine"};
    return !std::exchange(given_, true);
  }
  void rewind() override { given_ = false; }

 private:
  std::function<void()> stop_;
  bool given_ = false;
};

TEST_F(PgStopped, WhatARefusalKeepsIsRuledOutToo) {
  const Ino file = world_.make_file(world_.root(), "file", "x");
  store::KeepRequest keep;
  keep.operation = world_.op().number;
  keep.what = "write";
  keep.ino = keep.base_ino = keep.from = file;
  keep.base = keep.from_version = Version{2};
  keep.keep_below = 0;
  keep.size = 4;
  keep.extents = std::make_shared<StopsMeanwhile>([this] { stop_whose_transaction_it_is(); });
  store::Mutation m = world_.next();
  m.new_ino = world_.unused_ino();
  bool unanswered = false;
  m.unanswered = &unanswered;
  EXPECT_EQ(code_of(world_.store().keep(m, keep)), Code::unavailable);
  EXPECT_TRUE(unanswered);
  EXPECT_FALSE(must(world_.store().recall(m, keep.operation)));
  goes_on_and_ends();
  const auto kept = [&] {
    return must(world_.store().conflicts(world_.scope, {{}, 10})).conflicts.size();
  };
  EXPECT_EQ(kept(), 0u);
  m = world_.next();
  m.new_ino = world_.unused_ino();
  must(world_.store().keep(m, keep));
  EXPECT_EQ(kept(), 1u) << "tried anew";
  EXPECT_FALSE(must(world_.store().is_applied(m, keep.operation)));
}

// It has made the result, and not committed it.
TEST_F(PgStopped, WhoIsAboutToCommitIsWaitedFor) {
  const OpHeader op = world_.op();
  must(world_.create(world_.root(), "somebody's result"));
  Outside committing(database_);
  committing.run("BEGIN");
  committing.run("INSERT INTO linkspan.result SELECT tenant, session, " +
                 std::to_string(op.number.value) + ", reply FROM linkspan.result");
  const store::Mutation m = world_.next();
  EXPECT_EQ(code_of(world_.store().recall(m, op.number)), Code::timed_out);
  std::thread commits([&] {
    Outside looks(database_);
    while (looks.run("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0") {
    }
    committing.run("COMMIT");
  });
  Result<std::optional<MutationReply>> found = fail(Code::timed_out);
  while (!found.ok() && found.code() == Code::timed_out)
    found = world_.store().recall(m, op.number);
  commits.join();
  ASSERT_TRUE(must(std::move(found)));
}

// A try of after it was ruled out, that stands still in its turn.
TEST_F(PgStopped, SoIsTheNextTry) {
  OpHeader op = world_.op();
  EXPECT_FALSE(must(world_.store().recall(world_.next(), op.number)));
  op.retry = true;
  EXPECT_EQ(code_of(run(world_.next(), op, true)), Code::unavailable);
  EXPECT_FALSE(must(world_.store().recall(world_.next(), op.number)));
  goes_on_and_ends();
  EXPECT_EQ(marks(), "0");
}

// Until no transaction of before can be under way: not by the session's own later operations.
TEST_F(PgStopped, ItStaysRuledOutUntilTheNextOwner) {
  const OpHeader op = world_.op();
  EXPECT_FALSE(must(world_.store().recall(world_.next(), op.number)));
  const auto count = [&] {
    return Outside(database_).run("SELECT count(*) FROM linkspan.result WHERE op = " +
                                  std::to_string(op.number.value));
  };
  for (int i = 0; i < 130; ++i) {
    SetAttrRequest touch;
    touch.op = world_.op();
    touch.op.answered_below = touch.op.number;
    touch.ino = world_.root();
    touch.mtime = Time{i};
    must(world_.store().set_attributes(world_.next(), touch));
  }
  must(world_.store().end_session(world_.state().id, world_.session(), world_.state().epoch));
  EXPECT_EQ(count(), "1");
  World::reopen(open_store(cluster().conninfo(database_)), "tenant");
  EXPECT_EQ(count(), "0");
}

TEST_F(PgRetry, ExtentsAreReadAgain) {
  PgProxy proxy(cluster_directory());
  World world(must(store::make_pg_store({proxy.conninfo(database_), 4}, Limits{})), "tenant");
  const Ino ino = world.make_file(world.root(), "large");
  std::vector<Extent> list;
  std::string expected;
  for (uint64_t i = 0; i < 5; ++i) {
    const std::string data(limits::kExtentBytes, static_cast<char>('a' + i));
    list.push_back({i * data.size(), data.size(), data});
    expected += data;
  }
  CommitRequest request;
  request.ino = ino;
  request.keep_below = 0;
  request.size = expected.size();
  request.extents = extents(list);
  proxy.break_at(PgProxy::Break::before_commit);
  must(world.commit(request));
  EXPECT_EQ(world.content(ino), expected);
}

TEST_F(PgRetry, SurvivesARestartOfTheServer) {
  World world(open_store(cluster().conninfo(database_)), "tenant");
  const Ino ino = world.make_file(world.root(), "file", "1");
  cluster().stop();
  cluster().start();
  must(world.append(ino, "2"));
  EXPECT_EQ(world.content(ino), "12");
  cluster().crash();
  cluster().start();
  EXPECT_EQ(world.content(ino), "12");
  must(world.append(ino, "3"));
  EXPECT_EQ(world.content(ino), "123");
}

TEST_F(PgRetry, AMissingServerIsUnavailableWithinTheBound) {
  Limits limits;
  limits.attempts = 4;
  World world(open_store(cluster().conninfo(database_), limits), "tenant");
  const Ino ino = world.make_file(world.root(), "file", "1");
  cluster().stop();
  EXPECT_EQ(code_of(world.append(ino, "2")), Code::unavailable);
  EXPECT_EQ(code_of(world.store().ping()), Code::unavailable);
  cluster().start();
  EXPECT_TRUE(world.store().ping().ok());
  EXPECT_EQ(world.content(ino), "1");
}

TEST_F(PgRetry, ASilentServerTimesOutWithinTheBound) {
  PgProxy proxy(cluster_directory());
  Limits limits;
  limits.answer = std::chrono::milliseconds(300) * test::kSlowdown;
  limits.connect = std::chrono::milliseconds(300) * test::kSlowdown;
  World world(open_store(proxy.conninfo(database_), limits), "tenant");
  const Ino ino = world.make_file(world.root(), "file", "1");
  proxy.break_at(PgProxy::Break::silent);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(code_of(world.append(ino, "2")), Code::timed_out);
  EXPECT_EQ(code_of(world.store().getattr(world.scope, {ino, false})), Code::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5) * test::kSlowdown);
  proxy.break_at(PgProxy::Break::nowhere);
  EXPECT_TRUE(world.store().ping().ok());
}

// A refused operation must not leave its transaction open in the pool.
TEST_F(PgRetry, RefusalsLeaveNoTransactionOpen) {
  World world(open_store(cluster().conninfo(database_)), "tenant");
  world.make_dir(world.root(), "dir");
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(code_of(world.create(world.root(), "dir")), Code::exists);
    EXPECT_EQ(code_of(world.unlink(world.root(), "none")), Code::not_found);
    EXPECT_EQ(code_of(world.rename(world.root(), "none", world.root(), "x")), Code::not_found);
  }
  EXPECT_EQ(Outside(database_).run("SELECT count(*) FROM pg_stat_activity WHERE datname = "
                                   "current_database() AND state LIKE 'idle in transaction%'"),
            "0");
}

TEST_F(PgRetry, WaitsForAFreeConnectionWithinTheBound) {
  Limits limits;
  limits.checkout = std::chrono::milliseconds(100);
  Pool pool(cluster().conninfo(database_), 1, limits);
  store::pg::Failure why;
  {
    auto only = must(pool.checkout(&why));
    EXPECT_EQ(code_of(pool.checkout(&why)), Code::busy);
  }
  EXPECT_TRUE(pool.checkout(&why).ok());
}

}  // namespace
}  // namespace linkspan::test
