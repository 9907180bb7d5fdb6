// What the mount does of a write or save that the router refused and kept.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

class Refused : public TwoMounts {
 protected:
  std::vector<Conflict> kept() {
    const auto reply = a.client.conflicts({}, {});
    EXPECT_TRUE(reply.ok());
    return reply.ok() ? reply->conflicts : std::vector<Conflict>{};
  }
  std::string content(Ino ino) {
    const auto reply = a.client.read({}, {ino, {}, 0, 1000});
    return reply.ok() ? reply->data : reply.error().message;
  }
};

TEST_F(Refused, AWriteIsTheErrorOfCloseAndNotLost) {
  ASSERT_OK(a.write("x", "one\n"));
  EXPECT_EQ(text(b.read("x")), "one\n");
  ASSERT_OK(a.write("x", "theirs\n"));
  const auto h = b.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(h);
  ASSERT_OK(b.pwrite(*h, 0, "mine\n"));
  const auto closed = b.close(*h);
  ASSERT_FALSE(closed.ok());
  EXPECT_EQ(closed.code(), Code::conflict);
  EXPECT_NE(closed.error().message.find("kept as conflict"), std::string::npos);
  ASSERT_EQ(kept().size(), 1u);
  EXPECT_EQ(content(kept()[0].theirs), "mine\n");
  EXPECT_EQ(b.vfs->stats().conflicts, 1u);
  EXPECT_EQ(b.vfs->stats().lost_commits, 0u);
  EXPECT_EQ(b.vfs->stats().dirty_files, 0u);
  EXPECT_EQ(text(b.read("x")), "theirs\n");
}

// The kernel tries a rename that answered ESTALE once more by itself: that is no second save.
TEST_F(Refused, ARenameIsKeptOnceThoughTheKernelTriesAgain) {
  ASSERT_OK(a.write("x", "one\n"));
  EXPECT_EQ(text(b.read("x")), "one\n");
  ASSERT_OK(a.write("x", "theirs\n"));
  ASSERT_OK(b.write("temp", "mine\n"));
  const uint64_t calls = b.client.calls("rename");
  EXPECT_EQ(b.rename("temp", "x").code(), Code::conflict);
  EXPECT_EQ(b.rename("temp", "x").code(), Code::conflict);  // the kernel's
  EXPECT_EQ(b.client.calls("rename"), calls + 1);
  EXPECT_EQ(kept().size(), 1u);
  EXPECT_EQ(b.vfs->stats().conflicts, 1u);
  // The program tries again without a look at what the other wrote: another refusal, kept again.
  EXPECT_EQ(b.rename("temp", "x").code(), Code::conflict);
  EXPECT_EQ(b.client.calls("rename"), calls + 2);
  EXPECT_EQ(kept().size(), 2u);
  // And once it has looked it is another rename.
  EXPECT_EQ(text(b.read("x")), "theirs\n");
  ASSERT_OK(b.rename("temp", "x"));
  EXPECT_EQ(text(a.read("x")), "mine\n");
}

}  // namespace
}  // namespace linkspan::vfs::testing
