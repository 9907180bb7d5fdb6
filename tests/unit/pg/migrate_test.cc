// Opening a store: migrations, and errors that name the thing and the mend, never a password.
#include <gtest/gtest.h>

#include <thread>

#include "routerd/store/pg/connection.h"
#include "routerd/store/pg/migrate.h"
#include "routerd/store/pg/pg_store.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"

namespace linkspan::test {
namespace {

Result<std::unique_ptr<store::Store>> open_store(const std::string& conninfo) {
  store::pg::Limits limits;
  limits.attempts = 2;
  return store::make_pg_store({conninfo, 2}, limits);
}

std::string message_of(const std::string& conninfo) {
  const auto store = open_store(conninfo);
  return store.ok() ? "" : store.error().message;
}

TEST(PgMigrate, TwiceIsOnce) {
  const std::string database = new_database();
  { World world(must(open_store(cluster().conninfo(database))), "tenant"); }
  const std::string before = Outside(database).run("SELECT applied FROM linkspan.schema_version");
  World again = World::reopen(must(open_store(cluster().conninfo(database))), "tenant");
  EXPECT_EQ(Outside(database).run("SELECT applied FROM linkspan.schema_version"), before);
  EXPECT_TRUE(again.names(again.root()).empty());
}

// A database that the first release made, with what it holds.
TEST(PgMigrate, ADatabaseOfTheFirstSchemaIsUpgraded) {
  const std::string database = new_database();
  const std::string first = store::pg::kMigrations[0].sql;
  Outside(database).run(
      "CREATE SCHEMA linkspan; CREATE TABLE linkspan.schema_version (version integer PRIMARY KEY, "
      "name text NOT NULL, applied timestamptz NOT NULL DEFAULT now());" +
      first + "INSERT INTO linkspan.schema_version (version, name) VALUES (1, '0001_first')");
  Outside(database).run(
      "INSERT INTO linkspan.tenant (name, next_ino) VALUES ('tenant', 17); "
      "INSERT INTO linkspan.volume (tenant, name, root, quota_bytes, quota_files, keep_versions, "
      "keep_days) VALUES (1, 'memory', 16, 0, 0, 1000, 90); "
      "INSERT INTO linkspan.node VALUES (1, 1, 16, 2, true, false, 493, 2, 0, 0, 0, 0, 1, 1, 1, 1, "
      "0, 0, 0, 0, 0, 0, 0, NULL); "
      "INSERT INTO linkspan.token VALUES (decode(repeat('ab', 32), 'hex'), 1, 'agent', '', 0, "
      "false); "
      "INSERT INTO linkspan.token_route VALUES (decode(repeat('ab', 32), 'hex'), 0, 'm', 'memory', "
      "true, 1, 1234)");
  World world(must(open_store(cluster().conninfo(database))), "tenant");
  EXPECT_EQ(world.root(), Ino{16});
  EXPECT_EQ(Outside(database).run("SELECT string_agg(name, ' ' ORDER BY version) "
                                  "FROM linkspan.schema_version"),
            "0001_first 0002_conflicts 0003_fork_version 0004_beat 0005_lease 0006_patterns "
            "0007_replaced_by 0008_rights 0009_token_life");
  const Ino ino = world.make_file(world.root(), "file", "base");
  store::KeepRequest request;
  request.operation = OpNumber{1};
  request.ino = request.from = ino;
  store::Mutation m = world.next();
  m.new_ino = world.unused_ino();
  const Conflict kept = must(world.store().keep(m, request));
  EXPECT_EQ(world.content(kept.theirs), "base");
  store::TokenHash hash;
  hash.fill(0xab);
  Route route;
  route.path = "m";
  route.volume = "memory";
  route.rights = Access::read_write;
  route.policy = Policy::reject;
  route.timeout_ms = 1234;
  EXPECT_EQ(must(world.store().find_token(hash)).routes, std::vector{route});
}

TEST(PgMigrate, ManyRoutersAtOnce) {
  const std::string database = new_database();
  std::vector<std::string> errors(8);
  std::vector<std::thread> threads;
  for (std::string& error : errors)
    threads.emplace_back([&] { error = message_of(cluster().conninfo(database)); });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "");
  World world(must(open_store(cluster().conninfo(database))), "tenant");
}

TEST(PgMigrate, ANewerSchemaIsRefused) {
  const std::string database = new_database();
  must(open_store(cluster().conninfo(database)));
  Outside(database).run("INSERT INTO linkspan.schema_version VALUES (4711, 'future')");
  const auto store = open_store(cluster().conninfo(database));
  ASSERT_EQ(code_of(store), Code::unsupported);
  EXPECT_NE(store.error().message.find("4711"), std::string::npos);
  EXPECT_NE(store.error().message.find("newer"), std::string::npos);
}

TEST(PgMigrate, ABrokenOneLeavesNothing) {
  const std::string database = new_database();
  Outside(database).run("CREATE SCHEMA linkspan; CREATE TABLE linkspan.token (x integer)");
  const auto store = open_store(cluster().conninfo(database));
  ASSERT_FALSE(store.ok());
  EXPECT_NE(store.error().message.find("DROP SCHEMA"), std::string::npos) << store.error().message;
  EXPECT_EQ(Outside(database).run("SELECT to_regclass('linkspan.tenant') IS NULL"), "t");
  Outside(database).run("DROP TABLE linkspan.token");
  EXPECT_TRUE(open_store(cluster().conninfo(database)).ok());
}

TEST(PgErrors, AMissingDatabase) {
  const auto store = open_store(cluster().conninfo("no_such_database"));
  ASSERT_FALSE(store.ok());
  EXPECT_EQ(store.code(), Code::unavailable);
  EXPECT_NE(store.error().message.find("dbname=no_such_database"), std::string::npos);
  EXPECT_NE(store.error().message.find("createdb"), std::string::npos);
}

TEST(PgErrors, AMissingRole) {
  std::string conninfo = cluster().conninfo("linkspan");
  conninfo.replace(conninfo.find("user=linkspan"), 13, "user=ghost");
  const auto store = open_store(conninfo);
  ASSERT_EQ(code_of(store), Code::unavailable);
  EXPECT_NE(store.error().message.find("createuser"), std::string::npos) << store.error().message;
}

TEST(PgErrors, AMissingServer) {
  const auto store = open_store("postgres://someone:hunter2@127.0.0.1:1/memory");
  ASSERT_EQ(code_of(store), Code::unavailable);
  const std::string& text = store.error().message;
  for (const char* part : {"host=127.0.0.1", "port=1", "user=someone", "dbname=memory", "check"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
  EXPECT_EQ(text.find("hunter2"), std::string::npos) << text;
}

TEST(PgErrors, NotAnAddress) {
  for (const char* wrong : {"hunter2", "postgres://u:hunter2@h:port:hunter2/%zz", "hunter2 = "}) {
    const auto store = open_store(wrong);
    ASSERT_EQ(code_of(store), Code::invalid) << wrong;
    EXPECT_EQ(store.error().message.find("hunter2"), std::string::npos) << store.error().message;
  }
}

TEST(PgErrors, NoRightToCreateTheSchema) {
  const std::string database = new_database();
  Outside(database).run("CREATE ROLE weak LOGIN");
  std::string conninfo = cluster().conninfo(database);
  conninfo.replace(conninfo.find("user=linkspan"), 13, "user=weak");
  const auto store = open_store(conninfo);
  ASSERT_EQ(code_of(store), Code::access_denied);
  EXPECT_NE(store.error().message.find("GRANT CREATE"), std::string::npos);
}

TEST(PgErrors, DescribesWithoutThePassword) {
  const std::string text = store::pg::describe("postgres://me:hunter2@db.example:5433/memory");
  EXPECT_EQ(text.find("hunter2"), std::string::npos);
  for (const char* part : {"me", "db.example", "5433", "memory"})
    EXPECT_NE(text.find(part), std::string::npos) << text;
}

}  // namespace
}  // namespace linkspan::test
