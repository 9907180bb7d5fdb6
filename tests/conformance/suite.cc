#include "tests/conformance/suite.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <stdexcept>

#ifdef LINKSPAN_WITH_PG
#include "tests/conformance/pg_engine.h"
#endif

namespace linkspan::test {
namespace {

class MemEngine final : public Engine {
 public:
  std::string name() const override { return "mem"; }
  std::shared_ptr<store::Store> open() override { return store_; }
  bool durable() const override { return false; }
  void crash() override { throw std::logic_error("the memory store cannot crash"); }

 private:
  std::shared_ptr<store::Store> store_ = store::make_mem_store();
};

std::map<std::string, std::unique_ptr<Engine>>& engines() {
  static std::map<std::string, std::unique_ptr<Engine>> started;
  return started;
}

std::unique_ptr<Engine> make_engine(const std::string& name) {
#ifdef LINKSPAN_WITH_PG
  if (name == "pg") return make_pg_engine();
#endif
  return std::make_unique<MemEngine>();
}

// Servers are stopped before static objects go.
class StopEngines final : public ::testing::Environment {
 public:
  void TearDown() override { engines().clear(); }
};
const auto* const stop_engines = ::testing::AddGlobalTestEnvironment(new StopEngines);

}  // namespace

std::vector<std::string> engine_names() {
  auto names = durable_engine_names();
  names.insert(names.begin(), "mem");
  return names;
}

std::vector<std::string> durable_engine_names() {
#ifdef LINKSPAN_WITH_PG
  return {"pg"};
#else
  return {};
#endif
}

Engine& engine(const std::string& name) {
  std::unique_ptr<Engine>& slot = engines()[name];
  if (!slot) slot = make_engine(name);
  return *slot;
}

bool slow_tests() {
  const char* value = std::getenv("LINKSPAN_SLOW");
  return value != nullptr && std::string(value) != "0";
}

std::string StoreTest::new_tenant_name() {
  static std::atomic<int> counter{0};
  return "tenant-" + std::to_string(++counter);
}

void StoreTest::SetUp() {
  store_ = engine().open();
  tenant_ = new_tenant_name();
  world_ = std::make_unique<World>(store_, tenant_);
}

}  // namespace linkspan::test
