// What is written to a file that another process of the same mount has replaced by a rename.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

const char* const kThree = "one\ntwo\nthree\n";

class ReplacedHere : public TwoMounts {
 protected:
  void SetUp() override { ASSERT_OK(b.write("x", kThree)); }
  // It knows what is there.
  Handle opens_having_read(const OtherProcess& process, int flags) {
    b.me.tid = process.tid();
    EXPECT_OK(b.read("x"));
    return opens(process, flags);
  }
  void saves(const OtherProcess& process, const std::string& content) {
    b.me.tid = process.tid();
    EXPECT_OK(b.read("x"));
    ASSERT_OK(b.save("x", content));
  }
  Status closes(const OtherProcess& process, Handle h) {
    b.me.tid = process.tid();
    return b.close(h);
  }
  Status writes(const OtherProcess& process, Handle h, uint64_t offset, const std::string& bytes) {
    b.me.tid = process.tid();
    return b.pwrite(h, offset, bytes);
  }
  std::string head() {
    b.me.tid = saver.tid();
    EXPECT_EQ(text(b.read("x")), text(a.read("x")));
    return text(a.read("x"));
  }
  std::vector<Conflict> kept() {
    const auto reply = a.client.conflicts({}, {});
    EXPECT_OK(reply);
    return reply.ok() ? reply->conflicts : std::vector<Conflict>{};
  }

  OtherProcess writer, saver;
};

TEST_F(ReplacedHere, ARewriteIsMerged) {
  const Handle h = opens_having_read(writer, O_WRONLY | O_TRUNC);
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(writes(writer, h, 0, "one\ntwo\nTHREE\n"));
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(head(), "ONE\ntwo\nTHREE\n");
  // Both go on.
  b.me.tid = writer.tid();
  EXPECT_EQ(text(b.read("x")), "ONE\ntwo\nTHREE\n");
  ASSERT_OK(b.write("x", "ONE\nTWO\nTHREE\n"));
  saves(saver, "ONE\nTWO\nTHREE\nfour\n");
  EXPECT_EQ(head(), "ONE\nTWO\nTHREE\nfour\n");
  EXPECT_TRUE(kept().empty());
}

// Its truncation is no change of its own, of the old file alone.
TEST_F(ReplacedHere, SoIsARewriteThatWaitsForLong) {
  const Handle h = opens_having_read(writer, O_WRONLY | O_TRUNC);
  const Ino old = b.ino("x");
  saves(saver, "ONE\ntwo\nthree\n");
  b.me.tid = writer.tid();
  ASSERT_OK(b.vfs->fsync(b.me, old, h));
  ASSERT_OK(writes(writer, h, 0, "one\ntwo\nTHREE\n"));
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(head(), "ONE\ntwo\nTHREE\n");
}

TEST_F(ReplacedHere, SoIsAnEdit) {
  const Handle h = opens_having_read(writer, O_RDWR);
  EXPECT_EQ(text(b.pread(h, 0, 100)), kThree);
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(writes(writer, h, 8, "THREE"));
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(head(), "ONE\ntwo\nTHREE\n");
}

TEST_F(ReplacedHere, WhatCannotBeMergedIsRefusedAndKept) {
  const Handle h = opens_having_read(writer, O_WRONLY | O_TRUNC);
  saves(saver, "1\ntwo\nthree\n");
  ASSERT_OK(writes(writer, h, 0, "I\ntwo\nthree\n"));
  EXPECT_TRUE(refused(closes(writer, h)));
  EXPECT_EQ(head(), "1\ntwo\nthree\n");
  ASSERT_EQ(kept().size(), 1u);
  EXPECT_EQ(a.client.read({}, {kept()[0].theirs, {}, 0, 100})->data, "I\ntwo\nthree\n");
}

TEST_F(ReplacedHere, AppendsAreInBoth) {
  const Handle h = opens_having_read(writer, O_WRONLY | O_APPEND);
  const Ino old = b.ino("x");
  saves(saver, "ONE\ntwo\nthree\n");
  for (const char* line : {"four\n", "five\n"}) {
    b.me.tid = writer.tid();
    ASSERT_OK(b.vfs->write(b.me, old, h, 0, line, true));
    ASSERT_OK(b.vfs->fsync(b.me, old, h));
  }
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(head(), "ONE\ntwo\nthree\nfour\nfive\n");
  EXPECT_EQ(b.client.read({}, {old, {}, 0, 100})->data, std::string(kThree) + "four\nfive\n");
}

// The kernel had found the old file by the name, which leads to the new one by now.
TEST_F(ReplacedHere, WhoOpensItLateEditsWhatItHasRead) {
  b.me.tid = writer.tid();
  EXPECT_OK(b.read("x"));
  saves(saver, "one\ntwo\nthree\n4\n");
  const Ino old = b.ino("x");
  saves(saver, "ONE\ntwo\nthree\n4\n");
  Caller late = b.me;
  late.tid = writer.tid();
  const auto h = b.vfs->open(late, old, O_WRONLY | O_TRUNC);
  ASSERT_TRUE(h.ok());
  ASSERT_TRUE(b.vfs->write(late, old, h->handle, 0, "one\ntwo\nTHREE\n", false).ok());
  EXPECT_OK(b.vfs->flush(late, old, h->handle));
  b.vfs->release(old, h->handle);
  EXPECT_EQ(head(), "ONE\ntwo\nTHREE\n4\n");
}

// It reads what came of its own write, as that is replaced, too.
TEST_F(ReplacedHere, WhoReadsTheNewOneLateEditsThat) {
  const Handle h = opens_having_read(writer, O_WRONLY | O_TRUNC);
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(writes(writer, h, 0, "one\ntwo\nthree\nmine\n"));
  ASSERT_OK(closes(writer, h));
  const Ino second = b.ino("x");
  saves(saver, "ONE\nTWO\nthree\nmine\n");
  Caller late = b.me;
  late.tid = writer.tid();
  const auto r = b.vfs->open(late, second, O_RDONLY);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(text(b.vfs->read(late, second, r->handle, 0, 100)), "ONE\ntwo\nthree\nmine\n");
  EXPECT_EQ(text(b.vfs->read(late, second, r->handle, 19, 100)), "");
  b.vfs->release(second, r->handle);
  b.me.tid = writer.tid();
  ASSERT_OK(b.write("x", "ONE\ntwo\nthree\nMINE\n"));
  EXPECT_EQ(head(), "ONE\nTWO\nthree\nMINE\n");
}

// What it has read is a part of the one and a part of the other.
TEST_F(ReplacedHere, WhoReadsHalfOfARewriteOfTheOldOneHasNotReadTheNewOne) {
  OtherProcess reader;
  const Handle w = opens_having_read(writer, O_WRONLY);
  const Handle r = opens_having_read(reader, O_RDONLY);
  EXPECT_EQ(text(b.pread(r, 0, 8)), "one\ntwo\n");
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(writes(writer, w, 8, "3\nfour\n5\n"));
  b.me.tid = reader.tid();
  EXPECT_EQ(text(b.pread(r, 8, 100)), "3\nfour\n5\n");
  ASSERT_OK(closes(writer, w));
  b.me.tid = reader.tid();
  EXPECT_TRUE(refused(b.save("x", "one\ntwo\n3\nfour\n5\nsix\n")));
  EXPECT_EQ(head(), "ONE\ntwo\n3\nfour\n5\n");
}

// Reader and writer have seen what came of the write to the old file alone.
TEST_F(ReplacedHere, ASaveOfWhoHasReadTheOldOneWithTheWriteIsMerged) {
  OtherProcess reader;
  const Handle w = opens_having_read(writer, O_RDWR);
  const Handle r = opens_having_read(reader, O_RDONLY);
  const Ino old = b.ino("x");
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(writes(writer, w, 8, "3\nfour\n5\n"));
  b.me.tid = reader.tid();
  EXPECT_OK(b.vfs->getattr(b.me, old, std::nullopt));
  EXPECT_EQ(text(b.pread(r, 0, 100)), "one\ntwo\n3\nfour\n5\n");
  ASSERT_OK(closes(writer, w));
  b.me.tid = reader.tid();
  EXPECT_OK(b.save("x", "one\ntwo\n3\n4\n5\n"));
  EXPECT_EQ(head(), "ONE\ntwo\n3\n4\n5\n");
  b.me.tid = writer.tid();
  EXPECT_OK(b.save("x", "one\ntwo\n3\nfour\n5\nsix\n"));
  EXPECT_EQ(head(), "ONE\ntwo\n3\n4\n5\nsix\n");
  EXPECT_TRUE(kept().empty());
}

// As on a local disk.
TEST_F(ReplacedHere, WhoReplacedItWritesToTheOldOneOnly) {
  const Handle h = opens_having_read(saver, O_RDWR);
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(writes(saver, h, 8, "THREE"));
  ASSERT_OK(closes(saver, h));
  EXPECT_EQ(head(), "ONE\ntwo\nthree\n");
}

// What it goes on writing to the old one is no base for what it saves of the new one.
TEST_F(ReplacedHere, WhoReplacedItGoesOnWithBoth) {
  const Handle h = opens_having_read(saver, O_RDWR);
  const Ino old = b.ino("x");
  saves(saver, "one\ntwo\nthree\nfour\n");
  const Ino second = b.ino("x");
  for (const uint64_t end : {14, 20}) {
    ASSERT_OK(writes(saver, h, end, "other\n"));
    ASSERT_OK(b.vfs->fsync(b.me, old, h));
  }
  ASSERT_OK(closes(saver, h));
  saves(writer, "ONE\ntwo\nthree\nfour\n");
  ASSERT_NE(b.ino("x"), second);
  b.me.tid = saver.tid();
  ASSERT_OK(b.save("x", "one\ntwo\nthree\n"));  // without the fourth
  EXPECT_EQ(head(), "ONE\ntwo\nthree\n");
  EXPECT_TRUE(kept().empty());
}

// It knows the new one, whatever it reads of the old one.
TEST_F(ReplacedHere, WhoReplacedItReadsTheOldOneAndSavesAgain) {
  const Handle h = opens_having_read(saver, O_RDWR);
  const Ino old = b.ino("x");
  saves(saver, "ONE\ntwo\nthree\n");
  for (const uint64_t end : {14, 20}) {
    ASSERT_OK(writes(saver, h, end, "other\n"));
    ASSERT_OK(b.vfs->fsync(b.me, old, h));
    EXPECT_OK(b.vfs->getattr(b.me, old, std::nullopt));
    EXPECT_EQ(text(b.pread(h, end, 100)), "other\n");
  }
  ASSERT_OK(b.save("x", "ONE\nTWO\nthree\n"));
  EXPECT_EQ(head(), "ONE\nTWO\nthree\n");
  EXPECT_TRUE(kept().empty());
}

// Nor does it take what it moved away itself, or removed, for what is there now.
TEST_F(ReplacedHere, WhoMovedItAwayReadsItAndSavesOverItsName) {
  const auto moves = [&](unsigned flags) {
    return b.vfs->rename(b.me, b.root, "x", b.root, "y", flags);
  };
  const std::vector<std::function<Status()>> ways = {[&] { return moves(0); },
                                                     [&] { return moves(RENAME_EXCHANGE); },
                                                     [&] { return b.unlink("x"); }};
  for (const auto& way : ways) {
    b.me.tid = writer.tid();
    ASSERT_OK(b.write("x", kThree));
    ASSERT_OK(b.write("y", "y\n"));
    const Handle h = opens_having_read(writer, O_RDWR);
    ASSERT_OK(way());
    for (const uint64_t end : {14, 20, 26}) {
      ASSERT_OK(b.pwrite(h, end, "other\n"));
      EXPECT_EQ(text(b.pread(h, 0, 5)), "one\nt");
    }
    ASSERT_OK(b.close(h));
    for (const char* saved : {"first\n", "second\n"}) {
      EXPECT_OK(b.save("x", saved));
      EXPECT_EQ(text(a.read("x")), saved);
    }
  }
  EXPECT_TRUE(kept().empty());
}

// What it writes to the old one is no version of the new one, whoever has read both.
TEST_F(ReplacedHere, WhoReadsWhatItWroteToTheOldOneHasNotReadTheNewOne) {
  OtherProcess reader;
  const Handle h = opens_having_read(saver, O_RDWR);
  const Handle r = opens_having_read(reader, O_RDONLY);
  const Ino old = b.ino("x");
  saves(saver, "ONE\ntwo\nthree\n");
  for (const char* line : {"four\n", "five\n"}) {
    ASSERT_OK(writes(saver, h, b.vfs->getattr(b.me, old, h)->attr.size, line));
    ASSERT_OK(b.vfs->fsync(b.me, old, h));
  }
  saves(saver, "ONE\ntwo\nTHREE\n");
  b.me.tid = reader.tid();
  EXPECT_OK(b.vfs->getattr(b.me, old, std::nullopt));
  EXPECT_EQ(text(b.pread(r, 0, 100)), "one\ntwo\nthree\nfour\nfive\n");
  EXPECT_TRUE(refused(b.write("x", "one\ntwo\nthree\nfour\nfive\nsix\n")));
  EXPECT_EQ(head(), "ONE\ntwo\nTHREE\n");
}

// Where the kernel writes a mapping back, it does so for nobody in particular.
TEST_F(ReplacedHere, AMappingHidesNoWrite) {
  const Handle h = opens_having_read(writer, O_RDWR);
  saves(saver, "ONE\ntwo\nthree\n");
  b.me.tid = 0;
  ASSERT_OK(b.pwrite(h, 8, "TH"));
  ASSERT_OK(writes(writer, h, 10, "REE"));
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(head(), "ONE\ntwo\nTHREE\n");
}

// Who has the oldest open, and has read the one after it, goes on from that one.
TEST_F(ReplacedHere, WhatCameOfTheOldestIsNoBaseForWhoHasReadALaterOne) {
  const Handle h = opens_having_read(writer, O_RDWR);
  saves(saver, "one\ntwo\nthree\nfour\n");
  b.me.tid = writer.tid();
  EXPECT_OK(b.read("x"));
  saves(saver, "ONE\ntwo\nthree\nfour\n");
  ASSERT_OK(writes(writer, h, 14, "five\n"));
  ASSERT_OK(closes(writer, h));
  ASSERT_OK(b.save("x", "one\ntwo\nthree\n"));  // without the fourth
  EXPECT_EQ(head(), "ONE\ntwo\nthree\nfive\n");
  EXPECT_TRUE(kept().empty());
}

TEST_F(ReplacedHere, ABareTruncationIsNotOfTheNewOne) {
  const Handle h = opens(writer, O_WRONLY | O_TRUNC);
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(head(), "ONE\ntwo\nthree\n");
}

// Nor what is written to one that was removed.
TEST_F(ReplacedHere, WhatReplacedItMayBeGone) {
  const Handle h = opens_having_read(writer, O_WRONLY | O_APPEND);
  saves(saver, "ONE\ntwo\nthree\n");
  ASSERT_OK(b.unlink("x"));
  ASSERT_OK(writes(writer, h, 14, "four\n"));
  EXPECT_TRUE(refused(closes(writer, h)));
  EXPECT_FALSE(a.there("x"));
  ASSERT_EQ(kept().size(), 1u);
  EXPECT_EQ(a.client.read({}, {kept()[0].theirs, {}, 0, 100})->data,
            std::string(kThree) + "four\n");
}

// `exec 3>>x; sed -i ... x; echo line >&3; echo start >x`
TEST_F(ReplacedHere, WhoNeverReadItOverwritesItAfterAnAppend) {
  b.me.tid = writer.tid();
  ASSERT_OK(b.write("x", "start\n"));
  const auto h = b.open("x", O_WRONLY | O_APPEND);
  ASSERT_OK(h);
  const Ino old = b.ino("x");
  saves(saver, "saved\n");
  b.me.tid = writer.tid();
  ASSERT_OK(b.vfs->write(b.me, old, *h, 6, "line\n", true));
  ASSERT_OK(b.vfs->fsync(b.me, old, *h));
  EXPECT_EQ(text(a.read("x")), "saved\nline\n");
  EXPECT_OK(b.write("x", "again\n"));
  EXPECT_EQ(text(a.read("x")), "again\n");
}

// What another mount saved it does not overwrite: it has not read that.
TEST_F(ReplacedHere, NotWhatAnotherMountSaved) {
  b.me.tid = writer.tid();
  ASSERT_OK(b.write("x", "start\n"));
  const Handle h = opens(writer, O_WRONLY | O_APPEND);
  const Ino old = b.ino("x");
  ASSERT_OK(a.read("x"));
  ASSERT_OK(a.save("x", "saved\n"));
  b.me.tid = writer.tid();
  ASSERT_OK(b.vfs->write(b.me, old, h, 6, "line\n", true));
  ASSERT_OK(b.vfs->fsync(b.me, old, h));
  EXPECT_EQ(text(a.read("x")), "saved\nline\n");
  EXPECT_TRUE(refused(b.write("x", "again\n")));
  EXPECT_EQ(text(a.read("x")), "saved\nline\n");
}

// A service that keeps a file's content in memory and writes it anew, whoever saved it here.
TEST_F(ReplacedHere, WhoNeverReadItOverwritesIt) {
  const Handle h = opens(writer, O_WRONLY | O_TRUNC);
  saves(saver, "saved\n");
  ASSERT_OK(writes(writer, h, 0, "state 1\n"));
  ASSERT_OK(closes(writer, h));
  EXPECT_EQ(text(a.read("x")), "state 1\n");
  for (const char* state : {"state 2\n", "state 3\n"}) {
    b.me.tid = writer.tid();
    ASSERT_OK(b.write("x", state));
    EXPECT_EQ(text(a.read("x")), state);
    saves(saver, "saved\n");
  }
  EXPECT_TRUE(kept().empty());
}

}  // namespace
}  // namespace linkspan::vfs::testing
