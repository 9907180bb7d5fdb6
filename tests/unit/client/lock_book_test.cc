#include "fusefs/client/lock_book.h"

#include <gtest/gtest.h>

namespace linkspan::client {
namespace {

using enum LockType;

Lock lock(LockType type, uint64_t begin, uint64_t end, uint64_t owner = 1) {
  return {Ino(20), LockKind::record, owner, type, {begin, end}, 7, false};
}

TEST(LockBook, AnswersThatOvertookEachOtherComeToTheSame) {
  LockBook book;
  const Lock mine = lock(exclusive, 0, 10);
  {
    const LockBook::UnderWay a(&book, mine), b(&book, mine);
    EXPECT_TRUE(book.set(lock(none, 0, 10), 6, 1));  // the unlock was the later of the two
    EXPECT_TRUE(book.set(mine, 5, 1));
    EXPECT_TRUE(book.has(mine));
  }
  EXPECT_FALSE(book.has(mine));
  EXPECT_EQ(book.held(mine), none);
}

TEST(LockBook, TellsEachPieceAndTheStrongest) {
  LockBook book;
  const LockBook::UnderWay under_way(&book, lock(shared, 0, 1));
  book.set(lock(exclusive, 0, 30), 1, 1);
  book.set(lock(shared, 10, 20), 2, 1);
  EXPECT_EQ(book.held(lock(none, 12, 14)), shared);
  EXPECT_EQ(book.held(lock(none, 12, 24)), exclusive);
  EXPECT_EQ(book.held(lock(none, 30, 40)), none);
  EXPECT_EQ(book.held(lock(none, 0, 30, 2)), none) << "another owner's";
  const auto told = book.told(2);
  ASSERT_EQ(told.size(), 3u);
  EXPECT_EQ(told[1], lock(shared, 10, 20));
}

TEST(LockBook, AnAnswerOverAnOlderLinkThanWasToldCountsAsLost) {
  LockBook book;
  const Lock mine = lock(exclusive, 0, 10);
  const LockBook::UnderWay under_way(&book, mine);
  EXPECT_TRUE(book.told(2).empty());
  EXPECT_FALSE(book.set(mine, 5, 1));
  EXPECT_EQ(book.held(mine), none);
  EXPECT_TRUE(book.set(mine, 6, 2));
}

TEST(LockBook, WhatIsBeingGivenUpIsNotMissed) {
  LockBook book;
  const Lock record = lock(exclusive, 0, 10);
  const Lock flock{Ino(21), LockKind::flock, 1, shared, {}, 0, false};
  book.set(record, 1, 1);
  book.set(flock, 2, 1);
  Lock more = flock;
  more.type = exclusive;
  const LockBook::UnderWay unlock(&book, lock(none, 0, 10)), convert(&book, more);
  EXPECT_TRUE(book.lose({record, flock}).empty());
  EXPECT_EQ(book.losses(Ino(20)), 0u);
  EXPECT_EQ(book.held(record), none);
}

TEST(LockBook, LosingOneLosesAllOfItsOwnerThere) {
  LockBook book;
  book.set(lock(exclusive, 0, 10), 1, 1);
  book.set(lock(exclusive, 20, 30), 2, 1);
  book.set(lock(exclusive, 40, 50, 2), 3, 1);
  EXPECT_EQ(book.losses(Ino(20)), 0u);
  EXPECT_EQ(book.lose({lock(exclusive, 0, 10)}).size(), 1u);
  EXPECT_EQ(book.losses(Ino(20)), 1u);
  EXPECT_EQ(book.held(lock(none, 0, 100)), none);
  EXPECT_EQ(book.held(lock(none, 0, 100, 2)), exclusive);
  EXPECT_EQ(book.lose_all().size(), 1u);
  EXPECT_EQ(book.size(), 0u);
}

}  // namespace
}  // namespace linkspan::client
