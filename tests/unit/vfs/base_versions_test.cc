#include "fusefs/vfs/base_versions.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <thread>

#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {
namespace {

constexpr Process kMine{100, 1}, kOther{200, 1};
const cache::Name kName{Ino{16}, "MEMORY.md"};
const cache::FoundNames kNames{{kName}, {}}, kFormer{{}, {kName}}, kNone;

TEST(BaseVersions, WhatAProcessReadComesBeforeWhatTheMountRead) {
  BaseVersions bases{&Clock::system()};
  EXPECT_FALSE(bases.of_node(kMine, Ino{20}, kNames));
  bases.read(kMine, {Ino{20}, Version{3}}, kNames);
  bases.read(kOther, {Ino{20}, Version{5}}, kNames);
  EXPECT_EQ(bases.of_node(kMine, Ino{20}, kNames), (Base{Ino{20}, Version{3}}));
  EXPECT_EQ(bases.of_node(kOther, Ino{20}, kNames), (Base{Ino{20}, Version{5}}));
  EXPECT_EQ(bases.of_node(Process{300, 1}, Ino{20}, kNone), (Base{Ino{20}, Version{5}}));
  EXPECT_EQ(bases.of_node(Process{}, Ino{20}, kNone), (Base{Ino{20}, Version{5}}));
}

// Another sandbox's save put a new node under the name that this process had read.
TEST(BaseVersions, ARenameIsBasedOnWhatWasReadUnderTheName) {
  BaseVersions bases{&Clock::system()};
  bases.read(kMine, {Ino{20}, Version{3}}, kNames);
  EXPECT_EQ(bases.of_name(kMine, kName, Ino{40}), (Base{Ino{20}, Version{3}}));
  EXPECT_EQ(bases.of_node(kMine, Ino{40}, kNames), (Base{Ino{20}, Version{3}}));
  bases.forget_name(kMine, kName);
  EXPECT_FALSE(bases.of_name(kMine, kName, Ino{40}));
  EXPECT_EQ(bases.of_name(kMine, kName, Ino{20}), (Base{Ino{20}, Version{3}}));
}

TEST(BaseVersions, WhatWasReadAsItWasReplacedCountsForItsFormerName) {
  BaseVersions bases{&Clock::system()};
  bases.read(kOther, {Ino{40}, Version{4}}, kNames);  // who replaced it
  bases.read(kMine, {Ino{20}, Version{3}}, kFormer);
  EXPECT_EQ(bases.of_name(kMine, kName, Ino{40}), (Base{Ino{20}, Version{3}}));
  EXPECT_EQ(bases.of_name(Process{300, 1}, kName, Ino{40}), (Base{Ino{40}, Version{4}}));
  bases.read(kMine, {Ino{40}, Version{4}}, kNames);
  bases.read(kMine, {Ino{20}, Version{3}}, kFormer);  // by an old descriptor
  EXPECT_EQ(bases.of_name(kMine, kName, Ino{40}), (Base{Ino{40}, Version{4}}));
}

TEST(BaseVersions, WhatWasReadByAnotherLinkCountsForTheName) {
  BaseVersions bases{&Clock::system()};
  bases.read(kMine, {Ino{20}, Version{2}}, kNames);
  bases.read(kMine, {Ino{20}, Version{3}}, {{cache::Name{Ino{16}, "another link"}}, {}});
  EXPECT_EQ(bases.of_name(kMine, kName, Ino{20}), (Base{Ino{20}, Version{3}}));
}

TEST(BaseVersions, ARenumberedVersionIsTheSameContent) {
  BaseVersions bases{&Clock::system()};
  bases.read(kMine, {Ino{20}, Version{2}}, kNone);
  bases.renumbered(Ino{20}, Version{2}, Version{9});
  EXPECT_EQ(bases.of_node(kMine, Ino{20}, kNone), (Base{Ino{20}, Version{9}}));
  bases.read(kOther, {Ino{20}, Version{8}}, kNone);
  EXPECT_EQ(bases.of_node(kOther, Ino{20}, kNone), (Base{Ino{20}, Version{8}}));
}

TEST(Processes, ThreadsOfOneProcessAreOne) {
  Processes processes;
  const Process mine = processes.of_thread(static_cast<int32_t>(::gettid()));
  EXPECT_EQ(mine.pid, ::getpid());
  EXPECT_NE(mine.start, 0u);
  std::thread([&] {
    EXPECT_EQ(processes.of_thread(static_cast<int32_t>(::gettid())), mine);
  }).join();
  EXPECT_FALSE(processes.of_thread(0));
  EXPECT_FALSE(processes.of_thread(0x7fffffff));
}

TEST(Processes, SeesWritableDescriptorsOfAnInode) {
  const Process mine = Processes().of_thread(static_cast<int32_t>(::gettid()));
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  struct stat st {};
  ASSERT_EQ(::fstat(ends[1], &st), 0);
  EXPECT_EQ(Processes::writers(mine, Ino{st.st_ino}), 1u);
  ::close(ends[1]);
  EXPECT_EQ(Processes::writers(mine, Ino{st.st_ino}), 0u);  // the reading end only reads
  ::close(ends[0]);
  EXPECT_EQ(Processes::writers(Process{}, Ino{st.st_ino}), 0u);
}

TEST(ReplyGate, ARevocationMakesOlderRepliesOldAndWaitsForWrites) {
  ReplyGate gate;
  const uint64_t as_of = gate.now();
  EXPECT_TRUE(gate.enter(as_of).current());
  std::thread revocation;
  {
    const auto writing = gate.enter(as_of);
    revocation = std::thread([&] { gate.advance(); });
    while (gate.now() == as_of) std::this_thread::yield();
    EXPECT_FALSE(gate.enter(as_of).current());
    EXPECT_TRUE(gate.enter(gate.now()).current());  // and does not hold the revocation up
  }
  revocation.join();
}

}  // namespace
}  // namespace linkspan::vfs
