#include "fusefs/cache/fence.h"

#include <gtest/gtest.h>

namespace linkspan::cache {
namespace {

TEST(Fence, AdmitsOnlyWhatIsNotOlderThanTheRevocation) {
  Fence<Ino> fence;
  EXPECT_TRUE(fence.admits(Ino{16}, Seq{0}));
  fence.raise(Ino{16}, Seq{10});
  EXPECT_FALSE(fence.admits(Ino{16}, Seq{9}));
  EXPECT_TRUE(fence.admits(Ino{16}, Seq{10}));
  EXPECT_TRUE(fence.admits(Ino{17}, Seq{1}));
  fence.raise(Ino{16}, Seq{5});  // a late one does not lower it
  EXPECT_FALSE(fence.admits(Ino{16}, Seq{9}));
}

TEST(Fence, WhatFallsOutRaisesTheFloorForAll) {
  Fence<Ino> fence(4);
  for (uint64_t i = 1; i <= 6; ++i) fence.raise(Ino{i}, Seq{i * 10});
  EXPECT_EQ(fence.floor(), Seq{20});
  EXPECT_LE(fence.size(), 4u);
  EXPECT_FALSE(fence.admits(Ino{1}, Seq{9}));
  EXPECT_FALSE(fence.admits(Ino{99}, Seq{19}));
  EXPECT_TRUE(fence.admits(Ino{99}, Seq{20}));
  EXPECT_FALSE(fence.admits(Ino{6}, Seq{59}));
}

TEST(Fence, AKeyRaisedAgainKeepsItsPlaceWhenItsOldOneFallsOut) {
  Fence<Ino> fence(3);
  fence.raise(Ino{1}, Seq{10});
  fence.raise(Ino{2}, Seq{20});
  fence.raise(Ino{1}, Seq{30});
  fence.raise(Ino{3}, Seq{40});  // pushes (1, 10) out: 1 stands at 30
  EXPECT_EQ(fence.floor(), Seq{0});
  EXPECT_FALSE(fence.admits(Ino{1}, Seq{29}));
  fence.raise(Ino{4}, Seq{50});  // pushes (2, 20)
  EXPECT_EQ(fence.floor(), Seq{20});
}

}  // namespace
}  // namespace linkspan::cache
