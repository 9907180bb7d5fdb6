// How long calls wait while the router is away: the time counts from when the link went.
#include "fusefs/client/gate.h"
#include "tests/unit/client/client_fixture.h"

namespace linkspan::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

using Steady = std::chrono::steady_clock;

// Waits `away` at most for a link that is gone; else for a minute.
Call away_for(std::chrono::milliseconds away, CancelToken* cancel = nullptr) {
  Call call = within(60s, cancel);
  call.away = away;
  return call;
}

class AwayTest : public ClientTest {
 protected:
  struct Timed {
    Result<LookupReply> reply;
    Steady::duration took;
  };
  Timed timed(const Call& call) {
    const auto begun = Steady::now();
    auto reply = lookup(call);
    return {std::move(reply), Steady::now() - begun};
  }
  void expect_timed_out(const Timed& one, Steady::duration least, Steady::duration most) {
    ASSERT_FALSE(one.reply.ok());
    EXPECT_EQ(one.reply.code(), Code::timed_out);
    EXPECT_GE(one.took, least);
    EXPECT_LT(one.took, most * test::kSlowdown);
  }
  void go_away() {
    router.stop();
    ASSERT_TRUE(listener.wait("disconnected"));
  }
};

TEST_F(AwayTest, CallsOneAfterTheOtherDoNotWaitAnewEach) {
  attach();
  go_away();
  const auto begun = Steady::now();
  expect_timed_out(timed(away_for(1500ms)), 500ms, 5s);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(lookup(away_for(1500ms)).code(), Code::timed_out);
  EXPECT_LT(Steady::now() - begun, 6s);  // not 21 times 1.5 s
}

TEST_F(AwayTest, ACallThatBeginsMidwayWaitsForTheRest) {
  attach();
  const auto gone = Steady::now();
  go_away();
  std::this_thread::sleep_for(2s);  // a part of the time itself
  ASSERT_FALSE(lookup(away_for(3s)).ok());
  EXPECT_GE(Steady::now() - gone, 2900ms);
  EXPECT_LT(Steady::now() - gone, 5s);  // not 2 s and then 3 s
}

TEST_F(AwayTest, TheErrorSaysForHowLong) {
  attach();
  go_away();
  ASSERT_FALSE(lookup(away_for(200ms)).ok());
  const auto reply = lookup(away_for(200ms));
  ASSERT_FALSE(reply.ok());
  EXPECT_THAT(reply.error().message,
              AllOf(HasSubstr("no answer from " + router.address()), HasSubstr("(away for ")));
}

TEST_F(AwayTest, TheDeadlineAndTheTokenCountAsEver) {
  attach();
  go_away();
  Call call = within(300ms);
  call.away = 1min;
  expect_timed_out(timed(call), 250ms, 5s);
  CancelToken cancel;
  auto waiting = std::async([&] { return lookup(away_for(1min, &cancel)); });
  EXPECT_EQ(waiting.wait_for(100ms), std::future_status::timeout);
  cancel.cancel();
  EXPECT_EQ(waiting.get().code(), Code::interrupted);
}

TEST_F(AwayTest, WithoutALimitTheWholeDeadlineIsWaited) {
  attach();
  go_away();
  ASSERT_FALSE(lookup(away_for(1ms)).ok());
  expect_timed_out(timed(within(700ms)), 650ms, 5s);
}

// As for a link that breaks and is there again: nobody fails needlessly.
TEST_F(AwayTest, AReconnectWithinTheTimeIsWaitedFor) {
  attach();
  go_away();
  auto reply = std::async([&] { return lookup(away_for(30s)); });
  EXPECT_EQ(reply.wait_for(200ms), std::future_status::timeout);
  router.start();
  EXPECT_TRUE(reply.get().ok());
}

TEST_F(AwayTest, AfterAReconnectTheTimeIsWholeAgain) {
  attach();
  go_away();
  ASSERT_FALSE(lookup(away_for(100ms)).ok());
  std::atomic<int> refusals{2};
  router.script([&](FakeRouter& r) {
    r.hooks["Lookup"] = [&](grpc::ServerContext& context) {
      std::this_thread::sleep_for(500ms);  // longer than the link was allowed to be away
      return refusals-- > 0 ? wire::finish(context, fail(Code::busy, "full")) : grpc::Status::OK;
    };
  });
  router.start();
  ASSERT_TRUE(listener.wait("connected", 2));
  std::this_thread::sleep_for(kLinkIsBack);
  EXPECT_TRUE(lookup(away_for(100ms)).ok());
  EXPECT_TRUE(lookup(away_for(100ms)).ok());  // after an answer, too
  router.stream()->break_off();
  EXPECT_TRUE(lookup(away_for(5s)).ok());
}

// A router that has lost its store lets mounts attach, and then has no lease for them.
TEST_F(AwayTest, ALinkThatOpensAndBreaksIsAwayAllAlong) {
  attach();
  std::atomic<bool> broken{true};
  router.script([&](FakeRouter& r) {
    r.lease = 60ms;
    r.answer_renewals = false;
    r.hooks["Lookup"] = [&](grpc::ServerContext& context) {
      return broken ? wire::finish(context, fail(Code::unavailable, "no database"))
                    : grpc::Status::OK;
    };
  });
  router.stream()->break_off();
  ASSERT_TRUE(listener.wait("connected", 3));
  const auto begun = Steady::now();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(lookup(away_for(1500ms)).code(), Code::timed_out);
  EXPECT_LT(Steady::now() - begun, 6s);  // not ten times 1.5 s
  broken = false;
  router.script([](FakeRouter& r) { r.lease = 5000ms, r.answer_renewals = true; });
  EXPECT_TRUE(lookup(within(10s)).ok());
}

// From when it was heard last, not from when that was noticed.
TEST_F(AwayTest, ASilentRouterIsAwaySinceItWasHeardLast) {
  router.lease = 2400ms;
  router.answer_renewals = false;
  const auto begun = Steady::now();
  attach();
  router.script([](FakeRouter& r) { r.refuse_attach = fail(Code::unavailable, "standing by"); });
  ASSERT_TRUE(listener.wait("disconnected"));
  EXPECT_GT(Steady::now() - begun, 1500ms);
  EXPECT_EQ(lookup(away_for(3s)).code(), Code::timed_out);
  EXPECT_GT(Steady::now() - begun, 2900ms);
  EXPECT_LT(Steady::now() - begun, 5s);  // not 2.1 s and then 3 s
}

// Nobody knows for how long the router was away: it may be there.
TEST_F(AwayTest, AMachineThatSleptCountsFromItsReturn) {
  router.lease = 800ms;
  router.answer_renewals = false;
  attach();
  asleep = std::chrono::nanoseconds(1h).count();
  router.script([](FakeRouter& r) { r.refuse_attach = fail(Code::unavailable, "standing by"); });
  ASSERT_TRUE(listener.wait("disconnected"));
  auto reply = std::async([&] { return lookup(away_for(20s)); });
  EXPECT_EQ(reply.wait_for(500ms), std::future_status::timeout);
  router.script([](FakeRouter& r) { r.refuse_attach.reset(), r.answer_renewals = true; });
  EXPECT_TRUE(reply.get().ok());
}

TEST_F(AwayTest, TheLinkSaysWhichRouterServesAndWhatTheOthersSaid) {
  make_with_standby();
  attach();
  EXPECT_EQ(client->link().address, router.address());
  EXPECT_EQ(client->link().router, "fake");
  router.stop();
  ASSERT_TRUE(standby.wait([](const auto& r) { return r.attaches.size() >= 2; }));
  ASSERT_TRUE(listener.wait("disconnected"));
  EXPECT_EQ(client->link().address, "");
  const auto reply = lookup(away_for(300ms));
  ASSERT_FALSE(reply.ok());
  EXPECT_THAT(reply.error().message,
              AllOf(HasSubstr(router.address() + ": "),
                    HasSubstr(standby.address() + " answered: another router serves the tenant")));
  standby.script([](FakeRouter& r) { r.refuse_attach.reset(); });
  ASSERT_TRUE(lookup(within(10s)).ok());
  EXPECT_EQ(client->link().address, standby.address());
  client->detach();
}

TEST_F(AwayTest, AttachingInVainNamesEveryRouterThatWasAsked) {
  const std::string addresses = make_with_standby();
  const auto info = client->attach(within_exactly(500ms), &listener);
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.code(), Code::unavailable);
  EXPECT_THAT(info.error().message,
              AllOf(HasSubstr("no router at " + addresses + " serves this mount"),
                    HasSubstr(router.address() + ": "),
                    HasSubstr(standby.address() + " answered: another router serves the tenant")));
}

}  // namespace
}  // namespace linkspan::client
