#include "routerd/store/fault.h"

#include <future>

#include "tests/support/world.h"

namespace linkspan::test {
namespace {

using store::FaultStore;
using store::StoreCall;

class FaultStoreTest : public ::testing::Test {
 protected:
  std::shared_ptr<FaultStore> faults_ = std::make_shared<FaultStore>(store::make_mem_store());
  World world_{faults_, "tenant"};
};

TEST_F(FaultStoreTest, FailsTheCallsItWasToldTo) {
  const Ino file = world_.make_file(world_.root(), "file");
  faults_->add(
      {.call = StoreCall::commit, .skip = 2, .times = 2, .error = fail(Code::unavailable)});
  std::string outcome;
  for (int i = 0; i < 6; ++i) outcome += world_.append(file, "x").ok() ? '+' : '-';
  EXPECT_EQ(outcome, "++--++");
  EXPECT_EQ(world_.content(file), "xxxx");
  EXPECT_EQ(faults_->calls(StoreCall::commit), 6u);
}

TEST_F(FaultStoreTest, LosesAReplyAfterApplying) {
  const Ino file = world_.make_file(world_.root(), "file");
  faults_->add({.call = StoreCall::commit, .error = fail(Code::timed_out), .applied = true});
  EXPECT_EQ(code_of(world_.append(file, "x")), Code::timed_out);
  EXPECT_EQ(world_.content(file), "x");
}

TEST_F(FaultStoreTest, AFailureOfTheCallItselfIsTold) {
  faults_->add({.call = StoreCall::remove, .error = fail(Code::timed_out), .applied = true});
  EXPECT_EQ(code_of(world_.unlink(world_.root(), "none")), Code::not_found);
}

TEST_F(FaultStoreTest, AnyCallUntilCleared) {
  faults_->add({.times = 0, .error = fail(Code::io)});
  EXPECT_EQ(code_of(faults_->ping()), Code::io);
  EXPECT_EQ(code_of(faults_->open_tenant("tenant", limits::kLease)), Code::io);
  EXPECT_EQ(code_of(faults_->getattr(world_.scope, {world_.root(), false})), Code::io);
  faults_->clear();
  must(faults_->ping());
}

TEST_F(FaultStoreTest, AHookHoldsACallWhileOthersGoOn) {
  std::promise<void> entered, release;
  faults_->add({.call = StoreCall::create, .hook = [&] {
                  entered.set_value();
                  release.get_future().wait();
                }});
  World other = world_.fork();
  auto held = std::async(std::launch::async, [&] { return other.create(other.root(), "held"); });
  entered.get_future().wait();
  must(world_.create(world_.root(), "free"));
  EXPECT_EQ(world_.names(world_.root()), (std::vector<std::string>{"free"}));
  release.set_value();
  must(held.get());
  EXPECT_EQ(world_.names(world_.root()), (std::vector<std::string>{"free", "held"}));
}

}  // namespace
}  // namespace linkspan::test
