#include <thread>

#include "fixture.h"

namespace linkspan::core::testing {
namespace {

TEST_F(CoreTest, AttachGivesRoutesWithVolumesAndRoots) {
  const Mount m = mount();
  ASSERT_EQ(m.attached.routes.size(), 3u);
  EXPECT_TRUE(m.attached.routes[0].volume_id);
  EXPECT_TRUE(m.attached.routes[0].root);
  EXPECT_NE(m.attached.routes[0].root, m.attached.routes[1].root);
  EXPECT_EQ(m.attached.secret.size(), 16u);
  EXPECT_TRUE(m.attached.session);
  EXPECT_EQ(m.attached.principal, "agent");
  EXPECT_EQ(m.attached.sandbox.substr(0, 8), "sandbox-");
  EXPECT_EQ(m.attached.lease, kLease);
  EXPECT_FALSE(m.attached.resumed);
}

TEST_F(CoreTest, RefusedTokensAreToldApart) {
  add_token("old", [&](auto& token) { token.expires = Time{clock_.now().ns - 1}; });
  add_token("bad", [](auto& token) { token.revoked = true; });
  const auto message = [&](const std::string& token) {
    AttachRequest request;
    request.token = token;
    const auto reply = attach(request);
    EXPECT_FALSE(reply.ok());
    EXPECT_EQ(reply.code(), Code::unauthenticated);
    EXPECT_EQ(reply.error().message.find(token + " "), std::string::npos) << "names the token";
    return reply.error().message;
  };
  EXPECT_NE(message("old").find("expired"), std::string::npos);
  EXPECT_NE(message("bad").find("revoked"), std::string::npos);
  EXPECT_NE(message("never-seen").find("does not know"), std::string::npos);
}

TEST_F(CoreTest, ARouteToNowhereIsRefused) {
  add_token("lost", [](auto& token) { token.routes.push_back(route("nowhere", true, {})); });
  AttachRequest request;
  request.token = "lost";
  const auto reply = attach(request);
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::access_denied);
  EXPECT_NE(reply.error().message.find("nowhere"), std::string::npos);
}

TEST_F(CoreTest, CallsNeedTheSecret) {
  Mount m = mount();
  Credentials wrong = m.who;
  wrong.secret[3] ^= 1;
  EXPECT_EQ(router_->getattr(wrong, {m.root()}).code(), Code::unauthenticated);
  wrong.secret.clear();
  EXPECT_EQ(router_->getattr(wrong, {m.root()}).code(), Code::unauthenticated);
  wrong = m.who;
  wrong.session = SessionId{m.who.session.value + 1};
  EXPECT_EQ(router_->getattr(wrong, {m.root()}).code(), Code::session_lost);
  EXPECT_TRUE(router_->getattr(m.who, {m.root()}).ok());
}

TEST_F(CoreTest, AnExpiringTokenEndsItsSessions) {
  add_token("short", [&](auto& token) { token.expires = Time{clock_.now().ns + 50'000'000}; });
  Mount m = mount("short");
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  clock_.advance(60ms);
  const Frame drop = sink->next();
  ASSERT_EQ(drop.kind, Frame::revoke);
  EXPECT_TRUE(drop.revocation.everything);
  m.ack(drop.revocation.number);
  const Frame end = sink->next();
  EXPECT_EQ(end.kind, Frame::end);
  EXPECT_EQ(end.code, Code::unauthenticated);
  EXPECT_FALSE(router_->getattr(m.who, {m.root()}).ok());
}

TEST_F(CoreTest, ReadOnlyRoutesRefuseAndOtherVolumesDoNotExist) {
  add_token("narrow", [](auto& token) { token.routes = {route("skills", false, {})}; });
  Mount all = mount();
  Mount narrow = mount("narrow");
  EXPECT_EQ(all.start_create(all.root("skills"), "x").get().code(), Code::read_only);
  EXPECT_EQ(narrow.start_create(narrow.root("skills"), "x").get().code(), Code::read_only);
  EXPECT_EQ(router_->getattr(narrow.who, {all.root()}).code(), Code::stale_node);
  EXPECT_EQ(router_->statfs(narrow.who, all.root()).code(), Code::stale_node);
}

TEST_F(CoreTest, DetachEndsTheSession) {
  Mount m = mount();
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  ASSERT_TRUE(router_->detach(m.who).ok());
  EXPECT_EQ(sink->next().kind, Frame::end);
  EXPECT_EQ(router_->getattr(m.who, {m.root()}).code(), Code::session_lost);
  EXPECT_EQ(memory_->find_session(m.who.session).code(), Code::not_found);
}

TEST_F(CoreTest, ResumeKeepsCachesWhileNothingWasMissed) {
  Mount m = mount();
  const auto reply = resume(m, 0);
  ASSERT_TRUE(reply.ok());
  EXPECT_TRUE(reply->resumed);
  EXPECT_EQ(reply->session, m.who.session);
  EXPECT_EQ(reply->sandbox, m.attached.sandbox);
}

TEST_F(CoreTest, ResumeWithAWrongSecretGivesANewSession) {
  Mount m = mount();
  m.who.secret[0] ^= 1;
  const auto reply = resume(m, 0);
  ASSERT_TRUE(reply.ok());
  EXPECT_FALSE(reply->resumed);
  EXPECT_NE(reply->session, m.who.session);
}

TEST_F(CoreTest, SessionOfAnEarlierRouterIsResumedWithoutCachesAndWithItsResults) {
  Mount m = mount();
  CreateRequest request;
  request.op = m.op();
  request.parent = m.root();
  request.name = "d";
  request.kind = Kind::directory;
  const Outcome first = m.start(request).get();
  ASSERT_TRUE(first.ok());

  router_.reset();
  start_router();
  EXPECT_EQ(router_->getattr(m.who, {m.root()}).code(), Code::session_lost);
  const auto reply = resume(m, 5);
  ASSERT_TRUE(reply.ok());
  EXPECT_FALSE(reply->resumed);
  EXPECT_EQ(reply->session, m.who.session);
  m.router = router_.get();
  // The client goes on with the revocation numbers that it knows.
  const auto sink = m.stream(5);
  request.op.retry = true;
  const Outcome again = m.start(request).get();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->seq, first->seq);
  EXPECT_EQ(again->as_of, Seq{0});
  EXPECT_FALSE(sink->next().resumed);
}

// Its mount knows that its caches are lost only when it has said so: the answer to Attach, and the
// stream's first words, can be lost.
TEST_F(CoreTest, SessionOfAnEarlierRouterProvesNothingBeforeItsMountHasDroppedAll) {
  Mount a = mount(), b = mount();
  const Ino file = b.create(b.root(), "f"), other = b.create(b.root(), "g");
  router_.reset();
  start_router();
  a.router = b.router = router_.get();
  ASSERT_TRUE(resume(b, 0).ok());
  b.stream();

  ASSERT_FALSE(resume(a, 5)->resumed);
  EXPECT_FALSE(resume(a, 5)->resumed) << "the first answer may not have arrived";
  const auto first = a.stream(5);
  EXPECT_FALSE(first->next().resumed);
  EXPECT_TRUE(first->next().revocation.everything);
  EXPECT_FALSE(resume(a, 5)->resumed) << "the stream's words may not have arrived";
  const auto sink = a.stream(5);
  EXPECT_FALSE(sink->next().resumed);
  const Frame everything = sink->next();
  EXPECT_TRUE(everything.revocation.everything);
  EXPECT_EQ(everything.revocation.number, 6u);

  EXPECT_TRUE(b.start_write(other, "x").answered()) << "nobody waits for that";
  ASSERT_TRUE(router_->getattr(a.who, {file}).ok());
  const Pending write = b.start_write(file, "x");
  const Frame revoke = sink->next();
  EXPECT_EQ(revoke.revocation.number, 7u) << "once is enough";
  EXPECT_FALSE(write.answered());
  a.ack(everything.revocation.number);
  EXPECT_TRUE(resume(a, 6)->resumed) << "a connection that breaks from now on costs no caches";
  a.ack(revoke.revocation.number);
  EXPECT_TRUE(write.answered());
  EXPECT_TRUE(a.stream(7)->next().resumed);
}

TEST_F(CoreTest, ALostSessionIsEndedWhenItsGraceIsOver) {
  Mount m = mount();
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  clock_.advance(kLease + kGrace + 1ms);
  // The first look finds the lease over, the next the grace.
  std::atomic<bool> ended{false};
  std::thread time([&] {
    while (!ended) {
      clock_.advance(kGrace);
      std::this_thread::sleep_for(1ms);
    }
  });
  EXPECT_EQ(sink->next().kind, Frame::end);
  ended = true;
  time.join();
  EXPECT_EQ(router_->getattr(m.who, {m.root()}).code(), Code::session_lost);
}

TEST_F(CoreTest, OfATokensSessionsTheOneThatIsLostLongestMakesRoom) {
  AttachRequest request;
  request.token = "agent-token";
  std::deque<Mount> mounts;
  while (mounts.size() < limits::kSessionsPerToken) {
    const auto attached = attach(request);
    ASSERT_TRUE(attached.ok());
    mounts.emplace_back(router_.get(), *attached);
  }
  EXPECT_EQ(attach(request).code(), Code::busy) << "all of them live";

  // [0, kFirst) stay. That one loses its lease first, kLast others after it: a writer is answered
  // when whoever holds what it changes has lost it.
  constexpr size_t kFirst = 1000, kLast = 16;
  Mount& writer = mounts[0];
  const Ino first = writer.create(writer.root(), "first"),
            then = writer.create(writer.root(), "then");
  mounts[kFirst].look(writer.root(), "first");
  for (size_t i = 1; i <= kLast; ++i) mounts[kFirst + i].look(writer.root(), "then");
  const auto renew_all_but = [&](size_t begin, size_t end) {
    clock_.advance(kLease / 2);
    for (size_t i = 0; i < mounts.size(); ++i)
      if (i < begin || i >= end) mounts[i].renew();
  };
  renew_all_but(kFirst, kFirst + 1);
  const Pending told_first = writer.start_write(first, "x");
  renew_all_but(kFirst, kFirst + kLast + 1);
  ASSERT_TRUE(told_first.get().ok());
  const Pending told_then = writer.start_write(then, "x");
  renew_all_but(kFirst, kFirst + kLast + 1);
  ASSERT_TRUE(told_then.get().ok());

  ASSERT_TRUE(attach(request).ok());
  EXPECT_EQ(router_->getattr(mounts[kFirst].who, {writer.root()}).code(), Code::session_lost);
  for (size_t i = 1; i <= kLast; ++i)
    EXPECT_TRUE(router_->getattr(mounts[kFirst + i].who, {writer.root()}).ok());
}

TEST_F(CoreTest, AStoppedRouterRefuses) {
  Mount m = mount();
  router_->stop();
  router_->stop();
  EXPECT_EQ(router_->getattr(m.who, {m.root()}).code(), Code::unavailable);
  EXPECT_EQ(m.start_create(m.root(), "x").get().code(), Code::unavailable);
  EXPECT_EQ(attach({}).code(), Code::unavailable);
}

TEST_F(CoreTest, AnotherRouterFencesThisOne) {
  Mount m = mount();
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  ASSERT_TRUE(memory_->open_tenant("acme", limits::kLease).ok());
  EXPECT_EQ(m.start_create(m.root(), "x").get().code(), Code::unavailable);
  EXPECT_EQ(sink->next().kind, Frame::end);
  EXPECT_EQ(router_->getattr(m.who, {m.root()}).code(), Code::session_lost);
  // It comes back by attaching: the session is the same, in a new epoch.
  const auto reply = resume(m, 0);
  ASSERT_TRUE(reply.ok());
  EXPECT_FALSE(reply->resumed);
  m.stream();
  EXPECT_TRUE(m.start_create(m.root(), "y").get().ok());
}

}  // namespace
}  // namespace linkspan::core::testing
