// Limits that a store on PostgreSQL takes minutes to reach: what leads there is made up.
#include <gtest/gtest.h>

#include "routerd/store/pg/pg_store.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"

namespace linkspan::test {
namespace {

TEST(PgLimits, LinksOfANode) {
  const std::string database = new_database();
  World world(must(store::make_pg_store({cluster().conninfo(database), 2})), "tenant");
  const Ino file = world.make_file(world.root(), "file");
  Outside(database).run("UPDATE linkspan.node SET nlink = " + std::to_string(limits::kLinks - 1) +
                        " WHERE ino = " + std::to_string(file.value));
  must(world.link(file, world.root(), "last"));
  EXPECT_EQ(world.attr(file).nlink, limits::kLinks);
  EXPECT_EQ(code_of(world.link(file, world.root(), "more")), Code::too_many_links);
  EXPECT_EQ(world.attr(file).nlink, limits::kLinks);
}

}  // namespace
}  // namespace linkspan::test
