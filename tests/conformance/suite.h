// The frame of the conformance suite: every test runs on every store. A test has a tenant of its
// own in a store that all tests of its kind share, so what one leaves behind is seen by none.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/world.h"

namespace linkspan::test {

inline constexpr int64_t kDay = 86400ll * 1000000000ll;  // of Time's nanoseconds

// One engine, started at its first use and ended with the program.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string name() const = 0;
  // A store on the engine's data, opened as a router does. Of a durable engine each call is another
  // router on the same data; of the others all calls give the same store.
  virtual std::shared_ptr<store::Store> open() = 0;
  virtual bool durable() const = 0;
  // Durable ones: lose what is not durable and come up again. Stores opened before go on.
  virtual void crash() = 0;
};

// "mem", and "pg" where it is built in.
std::vector<std::string> engine_names();
std::vector<std::string> durable_engine_names();
Engine& engine(const std::string& name);

class StoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  Engine& engine() const { return test::engine(GetParam()); }
  // Unique in the program.
  static std::string new_tenant_name();

  World& world() { return *world_; }
  Ino root() const { return world_->root(); }

  std::shared_ptr<store::Store> store_;
  std::string tenant_;
  std::unique_ptr<World> world_;
};

// Ends the fixture's tests with the suite's instantiation.
#define LINKSPAN_CONFORMANCE(Fixture)                                            \
  INSTANTIATE_TEST_SUITE_P(Stores, Fixture, ::testing::ValuesIn(engine_names()), \
                           [](const auto& param) { return param.param; })

// The same for tests of what only a durable store can do.
#define LINKSPAN_DURABLE_CONFORMANCE(Fixture)                                            \
  INSTANTIATE_TEST_SUITE_P(Stores, Fixture, ::testing::ValuesIn(durable_engine_names()), \
                           [](const auto& param) { return param.param; })

// True when long variants are asked for: LINKSPAN_SLOW=1.
bool slow_tests();

}  // namespace linkspan::test
