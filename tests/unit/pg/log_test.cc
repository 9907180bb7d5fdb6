// The log at sizes that a store's own mutations take too long to reach.
#include <gtest/gtest.h>

#include <algorithm>

#include "routerd/store/pg/pg_store.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"

namespace linkspan::test {
namespace {

// `count` entries of one volume from seq 1 on, every thousandth of bob.
void make_up_log(const std::string& database, const World& world, uint64_t count) {
  Outside(database).run(
      "INSERT INTO linkspan.change (tenant, volume, seq, ino, version, dir, session, at, size, "
      "bytes, files, what, principal, sandbox, path) SELECT " +
      std::to_string(world.state().id.value) + ", " + std::to_string(world.volume().value) +
      ", i, 100 + i % 2, 1, 200, 1, i, 0, 0, 0, 'write', CASE WHEN i % 1000 = 0 THEN 'bob' ELSE "
      "'alice' END, 'box', convert_to('dir/' || i % 7, 'UTF8') FROM generate_series(1, " +
      std::to_string(count) + ") i; ANALYZE linkspan.change");
}

TEST(PgLog, OneCallLooksAtSoManyEntries) {
  const std::string database = new_database();
  World world(must(store::make_pg_store({cluster().conninfo(database), 2})), "tenant");
  constexpr uint64_t kCount = limits::kChangesScanned * 2 + 500;
  make_up_log(database, world, kCount);
  for (const Ino under : {Ino{}, Ino{200}, Ino{100}})
    for (const bool newest : {false, true}) {
      SCOPED_TRACE(std::to_string(under.value) + (newest ? " newest" : ""));
      ChangesRequest request;
      request.under = under;
      request.newest = newest;
      request.principal = "bob";
      request.limit = limits::kHistoryPage;
      std::vector<uint64_t> told;
      size_t calls = 0;
      for (bool more = true; more; ++calls) {
        const ChangesReply reply = must(world.store().changes(world.scope, request));
        EXPECT_LE(reply.changes.size(), limits::kChangesScanned / 500 + 1);
        for (const Change& change : reply.changes) told.push_back(change.seq.value);
        (newest ? request.before : request.after) = reply.next;
        more = static_cast<bool>(reply.next);
      }
      // Half of the entries are of node 100; all of bob's are.
      EXPECT_EQ(calls, under == Ino{100} ? 2u : 3u);
      std::sort(told.begin(), told.end());
      ASSERT_EQ(told.size(), kCount / 1000);
      for (size_t i = 0; i < told.size(); ++i) EXPECT_EQ(told[i], (i + 1) * 1000);
    }
}

}  // namespace
}  // namespace linkspan::test
