// What the router does for its tenants by itself.
#include <set>
#include <thread>

#include "fixture.h"

namespace linkspan::core::testing {
namespace {

class UpkeepTest : public CoreTest {
 protected:
  void SetUp() override {
    memory_ = store::make_mem_store();
    provision({{"memory", 0, 0, 2, 90}, {"skills"}, {"sessions"}});
    add_token("agent-token", {});
    start_router();
  }
  // Lets the clock run until `done`; the chores begin at a tick of the real timer.
  template <class Done>
  void run_clock(std::chrono::milliseconds step, Done done) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until);
      clock_.advance(step);
      std::this_thread::sleep_for(1ms);
    }
  }
};

TEST_F(UpkeepTest, PrunesUntilNothingIsLeft) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x");
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(m.start_write(x, std::to_string(i)).get().ok());
  ASSERT_EQ(router_->versions(m.who, {x, {}, 100})->size(), 10u);
  EXPECT_EQ(store_->calls("prune"), 0);
  // One call that removes something, one that finds nothing.
  run_clock(1s, [&] { return store_->calls("prune") >= 2; });
  Mount later = mount();
  EXPECT_EQ(router_->versions(later.who, {x, {}, 100})->size(), 2u);
}

TEST_F(UpkeepTest, AClockThatIsSetAheadMakesNothingOld) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x");
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(m.start_write(x, std::to_string(i)).get().ok());
  clock_.set_ahead(std::chrono::hours(24 * 200));
  run_clock(1s, [&] { return store_->calls("prune") >= 2; });
  Mount later = mount();
  EXPECT_EQ(router_->versions(later.who, {x, {}, 100})->size(), 2u) << "as many as are kept";
}

TEST_F(UpkeepTest, AStopDoesNotWaitForAllThatIsToBePruned) {
  Mount m = mount();
  m.create(m.root(), "x");
  Barrier barrier;
  store_->before("prune", [&] {
    barrier.pass();
    return fail(Code::unavailable);
  });
  run_clock(1s, [&] { return store_->calls("prune") == 1; });
  barrier.await_arrivals(1);
  EXPECT_TRUE(router_->getattr(mount().who, {m.root()}).ok()) << "nobody waits for it";
  router_->stop();
  barrier.open();
  router_.reset();  // its threads are done with the barrier
}

TEST_F(UpkeepTest, FindsOutThatAnotherRouterTookOver) {
  Mount m = mount();
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  ASSERT_TRUE(memory_->open_tenant("acme", limits::kLease).ok());
  // Nobody writes: only the lease's renewals come.
  run_clock(kLease / 8, [&] {
    m.renew();
    return !router_->getattr(m.who, {m.root()}).ok();
  });
  Frame frame = sink->next();
  while (frame.kind == Frame::renewed) frame = sink->next();
  EXPECT_EQ(frame.kind, Frame::end);
  EXPECT_EQ(frame.code, Code::session_lost);
}

TEST_F(UpkeepTest, ARevokedTokenEndsItsSessionsAndNoOthers) {
  add_token("leaver", {});
  Mount leaver = mount("leaver"), other = mount();
  const auto sink = leaver.stream(), others = other.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  EXPECT_EQ(*memory_->revoke_other_tokens("acme", {store::hash_token("agent-token")}), 1u);
  std::optional<Frame> end;
  run_clock(kLease / 2, [&] {
    leaver.renew();
    other.renew();
    while (!sink->empty() && !end)
      if (const Frame frame = sink->next(); frame.kind == Frame::end) end = frame;
    return end.has_value();
  });
  EXPECT_EQ(end->code, Code::unauthenticated);
  EXPECT_EQ(router_->getattr(leaver.who, {leaver.root()}).code(), Code::session_lost);
  AttachRequest again;
  again.token = "leaver";
  EXPECT_EQ(attach(again).code(), Code::unauthenticated);
  EXPECT_TRUE(router_->getattr(other.who, {other.root()}).ok());
}

TEST_F(UpkeepTest, AsksForAllItsTenantsAtOnceAndWaitsForNoTokens) {
  for (const char* name : {"second", "third"}) {
    ASSERT_TRUE(memory_->provision({name, {{"memory"}, {"skills"}, {"sessions"}}}, {}).ok());
    add_token(name, [&](auto& token) { token.tenant = name; });
  }
  Mount first = mount(), second = mount("second"), third = mount("third");
  Barrier barrier;
  store_->before("valid_tokens", [&] {
    barrier.pass();
    return ok();
  });
  const auto until = [&](auto done) {
    run_clock(kLease / 4, [&] {
      for (Mount* m : {&first, &second, &third}) m->renew();
      return done();
    });
  };
  until([&] { return barrier.met(); });  // a token's check hangs
  const int before = store_->calls("beat");
  until([&] { return store_->calls("beat") >= before + 3; });
  ASSERT_TRUE(memory_->open_tenant("second", kLease).ok());
  until([&] { return !router_->getattr(second.who, {second.root()}).ok(); });
  EXPECT_TRUE(router_->getattr(first.who, {first.root()}).ok());
  EXPECT_TRUE(router_->getattr(third.who, {third.root()}).ok());
  barrier.open();
  router_.reset();  // its threads are done with the barrier
}

TEST_F(UpkeepTest, ChecksCredentialsWithoutTheStore) {
  Mount m = mount();
  EXPECT_TRUE(router_->check(m.who).ok());
  EXPECT_EQ(router_->check({m.who.session, std::string(16, 'x')}).code(), Code::unauthenticated);
  EXPECT_EQ(router_->check({SessionId{1}, m.who.secret}).code(), Code::session_lost);
}

}  // namespace
}  // namespace linkspan::core::testing
