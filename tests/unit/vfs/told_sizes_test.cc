// Which version is read while the kernel may have either size.
#include "fusefs/vfs/told_sizes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

namespace linkspan::vfs {
namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr Ino kFile{7}, kOtherFile{8};
constexpr int32_t kReader = 100, kSecond = 101, kThird = 102;
const std::vector<RevokedNode> kNodes = {{kFile, true}};

SizedVersion version(uint64_t number, uint64_t size) {
  return {Version(number), size};
}

class ToldSizesTest : public ::testing::Test {
 protected:
  std::optional<SizedVersion> read_by(Ino ino, int32_t thread) {
    sizes.await_others(ino, thread);
    return sizes.to_read(ino);
  }
  uint64_t last() {
    const auto last = read_by(kFile, kSecond);
    return last ? last->version.value : 0;
  }
  bool tell(const SizedVersion& what) { return sizes.told(kFile, what, as_of, {kThird}); }
  bool tell_reader(const SizedVersion& what, int32_t thread = kReader, Ino ino = kFile) {
    const ToldSizes::Asking asking(&sizes, ino, thread);
    return sizes.told(ino, what, as_of, {thread, &asking});
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
  // Tries until the machine lets all of it happen within the time that anybody is waited for.
  template <class Try>
  void in_time(Try attempt) {
    for (int i = 0; i < 50; ++i) {
      sizes.untell(kFile);
      const auto begun = Steady::now();
      attempt();
      if (Steady::now() - begun < kReadComes) return;
      std::this_thread::sleep_for(kReadComes);  // what was late is over then
    }
    FAIL() << "the machine is too busy to tell";
  }
  // `waiting` does not return before `end`, which comes when nothing else would be waited for.
  template <class Waiting, class End>
  bool waits(Waiting waiting, End end) {
    std::atomic<bool> ended{false};
    bool waited = false;
    std::thread thread([&] {
      waiting();
      waited = ended;
    });
    std::this_thread::sleep_for(2 * kTakenIn);
    ended = true;
    end();
    thread.join();
    return waited;
  }

  ToldSizes sizes;
  uint64_t as_of = 1;
};

TEST_F(ToldSizesTest, TheLastThatWasTold) {
  EXPECT_FALSE(read_by(kFile, kSecond));
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
  EXPECT_FALSE(read_by(kFile, kSecond));
}

TEST_F(ToldSizesTest, ANoticeWaitsUntilTheReaderHasCome) {
  bool waited = false;
  in_time([&] {
    known(version(1, 10));
    tell_reader(version(2, 20));
    waited = waits([&] { others_change(); }, [&] { sizes.came(kReader, {}); });
  });
  EXPECT_TRUE(waited);
  EXPECT_EQ(last(), 2u);
}

TEST_F(ToldSizesTest, ANoticeWaitsForWhoAsks) {
  bool waited = false;
  in_time([&] {
    known(version(1, 10));
    auto asking = std::make_unique<ToldSizes::Asking>(&sizes, kFile, kReader);
    waited = waits([&] { others_change(); }, [&] { asking.reset(); });  // its request failed
  });
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
  EXPECT_FALSE(sizes.told(kFile, version(2, 8), before, {kThird}));
  EXPECT_EQ(last(), 2u);
  EXPECT_FALSE(sizes.told(kFile, version(3, 30), before, {kThird}));
  EXPECT_EQ(last(), 2u);
  EXPECT_TRUE(tell(version(3, 30)));
  EXPECT_EQ(last(), 3u);
  own_notice();
  EXPECT_FALSE(sizes.told(kFile, version(4, 40), before + 1, {kThird}));
  EXPECT_TRUE(sizes.told(kOtherFile, version(3, 30), 0, {kThird}))
      << "the notice was of another file";
  sizes.all_notices_begin();
  sizes.all_notices_ended(++as_of);
  EXPECT_FALSE(sizes.told(kOtherFile, version(3, 30), as_of - 1, {kThird}));
  EXPECT_TRUE(sizes.told(kOtherFile, version(3, 30), as_of, {kThird}));
}

TEST_F(ToldSizesTest, AnAnswerWaitsForTheEndOfANotice) {
  bool waited = false, sure = true;
  in_time([&] {
    known(version(1, 10));
    sizes.notice_begins(kFile);
    sizes.notice_begins(kFile);
    sizes.notice_ended(kFile, as_of + 1);  // one of two
    waited =
        waits([&] { sure = tell(version(2, 20)); }, [&] { sizes.notice_ended(kFile, as_of + 1); });
    ++as_of;
  });
  EXPECT_TRUE(waited);
  EXPECT_FALSE(sure);
}

// Whichever is taken in first, the kernel ignores the other.
TEST_F(ToldSizesTest, OfTwoAnswersOnTheirWayNeitherIsSure) {
  bool first = false, second = true;
  in_time([&] {
    known(version(1, 30));
    first = tell_reader(version(2, 20));
    second = tell_reader(version(3, 10), kSecond);
  });
  EXPECT_TRUE(first);
  EXPECT_FALSE(second);
  EXPECT_EQ(last(), 3u);
  sizes.came(kReader, {});
  EXPECT_EQ(last(), 3u) << "the kernel may have it";
  EXPECT_TRUE(tell_reader(version(3, 10), kSecond));
}

// It may be of a read that began before, with the size of before.
TEST_F(ToldSizesTest, AReadOfOthersWaitsUntilALongerSizeWasTakenIn) {
  bool waited = false;
  in_time([&] {
    known(version(1, 10));
    others_change();
    tell_reader(version(2, 20));
    waited = waits([&] { EXPECT_EQ(last(), 2u); }, [&] { sizes.came(kReader, {}); });
  });
  EXPECT_TRUE(waited);
  sizes.untell(kFile);
  known(version(1, 10));
  others_change();
  const auto begun = Steady::now();
  EXPECT_TRUE(tell(version(2, 20)));
  EXPECT_EQ(last(), 2u);
  EXPECT_GE(Steady::now() - begun, kOthersTakeIn);
}

TEST_F(ToldSizesTest, AReadDoesNotWaitForItselfNorForAShorterSizeNorWithoutAChange) {
  struct {
    Ino ino;
    bool change;
    int32_t thread;
    uint64_t size;
    Steady::duration fastest = Steady::duration::max();
  } cases[] = {{Ino{1}, true, kThird, 20},
               {Ino{2}, true, kSecond, 9},
               {Ino{3}, true, kSecond, 10},
               {Ino{4}, false, kSecond, 20}};
  for (int i = 0; i < 10; ++i) {
    for (auto& c : cases) {
      sizes.untell(c.ino);
      sizes.made(c.ino, version(1, 10));
      if (c.change) {
        sizes.notices_begin({{c.ino, true}});
        sizes.notices_ended({{c.ino, true}}, ++as_of);
      }
      EXPECT_TRUE(sizes.told(c.ino, version(2, c.size), as_of, {kThird}));
      const auto begun = Steady::now();
      EXPECT_EQ(read_by(c.ino, c.thread)->version, Version(2));
      c.fastest = std::min(c.fastest, Steady::now() - begun);
    }
  }
  for (const auto& c : cases) EXPECT_LT(c.fastest, kOthersTakeIn / 2) << c.ino.value;
}

// Nobody waits before a notice of our own: the answer that it overtakes is ignored.
TEST_F(ToldSizesTest, AnOwnNoticeMayOvertakeAnAnswer) {
  uint64_t read = 0;
  for (int i = 0; i < 50 && read != 1; ++i) {
    sizes.untell(kFile);
    known(version(1, 10));
    tell(version(2, 20));
    own_notice();  // within kTakenIn, if the machine is not too busy
    read = last();
  }
  EXPECT_EQ(read, 1u);
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

TEST_F(ToldSizesTest, EachWhoResizesCounts) {
  EXPECT_FALSE(sizes.resizing(kFile));
  {
    const ToldSizes::Resizing one(&sizes, kFile);
    { const ToldSizes::Resizing two(&sizes, kFile); }
    EXPECT_TRUE(sizes.resizing(kFile));
    EXPECT_FALSE(sizes.resizing(kOtherFile));
  }
  EXPECT_FALSE(sizes.resizing(kFile));
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
  EXPECT_FALSE(read_by(kFile, kSecond)) << "the head";
}

// The router does not tell of the next change, unless somebody asks meanwhile.
TEST_F(ToldSizesTest, WhatWasToldBeforeANoticeOfAttributesEnds) {
  known(version(1, 10));
  others_change(/*content=*/false);
  EXPECT_EQ(last(), 1u);
  std::this_thread::sleep_for(kUnderWay + 10ms);
  EXPECT_FALSE(read_by(kFile, kSecond)) << "the head";
}

TEST_F(ToldSizesTest, WhatWasToldBeforeTheCachesWereLostEnds) {
  known(version(1, 10));
  sizes.all_notices_begin();
  sizes.all_notices_ended(++as_of);
  EXPECT_EQ(last(), 1u);
  std::this_thread::sleep_for(kUnderWay + 10ms);
  EXPECT_FALSE(read_by(kFile, kSecond)) << "the head";
}

}  // namespace
}  // namespace linkspan::vfs
