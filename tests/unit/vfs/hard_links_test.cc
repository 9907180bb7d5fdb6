// A file with two names: what is read by the one counts for the other, for as long as it is the
// same file; and what a mount itself has given another name to is none of its former one.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

// `x` and `y` are one file, which a process of b reads.
class HardLinks : public TwoMounts, public ::testing::WithParamInterface<bool> {
 protected:
  static constexpr const char* kRead = "1\n2\n3\n";
  static constexpr const char* kOther = "K\n1\n2\n3\n";
  static constexpr const char* kSaved = "1\n2\n3\nP\n";
  static constexpr const char* kBoth = "K\n1\n2\n3\nP\n";
  void SetUp() override {
    b.me.tid = process.tid();
    ASSERT_OK(a.write("x", kRead));
    ASSERT_OK(b.vfs->link(b.me, b.ino("x"), b.root, "y"));
    file = b.ino("x");
    ASSERT_EQ(b.ino("y"), file);
  }
  // As the kernel opens it, which keeps names: nothing tells by which one.
  void reads() {
    const auto opened = b.vfs->open(b.me, file, O_RDONLY);
    ASSERT_OK(opened);
    EXPECT_EQ(text(b.vfs->read(b.me, file, opened->handle, 0, 100)), kRead);
    b.vfs->release(file, opened->handle);
  }
  Status saves(const std::string& name, const std::string& content) {
    return GetParam() ? b.save(name, content) : b.write(name, content);
  }
  const OtherProcess process;
  Ino file;
};

TEST_P(HardLinks, WhatAnotherMountSavedOverOneNameIsMerged) {
  reads();
  ASSERT_OK(a.save("x", kOther));
  ASSERT_OK(saves("x", kSaved));
  EXPECT_EQ(text(a.read("x")), kBoth);
  EXPECT_EQ(text(a.read("y")), kRead);
}

TEST_P(HardLinks, OverTheOther) {
  reads();
  ASSERT_OK(a.save("y", kOther));
  ASSERT_OK(saves("y", kSaved));
  EXPECT_EQ(text(a.read("y")), kBoth);
  EXPECT_EQ(text(a.read("x")), kRead);
}

TEST_P(HardLinks, OrWhereTheOtherWasRemovedSince) {
  reads();
  ASSERT_OK(b.unlink("y"));
  ASSERT_OK(a.save("x", kOther));
  ASSERT_OK(saves("x", kSaved));
  EXPECT_EQ(text(a.read("x")), kBoth);
}

// Its own mount has put another file there: that rests on nothing that was read.
TEST_P(HardLinks, WhatIsReadByTheNameThatIsLeftIsNoBaseOfTheRemovedOne) {
  ASSERT_OK(b.unlink("x"));
  const Handle made = *b.open("x", O_WRONLY | O_CREAT | O_EXCL);
  reads();
  ASSERT_OK(b.pwrite(made, 0, kOther));
  EXPECT_OK(b.close(made));
  EXPECT_EQ(text(a.read("x")), kOther);
  ASSERT_OK(saves("x", kSaved));
  EXPECT_EQ(text(a.read("x")), kSaved);
  EXPECT_EQ(text(a.read("y")), kRead);
}

TEST_P(HardLinks, NorOfTheReplacedOne) {
  const Handle open = *b.open("x", O_RDWR);
  ASSERT_OK(b.save("x", "short\n"));
  ASSERT_OK(b.pwrite(open, 0, "one\ntwo\nthree\n"));
  ASSERT_OK(b.fsync(open));
  ASSERT_OK(b.pwrite(open, 0, "ONE\n"));
  ASSERT_OK(b.fsync(open));
  EXPECT_EQ(text(b.pread(open, 0, 100)), "ONE\ntwo\nthree\n");
  ASSERT_OK(b.close(open));
  ASSERT_OK(saves("x", kSaved));
  EXPECT_EQ(text(a.read("x")), kSaved);
  EXPECT_EQ(text(a.read("y")), "ONE\ntwo\nthree\n");
}

INSTANTIATE_TEST_SUITE_P(Saves, HardLinks, ::testing::Bool(),
                         [](const auto& save) { return save.param ? "Renamed" : "InPlace"; });

}  // namespace
}  // namespace linkspan::vfs::testing
