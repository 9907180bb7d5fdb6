// The parts by themselves: numbers, interests, sessions' queues, quotas' meters.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "fixture.h"
#include "routerd/core/hold.h"
#include "routerd/core/interests.h"
#include "routerd/core/moved_away.h"
#include "routerd/core/sequencer.h"
#include "routerd/core/session.h"
#include "routerd/core/tenant.h"

namespace linkspan::core::testing {
namespace {

// ---- MovedAway ----

uint64_t found(MovedAway& moves, Ino dir, const std::string& name, Boot now) {
  const auto file = moves.find(dir, name, now);
  return file ? file->ino.value : 0;
}

TEST(MovedAway, RemembersTheLastMoveOfAName) {
  MovedAway moves;
  const Boot now{};
  EXPECT_EQ(found(moves, Ino{1}, "x", now), 0u);
  moves.note(Ino{1}, "x", {Ino{20}, Version{2}}, now);
  moves.note(Ino{1}, "x", {Ino{30}, Version{5}}, now);
  moves.note(Ino{2}, "x", {Ino{40}, Version{2}}, now);
  EXPECT_EQ(found(moves, Ino{1}, "x", now), 30u);
  EXPECT_EQ(moves.find(Ino{1}, "x", now)->version, Version{5});
  EXPECT_EQ(found(moves, Ino{1}, "y", now), 0u);
  moves.forget(Ino{1}, "x");
  EXPECT_EQ(found(moves, Ino{1}, "x", now), 0u);
  EXPECT_EQ(found(moves, Ino{2}, "x", now), 40u);
}

TEST(MovedAway, IsBoundedInTimeAndNumber) {
  MovedAway moves;
  Boot now{};
  moves.note(Ino{1}, "x", {Ino{20}, Version{2}}, now);
  now += 60s;
  EXPECT_EQ(found(moves, Ino{1}, "x", now), 20u);
  now += 1ms;
  EXPECT_EQ(found(moves, Ino{1}, "x", now), 0u);
  for (uint64_t i = 0; i < 65; ++i)
    moves.note(Ino{1}, std::to_string(i), {Ino{100 + i}, Version{2}}, now);
  EXPECT_EQ(found(moves, Ino{1}, "0", now), 0u);
  EXPECT_EQ(found(moves, Ino{1}, "1", now), 101u);
  EXPECT_EQ(found(moves, Ino{1}, "64", now), 164u);
}

// ---- Sequencer ----

TEST(Sequencer, AsOfStopsBeforeWhatMayTouchTheNode) {
  Sequencer sequencer{Seq{0}};
  const Seq one = sequencer.begin({{Ino{20}}, false}).seq;
  const Seq two = sequencer.begin({{Ino{30}}, false}).seq;
  EXPECT_GT(one, Seq{1});
  const auto snapshot = sequencer.snapshot();
  EXPECT_EQ(snapshot.as_of(Ino{20}), Seq{one.value - 1});
  EXPECT_EQ(snapshot.as_of(Ino{30}), one);
  EXPECT_EQ(snapshot.as_of(Ino{40}), two);
  EXPECT_EQ(snapshot.as_of(std::vector<Ino>{Ino{40}, Ino{30}}), one);
  EXPECT_EQ(sequencer.stable(), Seq{one.value - 1});
  sequencer.finish(two);
  EXPECT_EQ(sequencer.stable(), Seq{one.value - 1});
  sequencer.finish(one);
  EXPECT_EQ(sequencer.stable(), two);
  EXPECT_EQ(snapshot.as_of(Ino{20}), Seq{one.value - 1}) << "a snapshot does not change";
}

TEST(Sequencer, AChangeIsInItsOwnReply) {
  Sequencer sequencer{Seq{0}};
  const auto first = sequencer.begin({{Ino{20}}, false});
  EXPECT_EQ(first.snapshot.as_of(Ino{20}), first.seq);
  const auto beside = sequencer.begin({{Ino{20}}, false});
  EXPECT_EQ(beside.snapshot.as_of(Ino{20}), Seq{first.seq.value - 1});
}

TEST(Sequencer, WhatTheStoreWillFindByNameMayTouchAnything) {
  Sequencer sequencer{Seq{5}};
  const Seq seq = sequencer.begin({{Ino{20}}, true}).seq;
  EXPECT_GT(seq, Seq{5 + Sequencer::kOwnerGap});
  EXPECT_EQ(sequencer.snapshot().as_of(Ino{99}), Seq{seq.value - 1});
}

// ---- Interests ----

class InterestsTest : public ::testing::Test {
 protected:
  std::vector<uint32_t> take(uint64_t ino, uint64_t seq, uint8_t held,
                             std::optional<Holder> self = {}) {
    std::vector<Holder> holders;
    interests.take(Ino{ino}, Seq{seq}, held, self, &holders);
    return slots_of(holders);
  }
  std::vector<uint32_t> named(uint64_t dir, std::optional<Holder> self = {}) {
    std::vector<Holder> holders;
    interests.holders_of_names(Ino{dir}, self, &holders);
    return slots_of(holders);
  }
  static std::vector<uint32_t> slots_of(const std::vector<Holder>& holders) {
    std::vector<uint32_t> out;
    for (const Holder h : holders) out.push_back(h.slot);
    std::sort(out.begin(), out.end());
    return out;
  }
  Holder holder(uint32_t slot) { return slots.holder(slot); }
  using Slots = std::vector<uint32_t>;

  SlotTable slots;
  Interests interests{&slots};
};

TEST_F(InterestsTest, TakesWhoHoldsThatPart) {
  interests.add(Ino{20}, holder(1), kHeldNode);
  interests.add(Ino{20}, holder(2), kHeldListing);
  interests.add(Ino{20}, holder(3), kHeldNames);
  interests.add(Ino{20}, holder(4), kHeldNode);
  EXPECT_EQ(take(20, 5, kHeldNode, holder(4)), (Slots{1}));
  EXPECT_EQ(take(20, 6, kHeldNode | kHeldListing, holder(4)), (Slots{1, 2}));
  EXPECT_EQ(named(20), (Slots{3}));
  EXPECT_EQ(named(20), (Slots{3})) << "other names are still there";
  EXPECT_EQ(take(21, 7, kHeldNode), Slots{});
}

TEST_F(InterestsTest, CountsAsHolderUntilItAcknowledged) {
  interests.add(Ino{20}, holder(1), kHeldNode);
  EXPECT_EQ(take(20, 5, kHeldNode), (Slots{1}));
  EXPECT_EQ(take(20, 6, kHeldNode), (Slots{1}));
  interests.settle(Ino{20}, holder(1));
  EXPECT_EQ(take(20, 7, kHeldNode), (Slots{1}));
  interests.settle(Ino{20}, holder(1));
  interests.settle(Ino{20}, holder(1));
  EXPECT_EQ(take(20, 8, kHeldNode), Slots{});
  EXPECT_EQ(interests.nodes(), 0u);
}

TEST_F(InterestsTest, ReadAgainWhileARevocationIsOnItsWay) {
  interests.add(Ino{20}, holder(1), kHeldNode);
  EXPECT_EQ(take(20, 5, kHeldNode), (Slots{1}));
  interests.add(Ino{20}, holder(1), kHeldNode);
  interests.settle(Ino{20}, holder(1));
  EXPECT_EQ(take(20, 6, kHeldNode), (Slots{1}));
}

TEST_F(InterestsTest, LosingCachesForgetsAllAtOnce) {
  for (uint64_t ino = 20; ino < 120; ++ino) interests.add(Ino{ino}, holder(1), kHeldNode);
  interests.add(Ino{20}, holder(2), kHeldNode);
  slots.advance(1);
  EXPECT_EQ(take(20, 5, kHeldNode), (Slots{2}));
  EXPECT_EQ(take(21, 6, kHeldNode), Slots{});
  const auto counts = interests.sweep();
  ASSERT_EQ(counts.size(), 1u);
  EXPECT_EQ(counts.at(2).all, 1u);
  EXPECT_EQ(counts.at(2).held, 0u) << "its revocation is on its way";
  EXPECT_EQ(interests.nodes(), 1u);
}

// A slot goes to another session while a mutation of the one before is under way.
TEST_F(InterestsTest, WhoHasTheSlotNowIsNotWhoBeganWithIt) {
  const Holder began = holder(1);
  slots.advance(1);
  interests.add(Ino{20}, holder(1), kHeldNode | kHeldNames);
  EXPECT_EQ(named(20, began), (Slots{1}));
  EXPECT_EQ(take(20, 5, kHeldNode, began), (Slots{1}));
}

TEST_F(InterestsTest, WhatIsWithdrawnTakesNoRoom) {
  interests.add(Ino{20}, holder(1), kHeldNames);
  interests.add(Ino{20}, holder(2), kHeldNode);
  interests.withdraw(Ino{20}, holder(1));
  EXPECT_EQ(interests.entries(), 1u);
  interests.withdraw(Ino{20}, holder(2));
  interests.withdraw(Ino{21}, holder(2));
  EXPECT_EQ(interests.nodes(), 0u);
}

TEST_F(InterestsTest, SeesThatAMutationCameBetweenReadAndEntry) {
  EXPECT_TRUE(interests.add_after(Ino{20}, holder(1), kHeldNode, Seq{4}));
  EXPECT_EQ(take(20, 5, kHeldNode), (Slots{1}));
  EXPECT_FALSE(interests.add_after(Ino{20}, holder(2), kHeldNode, Seq{4}));
  EXPECT_TRUE(interests.add_after(Ino{20}, holder(2), kHeldNode, Seq{5}));
}

// ---- Session ----

class SessionTest : public ::testing::Test {
 protected:
  SessionTest() {
    store::TenantState state;
    state.name = "acme";
    Tenant::Takeover takeover;
    takeover.owned_until = Boot::max();
    tenant = std::make_shared<Tenant>(state, std::set<SessionId>{}, takeover);
    Session::Options options;
    options.record.id = SessionId{7};
    options.tenant = tenant;
    options.grant = std::make_shared<Grant>();
    options.slot = *tenant->slots.take();
    options.lease = 100ms;
    session = std::make_shared<Session>(std::move(options), clock.boot());
    tenant->slots.assign(session->slot(), session);
  }
  // A writer that waits for this session; true once it is released.
  std::shared_ptr<std::atomic<bool>> wait_for_it() {
    auto released = std::make_shared<std::atomic<bool>>(false);
    const auto completion = std::make_shared<Completion>([released] { *released = true; });
    Revocation revocation;
    revocation.nodes.push_back({Ino{20}, true, false});
    session->enqueue(revocation, tenant->slots.holder(session->slot()), completion, clock.boot());
    completion->release();
    return released;
  }
  void ack(uint64_t number) { release_all(session->acknowledge(number).releases); }

  FakeClock clock;
  std::shared_ptr<Tenant> tenant;
  std::shared_ptr<Session> session;
};

TEST_F(SessionTest, AcknowledgesUpToANumber) {
  const auto one = wait_for_it(), two = wait_for_it(), three = wait_for_it();
  ack(2);
  EXPECT_TRUE(*one && *two);
  EXPECT_FALSE(*three);
  ack(1000);
  EXPECT_TRUE(*three);
}

TEST_F(SessionTest, AFullQueueCostsTheLeaseNotTheWriters) {
  std::vector<std::shared_ptr<std::atomic<bool>>> waiting;
  for (size_t i = 0; i < limits::kRevocationQueue + 10; ++i) waiting.push_back(wait_for_it());
  ack(limits::kRevocationQueue);
  EXPECT_TRUE(*waiting.front());
  EXPECT_FALSE(*waiting.back()) << "it was never sent, so it cannot be acknowledged";
  session->renew(OpNumber{1}, 1, clock.boot());
  clock.advance(100ms);
  const auto tick = session->tick(clock.boot(), 1000ms);
  EXPECT_TRUE(tick.lost_now);
  release_all(tick.releases);
  EXPECT_TRUE(*waiting.back());
  // Then it can live again.
  session->renew(OpNumber{1}, 2, clock.boot());
  EXPECT_TRUE(session->holder());
}

// It renews, so it lives; what nobody waits for, and hangs before what somebody does, hides it not.
TEST_F(SessionTest, WhoNeverAcknowledgesHoldsNobodyUp) {
  Acknowledged acknowledged;
  ASSERT_FALSE(session->resume(99, clock.boot(), &acknowledged)) << "begins with everything";
  const auto one = wait_for_it();
  session->enqueue({}, tenant->slots.holder(session->slot()), nullptr, clock.boot());
  const auto two = wait_for_it();
  ack(101);  // everything, and what `one` waits for
  EXPECT_TRUE(*one);
  const auto lost_within = [&](int tenths) {
    bool lost = false;
    for (int i = 0; i < tenths && !lost; ++i) {
      clock.advance(10ms);
      session->renew(OpNumber{1}, 1, clock.boot());
      const auto tick = session->tick(clock.boot(), 1000ms);
      release_all(tick.releases);
      lost = tick.lost_now;
    }
    return lost;
  };
  EXPECT_TRUE(lost_within(25));
  EXPECT_TRUE(*two);
  // It comes back with "everything" in the queue, and acknowledges not even that.
  session->renew(OpNumber{1}, 1, clock.boot());
  EXPECT_FALSE(lost_within(25)) << "nobody waits";
  const auto three = wait_for_it();
  EXPECT_TRUE(lost_within(25));
  EXPECT_TRUE(*three);
  session->renew(OpNumber{1}, 1, clock.boot());
  const auto four = wait_for_it();
  EXPECT_FALSE(lost_within(5));
  ack(106);  // the second "everything"
  EXPECT_TRUE(lost_within(25));
  EXPECT_TRUE(*four);
}

TEST_F(SessionTest, WithoutCachesNobodyWaitsForIt) {
  clock.advance(100ms);
  EXPECT_TRUE(session->tick(clock.boot(), 1000ms).lost_now);
  EXPECT_FALSE(session->holder());
  EXPECT_TRUE(*wait_for_it());
}

TEST_F(SessionTest, AnOldHolderIsNotRevoked) {
  const Holder old = tenant->slots.holder(session->slot());
  clock.advance(100ms);
  release_all(session->tick(clock.boot(), 1000ms).releases);
  session->renew(OpNumber{1}, 1, clock.boot());
  bool released = false;
  const auto completion = std::make_shared<Completion>([&] { released = true; });
  session->enqueue({}, old, completion, clock.boot());
  completion->release();
  EXPECT_TRUE(released);
}

// ---- Hold ----

TEST(Hold, LetsGoWhenAllWereHeardOf) {
  FakeClock clock;
  Hold hold({SessionId{1}, SessionId{2}}, clock.boot() + 100ms);
  int runs = 0;
  Hold::Task task = [&] { ++runs; };
  EXPECT_EQ(hold.defer(task), Hold::Answer::held);
  EXPECT_TRUE(hold.heard_of(SessionId{3}).empty());
  EXPECT_TRUE(hold.heard_of(SessionId{1}).empty());
  EXPECT_TRUE(hold.tick(clock.boot() + 99ms).empty());
  for (const auto& released : hold.heard_of(SessionId{2})) released();
  EXPECT_EQ(runs, 1);
  task = [&] { ++runs; };
  EXPECT_EQ(hold.defer(task), Hold::Answer::run);
}

TEST(Hold, IsBounded) {
  FakeClock clock;
  Hold hold({SessionId{1}}, clock.boot() + 100ms);
  for (size_t i = 0; i < limits::kRouterQueue; ++i) {
    Hold::Task task = [] {};
    ASSERT_EQ(hold.defer(task), Hold::Answer::held);
  }
  Hold::Task task = [] {};
  EXPECT_EQ(hold.defer(task), Hold::Answer::full);
  EXPECT_EQ(hold.tick(clock.boot() + 100ms).size(), limits::kRouterQueue);
}

// ---- bounded memory ----

class FewInterestsTest : public CoreTest {
 protected:
  void SetUp() override {
    interests_per_session_ = 20;
    CoreTest::SetUp();
  }
};

TEST_F(FewInterestsTest, OfTooManyNodesSomeAreRevoked) {
  Mount a = mount(), b = mount();
  std::vector<Ino> files;
  for (int i = 0; i < 40; ++i) files.push_back(a.create(a.root(), std::to_string(i)));
  ASSERT_TRUE(router_->detach(a.who).ok());
  const auto sink = b.stream();
  sink->next();
  for (const Ino ino : files) ASSERT_TRUE(router_->getattr(b.who, {ino})->as_of);
  const Frame revoke = sink->next();
  ASSERT_EQ(revoke.kind, Frame::revoke);
  EXPECT_GT(revoke.revocation.nodes.size(), 10u);
  b.ack(revoke.revocation.number);
  // What was revoked costs nobody a wait; the rest is still known.
  Mount c = mount();
  EXPECT_TRUE(c.start_write(revoke.revocation.nodes.front().ino, "x").answered());
}

// Directories stay with the names that were told of them: the whole cache goes, with the lease.
TEST_F(FewInterestsTest, OfTooManyDirectoriesAllAreRevoked) {
  Mount a = mount(), b = mount();
  std::vector<Ino> dirs;
  for (int i = 0; i < 60; ++i)
    dirs.push_back(a.create(a.root(), std::to_string(i), Kind::directory));
  ASSERT_TRUE(router_->detach(a.who).ok());
  const auto sink = b.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  for (const Ino dir : dirs) ASSERT_TRUE(router_->lookup(b.who, {dir, "none", false})->as_of);
  // The lease is not renewed any more, so it runs out, however often that is asked for.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  std::optional<Frame> revoke;
  while (!revoke) {
    ASSERT_LT(std::chrono::steady_clock::now(), until);
    clock_.advance(kLease / 4);
    b.renew();
    std::this_thread::sleep_for(5ms);
    while (!sink->empty() && !revoke)
      if (const Frame frame = sink->next(); frame.kind == Frame::revoke) revoke = frame;
  }
  EXPECT_TRUE(revoke->revocation.everything);
}

// Whatever numbers a mount makes up, nothing is remembered of them: it keeps what it has.
TEST_F(FewInterestsTest, NodesThatDoNotExistTakeNoRoom) {
  Mount m = mount();
  const auto sink = m.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  for (uint64_t i = 0; i < 500; ++i) {
    const Ino none{1'000'000 + i};
    ASSERT_EQ(router_->lookup(m.who, {none, "x", false}).code(), Code::stale_node);
    ASSERT_EQ(router_->getattr(m.who, {none, false}).code(), Code::stale_node);
    ASSERT_EQ(router_->readdir(m.who, {none, {}, 10, false}).code(), Code::stale_node);
    ASSERT_EQ(router_->read(m.who, {none, {}, 0, 10}).code(), Code::stale_node);
    ASSERT_EQ(router_->xattrs(m.who, none).code(), Code::stale_node);
    ASSERT_EQ(m.start_remove(none, "x").get().code(), Code::stale_node);
    ASSERT_EQ(m.start_create(none, "x").get().code(), Code::stale_node);
  }
  for (int renewals = 0; renewals < 20; ++renewals) {
    clock_.advance(kLease / 4);
    m.renew();
    EXPECT_EQ(sink->next().kind, Frame::renewed);
  }
}

}  // namespace
}  // namespace linkspan::core::testing
