// Random sequences on the memory store and on PostgreSQL: the same replies, apart from node
// numbers.
#include <gtest/gtest.h>

#include <atomic>

#include "routerd/store/pg/pg_store.h"
#include "tests/model/campaign.h"
#include "tests/model/store_subject.h"
#include "tests/support/pg_cluster.h"

namespace linkspan::test {
namespace {

constexpr size_t kLookEvery = 8;  // replies are compared at each step

TEST(Differential, PostgresDoesWhatTheMemoryStoreDoes) {
  PgCluster cluster;
  cluster.create_database("model");
  const std::shared_ptr<store::Store> postgres =
      must(store::make_pg_store({cluster.conninfo("model"), 2}));
  std::atomic<int> tenant{0};
  run_campaign({.sequences = 60, .length = 60}, [&](const std::vector<Op>& sequence) {
    StoreSubject expected(store::make_mem_store(), "model", true);
    StoreSubject actual(postgres, "model-" + std::to_string(++tenant), true);
    return first_difference(sequence, expected, actual, kLookEvery);
  });
}

}  // namespace
}  // namespace linkspan::test
