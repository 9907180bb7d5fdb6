// What a save, a truncation or a write in place rests on, when others have changed the file.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

const char* const kFive = "1\n2\n3\n4\n5\n";
const char* const kLines = "1\n2\n3\n4\n5\n6\n7\n8\n";

class Bases : public TwoMounts {
 protected:
  // b knows the file as it was; a has written another text since.
  void changed_by_a(const std::string& before, const std::string& now) {
    ASSERT_OK(a.write("x", before));
    EXPECT_EQ(text(b.read("x")), before);
    ASSERT_OK(a.write("x", now));
  }
  // A new file, of nobody's in particular.
  void begins(const std::string& content) {
    b.me.tid = 0;
    (void)b.unlink("x").ok();
    ASSERT_OK(b.write("x", content));
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
      ASSERT_TRUE(refused(cut(0)));
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

// Not what others have written since, whether it is on the router or not yet.
TEST_F(Bases, ATruncationByPathOfAFileWithUnsavedBytesCutsWhatWasRead) {
  OtherProcess reader, writer;
  begins(kFive);
  b.me.tid = reader.tid();
  EXPECT_EQ(text(b.read("x")), kFive);
  ASSERT_OK(a.append("x", "a\n"));
  const Handle h = opens(writer, O_WRONLY | O_APPEND);
  ASSERT_OK(b.pwrite(h, 0, "b\n", true));
  b.me.tid = reader.tid();
  ASSERT_OK(cut(4));
  EXPECT_EQ(text(a.read("x")), "1\n2\na\nb\n");
  ASSERT_OK(b.close(h));
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
  ASSERT_TRUE(refused(b.save("x", "two\n")));
  EXPECT_FALSE(b.rename("x.tmp0", "x").ok());  // the kernel's
  ASSERT_OK(b.rename("x.tmp0", "x"));
  EXPECT_EQ(text(a.read("x")), "two\n");
}

// By parts, as programs do until they have seen the end: what another has rewritten meanwhile is
// no part of what it read.
TEST_F(Bases, WhoSeesOnlyTheEndOfAnothersRewriteHasNotReadIt) {
  for (const bool longer : {false, true}) {
    SCOPED_TRACE(longer);
    OtherProcess reader, other;
    begins("0\n");
    b.me.tid = reader.tid();
    EXPECT_EQ(text(b.read("x")), "0\n");
    EXPECT_EQ(text(a.read("x")), "0\n");
    ASSERT_OK(a.write("x", kFive));
    const Handle r = opens(reader, O_RDONLY);  // past the pages, for it knows an older version
    EXPECT_EQ(text(b.pread(r, 0, 100)), kFive);
    const Handle w = opens(other, O_WRONLY | O_TRUNC);
    ASSERT_OK(b.pwrite(w, 0, std::string("1\n2\n3\n4\nV\n") + (longer ? "6\n" : "")));
    b.me.tid = reader.tid();
    EXPECT_EQ(text(b.pread(r, 10, 100)), longer ? "6\n" : "");
    ASSERT_OK(b.close(r));
    b.me.tid = other.tid();
    ASSERT_OK(b.close(w));
    b.me.tid = reader.tid();
    if (longer) {  // what it has is of both
      EXPECT_TRUE(refused(b.write("x", "I\n2\n3\n4\n5\n6\n")));
      EXPECT_EQ(text(b.read("x")), "1\n2\n3\n4\nV\n6\n");
      EXPECT_OK(b.write("x", "I\n2\n3\n4\nV\n6\n"));
    } else {
      ASSERT_OK(b.save("x", "I\n2\n3\n4\n5\n"));
      EXPECT_EQ(text(a.read("x")), "I\n2\n3\n4\nV\n");
    }
  }
}

// A glance at what is new there is no reading of it: a saver's text is still of the older one.
TEST_F(Bases, WhoReadsAPartOfWhatOthersSavedHasNotReadIt) {
  struct {
    uint64_t offset;
    size_t bytes;
  } const glances[] = {{0, 4}, {8, 100}, {0, 100}};
  for (const auto& glance : glances) {
    SCOPED_TRACE(std::to_string(glance.offset) + "+" + std::to_string(glance.bytes));
    OtherProcess editor;
    begins(kFive);
    b.me.tid = editor.tid();
    EXPECT_EQ(text(b.read("x")), kFive);
    EXPECT_EQ(text(a.read("x")), kFive);
    ASSERT_OK(a.write("x", "1\n2\n3\n4\nV\n"));
    const Handle r = opens(editor, O_RDONLY);
    EXPECT_OK(b.pread(r, glance.offset, glance.bytes));
    ASSERT_OK(b.close(r));
    ASSERT_OK(b.save("x", "I\n2\n3\n4\n5\n"));
    const bool all = glance.offset == 0 && glance.bytes == 100;
    EXPECT_EQ(text(a.read("x")), all ? "I\n2\n3\n4\n5\n" : "I\n2\n3\n4\nV\n");
  }
}

// Its own edits, and those of before a lock, are none of another content.
TEST_F(Bases, WhoEditsAsItReadsOrTakesALockReadsOn) {
  OtherProcess editor, other;
  ASSERT_OK(b.write("x", kFive));
  const Handle h = opens(editor, O_RDWR);
  EXPECT_EQ(text(b.pread(h, 0, 2)), "1\n");
  ASSERT_OK(b.pwrite(h, 2, "Z"));
  EXPECT_EQ(text(b.pread(h, 2, 4)), "Z\n3\n");
  ASSERT_OK(b.fsync(h));
  EXPECT_EQ(text(b.pread(h, 6, 4)), "4\n5\n");
  const Handle w = opens(other, O_WRONLY);
  ASSERT_OK(b.pwrite(w, 8, "V"));
  ASSERT_OK(b.close(w));
  b.me.tid = editor.tid();
  const Lock lock{b.ino("x"), LockKind::record, 7, LockType::exclusive, {}, 0, false};
  ASSERT_OK(b.vfs->set_lock(b.me, h, lock, false));
  EXPECT_EQ(text(b.pread(h, 6, 4)), "4\nV\n");
  ASSERT_OK(b.pwrite(h, 6, "F"));
  ASSERT_OK(b.close(h));
  EXPECT_EQ(text(a.read("x")), "1\nZ\n3\nF\nV\n");
}

// What comes of a rewrite by a merge is not what others here had read of it before.
TEST_F(Bases, WhoReadARewriteThatWasMergedIsRefused) {
  for (const bool in_place : {true, false}) {
    OtherProcess writer, reader;
    begins(kFive);
    b.me.tid = writer.tid();
    EXPECT_EQ(text(b.read("x")), kFive);
    const Handle w = opens(writer, O_WRONLY | O_TRUNC);
    ASSERT_OK(b.pwrite(w, 0, std::string(kFive) + "new\n"));
    EXPECT_EQ(text(a.read("x")), kFive);
    ASSERT_OK(a.write("x", "I\n2\n3\n4\n5\n"));
    b.me.tid = reader.tid();
    EXPECT_EQ(text(b.read("x")), std::string(kFive) + "new\n");
    b.me.tid = writer.tid();
    ASSERT_OK(b.close(w));
    EXPECT_EQ(text(a.read("x")), "I\n2\n3\n4\n5\nnew\n");
    b.me.tid = reader.tid();
    const std::string mine = std::string(kFive) + "newer\n";
    EXPECT_TRUE(refused(in_place ? b.write("x", mine) : b.save("x", mine)));
    EXPECT_EQ(text(b.read("x")), "I\n2\n3\n4\n5\nnew\n");
    ASSERT_OK(b.write("x", "I\n2\n3\n4\n5\nnewer\n"));
    EXPECT_EQ(text(a.read("x")), "I\n2\n3\n4\n5\nnewer\n");
  }
}

// r+, write, ftruncate: what is cut off is cut off what it had read, however long the head is now.
TEST_F(Bases, ATruncationCutsWhatWasReadNotWhatIsThere) {
  for (const char* theirs : {"1\n3\n4\n5\n", "1\n5\n", "1\n1\n2\n3\n4\n5\n"}) {
    SCOPED_TRACE(theirs);
    OtherProcess editor;
    begins(kFive);
    const Handle h = opens(editor, O_RDWR);
    EXPECT_EQ(text(b.pread(h, 0, 100)), kFive);
    EXPECT_EQ(text(a.read("x")), kFive);
    ASSERT_OK(a.write("x", theirs));
    const std::string mine = "1\n2\n3\n4\n";
    ASSERT_OK(b.pwrite(h, 0, mine));
    SetAttr cut;
    cut.size = mine.size();
    ASSERT_OK(b.vfs->setattr(b.me, b.ino("x"), cut, h));
    const Status closed = b.close(h);
    const std::string head = text(a.read("x"));
    if (closed.ok()) {
      EXPECT_EQ(head.find("5"), std::string::npos) << head;
    } else {
      EXPECT_EQ(head, theirs);
    }
  }
}

// Many programs read as many bytes as fstat(2) has said, and seek no end.
TEST_F(Bases, WhoReadsWithTheSizeOfBeforeIsRefused) {
  const std::string longer = std::string(kFive) + "6\n";
  const auto rewrites = [&](bool here, OtherProcess& other) {
    b.me.tid = other.tid();
    ASSERT_OK((here ? b : a).write("x", longer));
  };
  for (const bool here : {false, true})
    for (const bool knew : {false, true})
      for (const bool by_name : {false, true})
        for (const bool asks : {false, true}) {
          SCOPED_TRACE(::testing::PrintToString(std::vector<bool>{here, knew, by_name, asks}));
          OtherProcess reader, other;
          begins(kFive);
          b.me.tid = reader.tid();
          if (knew) {
            EXPECT_EQ(text(b.read("x")), kFive);
          }
          EXPECT_EQ(text(a.read("x")), kFive);
          const Handle r = opens(reader, O_RDONLY);
          rewrites(here, other);
          b.me.tid = reader.tid();
          // read(2) asks, too, for its descriptor.
          ASSERT_OK(b.vfs->getattr(b.me, b.ino("x"), asks ? std::nullopt : std::optional(r)));
          EXPECT_OK(b.pread(r, 0, asks ? 100 : 10));
          ASSERT_OK(b.close(r));
          const std::string mine = "I\n2\n3\n4\n5\n";
          const Status saved = by_name ? b.save("x", mine) : b.write("x", mine);
          EXPECT_EQ(saved.ok(), asks);
          EXPECT_EQ(text(a.read("x")), asks ? mine : longer);
          if (asks) continue;
          EXPECT_EQ(text(b.read("x")), longer);
          EXPECT_OK(b.write("x", mine));
        }
}

// What is read at the end of one content is of the other.
TEST_F(Bases, WhoReadsTheEndOfALongerRewriteIsRefused) {
  OtherProcess reader;
  begins(kFive);
  const Handle r = opens(reader, O_RDONLY);  // and has all of it from the kernel's pages
  EXPECT_EQ(text(a.read("x")), kFive);
  ASSERT_OK(a.write("x", "0\n1\n2\n3\n4\n5\n"));
  ASSERT_OK(b.vfs->getattr(b.me, b.ino("x"), r));
  EXPECT_OK(b.pread(r, 0, 4096));  // the page
  ASSERT_OK(b.close(r));
  EXPECT_TRUE(refused(b.write("x", "1\n2\n3\n4\n5\n5\n")));
  EXPECT_EQ(text(a.read("x")), "0\n1\n2\n3\n4\n5\n");
}

}  // namespace
}  // namespace linkspan::vfs::testing
