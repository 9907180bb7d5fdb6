// What a process saves under a name that another mount has given to another file since it read it:
// numbers of versions are counted for each file, so that the same number says nothing.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

const char* const kRead = "1\n2\n3\n";
const char* const kOther = "K\n1\n2\n3\n";
const char* const kSaved = "1\n2\n3\nP\n";
const char* const kBoth = "K\n1\n2\n3\nP\n";

class OtherFile : public TwoMounts, public ::testing::WithParamInterface<bool> {
 protected:
  // b has read x; both files are at the same version.
  void SetUp() override {
    ASSERT_OK(a.write("x", kRead));
    ASSERT_OK(a.write("y", kOther));
    ASSERT_EQ(version("x"), version("y"));
    EXPECT_EQ(text(b.read("x")), kRead);
  }
  Version version(const std::string& name) {
    return a.vfs->getattr(a.me, a.ino(name), {})->attr.version;
  }
  Status moves(const std::string& from, const std::string& to, unsigned flags = 0) {
    return a.vfs->rename(a.me, a.root, from, a.root, to, flags);
  }
  Status saves(const std::string& content) {
    return GetParam() ? b.save("x", content) : b.write("x", content);
  }
  std::string head() { return text(a.read("x")); }
  size_t kept() { return a.client.conflicts({}, {})->conflicts.size(); }
};

TEST_P(OtherFile, OneThatWasExchangedForItIsMerged) {
  ASSERT_OK(moves("x", "y", RENAME_EXCHANGE));
  ASSERT_OK(saves(kSaved));
  EXPECT_EQ(head(), kBoth);
  EXPECT_EQ(text(a.read("y")), kRead);
}

TEST_P(OtherFile, SoIsOneThatWasMovedThereOnceItWasMovedAway) {
  ASSERT_OK(moves("x", "z"));
  ASSERT_OK(moves("y", "x"));
  ASSERT_OK(saves(kSaved));
  EXPECT_EQ(head(), kBoth);
  EXPECT_EQ(text(a.read("z")), kRead);
}

// What b had read is gone.
TEST_P(OtherFile, OneThatWasMadeAnewIsNotWrittenOver) {
  ASSERT_OK(a.unlink("x"));
  ASSERT_OK(a.write("x", kOther));
  const Status saved = saves(kSaved);
  if (saved.ok()) {
    EXPECT_EQ(head(), kBoth);
  } else {
    EXPECT_TRUE(refused(saved));
    EXPECT_EQ(head(), kOther);
    EXPECT_EQ(kept(), 1u);
  }
}

TEST_P(OtherFile, AnotherOfThatNumberWithOtherLinesIsNoBase) {
  ASSERT_OK(a.write("x", "0\n1\n2\n3\n"));
  EXPECT_EQ(text(b.read("x")), "0\n1\n2\n3\n");
  ASSERT_OK(a.write("y", "K\n1\n2\n3\n"));
  ASSERT_EQ(version("x"), version("y"));
  ASSERT_OK(a.write("y", "K\n1\n2\n3\nL\n"));
  ASSERT_OK(moves("x", "y", RENAME_EXCHANGE));
  const Status saved = saves("0\n1\n2\n3\nP\n");
  EXPECT_NE(head().find("K\n"), std::string::npos) << head();
  EXPECT_NE(head().find("L\n"), std::string::npos) << head();
  EXPECT_TRUE(saved.ok() || kept() == 1);
}

// The draft's own numbers are not those of the history that it goes on with.
TEST_P(OtherFile, ADraftThatWasMovedOverAFileHasOtherNumbers) {
  ASSERT_OK(a.write("draft", "1\n2\n3\n4\n"));
  EXPECT_EQ(text(b.read("draft")), "1\n2\n3\n4\n");
  ASSERT_OK(a.write("notes", "1\n2\n3\n"));
  ASSERT_EQ(version("draft"), version("notes"));
  ASSERT_OK(moves("draft", "notes"));
  const char* const without_the_fourth = "1\n2\n3\nP\n";
  const Status saved =
      GetParam() ? b.save("notes", without_the_fourth) : b.write("notes", without_the_fourth);
  EXPECT_TRUE(refused(saved));
  EXPECT_EQ(text(a.read("notes")), "1\n2\n3\n4\n");
  EXPECT_EQ(kept(), 1u);
}

// A part that rests on another file is kept over what was read, not over what is there.
TEST_P(OtherFile, APartThatIsRefusedIsKeptAsItWasWritten) {
  const Handle h = *b.open("x", O_RDWR);
  EXPECT_EQ(text(b.pread(h, 0, 100)), kRead);
  ASSERT_OK(b.close(h));
  ASSERT_OK(a.write("y", "other\nlines\nthan these\n"));
  ASSERT_OK(moves("x", "y", RENAME_EXCHANGE));
  const Handle again = *b.open("x", O_WRONLY);
  ASSERT_OK(b.pwrite(again, 2, "two"));
  EXPECT_TRUE(refused(b.close(again)));
  EXPECT_EQ(head(), "other\nlines\nthan these\n");
  const auto list = a.client.conflicts({}, {});
  ASSERT_OK(list);
  ASSERT_EQ(list->conflicts.size(), 1u);
  EXPECT_EQ(list->conflicts[0].base_ino, a.ino("y"));
  EXPECT_EQ(a.client.read({}, {list->conflicts[0].theirs, {}, 0, 100})->data, "1\ntwo\n");
}

INSTANTIATE_TEST_SUITE_P(Saves, OtherFile, ::testing::Bool(),
                         [](const auto& save) { return save.param ? "Renamed" : "InPlace"; });

// The kernel swaps its own entries after an exchange: no lookup tells the mount what has which
// name.
class SwappedHere : public TwoMounts {
 protected:
  void SetUp() override {
    b.me.tid = process.tid();
    ASSERT_OK(b.write("x", kRead));
    old = b.ino("x");
    draft = *b.open("y", O_WRONLY | O_CREAT | O_EXCL);
  }
  void swaps() {
    ASSERT_OK(b.rename("y", "x", RENAME_EXCHANGE));
    const auto opened = b.vfs->open(b.me, old, O_RDWR);
    ASSERT_OK(opened);
    EXPECT_EQ(text(b.vfs->read(b.me, old, opened->handle, 0, 100)), kRead);
    b.vfs->release(old, opened->handle);
    ASSERT_OK(b.pwrite(draft, 0, kOther));
    EXPECT_OK(b.close(draft));
    EXPECT_EQ(text(a.read("x")), kOther);
    EXPECT_EQ(text(a.read("y")), kRead);
  }
  const OtherProcess process;
  Ino old;
  Handle draft = 0;
};

TEST_F(SwappedHere, WhatIsReadOfTheOneIsNoBaseOfTheOther) {
  swaps();
}

TEST_F(SwappedHere, NorWhileTheOneIsOpen) {
  const Handle open = *b.open("x", O_RDONLY);
  swaps();
  EXPECT_EQ(text(b.pread(open, 0, 100)), kRead);
  ASSERT_OK(b.write("x", kSaved));
  EXPECT_EQ(text(a.read("x")), kSaved);
}

}  // namespace
}  // namespace linkspan::vfs::testing
