// Two routers on one store: who serves, and what the one that was replaced may still do.
#include "fixture.h"
#include "linkspan/reconnect.h"

namespace linkspan::core::testing {
namespace {

class FailoverTest : public CoreTest {
 protected:
  FailoverTest() { sole_ = false; }

  void store_is_away() {
    store_->before("beat", [] { return fail(Code::unavailable, "the store is away"); });
  }
  void store_is_back() {
    store_->before("beat", [] { return ok(); });
  }
  // A router beside router_, on the same data.
  std::unique_ptr<Router> another(std::chrono::milliseconds lease = kLease,
                                  ForwardStore** store = nullptr) {
    RouterOptions options;
    options.lease = lease;
    options.clock = &clock_;
    options.name = "another";
    auto forward = std::make_unique<ForwardStore>(memory_.get());
    if (store) *store = forward.get();
    return make_router(std::move(forward), options);
  }
};

TEST_F(FailoverTest, WaitsWhileAnotherRouterLives) {
  store_->served = true;
  AttachRequest request;
  request.token = "agent-token";
  const auto refused = attach(request);
  ASSERT_EQ(refused.code(), Code::unavailable);
  EXPECT_NE(refused.error().message.find("another router serves tenant 'acme'"), std::string::npos)
      << refused.error().message;
  EXPECT_EQ(store_->calls("open_tenant"), 0);
  store_->served = false;
  EXPECT_TRUE(attach(request).ok());
}

TEST_F(FailoverTest, GrantsNoLeaseThatASuccessorWouldNotWaitFor) {
  Mount m = mount();
  store_is_away();
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().lease, kLease);
  clock_.advance(kLease * 3 / 4);
  m.renew();
  const Frame renewed = sink->next();
  EXPECT_EQ(renewed.kind, Frame::renewed);
  EXPECT_EQ(renewed.lease, kLease / 4) << "counted from when the store was asked last";
  store_is_back();
  ASSERT_TRUE(resume(m, 0).ok()) << "asks the store at once";
  m.renew();
  EXPECT_EQ(sink->next().lease, kLease);
}

TEST_F(FailoverTest, GivesNoLockOutThatASuccessorMayHaveGiven) {
  Mount m = mount();
  const Ino file = m.create(m.root(), "f");
  const auto ask = [&](uint64_t operation) {
    auto granted = std::make_shared<std::promise<Result<SetLockReply>>>();
    const Lock lock{file, LockKind::record, 7, LockType::exclusive, {0, 10}, 1, false};
    router_->set_lock(m.who, {OpNumber{operation}, {}, lock, LockWait::no},
                      [granted](auto reply) { granted->set_value(std::move(reply)); });
    return granted->get_future().get();
  };
  store_is_away();
  clock_.advance(kLease);
  EXPECT_EQ(ask(100).code(), Code::unavailable);
  EXPECT_EQ(router_->reclaim_locks(m.who, {}).code(), Code::unavailable);
  store_is_back();
  ASSERT_TRUE(resume(m, 0).ok()) << "asks the store at once";
  EXPECT_TRUE(ask(100).ok());
}

TEST_F(FailoverTest, ASuccessorWaitsForTheLeasesOfTheOld) {
  Mount a = mount(), b = mount();
  const Ino file = a.create(a.root(), "f");
  auto next = another();
  const auto attached = next->attach(to_resume(a));
  ASSERT_TRUE(attached.ok());
  EXPECT_EQ(attached->session, a.who.session);
  Mount moved(next.get(), *attached);
  moved.stream();
  moved.operations = 100;
  const Pending write = moved.start_write(file, "new");
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(write.answered()) << "the other mount has not come back, and may read its caches";
  clock_.advance(kLease);
  EXPECT_TRUE(write.get().ok());
}

TEST_F(FailoverTest, ASuccessorWithAShorterLeaseWaitsForTheLeasesOfTheOldAllTheSame) {
  Mount a = mount(), b = mount();
  const Ino file = a.create(a.root(), "f");
  const auto resumed_at = [&](Router& router) {
    const auto attached = router.attach(to_resume(a));
    EXPECT_TRUE(attached.ok());
    Mount(&router, *attached).stream();
    return Mount(&router, *attached);
  };
  auto next = another(kLease / 10);
  Mount moved = resumed_at(*next);
  clock_.advance(kLease / 2);
  std::this_thread::sleep_for(20ms);
  // Also when that one is replaced before the old leases are over.
  ForwardStore* store_of_third = nullptr;
  auto third = another(kLease / 10, &store_of_third);
  Mount again = resumed_at(*third);
  again.operations = 100;
  const Pending write = again.start_write(file, "new");
  clock_.advance(kLease / 2);
  std::this_thread::sleep_for(50ms);
  EXPECT_FALSE(write.answered()) << "B's lease of the first router may run";
  clock_.advance(kLease);
  EXPECT_TRUE(write.get().ok());
  // Then its own lease is the longest, and it says so. Of what it tells the store from now on, the
  // first can be of before, and the last may not have arrived.
  const int told = store_of_third->calls("beat");
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (store_of_third->calls("beat") < told + 3) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    clock_.advance(kLease / 40);
    std::this_thread::sleep_for(1ms);
  }
  auto fourth = another(kLease / 10);
  Mount last = resumed_at(*fourth);
  last.operations = 200;
  const Pending soon = last.start_write(file, "newer");
  clock_.advance(kLease / 10);
  EXPECT_TRUE(soon.get().ok());
}

// A router that was replaced, and finds that out only as a mount comes back to it, must take the
// tenant over before it takes the mount.
TEST_F(FailoverTest, AMountThatComesBackOverTwoRoutersKeepsItsSessionAndItsLocks) {
  Mount m = mount();
  const Ino file = m.create(m.root(), "f");
  const Lock lock{file, LockKind::record, 7, LockType::exclusive, {0, 10}, 1, false};
  std::promise<Result<SetLockReply>> granted;
  router_->set_lock(m.who, {OpNumber{100}, {}, lock, LockWait::no},
                    [&](auto reply) { granted.set_value(std::move(reply)); });
  ASSERT_TRUE(granted.get_future().get().ok());
  // Not by its upkeep, however fast this machine is.
  store_->before("beat", [here = std::this_thread::get_id()] {
    return std::this_thread::get_id() == here ? ok() : fail(Code::unavailable);
  });
  const AttachRequest request = to_resume(m);
  {
    auto next = another();
    ASSERT_TRUE(next->attach(request).ok());
    ASSERT_TRUE(next->reclaim_locks(m.who, {{lock}}).ok());
  }
  clock_.advance(kLease * 3 / 4);
  Result<AttachReply> back = router_->attach(request);
  EXPECT_FALSE(back.ok()) << "it has just found out";
  back = router_->attach(request);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->session, m.who.session);
  const auto told = router_->reclaim_locks(m.who, {{lock}});
  ASSERT_TRUE(told.ok()) << told.error().message;
  EXPECT_TRUE(told->lost.empty());
}

TEST_F(FailoverTest, ALiveMountOfALongAwayRouterKeepsItsLocks) {
  Mount m = mount(), other = mount();
  const Ino file = m.create(m.root(), "f");
  const Lock lock{file, LockKind::record, 7, LockType::exclusive, {0, 10}, 1, false};
  auto next = another();
  ASSERT_TRUE(next->attach(to_resume(other)).ok());
  auto asked = std::make_shared<std::promise<Result<SetLockReply>>>();
  auto answer = asked->get_future();
  next->set_lock(other.who, {OpNumber{1}, {}, lock, LockWait::no},
                 [asked](auto reply) { asked->set_value(std::move(reply)); });
  // It was refused here just before, and tried the stopped router again for as long as it may.
  clock_.advance(limits::kReconnectPause + limits::kAttachAttempt + 500ms);
  EXPECT_EQ(answer.wait_for(150ms), std::future_status::timeout);
  ASSERT_TRUE(next->attach(to_resume(m)).ok());
  const auto told = next->reclaim_locks(m.who, {{lock}});
  ASSERT_TRUE(told.ok());
  EXPECT_TRUE(told->lost.empty());
}

TEST_F(FailoverTest, WhoWasReplacedEndsNoSessionOfItsSuccessor) {
  Mount m = mount();
  auto next = another();
  const auto attached = next->attach(to_resume(m));
  ASSERT_TRUE(attached.ok());
  Mount moved(next.get(), *attached);
  moved.stream();
  moved.operations = 100;
  const Ino made = moved.create(moved.root(), "made");
  (void)router_->detach(m.who).ok();
  ASSERT_TRUE(memory_->find_session(m.who.session).ok());
  // A retry of what the successor applied is still answered with its result.
  moved.operations = 100;
  EXPECT_EQ(moved.create(moved.root(), "made"), made);
}

TEST_F(FailoverTest, WhoWasReplacedTakesNoNewMounts) {
  Mount m = mount();
  auto next = another();
  AttachRequest request;
  request.token = "agent-token";
  ASSERT_TRUE(next->attach(request).ok());
  EXPECT_EQ(attach(request).code(), Code::unavailable);
  EXPECT_EQ(router_->getattr(m.who, {m.root()}).code(), Code::session_lost);
}

}  // namespace
}  // namespace linkspan::core::testing
