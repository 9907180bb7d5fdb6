// The pieces that need no router: cancel token, addresses, backoff, verdicts, operation numbers.
#include <gtest/gtest.h>

#include <thread>

#include "fusefs/client/addresses.h"
#include "fusefs/client/backoff.h"
#include "fusefs/client/lease_clock.h"
#include "fusefs/client/op_tracker.h"
#include "fusefs/client/router_client.h"

namespace linkspan::client {
namespace {

using namespace std::chrono_literals;

TEST(CancelToken, RunsTheCallbackOnce) {
  CancelToken token;
  int calls = 0;
  token.set([&] { ++calls; });
  EXPECT_FALSE(token.cancelled());
  token.cancel();
  token.cancel();
  EXPECT_TRUE(token.cancelled());
  EXPECT_EQ(calls, 1);
  token.set([&] { ++calls; });  // at once
  EXPECT_EQ(calls, 2);
}

TEST(CancelToken, ClearingWaitsForTheCallback) {
  CancelToken token;
  std::atomic<bool> inside{false}, proceed{false}, cleared{false};
  token.set([&] {
    inside = true;
    while (!proceed) std::this_thread::yield();
    EXPECT_FALSE(cleared);
  });
  std::thread canceller([&] { token.cancel(); });
  while (!inside) std::this_thread::yield();
  std::thread clearer([&] {
    token.set({});
    cleared = true;
  });
  proceed = true;
  canceller.join();
  clearer.join();
  EXPECT_TRUE(cleared);
}

TEST(Addresses, AreAskedInTurnsFromTheOneThatServedLast) {
  Addresses routers("a,b,c");
  EXPECT_TRUE(routers.round_begins());
  EXPECT_EQ(routers.current(), "a");
  routers.next();
  EXPECT_FALSE(routers.round_begins());
  EXPECT_EQ(routers.current(), "b");
  routers.succeeded();
  EXPECT_TRUE(routers.round_begins());
  EXPECT_EQ(routers.current(), "b");
  for (const char* asked : {"c", "a", "b"}) {
    routers.next();
    EXPECT_EQ(routers.current(), asked);
  }
  EXPECT_TRUE(routers.round_begins()) << "each was asked once";
}

TEST(Addresses, SayWhatCameOfAskingEach) {
  Addresses routers("a,b");
  EXPECT_EQ(routers.said(), "");
  routers.note(fail(Code::unavailable, "refused"), false);
  EXPECT_EQ(routers.said(), "a: refused");
  EXPECT_FALSE(routers.any_answered());
  routers.next();
  routers.note(fail(Code::unavailable, "standing by"), true);
  EXPECT_EQ(routers.said(), "a: refused; b answered: standing by");
  EXPECT_TRUE(routers.any_answered());
  routers.forget_said();
  EXPECT_EQ(routers.said(), "");
  EXPECT_FALSE(routers.any_answered());
}

TEST(Addresses, AloneItIsNotNamed) {
  Addresses router("unix:/run/router.sock");
  router.note(fail(Code::unavailable, "no such file"), false);
  EXPECT_EQ(router.said(), "no such file");
  router.next();
  EXPECT_EQ(router.current(), "unix:/run/router.sock");
  EXPECT_TRUE(router.round_begins());
}

TEST(BackoffTest, GrowsWithinItsBounds) {
  Backoff backoff({50ms, 1000ms}, 7);
  for (const auto longest : {50ms, 100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    const auto wait = backoff.next();
    EXPECT_GE(wait, longest / 2);
    EXPECT_LE(wait, longest);
  }
  for (int i = 0; i < 100; ++i) EXPECT_LE(backoff.next(), 1000ms);
  backoff.reset();
  EXPECT_LE(backoff.next(), 50ms);
}

TEST(JudgeTest, OnlyWhatTimeCanMendIsRetried) {
  const auto verdict = [](Code code, Origin origin, unsigned odd = 1) {
    return judge(fail(code), origin, odd);
  };
  EXPECT_TRUE(verdict(Code::busy, Origin::router).retry);
  EXPECT_FALSE(verdict(Code::busy, Origin::router).maybe_applied);
  EXPECT_TRUE(verdict(Code::unavailable, Origin::router).retry);
  EXPECT_TRUE(verdict(Code::unavailable, Origin::router).maybe_applied);
  EXPECT_TRUE(verdict(Code::session_lost, Origin::router).session_lost);
  EXPECT_FALSE(verdict(Code::session_lost, Origin::router).maybe_applied);
  EXPECT_FALSE(verdict(Code::not_found, Origin::router).retry);
  EXPECT_FALSE(verdict(Code::internal, Origin::router).retry);
  EXPECT_TRUE(verdict(Code::unavailable, Origin::transport).maybe_applied);
  EXPECT_FALSE(verdict(Code::timed_out, Origin::transport).retry);
  EXPECT_TRUE(verdict(Code::timed_out, Origin::transport).maybe_applied);
  EXPECT_FALSE(verdict(Code::unavailable, Origin::unsent).maybe_applied);
  EXPECT_TRUE(verdict(Code::unavailable, Origin::unsent).retry);
  EXPECT_FALSE(verdict(Code::io, Origin::local).retry);
  EXPECT_TRUE(verdict(Code::internal, Origin::transport, kOddFailures - 1).retry);
  EXPECT_FALSE(verdict(Code::internal, Origin::transport, kOddFailures).retry);
}

TEST(OpTrackerTest, TheWatermarkIsTheOldestUnansweredOfTheSession) {
  OpTracker tracker;
  const OpNumber a = tracker.begin(1), b = tracker.begin(1), c = tracker.begin(1);
  EXPECT_EQ(tracker.answered_below(1), a);
  tracker.end(b);
  EXPECT_EQ(tracker.answered_below(1), a);
  tracker.end(a);
  EXPECT_EQ(tracker.answered_below(1), c);
  tracker.end(c);
  EXPECT_EQ(tracker.answered_below(1), OpNumber(4));
}

TEST(OpTrackerTest, AnotherSessionsOperationsHoldNothingUp) {
  OpTracker tracker;
  tracker.begin(1);
  const OpNumber b = tracker.begin(2);
  EXPECT_EQ(tracker.answered_below(2), b);
}

TEST(OperationTest, ANewSessionTakesOverOnlyWhatWasNotApplied) {
  OpTracker tracker;
  Operation operation(tracker, nullptr);
  ASSERT_TRUE(operation.choose(1).ok());
  EXPECT_FALSE(operation.header().retry);
  EXPECT_TRUE(operation.header().retry);
  ASSERT_TRUE(operation.choose(2).ok());
  EXPECT_EQ(operation.header().number, OpNumber(2));
  operation.maybe_applied();
  EXPECT_EQ(operation.choose(3).code(), Code::io);
}

TEST(OperationTest, ACarriedNumberFromALostSessionIsUnknown) {
  OpTracker tracker;
  OpNumber carried;
  {
    Operation operation(tracker, &carried);
    ASSERT_TRUE(operation.choose(1).ok());
    operation.maybe_applied();
  }
  EXPECT_EQ(carried, OpNumber(1));
  {
    Operation operation(tracker, &carried);
    EXPECT_EQ(operation.choose(2).code(), Code::io);
  }
  EXPECT_EQ(carried, OpNumber());
}

TEST(LeaseClockTest, CountsFromTheSendingAndEndsEarly) {
  BootTime now = 100s;
  LeaseClock lease([&] { return now; });
  EXPECT_FALSE(lease.valid());
  lease.grant(98s, 8000ms);
  EXPECT_TRUE(lease.valid());
  now = 98s + 6999ms;
  EXPECT_TRUE(lease.valid());
  now = 98s + 7000ms;
  EXPECT_FALSE(lease.valid());
  now = 100s;
  lease.drop();
  EXPECT_FALSE(lease.valid());
}

TEST(LeaseWatchTest, FiresWhenArmedAndAgainWhenArmedAnew) {
  std::atomic<int> fired{0};
  auto watch = LeaseWatch::start([&] { ++fired; });
  ASSERT_TRUE(watch.ok());
  (*watch)->arm(boot_now() + 1h);
  EXPECT_EQ(fired, 0);
  (*watch)->arm(boot_now() - 1s);  // as after a sleep
  while (fired < 1) std::this_thread::yield();
  (*watch)->arm(boot_now() + 1ms);
  while (fired < 2) std::this_thread::yield();
}

}  // namespace
}  // namespace linkspan::client
