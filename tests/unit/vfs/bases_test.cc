// What a save, a truncation or a write in place rests on, when others have changed the file.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

const char* const kLines = "1\n2\n3\n4\n5\n6\n7\n8\n";

class Bases : public TwoMounts {
 protected:
  // b knows the file as it was; a has written another text since.
  void changed_by_a(const std::string& before, const std::string& now) {
    ASSERT_OK(a.write("x", before));
    EXPECT_EQ(text(b.read("x")), before);
    ASSERT_OK(a.write("x", now));
  }
  Status cut(uint64_t size) {
    SetAttr only;
    only.size = size;
    const auto done = b.vfs->setattr(b.me, b.ino("x"), only, {});
    return done.ok() ? ok() : Status(done.error());
  }
  size_t kept() {
    const auto reply = a.client.conflicts({}, {});
    EXPECT_OK(reply);
    return reply.ok() ? reply->conflicts.size() : 0;
  }
};

TEST_F(Bases, ATruncationByPathDoesNotWipeWhatWasNotRead) {
  const std::string theirs = std::string("1\n2\n3\nIV\n").append(kLines + 8);
  changed_by_a(kLines, theirs);
  for (int round = 1; round <= 2; ++round) {
    for (int kernels_tries = 0; kernels_tries < 2; ++kernels_tries) {
      const Status refused = cut(0);
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.code(), Code::conflict);
    }
    EXPECT_EQ(kept(), static_cast<size_t>(round));
  }
  EXPECT_EQ(text(a.read("x")), theirs);
  EXPECT_EQ(text(b.read("x")), theirs);
  ASSERT_OK(cut(0));
  EXPECT_EQ(text(a.read("x")), "");
  ASSERT_OK(b.write("x", "b\n"));  // and knows what it did
  EXPECT_EQ(text(a.read("x")), "b\n");
}

TEST_F(Bases, ATruncationByPathCutsWhatWasRead) {
  changed_by_a(kLines, std::string("I\n").append(kLines + 2));
  ASSERT_OK(cut(14));
  EXPECT_EQ(text(a.read("x")), "I\n2\n3\n4\n5\n6\n7\n");
}

TEST_F(Bases, AWriteAtTheEndAddsToWhatIsThere) {
  changed_by_a(kLines, "1\n2\n3\n");
  const auto h = b.open("x", O_RDWR);
  ASSERT_OK(h);
  ASSERT_OK(b.pwrite(*h, 6, "four\n"));
  ASSERT_OK(b.pwrite(*h, 11, "five\n"));
  ASSERT_OK(a.append("x", "a\n"));
  ASSERT_OK(b.close(*h));
  EXPECT_EQ(text(a.read("x")), "1\n2\n3\na\nfour\nfive\n");
}

TEST_F(Bases, AFileOfTwoNamesIsReadByTheOneItWasOpenedBy) {
  changed_by_a(kLines, kLines);
  ASSERT_OK(a.save("x", std::string(kLines) + "old text\n"));
  ASSERT_TRUE(a.vfs->link(a.me, a.ino("x"), a.root, "y").ok());
  OtherProcess process;
  b.me.tid = process.tid();
  const auto h = b.open("x", O_RDONLY);
  ASSERT_OK(h);
  EXPECT_TRUE(b.there("y"));
  EXPECT_EQ(text(b.pread(*h, 0, 100)), std::string(kLines) + "old text\n");
  ASSERT_OK(b.close(*h));
  ASSERT_OK(a.save("x", "I" + std::string(kLines + 1) + "old text\n"));
  ASSERT_OK(b.save("x", std::string(kLines) + "new text\n"));
  EXPECT_EQ(text(a.read("x")), "I" + std::string(kLines + 1) + "new text\n");
}

TEST_F(Bases, WhoWasToldOfALinkInThePlaceReplacesIt) {
  changed_by_a("one\n", "one\n");
  ASSERT_TRUE(a.vfs->symlink(a.me, a.root, "link", "elsewhere").ok());
  ASSERT_OK(a.rename("link", "x"));
  const Status refused = b.save("x", "two\n");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.code(), Code::conflict);
  EXPECT_FALSE(b.rename("x.tmp0", "x").ok());  // the kernel's
  ASSERT_OK(b.rename("x.tmp0", "x"));
  EXPECT_EQ(text(a.read("x")), "two\n");
}

}  // namespace
}  // namespace linkspan::vfs::testing
