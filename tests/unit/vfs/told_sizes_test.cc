// Which version is read while the kernel may have either size.
#include "fusefs/vfs/told_sizes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace linkspan::vfs {
namespace {

using namespace std::chrono_literals;
using Instant = std::chrono::steady_clock::time_point;

constexpr Ino kFile{7}, kOther{8};
constexpr int32_t kReader = 100;
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
  std::chrono::milliseconds settling() {
    const Instant begun = std::chrono::steady_clock::now();
    sizes.settle(kNodes);
    return std::chrono::round<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  }
  ToldSizes sizes;
};

TEST_F(ToldSizesTest, TheLastThatWasTold) {
  EXPECT_FALSE(sizes.last(kFile));
  EXPECT_TRUE(sizes.told(kFile, version(1, 10), 0, {}));
  EXPECT_EQ(last(), 1u);
  EXPECT_TRUE(sizes.told(kFile, version(3, 30), 0, kReader));
  EXPECT_TRUE(sizes.told(kFile, version(2, 20), 0, {})) << "one that was overtaken changes nothing";
  EXPECT_EQ(last(), 3u);
  sizes.made(kFile, version(4, 5));
  EXPECT_EQ(last(), 4u);
  sizes.untell(kFile);
  EXPECT_FALSE(sizes.last(kFile));
}

TEST_F(ToldSizesTest, ANoticeWaitsUntilTheReaderHasCome) {
  sizes.told(kFile, version(1, 10), 0, {});
  sizes.told(kFile, version(2, 20), 0, kReader);
  std::atomic<bool> came{false};
  bool in_time = true;
  std::thread notice([&] {
    in_time = settling() < kReadComes;  // else this machine was too busy to tell
    if (in_time) {
      EXPECT_TRUE(came);
    }
    sizes.notice_begins(kFile, true);
  });
  std::this_thread::sleep_for(2 * kTakenIn);  // nothing else would wait so long
  came = true;
  sizes.came(kReader, {});
  notice.join();
  if (in_time) {
    EXPECT_EQ(last(), 2u);
  }
}

TEST_F(ToldSizesTest, AReaderThatDoesNotComeIsNotWaitedForLong) {
  sizes.told(kFile, version(1, 10), 0, {});
  sizes.told(kFile, version(2, 20), 0, kReader);
  EXPECT_GE(settling(), kReadComes - 1ms);
  // It may go on with either; the kernel cuts a file to a READ that is short.
  sizes.notice_begins(kFile, true);
  EXPECT_EQ(last(), 1u);
  sizes.notice_ended(kFile, 1);
  EXPECT_EQ(last(), 1u);
  EXPECT_TRUE(sizes.told(kFile, version(3, 15), 1, {}));
  EXPECT_EQ(last(), 3u);
}

TEST_F(ToldSizesTest, OfTwoVersionsTheShorterIsRead) {
  sizes.told(kFile, version(1, 20), 0, {});
  sizes.told(kFile, version(2, 10), 0, kReader);
  sizes.noticed(kFile);
  EXPECT_EQ(last(), 2u);
  sizes.told(kFile, version(3, 10), 0, kReader);
  sizes.noticed(kFile);
  EXPECT_EQ(last(), 3u) << "of equal length: the newer";
}

TEST_F(ToldSizesTest, WhatIsAskedDuringANoticeIsNotSure) {
  EXPECT_TRUE(sizes.told(kFile, version(1, 10), 5, {}));
  sizes.notice_begins(kFile, true);
  EXPECT_FALSE(sizes.told(kFile, version(2, 8), 5, kReader));
  EXPECT_EQ(last(), 2u);
  sizes.notice_ended(kFile, 6);
  EXPECT_FALSE(sizes.told(kFile, version(3, 30), 5, kReader)) << "asked before the end";
  EXPECT_EQ(last(), 2u);
  EXPECT_TRUE(sizes.told(kFile, version(3, 30), 6, kReader));
  EXPECT_EQ(last(), 3u);
  EXPECT_TRUE(sizes.told(kOther, version(3, 30), 0, kReader)) << "the notice was of another file";
}

TEST_F(ToldSizesTest, AThreadOfAForeignNamespaceIsKnownByItsFile) {
  sizes.told(kFile, version(1, 10), 0, {});
  sizes.told(kFile, version(2, 20), 0, 0);
  sizes.came(0, kOther);
  sizes.noticed(kFile);
  EXPECT_EQ(last(), 1u);
  sizes.told(kFile, version(2, 20), 0, 0);
  sizes.came(0, kFile);
  sizes.noticed(kFile);
  EXPECT_EQ(last(), 2u);
}

TEST_F(ToldSizesTest, WhoWasToldTheSameIsNotWaitedFor) {
  auto fastest = std::chrono::milliseconds::max();
  for (int i = 0; i < 10; ++i) {
    sizes.told(kFile, version(1, 10), 0, kReader);
    fastest = std::min(fastest, settling());
  }
  EXPECT_LT(fastest, kReadComes / 2);
}

TEST_F(ToldSizesTest, ManyReadersThatNeverComeAreForgotten) {
  for (int32_t thread = 1; thread <= 1000; ++thread) {
    const Ino ino(1000 + static_cast<uint64_t>(thread));
    sizes.told(ino, version(1, 10), 0, {});
    sizes.told(ino, version(2, 20), 0, thread);
  }
  sizes.settle({{Ino(1001), true}, {Ino(2000), true}});
  sizes.told(kFile, version(1, 10), 0, {});
  sizes.told(kFile, version(2, 20), 0, kReader);  // finds a place again
  sizes.noticed(kFile);
  EXPECT_EQ(last(), 1u);
}

// A reader that the machine kept from going on for a while; a mapping asks for nothing for ever.
TEST_F(ToldSizesTest, WhatWasToldBeforeANoticeEnds) {
  sizes.told(kFile, version(1, 10), 0, {});
  sizes.notice_begins(kFile, true);
  sizes.notice_ended(kFile, 1);
  EXPECT_EQ(last(), 1u);
  std::this_thread::sleep_for(kUnderWay + 10ms);
  EXPECT_FALSE(sizes.last(kFile)) << "the head";
}

}  // namespace
}  // namespace linkspan::vfs
