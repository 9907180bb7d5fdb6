#include "tests/conformance/pg_engine.h"

#include "routerd/store/pg/pg_store.h"
#include "tests/support/pg_cluster.h"

namespace linkspan::test {
namespace {

class PgEngine final : public Engine {
 public:
  PgEngine() { cluster_.create_database("conformance"); }
  std::string name() const override { return "pg"; }
  std::shared_ptr<store::Store> open() override {
    return must(store::make_pg_store({cluster_.conninfo("conformance"), 16}));
  }
  bool durable() const override { return true; }
  void crash() override {
    cluster_.crash();
    cluster_.start();
  }

 private:
  PgCluster cluster_{PgOptions{.durable = slow_tests()}};
};

}  // namespace

std::unique_ptr<Engine> make_pg_engine() {
  return std::make_unique<PgEngine>();
}

}  // namespace linkspan::test
