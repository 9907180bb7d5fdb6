// Of mutations whose outcome the store did not say: they are under way until it does.
#include "fixture.h"

namespace linkspan::core::testing {
namespace {

class OutcomesTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    a_.reset(new Mount(mount()));
    b_.reset(new Mount(mount()));
    hears_ = {a_->stream(), b_->stream()};
    for (const auto& sink : hears_) sink->next();
    request_.op = a_->op();
    request_.parent = a_->root();
    request_.name = "x";
    request_.mode = 0644;
  }

  void no_answer_from(const std::string& call) {
    store_->before(call, [] { return Status(fail(Code::timed_out, "no answer")); });
  }
  // The database does what it did not answer.
  void apply_late() {
    store::Mutation m;
    m.scope = {TenantId{1}, {VolumeId{1}}, {VolumeId{1}}};
    m.seq = Seq{1000};
    m.new_ino = Ino{1'000'000};
    m.author = {"agent", "box", a_->who.session};
    m.now = clock_.now();
    for (m.epoch = Epoch{1}; m.epoch.value < 5; m.epoch = Epoch{m.epoch.value + 1})
      if (memory_->create(m, request_).ok()) return;
    ADD_FAILURE() << "it could not be applied";
  }
  std::future<Result<Seq>> give_up(OpNumber number) {
    const auto over = std::make_shared<std::promise<Result<Seq>>>();
    router_->give_up(a_->who, number, [over](Result<Seq> last) { over->set_value(last); });
    return over->get_future();
  }
  // Time passes, and no lease ends, until something is so, or B hears of a change.
  std::optional<Revocation> pass_until(const std::function<bool()>& so) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!so() && std::chrono::steady_clock::now() < end) {
      clock_.advance(1ms);
      a_->renew();
      b_->renew();
      EXPECT_EQ(hears_[0]->next().kind, Frame::renewed);
      for (Frame frame = hears_[1]->next(); frame.kind != Frame::renewed; frame = hears_[1]->next())
        if (frame.kind == Frame::revoke) return frame.revocation;
    }
    return {};
  }

  std::unique_ptr<Mount> a_, b_;
  std::vector<std::shared_ptr<ScriptedSink>> hears_;
  CreateRequest request_;
};

// Who has looked meanwhile is told, though nobody tries again; and nobody hears before that it is
// over.
TEST_F(OutcomesTest, WhatIsAppliedLateIsRevokedThen) {
  no_answer_from("create");
  no_answer_from("recall");
  const Pending made = a_->start(request_);
  auto over = give_up(request_.op.number);
  pass_until([&] { return store_->calls("recall") >= 2; });
  const LookupReply before = b_->look(b_->root(), "x");
  EXPECT_FALSE(before.node);
  EXPECT_TRUE(before.as_of) << "it may be kept: whoever does is told";
  apply_late();
  EXPECT_FALSE(made.answered());
  store_->before("recall", nullptr);
  const auto told = pass_until([&] { return made.answered(); });
  ASSERT_TRUE(told);
  EXPECT_EQ(told->names, (std::vector<RevokedName>{{b_->root(), "x"}}));
  EXPECT_GT(told->seq, before.as_of);
  EXPECT_FALSE(made.answered());
  EXPECT_NE(over.wait_for(0s), std::future_status::ready);
  b_->ack(told->number);
  EXPECT_EQ(made.get().code(), Code::timed_out);
  ASSERT_EQ(over.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(over.get().ok());
  EXPECT_TRUE(b_->look(b_->root(), "x").node);
}

// Applied in time, the answer lost, and nobody tries again.
TEST_F(OutcomesTest, ANameMadeByAnUnansweredCreateIsRevoked) {
  EXPECT_FALSE(b_->look(b_->root(), "x").node);
  store_->after("create", [] { return Status(fail(Code::io, "connection lost")); });
  const Pending made = a_->start(request_);
  const auto told = pass_until([&] { return made.answered(); });
  ASSERT_TRUE(told);
  EXPECT_EQ(told->names, (std::vector<RevokedName>{{b_->root(), "x"}}));
  b_->ack(told->number);
  EXPECT_EQ(made.get().code(), Code::io);
}

TEST_F(OutcomesTest, WhatWasNeverAppliedIsOverAndCanBeTriedAgain) {
  no_answer_from("create");
  b_->look(b_->root(), "x");
  EXPECT_EQ(a_->start(request_).get().code(), Code::timed_out);
  EXPECT_TRUE(hears_[1]->empty()) << "nothing has changed";
  store_->before("create", nullptr);
  request_.op.retry = true;
  const Pending again = a_->start(request_);
  const auto told = pass_until([&] { return again.answered(); });
  ASSERT_TRUE(told);
  b_->ack(told->number);
  EXPECT_TRUE(again.get().ok());
}

// A retry does not run beside what may be under way: it waits for the same.
TEST_F(OutcomesTest, ARetryWaitsForTheOutcome) {
  no_answer_from("create");
  no_answer_from("recall");
  const Pending made = a_->start(request_);
  request_.op.retry = true;
  const Pending again = a_->start(request_);
  EXPECT_EQ(store_->calls("create"), 1);
  store_->before("recall", nullptr);
  pass_until([&] { return made.answered() && again.answered(); });
  EXPECT_EQ(again.get().code(), Code::timed_out);
}

// One that nobody answers holds up no other.
TEST_F(OutcomesTest, EachIsAskedForThoughOneGetsNoAnswer) {
  std::atomic<bool> let_go{false};
  std::atomic<int> asked{0};
  no_answer_from("create");
  store_->before("recall", [&]() -> Status {
    if (let_go || asked++ % 2 == 1) return ok();
    return fail(Code::timed_out);
  });
  const Pending first = a_->start(request_);
  request_.op = a_->op();
  request_.name = "y";
  const Pending second = a_->start(request_);
  pass_until([&] { return first.answered() || second.answered(); });
  let_go = true;
  pass_until([&] { return first.answered() && second.answered(); });
}

TEST_F(OutcomesTest, TheLocksOfAMountThatIsGoneWaitForIt) {
  const Ino x = a_->create(a_->root(), "locked");
  const Lock lock{x, LockKind::record, 7, LockType::exclusive, {0, 10}, 1, false};
  const auto set = [&](Mount& m) {
    std::promise<Result<SetLockReply>> promise;
    router_->set_lock(m.who, {OpNumber{++m.operations}, {}, lock, LockWait::no},
                      [&](Result<SetLockReply> reply) { promise.set_value(std::move(reply)); });
    return promise.get_future().get();
  };
  ASSERT_TRUE(set(*a_).ok());
  no_answer_from("commit");
  no_answer_from("recall");
  const Pending written = a_->start_write(x, "under the lock");
  router_->stream_closed(a_->who.session, hears_[0].get());
  clock_.advance(kLease * 2);
  EXPECT_EQ(set(*b_).code(), Code::would_block);
  store_->before("recall", nullptr);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!set(*b_).ok()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    clock_.advance(1ms);
  }
  EXPECT_TRUE(written.answered());
}

TEST_F(OutcomesTest, ARouterThatStopsAnswers) {
  no_answer_from("create");
  no_answer_from("recall");
  const Pending made = a_->start(request_);
  router_->stop();
  EXPECT_EQ(made.get().code(), Code::timed_out);
}

}  // namespace
}  // namespace linkspan::core::testing
