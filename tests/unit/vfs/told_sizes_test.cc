// Which version is read while the kernel may have either size.
#include "fusefs/vfs/told_sizes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace linkspan::vfs {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr Ino kFile{7}, kOtherFile{8};
constexpr int32_t kReader = 100, kSecond = 101;
const std::vector<RevokedNode> kNodes = {{kFile, true}};

SizedVersion version(uint64_t number, uint64_t size) {
  return {Version(number), size};
}

class ToldSizesTest : public ::testing::Test {
 protected:
  uint64_t last() {
    const auto last = sizes.last(kFile);
    return last ? last->version.value : 0;
  }
  bool tell(const SizedVersion& what) { return sizes.told(kFile, what, as_of); }
  bool tell_reader(const SizedVersion& what, int32_t thread = kReader, Ino ino = kFile) {
    const ToldSizes::Asking asking(&sizes, ino, thread);
    return sizes.told(ino, what, as_of, &asking);
  }
  // The kernel has this one, and nothing is on its way.
  void known(const SizedVersion& what) { sizes.made(kFile, what); }
  void others_change(bool content = true) {
    const std::vector<RevokedNode> nodes = {{kFile, content}};
    sizes.notices_begin(nodes);
    sizes.notices_ended(nodes, ++as_of);
  }
  void own_notice() {
    sizes.notice_begins(kFile);
    sizes.notice_ended(kFile, ++as_of);
  }

  ToldSizes sizes;
  uint64_t as_of = 1;
};

TEST_F(ToldSizesTest, TheLastThatWasTold) {
  EXPECT_FALSE(sizes.last(kFile));
  EXPECT_TRUE(tell(version(1, 10)));
  EXPECT_EQ(last(), 1u);
  std::this_thread::sleep_for(kTakenIn);
  EXPECT_TRUE(tell_reader(version(3, 30)));
  EXPECT_EQ(last(), 3u);
  sizes.came(kReader, {});
  EXPECT_TRUE(tell(version(2, 20))) << "one that was overtaken changes nothing";
  EXPECT_EQ(last(), 3u);
  sizes.made(kFile, version(4, 5));
  EXPECT_EQ(last(), 4u);
  sizes.untell(kFile);
  EXPECT_FALSE(sizes.last(kFile));
}

TEST_F(ToldSizesTest, ANoticeWaitsUntilTheReaderHasCome) {
  known(version(1, 10));
  const auto begun = Steady::now();
  tell_reader(version(2, 20));
  std::atomic<bool> came{false};
  bool waited = false;
  std::thread notice([&] {
    sizes.notices_begin(kNodes);
    waited = came;
  });
  std::this_thread::sleep_for(2 * kTakenIn);  // nothing else would wait so long
  came = true;
  sizes.came(kReader, {});
  notice.join();
  if (Steady::now() - begun >= kReadComes)
    GTEST_SKIP() << "skipped: the machine is too busy to tell";
  EXPECT_TRUE(waited);
  EXPECT_EQ(last(), 2u);
}

TEST_F(ToldSizesTest, ANoticeWaitsForWhoAsks) {
  known(version(1, 10));
  const auto begun = Steady::now();
  auto asking = std::make_unique<ToldSizes::Asking>(&sizes, kFile, kReader);
  std::atomic<bool> gave_up{false};
  bool waited = false;
  std::thread notice([&] {
    sizes.notices_begin(kNodes);
    waited = gave_up;
  });
  std::this_thread::sleep_for(2 * kTakenIn);
  gave_up = true;
  asking.reset();  // its request failed
  notice.join();
  if (Steady::now() - begun >= kReadComes)
    GTEST_SKIP() << "skipped: the machine is too busy to tell";
  EXPECT_TRUE(waited);
}

TEST_F(ToldSizesTest, AReaderThatDoesNotComeIsNotWaitedForLong) {
  known(version(1, 10));
  const auto begun = Steady::now();
  tell_reader(version(2, 20));
  sizes.notices_begin(kNodes);
  EXPECT_GE(Steady::now() - begun, kReadComes);
  // It may go on with either; the kernel cuts a file to a READ that is short.
  EXPECT_EQ(last(), 1u);
  sizes.notices_ended(kNodes, ++as_of);
  EXPECT_EQ(last(), 1u);
  EXPECT_TRUE(tell(version(3, 15)));
  EXPECT_EQ(last(), 3u);
}

TEST_F(ToldSizesTest, OfTwoVersionsTheShorterIsRead) {
  known(version(1, 20));
  tell_reader(version(2, 10));
  own_notice();
  EXPECT_EQ(last(), 2u);
  tell_reader(version(3, 10));
  own_notice();
  EXPECT_EQ(last(), 3u) << "of equal length: the newer";
}

TEST_F(ToldSizesTest, WhatIsAskedBeforeANoticeEndsIsNotSure) {
  known(version(1, 10));
  const uint64_t before = as_of;
  others_change();
  EXPECT_FALSE(sizes.told(kFile, version(2, 8), before));
  EXPECT_EQ(last(), 2u);
  EXPECT_FALSE(sizes.told(kFile, version(3, 30), before));
  EXPECT_EQ(last(), 2u);
  EXPECT_TRUE(tell(version(3, 30)));
  EXPECT_EQ(last(), 3u);
  own_notice();
  EXPECT_FALSE(sizes.told(kFile, version(4, 40), before + 1));
  EXPECT_TRUE(sizes.told(kOtherFile, version(3, 30), 0)) << "the notice was of another file";
  sizes.all_notices_begin();
  sizes.all_notices_ended(++as_of);
  EXPECT_FALSE(sizes.told(kOtherFile, version(3, 30), as_of - 1));
  EXPECT_TRUE(sizes.told(kOtherFile, version(3, 30), as_of));
}

TEST_F(ToldSizesTest, AnAnswerWaitsForTheEndOfANotice) {
  known(version(1, 10));
  sizes.notice_begins(kFile);
  sizes.notice_begins(kFile);
  sizes.notice_ended(kFile, 5);
  std::atomic<bool> ended{false};
  bool waited = false;
  const auto begun = Steady::now();
  std::thread answer([&] {
    EXPECT_FALSE(tell(version(2, 20)));
    waited = ended;
  });
  std::this_thread::sleep_for(2 * kTakenIn);
  ended = true;
  sizes.notice_ended(kFile, 6);
  answer.join();
  if (Steady::now() - begun >= kReadComes)
    GTEST_SKIP() << "skipped: the machine is too busy to tell";
  EXPECT_TRUE(waited);
}

// Whichever is taken in first, the kernel ignores the other.
TEST_F(ToldSizesTest, OfTwoAnswersOnTheirWayNeitherIsSure) {
  known(version(1, 30));
  const auto begun = Steady::now();
  EXPECT_TRUE(tell_reader(version(2, 20)));
  const bool sure = tell_reader(version(3, 10), kSecond);
  if (Steady::now() - begun >= kReadComes)
    GTEST_SKIP() << "skipped: the machine is too busy to tell";
  EXPECT_FALSE(sure);
  EXPECT_EQ(last(), 3u);
  sizes.came(kReader, {});
  EXPECT_EQ(last(), 3u) << "the kernel may have it";
  EXPECT_TRUE(tell_reader(version(3, 10), kSecond));
}

TEST_F(ToldSizesTest, AThreadOfAForeignNamespaceIsKnownByItsFile) {
  known(version(1, 10));
  sizes.made(kOtherFile, version(1, 10));
  tell_reader(version(2, 20), 0);
  tell_reader(version(2, 20), 0, kOtherFile);
  sizes.came(0, kOtherFile);
  own_notice();
  EXPECT_EQ(last(), 1u);
  EXPECT_TRUE(tell_reader(version(2, 20), 0));
  sizes.came(0, kFile);
  own_notice();
  EXPECT_EQ(last(), 2u);
}

TEST_F(ToldSizesTest, WhoWasToldTheSameIsNotWaitedFor) {
  known(version(1, 10));
  auto fastest = Steady::duration::max();
  for (int i = 0; i < 10; ++i) {
    const auto begun = Steady::now();
    tell_reader(version(1, 10));
    others_change(false);
    fastest = std::min(fastest, Steady::now() - begun);
  }
  EXPECT_LT(fastest, kReadComes / 2);
}

TEST_F(ToldSizesTest, ManyReadersThatNeverComeAreForgotten) {
  for (int32_t thread = 1; thread <= 1000; ++thread) {
    const Ino ino(1000 + static_cast<uint64_t>(thread));
    sizes.made(ino, version(1, 10));
    tell_reader(version(2, 20), thread, ino);
  }
  std::this_thread::sleep_for(kReadComes);
  known(version(1, 10));
  tell_reader(version(2, 20));  // finds a place again
  own_notice();
  EXPECT_EQ(last(), 1u);
}

// A mapping asks for nothing, however often others change the file.
TEST_F(ToldSizesTest, WhatWasToldBeforeANoticeEnds) {
  known(version(1, 10));
  others_change();
  EXPECT_EQ(last(), 1u);
  std::this_thread::sleep_for(kUnderWay / 2);
  others_change();
  std::this_thread::sleep_for(kUnderWay / 2 + 10ms);
  EXPECT_FALSE(sizes.last(kFile)) << "the head";
}

TEST_F(ToldSizesTest, WhatWasToldBeforeTheCachesWereLostEnds) {
  known(version(1, 10));
  sizes.all_notices_begin();
  sizes.all_notices_ended(++as_of);
  EXPECT_EQ(last(), 1u);
  std::this_thread::sleep_for(kUnderWay + 10ms);
  EXPECT_FALSE(sizes.last(kFile)) << "the head";
}

}  // namespace
}  // namespace linkspan::vfs
