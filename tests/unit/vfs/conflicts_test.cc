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
  b.clock.stop();
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

class UnheardSave : public Refused {
 protected:
  void saves_unheard(const std::string& content) {
    ASSERT_OK(b.write("temp", content));
    b.client.lose_next_reply("rename");
    EXPECT_EQ(b.rename("temp", "x").code(), Code::unavailable);
  }
};

class RefusedWrite : public Refused {
 protected:
  void SetUp() override {
    b.clock.stop();
    ASSERT_OK(a.write("x", "one\n"));
    EXPECT_EQ(text(b.read("x")), "one\n");
    ASSERT_OK(a.write("x", "theirs\n"));
    x = b.ino("x");
    const auto opened = b.open("x", O_WRONLY | O_TRUNC);
    ASSERT_OK(opened);
    h = *opened;
    ASSERT_OK(b.pwrite(h, 0, "mine\n"));
  }
  void closes_with_conflict(size_t conflicts = 1) {
    const Status closed = b.close(h);
    ASSERT_FALSE(closed.ok());
    EXPECT_EQ(closed.code(), Code::conflict);
    EXPECT_EQ(kept().size(), conflicts);
  }
  Ino x;
  Handle h;
};

// A child that was forked meanwhile closes the descriptor first, and the kernel drops its answer.
TEST_F(RefusedWrite, IsToldToTheWriterThoughAChildHasHeardIt) {
  OtherProcess child;
  Caller forked = b.me;
  forked.tid = child.tid();
  EXPECT_EQ(b.vfs->flush(forked, x, h).code(), Code::conflict);
  closes_with_conflict();
}

TEST_F(RefusedWrite, IsToldOnceByFsync) {
  EXPECT_EQ(b.fsync(h).code(), Code::conflict);
  EXPECT_OK(b.fsync(h));
  EXPECT_OK(b.close(h));
}

TEST_F(RefusedWrite, IsToldToEachDescriptor) {
  const auto other = b.open("x", O_RDWR);
  ASSERT_OK(other);
  EXPECT_EQ(b.fsync(*other).code(), Code::conflict);
  EXPECT_OK(b.close(*other));
  const auto later = b.open("x", O_RDWR);
  ASSERT_OK(later);
  EXPECT_OK(b.close(*later));
  closes_with_conflict();
}

// Whose call made the commit, and who did not write, hears nothing of it.
TEST_F(RefusedWrite, IsNoErrorOfARename) {
  EXPECT_OK(b.rename("x", "y"));
  EXPECT_EQ(text(a.read("y")), "theirs\n");
  closes_with_conflict();
}

TEST_F(RefusedWrite, IsNoErrorOfALink) {
  EXPECT_OK(b.vfs->link(b.me, x, b.root, "y"));
  closes_with_conflict();
}

// Nor of a truncation by path, which is held against the same change for itself.
TEST_F(RefusedWrite, IsNoErrorOfATruncation) {
  SetAttr cut;
  cut.size = 2;
  EXPECT_EQ(b.vfs->setattr(b.me, x, cut, {}).code(), Code::conflict);
  EXPECT_EQ(text(a.read("x")), "theirs\n");
  closes_with_conflict(2);
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

// Also where what was known of the files is dropped between the two, with the link.
TEST_F(Refused, ARenameIsKeptOnceThoughTheCachesAreLostMeanwhile) {
  ASSERT_OK(a.write("x", "one\n"));
  EXPECT_EQ(text(b.read("x")), "one\n");
  ASSERT_OK(a.write("x", "theirs\n"));
  ASSERT_OK(b.write("temp", "mine\n"));
  EXPECT_EQ(b.rename("temp", "x").code(), Code::conflict);
  b.vfs->on_caches_lost();
  EXPECT_EQ(b.vfs->rename(b.me, b.root, "temp", b.root, "x", 0).code(), Code::conflict);
  EXPECT_EQ(kept().size(), 1u);
}

// The answer to a save got lost: whoever saves again without a look knows what it had saved itself.
TEST_F(UnheardSave, IsNoChangeOfAnothers) {
  ASSERT_OK(b.write("x", "one\n"));
  EXPECT_EQ(text(b.read("x")), "one\n");
  saves_unheard("two\n");
  EXPECT_EQ(text(a.read("x")), "two\n");
  ASSERT_OK(b.write("temp2", "three\n"));
  EXPECT_OK(b.rename("temp2", "x"));
  EXPECT_EQ(text(a.read("x")), "three\n");
  EXPECT_TRUE(kept().empty());
}

// But for what another did since, and for what that save was merged with.
TEST_F(UnheardSave, WhatAnotherDidSinceIsNotOverwritten) {
  ASSERT_OK(b.write("x", "one\n"));
  EXPECT_EQ(text(b.read("x")), "one\n");
  saves_unheard("two\n");
  ASSERT_OK(a.write("x", "theirs\n"));
  ASSERT_OK(b.write("temp2", "three\n"));
  EXPECT_EQ(b.rename("temp2", "x").code(), Code::conflict);
  EXPECT_EQ(text(a.read("x")), "theirs\n");
}

TEST_F(UnheardSave, ThatWasMergedIsNotKnown) {
  ASSERT_OK(b.write("x", "one\ntwo\nthree\nfour\n"));
  EXPECT_EQ(text(b.read("x")), "one\ntwo\nthree\nfour\n");
  ASSERT_OK(a.write("x", "one\ntwo\nthree\nFOUR\n"));
  saves_unheard("ONE\ntwo\nthree\nfour\n");
  EXPECT_EQ(text(a.read("x")), "ONE\ntwo\nthree\nFOUR\n");
  ASSERT_OK(b.write("temp2", "ONE!\ntwo\nthree\nfour\n"));
  (void)b.rename("temp2", "x").ok();
  EXPECT_NE(text(a.read("x")).find("FOUR"), std::string::npos);
}

}  // namespace
}  // namespace linkspan::vfs::testing
