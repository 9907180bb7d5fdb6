// What becomes of live sessions when their token is revoked or expires.
#include "fixture.h"

namespace linkspan::core::testing {
namespace {

class RevokedTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    add_token("short", {});
  }
  void revoke(const std::string& token, bool revoked = true) {
    add_token(token, [&](auto& t) { t.revoked = revoked; });
  }
  Code code_of(const Mount& m) {
    const auto reply = router_->getattr(m.who, {m.root()});
    return reply.ok() ? Code{} : reply.code();
  }
  // Lets time pass, with these renewing, until `done`. After `most` the clock stands still: what is
  // due by then has to come, however long the router's threads do not run.
  void within(std::chrono::milliseconds most, const std::vector<Mount*>& mounts,
              const std::function<bool()>& done) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    for (auto passed = 0ms; !done();) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up);
      if (passed < most) {
        clock_.advance(20ms);
        passed += 20ms;
      }
      for (Mount* m : mounts) m->renew();
      std::this_thread::sleep_for(5ms);  // the real timer's and the upkeep's turn
    }
  }
  // The first of them.
  void refused_within(std::chrono::milliseconds most, const std::vector<Mount*>& mounts) {
    within(most, mounts, [&] { return code_of(*mounts[0]) != Code{}; });
  }
  static Frame next_but_renewals(ScriptedSink& sink) {
    for (;;) {
      const Frame frame = sink.next();
      if (frame.kind != Frame::renewed && frame.kind != Frame::welcome) return frame;
    }
  }
};

TEST_F(RevokedTest, OthersWaitUntilItHasDroppedEverything) {
  Mount a = mount("short"), b = mount();
  const auto heard = a.stream(), other = b.stream();
  const Ino ino = b.create(b.root(), "x");
  ASSERT_TRUE(a.look(a.root(), "x").node);
  revoke("short");
  refused_within(1000ms, {&a, &b});
  EXPECT_EQ(code_of(a), Code::unauthenticated);
  EXPECT_EQ(router_->check(a.who).code(), Code::unauthenticated);
  EXPECT_EQ(a.start_create(a.root(), "mine").get().code(), Code::unauthenticated);
  EXPECT_EQ(code_of(b), Code{}) << "another token";
  const Frame drop = next_but_renewals(*heard);
  ASSERT_EQ(drop.kind, Frame::revoke);
  EXPECT_TRUE(drop.revocation.everything);

  const Pending write = b.start_write(ino, "new");
  EXPECT_FALSE(write.answered()) << "processes of the other mount may still read the old";
  a.ack(drop.revocation.number);
  EXPECT_TRUE(write.get().ok());
  Frame end = next_but_renewals(*heard);
  if (end.kind == Frame::revoke) end = next_but_renewals(*heard);  // of the write
  EXPECT_EQ(end.kind, Frame::end);
  EXPECT_EQ(end.code, Code::unauthenticated);
  EXPECT_EQ(code_of(a), Code::session_lost);
}

TEST_F(RevokedTest, OneThatNeverAnswersCostsOthersItsLeaseAndIsNotRenewed) {
  Mount a = mount("short"), b = mount();
  const auto heard = a.stream(), other = b.stream();
  const Ino ino = b.create(b.root(), "x");
  ASSERT_TRUE(a.look(a.root(), "x").node);
  revoke("short");
  refused_within(1000ms, {&a, &b});
  const Pending write = b.start_write(ino, "new");
  EXPECT_FALSE(write.answered());
  within(kLease + 2000ms, {&a, &b}, [&] { return write.answered(); });  // a renews as if it lived
  EXPECT_TRUE(write.get().ok());
  Frame end = next_but_renewals(*heard);
  while (end.kind == Frame::revoke) end = next_but_renewals(*heard);
  EXPECT_EQ(end.code, Code::unauthenticated);
}

TEST_F(RevokedTest, ItEndsWithADetachAndIsNotResumed) {
  Mount a = mount("short"), c = mount("short");
  const auto heard = a.stream();
  revoke("short");
  refused_within(1000ms, {&a, &c});
  EXPECT_TRUE(router_->detach(a.who).ok());
  EXPECT_EQ(code_of(a), Code::session_lost);
  revoke("short", false);  // valid again
  AttachRequest again = to_resume(c);
  again.token = "short";
  const auto attached = router_->attach(again);
  ASSERT_TRUE(attached.ok());
  EXPECT_NE(attached->session, c.who.session);
  EXPECT_FALSE(attached->resumed);
  EXPECT_EQ(code_of(c), Code::unauthenticated) << "its caches may still be there";
}

TEST_F(RevokedTest, OneQuestionIsAskedForAll) {
  Mount a = mount("short"), b = mount(), c = mount();
  const int before = store_->calls("find_token");
  store_->before("valid_tokens", [] { return fail(Code::unavailable); });
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  auto passed = 0ms;
  for (; store_->calls("valid_tokens") < 4; passed += 20ms) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    clock_.advance(20ms);
    for (Mount* m : {&a, &b, &c}) m->renew();
    std::this_thread::sleep_for(2ms);
  }
  EXPECT_GE(passed, 2000ms);
  EXPECT_EQ(store_->calls("find_token"), before);
  EXPECT_EQ(code_of(a), Code{}) << "where the store is away nobody is refused";
}

TEST_F(RevokedTest, ExpiryIsTheSame) {
  add_token("hour", [&](auto& t) { t.expires = Time{clock_.now().ns + 100'000'000}; });
  Mount a = mount("hour"), b = mount();
  const auto heard = a.stream(), other = b.stream();
  const Ino ino = b.create(b.root(), "x");
  ASSERT_TRUE(a.look(a.root(), "x").node);
  refused_within(120ms, {&a, &b});
  const Pending write = b.start_write(ino, "new");
  EXPECT_FALSE(write.answered());
  const Frame drop = next_but_renewals(*heard);
  ASSERT_TRUE(drop.revocation.everything);
  a.ack(drop.revocation.number);
  EXPECT_TRUE(write.get().ok());
}

}  // namespace
}  // namespace linkspan::core::testing
