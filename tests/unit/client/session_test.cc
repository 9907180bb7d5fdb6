// Attaching, the lease, revocations, resuming, the end.
#include "tests/unit/client/client_fixture.h"

namespace linkspan::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class SessionTest : public ClientTest {};

TEST_F(SessionTest, AttachTellsTheGrant) {
  router.start();
  const auto info = client->attach(within(10s), &listener);
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->tenant, "default");
  EXPECT_EQ(info->principal, "agent");
  EXPECT_EQ(info->sandbox, "box");
  EXPECT_EQ(info->address, router.address());
  ASSERT_EQ(info->routes.size(), 1u);
  EXPECT_EQ(info->routes[0].path, "memory");
  EXPECT_EQ(client->link().link, Link::connected);
  EXPECT_TRUE(client->lease_valid());
  const auto record = router.record();
  ASSERT_EQ(record.attaches.size(), 1u);
  EXPECT_EQ(record.attaches[0].token, "lsp_token");
  EXPECT_THAT(record.attaches[0].client, StartsWith("linkspan "));
  EXPECT_EQ(listener.count("lost"), 0u);
}

TEST_F(SessionTest, ARefusedTokenIsSaidAtOnce) {
  router.refuse_attach = fail(Code::unauthenticated, "the token expired");
  router.start();
  const auto begun = std::chrono::steady_clock::now();
  const auto info = client->attach(within(60s), &listener);
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.code(), Code::unauthenticated);
  EXPECT_EQ(info.error().message, "the token expired");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s * test::kSlowdown);
  EXPECT_EQ(router.record().attaches.size(), 1u);
}

TEST_F(SessionTest, AnUnreachableRouterIsTriedUntilTheDeadline) {
  const auto info = client->attach(within_exactly(300ms), &listener);
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.code(), Code::unavailable);
  EXPECT_THAT(info.error().message, HasSubstr(router.address()));
  EXPECT_THAT(info.error().message, HasSubstr("tried for 0."));
}

TEST_F(SessionTest, ARouterThatComesLaterIsFound) {
  auto info = std::async([&] { return client->attach(within(10s), &listener); });
  EXPECT_EQ(info.wait_for(50ms), std::future_status::timeout);
  router.start();
  EXPECT_TRUE(info.get().ok());
}

TEST_F(SessionTest, TheNextRouterIsAskedWhenTheFirstIsGone) {
  make_with_standby();
  router.start();
  const auto info = client->attach(within(10s), &listener);
  ASSERT_TRUE(info.ok()) << info.error().message;
  const uint64_t client_session = info->id.value;
  EXPECT_TRUE(standby.record().attaches.empty());
  router.stop();
  // It refuses as long as the first may live; both are asked in turns.
  ASSERT_TRUE(standby.wait([](const auto& r) { return r.attaches.size() >= 2; }));
  const auto asked = standby.record().attaches;
  EXPECT_EQ(asked[0].resume.value, client_session) << "the same session goes on";
  standby.script([](FakeRouter& r) { r.refuse_attach.reset(); });
  EXPECT_TRUE(lookup(within(10s)).ok());
}

TEST_F(SessionTest, AttachingCanBeCancelled) {
  CancelToken cancel;
  auto info = std::async([&] { return client->attach(within(60s, &cancel), &listener); });
  cancel.cancel();
  const auto result = info.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.code(), Code::interrupted);
}

TEST_F(SessionTest, ARouterWithoutAStreamIsUnavailable) {
  router.welcome = false;
  router.start();
  const auto info = client->attach(within(400ms), &listener);
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.code(), Code::unavailable);
}

TEST_F(SessionTest, RenewsTheLeaseThreeTimesInItsLength) {
  router.lease = 300ms * test::kSlowdown;
  attach();
  ASSERT_TRUE(router.wait([](const auto& r) { return r.renews.size() >= 6; }));
  EXPECT_TRUE(client->lease_valid());
  EXPECT_EQ(listener.count("lost"), 0u);
  const auto renews = router.record().renews;
  for (size_t i = 1; i < renews.size(); ++i) EXPECT_EQ(renews[i].nonce, renews[i - 1].nonce + 1);
}

TEST_F(SessionTest, RevocationsAreAcknowledgedAfterTheyAreProcessed) {
  std::promise<void> entered, proceed;
  listener.revoking = [&](const Revocation& revocation) {
    if (revocation.number != 1) return;
    entered.set_value();
    proceed.get_future().wait();
  };
  attach();
  auto stream = router.stream();
  for (uint64_t number = 1; number <= 3; ++number) {
    Revocation revocation;
    revocation.number = number;
    revocation.nodes = {{Ino(20 + number), true, false}};
    stream->send(revocation);
  }
  entered.get_future().wait();
  EXPECT_TRUE(router.record().acks.empty());
  proceed.set_value();
  ASSERT_TRUE(router.wait([](const auto& r) { return !r.acks.empty() && r.acks.back() == 3; }));
  EXPECT_THAT(listener.events(), ElementsAre("connected", "revoke 1", "revoke 2", "revoke 3"));
  EXPECT_EQ(client->stats().revocations, 3u);
}

TEST_F(SessionTest, AResumedStreamKeepsCachesAndSaysWhatWasProcessed) {
  attach();
  Revocation revocation;
  revocation.number = 1;
  router.stream()->send(revocation);
  ASSERT_TRUE(router.wait([](const auto& r) { return r.acks.size() == 1; }));
  router.stream()->break_off();
  ASSERT_TRUE(listener.wait("connected", 2));
  const auto record = router.record();
  ASSERT_EQ(record.attaches.size(), 2u);
  EXPECT_EQ(record.attaches[1].resume, SessionId(100));
  EXPECT_EQ(record.attaches[1].resume_secret, "0123456789abcdef");
  EXPECT_EQ(record.attaches[1].resume_revocation, 1u);
  EXPECT_THAT(record.hellos, ElementsAre(0, 1));
  EXPECT_EQ(listener.count("lost"), 0u);
  EXPECT_TRUE(client->lease_valid());
}

TEST_F(SessionTest, ARevocationThatIsSentAgainIsOnlyAcknowledged) {
  attach();
  Revocation revocation;
  revocation.number = 1;
  router.stream()->send(revocation);
  router.stream()->send(revocation);
  revocation.number = 2;
  router.stream()->send(revocation);
  ASSERT_TRUE(router.wait([](const auto& r) { return !r.acks.empty() && r.acks.back() == 2; }));
  EXPECT_EQ(listener.count("revoke 1"), 1u);
}

TEST_F(SessionTest, AGapInTheRevocationsDropsAllCaches) {
  attach();
  Revocation revocation;
  revocation.number = 1;
  router.stream()->send(revocation);
  revocation.number = 3;
  router.stream()->send(revocation);
  ASSERT_TRUE(listener.wait("connected", 2));
  EXPECT_THAT(listener.events(),
              ElementsAre("connected", "revoke 1", "disconnected", "lost", "connected"));
  EXPECT_EQ(router.record().attaches.back().resume_revocation, 1u);
}

TEST_F(SessionTest, AResumeThatMissedSomethingDropsAllCachesBeforeTheLease) {
  std::atomic<bool> leased_while_losing{false};
  listener.losing = [&] { leased_while_losing = leased_while_losing || client->lease_valid(); };
  attach();
  for (bool by_attach : {true, false}) {
    router.script([&](FakeRouter& r) {
      r.attach_resumed = !by_attach;
      r.welcome_resumed = by_attach;
    });
    const size_t before = listener.count("lost");
    const size_t links = listener.count("connected");
    router.stream()->break_off();
    ASSERT_TRUE(listener.wait("connected", links + 1));
    EXPECT_EQ(listener.count("lost"), before + 1);
    EXPECT_TRUE(client->lease_valid());
  }
  EXPECT_FALSE(leased_while_losing);
}

TEST_F(SessionTest, ALostSessionIsReplacedByANewOne) {
  attach();
  router.script([](FakeRouter& r) { r.know_sessions = false; });
  router.stream()->break_off();
  ASSERT_TRUE(listener.wait("connected", 2));
  EXPECT_EQ(listener.count("lost"), 1u);
  const auto record = router.record();
  ASSERT_EQ(record.attaches.size(), 3u);
  EXPECT_EQ(record.attaches[1].resume, SessionId(100));
  EXPECT_EQ(record.attaches[2].resume, SessionId());
  EXPECT_EQ(client->stats().sessions, 2u);
}

TEST_F(SessionTest, AnUnansweredLeaseEndsAtOnceAndDropsAllCaches) {
  router.lease = 200ms * test::kSlowdown;
  router.answer_renewals = false;
  std::atomic<bool> leased_while_losing{false};
  listener.losing = [&] { leased_while_losing = leased_while_losing || client->lease_valid(); };
  const auto begun = std::chrono::steady_clock::now();
  attach();
  ASSERT_TRUE(listener.wait("lost"));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s * test::kSlowdown);
  EXPECT_FALSE(leased_while_losing);
  ASSERT_TRUE(listener.wait("connected", 2));  // and it tries again on a new connection
}

TEST_F(SessionTest, TheLeaseRunsOutWhileDisconnected) {
  router.lease = 300ms * test::kSlowdown;
  attach();
  router.stop();
  EXPECT_TRUE(client->lease_valid());  // the router waits for it: caches may be used
  ASSERT_TRUE(listener.wait("lost"));
  EXPECT_FALSE(client->lease_valid());
  EXPECT_EQ(client->link().link, Link::disconnected);
  EXPECT_THAT(client->link().reason, ::testing::Not(""));
  EXPECT_EQ(listener.count("lost"), 1u);
  router.start();
  ASSERT_TRUE(listener.wait("connected", 2));
  EXPECT_TRUE(client->lease_valid());
  EXPECT_EQ(listener.count("lost"), 1u);
}

TEST_F(SessionTest, AMachineThatSleptDoesNotBelieveInItsLease) {
  attach();
  ASSERT_TRUE(client->lease_valid());
  asleep = std::chrono::nanoseconds(1h).count();
  EXPECT_FALSE(client->lease_valid());
}

TEST_F(SessionTest, StartingOverEndsTheLeaseAndTakesANewSession) {
  attach();
  for (size_t times = 1; times <= 3; ++times) {
    client->start_over();
    ASSERT_TRUE(listener.wait("connected", times + 1));
    EXPECT_TRUE(client->lease_valid());
    EXPECT_EQ(listener.count("lost"), times);
    EXPECT_EQ(router.record().attaches.back().resume, SessionId());
    EXPECT_EQ(client->stats().sessions, times + 1);
  }
}

TEST_F(SessionTest, StartingOverWithoutARouterEndsTheLeaseAtOnce) {
  attach();
  router.stop();
  client->start_over();
  EXPECT_FALSE(client->lease_valid());
  ASSERT_TRUE(listener.wait("lost"));
  router.start();
  ASSERT_TRUE(listener.wait("connected", 2));
  EXPECT_EQ(router.record().attaches.back().resume, SessionId());
}

TEST_F(SessionTest, WhatIsUnderWayWhenStartingOverIsTriedAgain) {
  std::promise<void> entered, cancelled;
  std::atomic<bool> first{true};
  router.hooks["Lookup"] = [&](grpc::ServerContext& context) {
    if (!first.exchange(false)) return grpc::Status::OK;
    entered.set_value();
    const grpc::Status status = router.wait_for_cancel(context);
    cancelled.set_value();
    return status;
  };
  attach();
  auto reply = std::async([&] { return lookup(within(10s)); });
  entered.get_future().wait();
  client->start_over();
  EXPECT_TRUE(reply.get().ok());
  cancelled.get_future().wait();  // the answer of the second try may come before it
  EXPECT_EQ(router.record().cancelled, 1u);
}

TEST_F(SessionTest, NoRenewalWhileARevocationHangs) {
  router.lease = 200ms * test::kSlowdown;
  std::promise<void> proceed;
  listener.revoking = [&](const Revocation&) { proceed.get_future().wait(); };
  attach();
  Revocation revocation;
  revocation.number = 1;
  router.stream()->send(revocation);
  while (client->lease_valid()) std::this_thread::yield();
  EXPECT_TRUE(router.record().acks.empty());
  proceed.set_value();
  ASSERT_TRUE(listener.wait("lost"));
}

TEST_F(SessionTest, TheEndOfTheGrantEndsEveryCall) {
  attach();
  router.stream()->send(wire::End{fail(Code::unauthenticated, "token revoked")});
  ASSERT_TRUE(listener.wait("ended: the router ended the session: token revoked"));
  EXPECT_FALSE(client->lease_valid());
  EXPECT_EQ(listener.count("lost"), 1u);
  EXPECT_EQ(client->link().link, Link::ended);
  const auto reply = lookup(within(10s));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::unauthenticated);
}

TEST_F(SessionTest, ARouterThatStopsIsWaitedFor) {
  attach();
  router.stream()->send(wire::End{fail(Code::unavailable, "stopping")});
  ASSERT_TRUE(listener.wait("connected", 2));
  EXPECT_EQ(router.record().attaches.back().resume, SessionId(100));
}

TEST_F(SessionTest, ATokenThatIsRefusedOnReconnectEndsTheLink) {
  attach();
  router.script([](FakeRouter& r) { r.refuse_attach = fail(Code::unauthenticated, "revoked"); });
  router.stream()->break_off();
  ASSERT_TRUE(listener.wait("ended: revoked"));
  EXPECT_FALSE(client->lease_valid());
}

TEST_F(SessionTest, ATreeThatWasReplacedEndsTheLink) {
  attach();
  router.script([](FakeRouter& r) {
    r.know_sessions = false;
    r.root = Ino(17);
  });
  router.stream()->break_off();
  ASSERT_TRUE(listener.wait("ended:"));
  EXPECT_THAT(client->link().reason, HasSubstr("mount again"));
}

TEST_F(SessionTest, DetachTellsTheRouterAndEndsTheLease) {
  attach();
  client->detach();
  client->detach();
  EXPECT_EQ(router.record().detaches, 1u);
  EXPECT_FALSE(client->lease_valid());
  EXPECT_EQ(client->link().link, Link::ended);
  EXPECT_FALSE(lookup(within(10s)).ok());
}

TEST_F(SessionTest, FramesOfAHostileRouterBreakTheLinkOnly) {
  attach();
  Revocation bad;
  bad.number = 1;
  bad.names = {{Ino(16), "../../etc"}};
  router.stream()->send(bad);
  ASSERT_TRUE(listener.wait("connected", 2));
  EXPECT_EQ(listener.count("revoke"), 0u);
}

}  // namespace
}  // namespace linkspan::client
