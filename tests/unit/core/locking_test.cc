// Locks through the router: rights, sessions and their leases, a router that takes over.
#include "fixture.h"
#include "linkspan/reconnect.h"

namespace linkspan::core::testing {
namespace {

class LockingTest : public CoreTest {
 protected:
  class Ask {
   public:
    LockDone done() {
      return [promise = promise_](Result<SetLockReply> reply) { promise->set_value(reply); };
    }
    bool answered() const { return future_.wait_for(0s) == std::future_status::ready; }
    Result<SetLockReply> get() const {
      if (future_.wait_for(kPatience) != std::future_status::ready) {
        ADD_FAILURE() << "no answer came";
        return fail(Code::timed_out);
      }
      return future_.get();
    }

   private:
    std::shared_ptr<std::promise<Result<SetLockReply>>> promise_ =
        std::make_shared<std::promise<Result<SetLockReply>>>();
    std::shared_future<Result<SetLockReply>> future_ = promise_->get_future().share();
  };

  Ask set(Mount& m, const Lock& lock, LockWait wait = LockWait::no) {
    Ask ask;
    router_->set_lock(m.who, {OpNumber{++locks_}, {}, lock, wait}, ask.done());
    return ask;
  }
  static Lock lock(Ino ino, LockType type = LockType::exclusive) {
    return {ino, LockKind::record, 7, type, {0, 10}, 1, false};
  }
  Result<ReclaimLocksReply> reclaim(const Mount& m, std::vector<Lock> locks) {
    return router_->reclaim_locks(m.who, {std::move(locks)});
  }
  void let_pass(std::chrono::milliseconds time) {
    clock_.advance(time);
    std::this_thread::sleep_for(150ms);  // the timer looks at real time now and then
  }

  uint64_t locks_ = 0;
};

TEST_F(LockingTest, OneWaitsForTheOtherAndHoldsNoThread) {
  Mount a = mount(), b = mount();
  const Ino file = a.create(a.root(), "f");
  EXPECT_TRUE(set(a, lock(file)).get().ok());
  EXPECT_EQ(set(b, lock(file)).get().code(), Code::would_block);
  const Ask waits = set(b, lock(file), LockWait::stay);
  EXPECT_FALSE(waits.answered());
  const auto seen = router_->test_lock(b.who, {lock(file)});
  ASSERT_TRUE(seen.ok() && seen->blocker);
  EXPECT_TRUE(router_->detach(a.who).ok());
  EXPECT_TRUE(waits.get().ok());
}

// A lock that is given up in pieces is more and more of them; what a mount holds must fit into one
// message, or it could never say so to a router that takes over.
TEST_F(LockingTest, UnlockingInPiecesKeepsTheBoundToo) {
  Mount m = mount();
  Lock all = lock(m.create(m.root(), "f"));
  all.range = {0, 4 * limits::kLocksPerSession};
  ASSERT_TRUE(set(m, all).get().ok());
  Lock part = all;
  part.type = LockType::none;
  for (uint64_t i = 1; i < limits::kLocksPerSession; ++i) {
    part.range = {2 * i, 2 * i + 1};
    ASSERT_TRUE(set(m, part).get().ok()) << i;
  }
  part.range = {2 * limits::kLocksPerSession, 2 * limits::kLocksPerSession + 1};
  EXPECT_EQ(set(m, part).get().code(), Code::no_space);
  part.range.end = all.range.end;
  EXPECT_TRUE(set(m, part).get().ok()) << "makes no gap";
  part.range = all.range;
  EXPECT_TRUE(set(m, part).get().ok());
}

TEST_F(LockingTest, WhoMayOnlyReadMayNotLock) {
  add_token("publisher", [](auto& token) { token.routes = {route("skills", true, {})}; });
  Mount agent = mount(), publisher = mount("publisher");
  const Ino skill = publisher.create(publisher.root("skills"), "s");
  EXPECT_EQ(set(agent, lock(skill, LockType::shared)).get().code(), Code::read_only);
  EXPECT_TRUE(set(publisher, lock(skill)).get().ok());
  EXPECT_EQ(set(publisher, lock(agent.root())).get().code(), Code::stale_node) << "not its volume";
}

TEST_F(LockingTest, ALostLeaseKeepsLocksThatNobodyWants) {
  Mount a = mount(), b = mount();
  const Ino wanted = a.create(a.root(), "wanted"), kept = a.create(a.root(), "kept");
  EXPECT_TRUE(set(a, lock(wanted)).get().ok());
  EXPECT_TRUE(set(a, lock(kept)).get().ok());
  auto stream = b.stream();
  const Ask waits = set(b, lock(wanted), LockWait::stay);
  for (int i = 0; i < 4 && !waits.answered(); ++i) {
    b.renew();
    let_pass(kLease / 2);
  }
  EXPECT_TRUE(waits.get().ok());
  // What it sent in the belief that it held the lock is not taken.
  EXPECT_EQ(a.start_write(wanted, "late").get().code(), Code::session_lost);
  ASSERT_TRUE(resume(a, 0).ok());
  EXPECT_EQ(a.start_write(wanted, "late").get().code(), Code::session_lost);
  const auto told = reclaim(a, {lock(wanted), lock(kept)});
  ASSERT_TRUE(told.ok());
  EXPECT_EQ(told->lost, std::vector<uint32_t>{0});
  EXPECT_TRUE(a.start_create(a.root(), "after").get().ok());
  EXPECT_EQ(set(b, lock(kept)).get().code(), Code::would_block);
}

// A write that its holder began is stopped in the store, and goes on when the holder is gone.
class LateWriteTest : public LockingTest {
 protected:
  void TearDown() override {
    barrier_.open();
    if (writer_.joinable()) writer_.join();
    LockingTest::TearDown();
  }
  // `file_` was made before `other` looked at anything: nobody has to acknowledge what is done to
  // it.
  void begin(Mount& holder, Mount& other) {
    ASSERT_TRUE(set(holder, lock(file_)).get().ok());
    store_->before("commit", [this] {
      barrier_.pass();
      return ok();
    });
    writer_ = std::thread([&] { late_ = holder.start_write(file_, "late"); });
    barrier_.await_arrivals(1);
    waits_ = set(other, lock(file_), LockWait::stay);
  }
  void other_gets_it_after_that(Mount& holder, Mount& other) {
    EXPECT_EQ(set(other, lock(file_)).get().code(), Code::would_block);
    EXPECT_FALSE(waits_.answered());
    EXPECT_EQ(holder.start_create(holder.root(), "new").get().code(), Code::session_lost);
    barrier_.open();
    writer_.join();
    EXPECT_TRUE(late_.get().ok());
    EXPECT_TRUE(waits_.get().ok());
    EXPECT_EQ(other.content(file_), "late") << "what it reads under the lock is the last";
  }

  Ino file_;
  Barrier barrier_;
  std::thread writer_;
  Pending late_;
  Ask waits_;
};

TEST_F(LateWriteTest, OfALostHolderIsWaitedFor) {
  Mount holder = mount(), other = mount();
  file_ = holder.create(holder.root(), "f");
  begin(holder, other);
  const auto stream = other.stream();
  while (router_->getattr(holder.who, {file_})->as_of) {
    other.renew();
    clock_.advance(kLease / 4);
    std::this_thread::yield();
  }
  other_gets_it_after_that(holder, other);
}

TEST_F(LateWriteTest, OfAnEndedHolderIsWaitedFor) {
  Mount holder = mount(), other = mount();
  file_ = holder.create(holder.root(), "f");
  const Ino held = holder.create(holder.root(), "held");
  ASSERT_TRUE(set(other, lock(held)).get().ok());
  Lock wanted = lock(held);
  wanted.owner = 8;  // or it would be a circle
  const Ask never = set(holder, wanted, LockWait::stay);
  begin(holder, other);
  ASSERT_TRUE(router_->detach(holder.who).ok());
  EXPECT_EQ(never.get().code(), Code::session_lost);
  other_gets_it_after_that(holder, other);
}

TEST_F(LockingTest, ANewRouterWaitsToHearWhatIsHeld) {
  Mount a = mount(), b = mount();
  const Ino file = a.create(a.root(), "f"), other = a.create(a.root(), "g");
  EXPECT_TRUE(set(a, lock(file)).get().ok());
  router_.reset();
  start_router();
  const auto back_b = resume(b, 0);
  ASSERT_TRUE(back_b.ok());
  EXPECT_TRUE(reclaim(b, {}).ok());
  const Ask early = set(b, lock(file), LockWait::stay);
  const Ask free = set(b, lock(other), LockWait::no);
  EXPECT_FALSE(early.answered());
  EXPECT_FALSE(free.answered()) << "A may hold it";
  EXPECT_EQ(router_->test_lock(b.who, {lock(file)}).code(), Code::busy);
  ASSERT_TRUE(resume(a, 0).ok());
  EXPECT_FALSE(early.answered());
  const auto told = reclaim(a, {lock(file)});
  ASSERT_TRUE(told.ok());
  EXPECT_TRUE(told->lost.empty());
  EXPECT_TRUE(free.get().ok());
  EXPECT_FALSE(early.answered());
  EXPECT_TRUE(set(a, lock(file, LockType::none)).get().ok());
  EXPECT_TRUE(early.get().ok());
}

TEST_F(LockingTest, WhoComesTooLateToANewRouterHasLostHisLocks) {
  Mount a = mount(), b = mount();
  const Ino file = a.create(a.root(), "f");
  EXPECT_TRUE(set(a, lock(file)).get().ok());
  router_.reset();
  RouterOptions options;
  options.lease = kLease;
  options.session_grace = 20s;  // for the lock, not the session, to be lost
  options.clock = &clock_;
  options.sole = true;
  router_ = make_router(std::make_unique<ForwardStore>(memory_.get()), options);
  Mount c = mount();
  const Ask waits = set(c, lock(file), LockWait::stay);
  let_pass(limits::kAttachAttempt + limits::kReconnectPause + 1100ms);
  EXPECT_TRUE(waits.get().ok());
  EXPECT_TRUE(set(c, lock(file, LockType::none)).get().ok());
  const auto back = resume(a, 0);
  ASSERT_TRUE(back.ok());
  const auto told = reclaim(a, {lock(file)});
  ASSERT_TRUE(told.ok());
  EXPECT_EQ(told->lost, std::vector<uint32_t>{0}) << "another may have had it in between";
}

TEST_F(LockingTest, AStopDoesNotWaitForWhoWaits) {
  Mount a = mount(), b = mount();
  const Ino file = a.create(a.root(), "f");
  EXPECT_TRUE(set(a, lock(file)).get().ok());
  const Ask waits = set(b, lock(file), LockWait::stay);
  router_->stop();
  EXPECT_EQ(waits.get().code(), Code::unavailable);
}

}  // namespace
}  // namespace linkspan::core::testing
