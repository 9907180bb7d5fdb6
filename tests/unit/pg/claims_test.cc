// Owners that say that they live: none of a router's tenants waits for another.
#include <gtest/gtest.h>

#include <chrono>

#include "routerd/store/pg/pg_store.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"

namespace linkspan::test {
namespace {

using namespace std::chrono_literals;

TEST(PgClaims, ATenantThatIsLockedHoldsNoOtherUp) {
  const std::string database = new_database();
  const auto store = must(store::make_pg_store({cluster().conninfo(database), 2}));
  std::vector<store::Ownership> owned;
  for (const char* name : {"first", "second", "third"}) {
    must(store->provision({name, {{"memory"}}}, Time{1}));
    const auto state = must(store->open_tenant(name, 1s));
    owned.push_back({state.id, state.epoch, 7s});
  }
  must(store->beat(owned));
  Outside outside(database), holder(database);
  outside.run("UPDATE linkspan.tenant SET beat = NULL, lease = 1");
  holder.run("BEGIN");
  holder.run("SELECT name FROM linkspan.tenant WHERE name = 'second' FOR UPDATE");
  const auto begun = std::chrono::steady_clock::now();
  for (const Status& answer : must(store->beat(owned))) EXPECT_TRUE(answer.ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 2s) << "the lock's timeout is 4 s";
  const std::string said =
      "SELECT string_agg(name || ' ' || lease || ' ' || (beat IS NOT NULL), ', ' ORDER BY name) "
      "FROM linkspan.tenant";
  EXPECT_EQ(outside.run(said), "first 7000 true, second 1 false, third 7000 true");
  holder.run("ROLLBACK");
  must(store->beat(owned));
  EXPECT_EQ(outside.run(said), "first 7000 true, second 7000 true, third 7000 true");
  EXPECT_EQ(outside.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"),
            "3")
      << "each is claimed once, however often it is said";
}

}  // namespace
}  // namespace linkspan::test
