// Of mutations whose outcome the store did not say: they are under way until it does.
#include <algorithm>

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
    store_->no_answer(call, [] { return Status(fail(Code::timed_out, "no answer")); });
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

  // B is told of the new name, and A that its outcome is not known.
  void expect_revoked_then_failed(const Pending& made) {
    const auto told = pass_until([&] { return made.answered(); });
    ASSERT_TRUE(told);
    EXPECT_EQ(told->names, (std::vector<RevokedName>{{b_->root(), "x"}}));
    b_->ack(told->number);
    EXPECT_EQ(made.get().code(), Code::io);
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
  store_->no_answer("recall", nullptr);
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

// The mount has given it up, and all that it does later says so to the store.
TEST_F(OutcomesTest, WhatWasGivenUpKeepsItsResultUntilItWasLookedFor) {
  EXPECT_FALSE(b_->look(b_->root(), "x").node);
  store_->after("create", [] { return Status(fail(Code::io, "connection lost")); });
  no_answer_from("recall");
  const Pending made = a_->start(request_);
  auto over = give_up(request_.op.number);
  store_->after("create", nullptr);
  CreateRequest other = request_;
  other.op = a_->op();
  other.op.answered_below = other.op.number;
  other.name = "y";
  const Pending next = a_->start(other);
  const auto of_other = pass_until([&] { return next.answered(); });
  ASSERT_TRUE(of_other);
  b_->ack(of_other->number);
  ASSERT_TRUE(next.get().ok());
  store_->no_answer("recall", nullptr);
  expect_revoked_then_failed(made);
}

// Not taken up again either: as a new one it would answer, and forget, for itself.
TEST_F(OutcomesTest, AnEndedSessionKeepsItsResultsUntilTheyWereLookedFor) {
  EXPECT_FALSE(b_->look(b_->root(), "x").node);
  store_->after("create", [] { return Status(fail(Code::io, "connection lost")); });
  no_answer_from("recall");
  const Pending made = a_->start(request_);
  ASSERT_TRUE(router_->detach(a_->who).ok());
  const auto again = resume(*a_, 0);
  ASSERT_TRUE(again.ok());
  EXPECT_NE(again->session, a_->who.session);
  ASSERT_TRUE(router_->detach({again->session, again->secret}).ok());
  store_->no_answer("recall", nullptr);
  std::optional<Revocation> told;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!told && !made.answered() && std::chrono::steady_clock::now() < end) {
    clock_.advance(1ms);
    b_->renew();
    for (Frame frame = hears_[1]->next(); frame.kind != Frame::renewed; frame = hears_[1]->next())
      if (frame.kind == Frame::revoke) told = frame.revocation;
  }
  ASSERT_TRUE(told);
  b_->ack(told->number);
  EXPECT_EQ(made.get().code(), Code::io);
}

// Refused a lock or a connection, say: nothing is there, or will be.
TEST_F(OutcomesTest, WhatWasNotSentToBeCommittedFailsAtOnce) {
  for (const Code code : {Code::timed_out, Code::unavailable, Code::io, Code::internal}) {
    store_->before("create", [code] { return Status(fail(code)); });
    request_.op = a_->op();
    const Pending made = a_->start(request_);
    EXPECT_TRUE(made.answered());
    EXPECT_EQ(made.get().code(), code);
  }
  EXPECT_EQ(store_->calls("recall"), 0);
}

// Applied in time, the answer lost, and nobody tries again.
TEST_F(OutcomesTest, ANameMadeByAnUnansweredCreateIsRevoked) {
  EXPECT_FALSE(b_->look(b_->root(), "x").node);
  store_->after("create", [] { return Status(fail(Code::io, "connection lost")); });
  const Pending made = a_->start(request_);
  expect_revoked_then_failed(made);
}

TEST_F(OutcomesTest, WhatWasNeverAppliedIsOverAndCanBeTriedAgain) {
  no_answer_from("create");
  b_->look(b_->root(), "x");
  EXPECT_EQ(a_->start(request_).get().code(), Code::timed_out);
  EXPECT_TRUE(hears_[1]->empty()) << "nothing has changed";
  store_->no_answer("create", nullptr);
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
  store_->no_answer("recall", nullptr);
  pass_until([&] { return made.answered() && again.answered(); });
  EXPECT_EQ(again.get().code(), Code::timed_out);
}

// Those that nobody answers hold up no other of their tenant.
TEST_F(OutcomesTest, EachIsAskedForThoughOneGetsNoAnswer) {
  std::atomic<bool> let_go{false};
  std::atomic<int> asked{0};
  no_answer_from("create");
  store_->no_answer("recall", [&]() -> Status {
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

// Nor, however many they are, another tenant's for longer than one of them.
TEST_F(OutcomesTest, ATenantWaitsForOneQuestionOfAnother) {
  ASSERT_TRUE(memory_->provision({"other", {{"memory"}}}, clock_.now()).ok());
  add_token("other-token", [](store::TokenRecord& token) {
    token.tenant = "other";
    token.principal = "other";
    token.routes.resize(1);
  });
  Mount other = mount("other-token");
  const auto hears = other.stream();
  no_answer_from("create");
  Barrier silence;
  std::mutex mutex;
  std::vector<TenantId> asked;
  store_->no_answer("recall", [&]() -> Status {
    {
      const std::lock_guard lock(mutex);
      asked.push_back(store_->recalled);
      if (asked.back() != TenantId{1}) return ok();
    }
    silence.pass();
    return fail(Code::timed_out);
  });
  std::vector<Pending> stuck;
  for (const char* name : {"1", "2", "3"}) {
    request_.op = a_->op();
    request_.name = name;
    stuck.push_back(a_->start(request_));
  }
  silence.await_arrivals(1);
  const Pending made = other.start_create(other.root(), "x");
  const auto before = [&] {
    const std::lock_guard lock(mutex);
    return asked.size();
  }();
  silence.open();
  pass_until([&] { return made.answered(); });
  EXPECT_EQ(made.get().code(), Code::timed_out);
  {
    const std::lock_guard lock(mutex);
    const auto others = std::find_if(asked.begin(), asked.end(),
                                     [](TenantId tenant) { return tenant != TenantId{1}; });
    ASSERT_NE(others, asked.end());
    EXPECT_LE(others - asked.begin(), static_cast<ptrdiff_t>(before) + 1);
  }
  store_->no_answer("recall", nullptr);
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
  store_->no_answer("recall", nullptr);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!set(*b_).ok()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    clock_.advance(1ms);
  }
  EXPECT_EQ(written.get().code(), Code::timed_out);
}

// Also while the store stands still with the question.
TEST_F(OutcomesTest, ARouterThatIsToStopAnswers) {
  Barrier silence;
  no_answer_from("create");
  store_->no_answer("recall", [&]() -> Status {
    silence.pass();
    return fail(Code::timed_out);
  });
  const Pending made = a_->start(request_);
  auto over = give_up(request_.op.number);
  silence.await_arrivals(1);
  router_->end_waits();
  EXPECT_EQ(made.get().code(), Code::timed_out);
  ASSERT_EQ(over.wait_for(kPatience), std::future_status::ready);
  request_.op = a_->op();
  EXPECT_EQ(a_->start(request_).get().code(), Code::timed_out) << "from now on";
  router_->stop();
  silence.open();
}

}  // namespace
}  // namespace linkspan::core::testing
