// The table of locks: ranges, queues, circles, numbers, sessions. At random: locks_model_test.cc.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "routerd/core/locks.h"
#include "tests/unit/core/lock_asked.h"

namespace linkspan::core::testing {
namespace {

constexpr Ino kFile{100}, kOther{101};
constexpr SessionId kA{1}, kB{2}, kC{3};

class LockTableTest : public ::testing::Test {
 protected:
  LockTableTest() {
    for (const SessionId session : {kA, kB, kC}) open(session);
  }
  void open(SessionId session) {
    table.open(session, {[this, session] { return lost.count(session) != 0; },
                         [this, session] {
                           broken.insert(session);
                           return busy.count(session) == 0;
                         },
                         [this, session] { broken.erase(session); }});
  }
  static Lock lock(LockType type, uint64_t begin, uint64_t end, uint64_t owner = 1,
                   Ino ino = kFile) {
    return {ino, LockKind::record, owner, type, {begin, end}, 42, false};
  }
  static Lock flock(LockType type, uint64_t owner = 1) {
    return {kFile, LockKind::flock, owner, type, {}, 0, false};
  }
  Asked ask(SessionId session, const Lock& lock, LockWait wait = LockWait::no) {
    Asked asked;
    asked.number = OpNumber{++numbers[session]};
    again(session, lock, wait, asked);
    return asked;
  }
  void again(SessionId session, const Lock& lock, LockWait wait, Asked& asked) {
    LockAnswers answers;
    table.set(session, {asked.number, {}, lock, wait}, asked.done(), &answers);
  }
  bool cancel(SessionId session, OpNumber number) {
    LockAnswers answers;
    return table.cancel(session, {number, {}}, &answers).granted;
  }
  void unlock(SessionId session, uint64_t begin = 0, uint64_t end = limits::kLockEnd,
              uint64_t owner = 1, Ino ino = kFile) {
    EXPECT_TRUE(ask(session, lock(LockType::none, begin, end, owner, ino)).granted());
  }

  // A's lease runs out, B gets these locks, and A comes back with what it knows to hold.
  void come_back_after(const std::vector<Lock>& taken, const std::vector<Lock>& told) {
    lost.insert(kA);
    for (const Lock& each : taken) EXPECT_TRUE(ask(kB, each).granted());
    lost.erase(kA);
    LockAnswers answers;
    EXPECT_EQ(table.reclaim(kA, {told}, false, &answers).lost.size(), told.size());
  }

  std::set<SessionId> lost, busy, broken;
  std::map<SessionId, uint64_t> numbers;
  LockTable table{1000};
};

using enum LockType;

// ---- ranges ----

TEST_F(LockTableTest, RangesSplitAndMerge) {
  EXPECT_TRUE(ask(kA, lock(exclusive, 0, 100)).granted());
  EXPECT_TRUE(ask(kA, lock(shared, 40, 60)).granted());
  EXPECT_TRUE(ask(kB, lock(shared, 45, 55)).granted());
  EXPECT_EQ(ask(kB, lock(shared, 39, 41)).code(), Code::would_block);
  EXPECT_EQ(table.counts().held, 4u);
  unlock(kB);
  EXPECT_TRUE(ask(kA, lock(exclusive, 0, 100)).granted());
  EXPECT_EQ(table.counts().held, 1u);
  unlock(kA, 10, 20);
  EXPECT_EQ(table.counts().held, 2u);
  EXPECT_TRUE(ask(kB, lock(exclusive, 10, 20)).granted());
  EXPECT_EQ(ask(kB, lock(exclusive, 9, 20)).code(), Code::would_block);
  EXPECT_EQ(ask(kB, lock(exclusive, 10, 21)).code(), Code::would_block);
}

TEST_F(LockTableTest, KindsFilesAndOwnersOfOneSessionAreApart) {
  EXPECT_TRUE(ask(kA, lock(exclusive, 0, 10, 1)).granted());
  EXPECT_TRUE(ask(kA, flock(exclusive)).granted());
  EXPECT_TRUE(ask(kB, lock(exclusive, 0, 10, 1, kOther)).granted());
  EXPECT_EQ(ask(kA, lock(shared, 5, 6, 2)).code(), Code::would_block);
}

TEST_F(LockTableTest, TestTellsTheFirstBlocker) {
  ask(kA, lock(exclusive, 20, 30));
  ask(kA, lock(shared, 5, 10));
  const auto free = table.test(kB, lock(shared, 0, 20));
  EXPECT_FALSE(free.blocker);
  const auto found = table.test(kB, lock(exclusive, 0, 100));
  ASSERT_TRUE(found.blocker);
  EXPECT_EQ(found.blocker->range, (LockRange{5, 10}));
  EXPECT_EQ(found.blocker->type, shared);
  EXPECT_EQ(found.blocker->pid, 42u);
  EXPECT_FALSE(found.same_session);
  EXPECT_TRUE(table.test(kA, lock(exclusive, 0, 100, 2)).same_session);
  EXPECT_FALSE(table.test(kA, lock(exclusive, 0, 100, 1)).blocker) << "its own";
}

TEST_F(LockTableTest, WhatIsPrivateToASessionIsSharedWithinItOnly) {
  Lock ours = lock(shared, 128, 129);
  ours.private_to_session = true;
  Lock other = ours;
  other.owner = 2;
  EXPECT_TRUE(ask(kA, ours).granted());
  EXPECT_TRUE(ask(kA, other).granted());
  EXPECT_EQ(ask(kB, ours).code(), Code::would_block);
  EXPECT_EQ(ask(kB, lock(shared, 0, 1000)).code(), Code::would_block);
  const auto found = table.test(kB, ours);
  ASSERT_TRUE(found.blocker);
  EXPECT_EQ(found.blocker->type, exclusive);
}

// ---- waiting ----

TEST_F(LockTableTest, AWaitIsAnsweredByWhoMakesRoom) {
  ask(kA, lock(exclusive, 0, 10));
  Asked waiting = ask(kB, lock(exclusive, 5, 15), LockWait::stay);
  EXPECT_TRUE(waiting.open());
  unlock(kA, 0, 5);
  EXPECT_TRUE(waiting.open());
  unlock(kA, 5, 10);
  EXPECT_TRUE(waiting.granted());
  EXPECT_GT((*waiting.answer)->value().order, 1000u);
}

TEST_F(LockTableTest, QueuedFirstAndAwaitedLater) {
  ask(kA, lock(exclusive, 0, 10));
  Asked queued = ask(kB, lock(exclusive, 0, 10), LockWait::queue);
  EXPECT_EQ(queued.code(), Code::would_block);
  Asked joined;
  joined.number = queued.number;
  again(kB, lock(exclusive, 0, 10), LockWait::stay, joined);
  EXPECT_TRUE(joined.open());
  unlock(kA);
  EXPECT_TRUE(joined.granted());
  // Granted before anybody awaited it: the answer is kept.
  Asked first = ask(kC, lock(exclusive, 0, 10), LockWait::queue);
  unlock(kB);
  Asked late;
  late.number = first.number;
  again(kC, lock(exclusive, 0, 10), LockWait::stay, late);
  EXPECT_TRUE(late.granted());
}

TEST_F(LockTableTest, SharedOnesDoNotStarveAnExclusiveOne) {
  ask(kA, lock(shared, 0, 10));
  Asked writer = ask(kB, lock(exclusive, 0, 10), LockWait::stay);
  Asked reader = ask(kC, lock(shared, 0, 10), LockWait::stay);
  EXPECT_TRUE(reader.open());
  EXPECT_TRUE(ask(kC, lock(shared, 0, 10, 2)).granted()) << "one that does not wait may";
  unlock(kC, 0, 10, 2);
  unlock(kA);
  EXPECT_TRUE(writer.granted());
  EXPECT_TRUE(reader.open());
  unlock(kB);
  EXPECT_TRUE(reader.granted());
}

TEST_F(LockTableTest, ADowngradeLetsReadersIn) {
  ask(kA, lock(exclusive, 0, 10));
  Asked reader = ask(kB, lock(shared, 0, 10), LockWait::stay);
  EXPECT_TRUE(ask(kA, lock(shared, 0, 10)).granted());
  EXPECT_TRUE(reader.granted());
}

TEST_F(LockTableTest, ACancelledWaitMakesRoomForThoseBehindIt) {
  ask(kA, lock(shared, 0, 10));
  Asked writer = ask(kB, lock(exclusive, 0, 10), LockWait::stay);
  Asked reader = ask(kC, lock(shared, 0, 10), LockWait::stay);
  EXPECT_FALSE(cancel(kB, writer.number));
  EXPECT_EQ(writer.code(), Code::interrupted);
  EXPECT_TRUE(reader.granted());
  unlock(kA);
  unlock(kC);
  EXPECT_TRUE(ask(kC, lock(exclusive, 0, 10)).granted()) << "nothing is left of it";
}

TEST_F(LockTableTest, TwoFlocksThatBothWantMoreDoNotWaitForEachOther) {
  EXPECT_TRUE(ask(kA, flock(shared)).granted());
  EXPECT_TRUE(ask(kB, flock(shared)).granted());
  Asked a = ask(kA, flock(exclusive), LockWait::stay);
  EXPECT_TRUE(a.open());
  Asked b = ask(kB, flock(exclusive), LockWait::stay);
  EXPECT_TRUE(a.granted()) << "B gave up its shared one";
  EXPECT_TRUE(b.open());
  EXPECT_TRUE(ask(kA, flock(none)).granted());
  EXPECT_TRUE(b.granted());
}

// ---- circles ----

TEST_F(LockTableTest, ACircleOfTwoIsADeadlockForWhoClosesIt) {
  ask(kA, lock(exclusive, 0, 10));
  ask(kB, lock(exclusive, 10, 20));
  Asked a = ask(kA, lock(exclusive, 10, 20), LockWait::stay);
  EXPECT_EQ(ask(kB, lock(shared, 0, 1), LockWait::stay).code(), Code::deadlock);
  EXPECT_TRUE(a.open());
  unlock(kB);
  EXPECT_TRUE(a.granted());
}

TEST_F(LockTableTest, ACircleOfThreeOverFiles) {
  ask(kA, lock(exclusive, 0, 1, 1, kFile));
  ask(kB, lock(exclusive, 0, 1, 1, kOther));
  ask(kC, lock(exclusive, 5, 6, 1, kFile));
  Asked a = ask(kA, lock(exclusive, 0, 1, 1, kOther), LockWait::stay);
  Asked b = ask(kB, lock(exclusive, 5, 6, 1, kFile), LockWait::stay);
  EXPECT_EQ(ask(kC, lock(exclusive, 0, 1, 1, kFile), LockWait::stay).code(), Code::deadlock);
  EXPECT_TRUE(a.open() && b.open());
}

TEST_F(LockTableTest, TwoUpgradesAreADeadlock) {
  ask(kA, lock(shared, 0, 10));
  ask(kB, lock(shared, 0, 10));
  Asked a = ask(kA, lock(exclusive, 0, 10), LockWait::stay);
  EXPECT_EQ(ask(kB, lock(exclusive, 0, 10), LockWait::stay).code(), Code::deadlock);
  unlock(kB);
  EXPECT_TRUE(a.granted());
}

TEST_F(LockTableTest, TheOrderOfTheQueueGivesWayWhereItWouldCloseACircle) {
  // B waits for A. A's own upgrade comes behind B: by order it would wait for B.
  ask(kA, lock(shared, 0, 10));
  Asked b = ask(kB, lock(exclusive, 0, 10), LockWait::stay);
  EXPECT_TRUE(ask(kA, lock(exclusive, 0, 10), LockWait::stay).granted());
  unlock(kA);
  EXPECT_TRUE(b.granted());
  unlock(kB);
  // C waits on the first file by order only (behind B, that waits for A), and A waits for C.
  ask(kA, lock(shared, 0, 10));
  b = ask(kB, lock(exclusive, 0, 10), LockWait::stay);
  ask(kC, lock(exclusive, 0, 1, 1, kOther));
  Asked c = ask(kC, lock(shared, 0, 10), LockWait::stay);
  EXPECT_TRUE(c.open());
  Asked a = ask(kA, lock(exclusive, 0, 1, 1, kOther), LockWait::stay);
  EXPECT_TRUE(a.open());
  EXPECT_TRUE(c.granted()) << "without the order there is no circle";
}

TEST_F(LockTableTest, FlocksAreNotLookedAtForCircles) {
  ask(kA, flock(exclusive));
  ask(kB, lock(exclusive, 0, 1));
  Asked a = ask(kA, lock(exclusive, 0, 1), LockWait::stay);
  Asked b = ask(kB, flock(exclusive), LockWait::stay);
  EXPECT_TRUE(a.open() && b.open());
}

// ---- numbers ----

TEST_F(LockTableTest, ARetryGetsTheResultAndADuplicateNothing) {
  const Lock mine = lock(exclusive, 0, 10);
  Asked first = ask(kA, mine);
  Asked retry;
  retry.number = first.number;
  again(kA, mine, LockWait::no, retry);
  EXPECT_TRUE(retry.granted());
  EXPECT_EQ((*retry.answer)->value().order, (*first.answer)->value().order);
  unlock(kA);
  Asked duplicate;
  duplicate.number = first.number;
  again(kA, mine, LockWait::no, duplicate);
  EXPECT_TRUE(ask(kB, mine).granted()) << "a late duplicate locked again";
  // What was answered for sure is not even remembered.
  Asked next;
  next.number = OpNumber{++numbers[kA]};
  {
    LockAnswers answers;
    table.set(kA, {next.number, next.number, lock(shared, 50, 60), LockWait::no}, next.done(),
              &answers);
  }
  EXPECT_TRUE(next.granted());
  Asked old;
  old.number = first.number;
  again(kA, mine, LockWait::no, old);
  EXPECT_EQ(old.code(), Code::invalid);
}

TEST_F(LockTableTest, ACancelThatComesFirstStopsTheRequest) {
  Asked late;
  late.number = OpNumber{++numbers[kA]};
  EXPECT_FALSE(cancel(kA, late.number));
  again(kA, lock(exclusive, 0, 10), LockWait::stay, late);
  EXPECT_EQ(late.code(), Code::interrupted);
  EXPECT_EQ(table.counts().held, 0u);
}

TEST_F(LockTableTest, ACancelAfterTheGrantSaysSo) {
  Asked granted = ask(kA, lock(exclusive, 0, 10), LockWait::stay);
  EXPECT_TRUE(cancel(kA, granted.number));
  EXPECT_EQ(table.counts().held, 1u);
}

TEST(LockNumbers, AreForgottenOnlyWhenAnsweredAndStayFew) {
  LockNumbers numbers;
  numbers.finish(2, SetLockReply{7});
  EXPECT_FALSE(numbers.find(1).has_value()) << "it waits";
  for (uint64_t n = 3; n < 10000; ++n) numbers.finish(n, fail(Code::would_block));
  EXPECT_FALSE(numbers.find(1).has_value());
  EXPECT_EQ(numbers.find(9999)->code(), Code::would_block);
  EXPECT_EQ(numbers.find(2)->code(), Code::invalid) << "the result went, but not that it was";
  numbers.answered(9000);
  EXPECT_EQ(numbers.find(8999)->code(), Code::invalid);
  EXPECT_EQ(numbers.find(9000)->code(), Code::would_block);
  // With gaps everywhere the lowest close.
  for (uint64_t n = 20000; n < 60000; n += 2) numbers.finish(n, SetLockReply{n});
  EXPECT_TRUE(numbers.find(59998)->ok());
  EXPECT_FALSE(numbers.find(59997).has_value());
  EXPECT_EQ(numbers.find(20001)->code(), Code::invalid);
}

TEST_F(LockTableTest, BoundsAreKept) {
  constexpr uint64_t kFiles = 64;
  for (uint64_t i = 0; i + 2 <= limits::kLocksPerSession; ++i)
    ASSERT_TRUE(
        ask(kA, lock(shared, 2 * i, 2 * i + 1, 1, Ino{kFile.value + i % kFiles})).granted());
  EXPECT_EQ(ask(kA, lock(shared, 1u << 30, (1u << 30) + 1)).code(), Code::no_space);
  EXPECT_TRUE(ask(kB, lock(shared, 0, 1)).granted()) << "each session for itself";
  for (uint64_t file = 0; file < kFiles; ++file)
    unlock(kA, 0, limits::kLockEnd, 1, Ino{kFile.value + file});
  unlock(kB);
  ask(kA, lock(exclusive, 0, 1));
  for (size_t i = 0; i < limits::kLockWaitersPerSession; ++i)
    ASSERT_TRUE(ask(kB, lock(exclusive, 0, 1, 10 + i), LockWait::stay).open());
  EXPECT_EQ(ask(kB, lock(exclusive, 0, 1, 5), LockWait::stay).code(), Code::no_space);
}

// ---- sessions ----

TEST_F(LockTableTest, ASessionThatEndsGivesEverythingUp) {
  ask(kA, lock(exclusive, 0, 10));
  ask(kA, flock(exclusive));
  Asked own = ask(kB, lock(exclusive, 0, 5), LockWait::stay);
  Asked other = ask(kC, flock(shared), LockWait::stay);
  {
    LockAnswers answers;
    table.end(kA, &answers);
  }
  EXPECT_TRUE(own.granted() && other.granted());
  EXPECT_EQ(ask(kA, lock(shared, 50, 60)).code(), Code::session_lost);
}

TEST_F(LockTableTest, ALostLeaseCostsALockOnlyWhenAnotherAsks) {
  ask(kA, lock(exclusive, 0, 10));
  ask(kA, lock(exclusive, 0, 10, 1, kOther));
  ask(kC, lock(exclusive, 50, 60));
  Asked a_waits = ask(kA, lock(exclusive, 50, 60), LockWait::stay);
  Asked waits = ask(kB, lock(exclusive, 0, 5), LockWait::stay);
  EXPECT_TRUE(waits.open());
  lost.insert(kA);
  {
    LockAnswers answers;
    table.lease_lost(kA, &answers);
  }
  EXPECT_TRUE(waits.granted());
  EXPECT_EQ(a_waits.code(), Code::unavailable) << "it asks again when it is back";
  EXPECT_EQ(table.counts().broken, 1u);
  EXPECT_EQ(broken, std::set<SessionId>{kA});
  lost.erase(kA);
  LockAnswers answers;
  const auto told = table.reclaim(kA, {{lock(exclusive, 0, 10), lock(exclusive, 0, 10, 1, kOther)}},
                                  false, &answers);
  EXPECT_EQ(told.lost, std::vector<uint32_t>{0});
  EXPECT_TRUE(broken.empty());
  EXPECT_EQ(ask(kB, lock(shared, 0, 1, 1, kOther)).code(), Code::would_block) << "this one stayed";
}

// The mount was cut off when it was granted, and heard of it neither then nor when it reclaimed.
TEST_F(LockTableTest, AGrantThatNobodyHeardOfIsNotRepeatedOnceItWasBroken) {
  const Lock mine = lock(exclusive, 0, 10);
  ask(kB, mine);
  ask(kB, flock(exclusive));
  const Asked waits = ask(kA, mine, LockWait::stay);
  const Asked taken_back = ask(kA, flock(exclusive), LockWait::stay);
  unlock(kB);
  ask(kB, flock(none));
  EXPECT_TRUE(waits.granted() && taken_back.granted()) << "unheard";
  come_back_after({mine, flock(exclusive)}, {});

  Asked retry;
  retry.number = waits.number;
  again(kA, mine, LockWait::stay, retry);
  EXPECT_TRUE(retry.open()) << "two hold it";
  EXPECT_FALSE(cancel(kA, taken_back.number)) << "two hold it";
  unlock(kB);
  EXPECT_TRUE(retry.granted()) << "it waited again";
  EXPECT_EQ(ask(kB, mine).code(), Code::would_block);
}

TEST_F(LockTableTest, ALateDuplicateOfWhatWasHeardOfAndLostDoesNothing) {
  const Lock mine = lock(exclusive, 0, 10), other = lock(exclusive, 50, 60);
  const Asked heard = ask(kA, mine), unheard = ask(kA, other);
  come_back_after({mine}, {mine});
  unlock(kB);
  Asked duplicate;
  duplicate.number = heard.number;
  again(kA, mine, LockWait::no, duplicate);
  EXPECT_EQ(duplicate.code(), Code::io);
  EXPECT_EQ(table.counts().held, 0u);
  Asked retry;
  retry.number = unheard.number;
  again(kA, other, LockWait::no, retry);
  EXPECT_TRUE(retry.granted());
  EXPECT_EQ(table.counts().held, 1u) << "granted, but not held";
}

TEST_F(LockTableTest, ATryTakesTheLocksOfALostSessionToo) {
  ask(kA, lock(exclusive, 0, 10));
  lost.insert(kA);
  EXPECT_FALSE(table.test(kB, lock(exclusive, 0, 10)).blocker);
  EXPECT_TRUE(ask(kB, lock(exclusive, 0, 10)).granted());
}

TEST_F(LockTableTest, ALostSessionKeepsItsLocksWhileAChangeIsUnderWay) {
  ask(kA, lock(exclusive, 0, 10));
  lost.insert(kA);
  busy.insert(kA);
  EXPECT_EQ(ask(kB, lock(exclusive, 0, 10)).code(), Code::would_block);
  Asked waits = ask(kB, lock(exclusive, 0, 10), LockWait::stay);
  EXPECT_TRUE(waits.open());
  busy.erase(kA);
  {
    LockAnswers answers;
    table.lease_lost(kA, &answers);
  }
  EXPECT_TRUE(waits.granted());
}

TEST_F(LockTableTest, ReclaimedAnewOnlyWhatNobodyHas) {
  ask(kB, lock(exclusive, 20, 30));
  LockAnswers answers;
  const auto told = table.reclaim(
      kA, {{lock(exclusive, 0, 10), lock(shared, 25, 26, 2), lock(shared, 40, 50, 2)}}, true,
      &answers);
  EXPECT_EQ(told.lost, std::vector<uint32_t>{1});
  EXPECT_EQ(ask(kC, lock(shared, 0, 1)).code(), Code::would_block);
  EXPECT_TRUE(ask(kC, lock(exclusive, 40, 50)).granted()) << "all of an owner that lost some";
}

TEST_F(LockTableTest, AStopAnswersWhoWaits) {
  ask(kA, lock(exclusive, 0, 10));
  Asked waits = ask(kB, lock(exclusive, 0, 10), LockWait::stay);
  LockAnswers answers;
  table.stop(&answers);
  answers.give();
  EXPECT_EQ(waits.code(), Code::unavailable);
  EXPECT_EQ(ask(kB, lock(exclusive, 20, 30)).code(), Code::unavailable);
}

}  // namespace
}  // namespace linkspan::core::testing
