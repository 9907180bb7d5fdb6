// What a process writes after a save of its own was merged, without reading that: it goes on from
// what it had written itself.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

const char* const kTasks = "[ ] one\ntwo\nthree\n";

class Unmerged : public TwoMounts, public ::testing::WithParamInterface<bool> {
 protected:
  // b has read it, and another mount has changed it since.
  void SetUp() override {
    ASSERT_OK(a.write("x", kTasks));
    EXPECT_OK(b.read("x"));
    ASSERT_OK(a.write("x", std::string(kTasks) + "four\n"));
  }
  Status saves(const std::string& content) {
    return GetParam() ? b.save("x", content) : b.write("x", content);
  }
  std::string head() { return text(a.read("x")); }
};

TEST_P(Unmerged, WhatItTakesBackIsTakenBack) {
  ASSERT_OK(saves("[x] one\ntwo\nthree\n"));
  EXPECT_EQ(head(), "[x] one\ntwo\nthree\nfour\n");
  ASSERT_OK(saves(kTasks));
  EXPECT_EQ(head(), "[ ] one\ntwo\nthree\nfour\n");
}

TEST_P(Unmerged, WhatItChangesAgainIsNoConflict) {
  ASSERT_OK(saves("[~] one\ntwo\nthree\n"));
  ASSERT_OK(saves("[x] one\ntwo\nthree\n"));
  EXPECT_EQ(head(), "[x] one\ntwo\nthree\nfour\n");
  ASSERT_OK(a.write("x", "[x] one\ntwo\nthree\n4\n"));
  ASSERT_OK(saves("[x] 1\ntwo\nthree\n"));
  EXPECT_EQ(head(), "[x] 1\ntwo\nthree\n4\n");
}

TEST_P(Unmerged, AnAdditionIsTakenBackOrMade) {
  ASSERT_OK(saves("[ ] one\nmore\ntwo\nthree\n"));
  ASSERT_OK(saves("[ ] one\nmore!\ntwo\nthree\n"));
  EXPECT_EQ(head(), "[ ] one\nmore!\ntwo\nthree\nfour\n");
  ASSERT_OK(saves("[ ] one\nthree\n"));
  EXPECT_EQ(head(), "[ ] one\nthree\nfour\n");
  ASSERT_OK(saves("[ ] one\ntwo\nthree\n"));
  EXPECT_EQ(head(), "[ ] one\ntwo\nthree\nfour\n");
}

TEST_P(Unmerged, IsAVersionOfItsOwn) {
  ASSERT_OK(saves("[x] one\ntwo\nthree\n"));
  const auto list = a.client.versions({}, {a.ino("x"), {}, 10});
  ASSERT_OK(list);
  ASSERT_GE(list->size(), 2u);
  EXPECT_EQ((*list)[1].what, "unmerged");
  EXPECT_EQ(a.client.read({}, {a.ino("x"), (*list)[1].version, 0, 100})->data,
            "[x] one\ntwo\nthree\n");
}

// Who reads the merge goes on from that.
TEST_P(Unmerged, NotForWhoReadsTheMerge) {
  ASSERT_OK(saves("[x] one\ntwo\nthree\n"));
  EXPECT_EQ(text(b.read("x")), "[x] one\ntwo\nthree\nfour\n");
  ASSERT_OK(saves("[x] one\ntwo\nthree\n"));
  EXPECT_EQ(head(), "[x] one\ntwo\nthree\n");
}
INSTANTIATE_TEST_SUITE_P(Saves, Unmerged, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "Renamed" : "InPlace"; });

using UnmergedParts = TwoMounts;

// f.truncate(0), fsync, f.write()
TEST_F(UnmergedParts, ATruncationThatWasMergedAlone) {
  ASSERT_OK(a.write("x", kTasks));
  EXPECT_OK(b.read("x"));
  ASSERT_OK(a.write("x", std::string(kTasks) + "four\n"));
  const auto h = b.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(h);
  ASSERT_OK(b.vfs->fsync(b.me, b.ino("x"), *h));
  ASSERT_OK(b.pwrite(*h, 0, std::string(kTasks) + "mine\n"));
  ASSERT_OK(b.close(*h));
  EXPECT_EQ(text(a.read("x")), "four\n" + std::string(kTasks) + "mine\n");
}

// A progress file, through one descriptor or anew each time.
TEST_F(UnmergedParts, EditsOfAPart) {
  ASSERT_OK(a.write("x", kTasks));
  const auto h = b.open("x", O_RDWR);
  ASSERT_OK(h);
  EXPECT_EQ(text(b.pread(*h, 0, 100)), kTasks);
  ASSERT_OK(a.write("x", std::string(kTasks) + "four\n"));
  for (const char* mark : {"[x]", "[~]", "[ ]", "[y]"}) {
    ASSERT_OK(b.pwrite(*h, 0, mark));
    ASSERT_OK(b.vfs->fsync(b.me, b.ino("x"), *h));
    EXPECT_EQ(text(a.read("x")), mark + std::string(kTasks).substr(3) + "four\n");
  }
  ASSERT_OK(b.close(*h));
  for (const char* mark : {"[z]", "[ ]"}) {
    const auto again = b.open("x", O_WRONLY);
    ASSERT_OK(again);
    ASSERT_OK(b.pwrite(*again, 0, mark));
    ASSERT_OK(b.close(*again));
    EXPECT_EQ(text(a.read("x")), mark + std::string(kTasks).substr(3) + "four\n");
  }
}

// os.replace() before the last write.
TEST_F(UnmergedParts, ARenameOfHalfOfIt) {
  ASSERT_OK(a.write("x", kTasks));
  EXPECT_OK(b.read("x"));
  ASSERT_OK(a.write("x", "zero\n" + std::string(kTasks)));
  const auto h = b.open("tmp", O_WRONLY | O_CREAT);
  ASSERT_OK(h);
  const Ino ino = b.ino("tmp");
  ASSERT_OK(b.pwrite(*h, 0, "[ ] one\ntwo\n"));
  ASSERT_OK(b.vfs->rename(b.me, b.root, "tmp", b.root, "x", 0));
  ASSERT_OK(b.vfs->write(b.me, ino, *h, 12, "three\nmine\n", false));
  ASSERT_OK(b.close(*h));
  EXPECT_EQ(text(a.read("x")), "zero\n[ ] one\ntwo\nthree\nmine\n");
}

}  // namespace
}  // namespace linkspan::vfs::testing
