// Several processes of one mount that change one file at once, with no lock: each is one commit
// with a base of its own, whoever else is in the middle of a rewrite.
#include <algorithm>
#include <random>

#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

// Reads all, adds its line, writes all in place: open(O_TRUNC), write, close.
class Program {
 public:
  Program(Mount* mount, int number)
      : mount_(mount), line_("line" + std::to_string(number) + "\n") {}

  void step(char what) {
    mount_->me.tid = process_.tid();
    if (what == 'r') text_ = text(mount_->read("x"));
    if (what == 'o') {
      const auto opened = mount_->open("x", O_WRONLY | O_TRUNC);
      EXPECT_OK(opened);
      if (opened.ok()) handle_ = *opened;
    }
    if (what == 'w') {
      EXPECT_OK(mount_->pwrite(handle_, 0, text_ + line_));
    }
    if (what == 'c') closed_ = mount_->close(handle_);
    mount_->me.tid = 0;
  }
  const std::string& line() const { return line_; }
  const std::string& had_read() const { return text_; }
  const Status& closed() const { return closed_; }

 private:
  OtherProcess process_;
  Mount* mount_;
  const std::string line_;
  std::string text_;
  Handle handle_ = 0;
  Status closed_ = fail(Code::internal, "not closed");
};

size_t count(const std::string& all, const std::string& line) {
  size_t found = 0;
  for (size_t at = all.find(line); at != std::string::npos; at = all.find(line, at + 1)) ++found;
  return found;
}

class OneMount : public TwoMounts {
 protected:
  void SetUp() override {
    a.clock.stop();
    b.clock.stop();
  }
  // Both have truncated the file; the first has written "AAAA". It is the second one's turn.
  Handle truncates_with(const OtherProcess& first, const OtherProcess& second) {
    b.me.tid = 0;
    EXPECT_OK(b.write("x", "before\n"));
    const Handle one = opens(first, O_WRONLY | O_TRUNC);
    const Handle two = opens(second, O_RDWR | O_TRUNC);
    b.me.tid = first.tid();
    EXPECT_OK(b.pwrite(one, 0, "AAAA"));
    EXPECT_OK(b.close(one));
    b.me.tid = second.tid();
    return two;
  }
  std::vector<std::string> kept() {
    std::vector<std::string> texts;
    const auto reply = a.client.conflicts({}, {});
    EXPECT_OK(reply);
    if (reply.ok())
      for (const Conflict& c : reply->conflicts) {
        const auto content = a.client.read({}, {c.theirs, {}, 0, 4096});
        texts.push_back(content.ok() ? content->data : "");
      }
    return texts;
  }
  // "0r 1r 0o ...": programs 0 and 1 on mount b, 2 on mount a.
  void run(const std::string& steps) {
    run(steps, "head\n");
    run(steps, "");
  }
  void run(const std::string& steps, const std::string& before) {
    SCOPED_TRACE(steps + "over '" + before + "'");
    (void)b.unlink("x").ok();
    ASSERT_OK(b.write("x", before));
    std::vector<std::unique_ptr<Program>> programs;
    for (int i = 0; i < 3; ++i) programs.push_back(std::make_unique<Program>(i < 2 ? &b : &a, i));
    for (size_t at = 0; at + 1 < steps.size(); at += 3)
      programs[steps[at] - '0']->step(steps[at + 1]);
    const std::string head = text(a.read("x"));
    const auto refused = kept();
    EXPECT_EQ(text(b.read("x")), head);
    for (const auto& program : programs) {
      if (steps.find(std::to_string(&program - programs.data()) + "c") == std::string::npos)
        continue;
      if (program->closed().ok()) {
        EXPECT_EQ(count(head, program->line()), 1u) << head;
      } else {
        EXPECT_EQ(program->closed().code(), Code::conflict);
        EXPECT_EQ(count(head, program->line()), 0u) << head;
        EXPECT_TRUE(std::any_of(refused.begin(), refused.end(), [&](const std::string& text) {
          return text == program->had_read() + program->line();
        })) << "not kept";
        // Who was refused had read what another had just emptied, or its rewrite, which was then
        // merged with a third's.
        EXPECT_TRUE(program->had_read().empty() || program->had_read() != before);
      }
    }
    EXPECT_EQ(head.rfind(before, 0), 0u) << head;
  }
};

TEST_F(OneMount, NoOrderOfTwoRewritesLosesALine) {
  std::vector<char> turns{'0', '0', '0', '0', '1', '1', '1', '1'};
  do {
    std::string steps;
    size_t done[2] = {0, 0};
    for (const char turn : turns) steps += {turn, "rowc"[done[turn - '0']++], ' '};
    run(steps);
    if (HasFailure()) return;
  } while (std::next_permutation(turns.begin(), turns.end()));
}

TEST_F(OneMount, NorWithAThirdOnAnotherMount) {
  std::mt19937 random(20261123);
  std::vector<char> turns;
  for (const char program : {'0', '1', '2'}) turns.insert(turns.end(), 4, program);
  for (int round = 0; round < 150; ++round) {
    std::shuffle(turns.begin(), turns.end(), random);
    std::string steps;
    size_t done[3] = {0, 0, 0};
    for (const char turn : turns) steps += {turn, "rowc"[done[turn - '0']++], ' '};
    run(steps);
    if (HasFailure()) return;
  }
}

// Both edit in place, without a truncation: neither writes over what the other has just written.
TEST_F(OneMount, EditsInPlaceOfWhatBothHadRead) {
  OtherProcess first, second;
  ASSERT_OK(b.write("x", "one\ntwo\nthree\nfour\nfive\n"));
  Handle h[2];
  for (const auto* process : {&first, &second}) {
    b.me.tid = process->tid();
    EXPECT_OK(b.read("x"));
    const auto opened = b.open("x", O_RDWR);
    ASSERT_OK(opened);
    h[process == &second] = *opened;
  }
  b.me.tid = first.tid();
  ASSERT_OK(b.pwrite(h[0], 0, "ONE\ntwo\nthree\nfour\nfive\n"));
  b.me.tid = second.tid();
  ASSERT_OK(b.pwrite(h[1], 0, "one\ntwo\nthree\nfour\nFIVE\n"));
  ASSERT_OK(b.close(h[1]));
  b.me.tid = first.tid();
  ASSERT_OK(b.close(h[0]));
  EXPECT_EQ(text(a.read("x")), "ONE\ntwo\nthree\nfour\nFIVE\n");
  EXPECT_EQ(text(b.read("x")), "ONE\ntwo\nthree\nfour\nFIVE\n");
}

// Who truncated it together with another writes on behind what that one has written.
TEST_F(OneMount, ATruncationIsNotCarriedOutWhereItsProcessGoesOnFromAnothersText) {
  for (const bool reads : {true, false}) {
    OtherProcess first, second;
    const Handle two = truncates_with(first, second);
    if (reads) {
      ASSERT_OK(b.vfs->getattr(b.me, b.ino("x"), std::nullopt));
      EXPECT_EQ(text(b.pread(two, 0, 10)), "AAAA");
    }
    ASSERT_OK(b.pwrite(two, reads ? 0 : 4, "BB"));
    ASSERT_OK(b.close(two));
    EXPECT_EQ(text(a.read("x")), reads ? "BBAA" : "AAAABB");
  }
}

// Nor where it got a lock behind the one who wrote.
TEST_F(OneMount, ATruncationIsNotCarriedOutUnderALaterLock) {
  OtherProcess first, second;
  const Handle two = truncates_with(first, second);
  const Lock lock{b.ino("x"), LockKind::record, 7, LockType::exclusive, {}, 0, false};
  ASSERT_OK(b.vfs->set_lock(b.me, two, lock, false));
  ASSERT_OK(b.pwrite(two, 0, "BB"));
  ASSERT_OK(b.close(two));
  EXPECT_EQ(text(a.read("x")), "BBAA");
}

// What it read was refused, so it never was: nothing can be made of that.
TEST_F(OneMount, WhoReadWhatWasRefusedIsRefused) {
  OtherProcess refused, reader;
  ASSERT_OK(b.write("x", "one\ntwo\n"));
  for (const auto* process : {&refused, &reader}) {
    b.me.tid = process->tid();
    EXPECT_EQ(text(b.read("x")), "one\ntwo\n");
  }
  ASSERT_OK(a.append("x", "three\n"));
  const Handle h = opens(refused, O_WRONLY | O_TRUNC);
  b.me.tid = reader.tid();
  EXPECT_EQ(text(b.read("x")), "");
  b.me.tid = refused.tid();
  ASSERT_OK(b.pwrite(h, 0, std::string("bin\0ary", 7)));
  EXPECT_EQ(b.close(h).code(), Code::conflict);
  b.me.tid = reader.tid();
  EXPECT_EQ(b.write("x", "reader\n").code(), Code::conflict);
  EXPECT_EQ(text(a.read("x")), "one\ntwo\nthree\n");
}

// It has the file open and never read it: nothing of it rests on what another emptied.
TEST_F(OneMount, AnUpdateInPlaceByWhoReadNothingIsNotRefused) {
  OtherProcess first, second;
  ASSERT_OK(a.write("x", "before\n"));
  b.me.tid = second.tid();
  const auto h = b.open("x", O_RDWR);
  ASSERT_OK(h);
  b.me.tid = first.tid();
  ASSERT_OK(b.write("x", "first\n"));
  b.me.tid = second.tid();
  ASSERT_OK(b.pwrite(*h, 0, "SECON"));
  ASSERT_OK(b.close(*h));
  EXPECT_EQ(text(a.read("x")), "SECON\n");
}

// The kernel answers a read of what was just emptied by itself.
TEST_F(OneMount, WhoHasItOpenAsItIsEmptiedMayHaveReadSo) {
  OtherProcess reader, writer;
  ASSERT_OK(b.write("x", "head\n"));
  b.me.tid = reader.tid();
  EXPECT_EQ(text(b.read("x")), "head\n");
  const auto reads = b.open("x", O_RDONLY);
  ASSERT_OK(reads);
  b.me.tid = writer.tid();
  EXPECT_EQ(text(b.read("x")), "head\n");
  const auto writes = b.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(writes);
  b.me.tid = reader.tid();
  ASSERT_OK(b.close(*reads));  // it has read nothing, by the kernel's word
  b.me.tid = writer.tid();
  ASSERT_OK(b.pwrite(*writes, 0, "head\nwriter\n"));
  ASSERT_OK(b.close(*writes));
  b.me.tid = reader.tid();
  EXPECT_EQ(b.write("x", "reader\n").code(), Code::conflict);
  EXPECT_EQ(text(a.read("x")), "head\nwriter\n");
  EXPECT_EQ(text(b.read("x")), "head\nwriter\n");
  EXPECT_OK(b.write("x", "head\nwriter\nreader\n"));
}

// Both had truncated it before either wrote, and what they write is shorter than it was.
TEST_F(OneMount, EachTruncationIsOfItsOwnRewrite) {
  OtherProcess first, second;
  for (const bool closes_first : {true, false}) {
    b.me.tid = 0;
    ASSERT_OK(b.write("x", "a long text that was there before\n"));
    const Handle one = opens(first, O_WRONLY | O_TRUNC);
    const Handle two = opens(second, O_WRONLY | O_TRUNC);
    ASSERT_OK(b.pwrite(two, 0, "of the second\n"));
    if (closes_first) {
      ASSERT_OK(b.close(two));
    }
    b.me.tid = first.tid();
    ASSERT_OK(b.pwrite(one, 0, "first\n"));
    ASSERT_OK(b.close(one));
    b.me.tid = second.tid();
    if (!closes_first) {
      ASSERT_OK(b.close(two));
    }
    EXPECT_EQ(text(a.read("x")), "first\n");
    EXPECT_EQ(text(b.read("x")), "first\n");
  }
}

// A shell that never read the file overwrites what its own commands wrote, as on a local disk.
TEST_F(OneMount, WhoNeverReadItOverwritesWhatOthersOfTheMountWrote) {
  OtherProcess shell, command, editor;
  for (int round = 0; round < 3; ++round) {
    b.me.tid = shell.tid();
    ASSERT_OK(b.write("x", "base\n"));
    b.me.tid = command.tid();
    EXPECT_EQ(text(b.read("x")), "base\n");
    ASSERT_OK(b.append("x", "more\n"));
    b.me.tid = shell.tid();
    ASSERT_OK(b.write("x", "new\n"));
    EXPECT_EQ(text(a.read("x")), "new\n");
    b.me.tid = editor.tid();
    EXPECT_EQ(text(b.read("x")), "new\n");
    ASSERT_OK(b.save("x", "saved\n"));  // sed -i
    b.me.tid = shell.tid();
    ASSERT_OK(b.write("x", "newer\n"));
    EXPECT_EQ(text(a.read("x")), "newer\n");
  }
  // But not what another mount wrote meanwhile.
  ASSERT_OK(a.append("x", "another's\n"));
  ASSERT_OK(b.write("x", "newer\nnewest\n"));
  const std::string merged = text(a.read("x"));
  EXPECT_EQ(count(merged, "another's\n"), 1u) << merged;
  EXPECT_EQ(count(merged, "newest\n"), 1u) << merged;
}

// What was accepted is a version, though another process truncates before it is committed.
TEST_F(OneMount, ATruncationWipesNothingThatAnotherHasWritten) {
  OtherProcess first, second;
  ASSERT_OK(b.write("x", "base\n"));
  b.me.tid = first.tid();
  const auto one = b.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(one);
  ASSERT_OK(b.pwrite(*one, 0, "first\n"));
  b.me.tid = second.tid();
  const auto two = b.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(two);
  EXPECT_EQ(text(b.read("x")), "");  // here it looks as on a local disk
  b.me.tid = first.tid();
  ASSERT_OK(b.close(*one));
  EXPECT_EQ(text(a.read("x")), "first\n");  // and elsewhere not emptied
  b.me.tid = second.tid();
  ASSERT_OK(b.pwrite(*two, 0, "second\n"));
  ASSERT_OK(b.close(*two));
  EXPECT_EQ(text(a.read("x")), "second\n");
  EXPECT_EQ(text(b.read("x")), "second\n");
}

// P has read the first save, opens the second, and reads that when another process has already seen
// that the name leads to a third: what P saves rests on the second.
TEST_F(OneMount, ASaveRestsOnWhatWasReadThoughTheNameLeadsElsewhereByThen) {
  OtherProcess p, q;
  ASSERT_OK(a.save("x", "one\ntwo\nthree\nfour\nfive\n"));
  b.me.tid = p.tid();
  EXPECT_OK(b.read("x"));
  EXPECT_OK(a.read("x"));
  ASSERT_OK(a.save("x", "one\nold\ntwo\nthree\nfour\nfive\n"));
  const auto h = b.open("x", O_RDONLY);
  ASSERT_OK(h);
  EXPECT_OK(a.read("x"));
  ASSERT_OK(a.save("x", "one\nold\ntwo\nthree\nfour\nFIVE\n"));
  b.me.tid = q.tid();
  EXPECT_OK(b.find("x"));
  b.me.tid = p.tid();
  EXPECT_EQ(text(b.pread(*h, 0, 100)), "one\nold\ntwo\nthree\nfour\nfive\n");
  ASSERT_OK(b.close(*h));
  ASSERT_OK(b.save("x", "one\nnew\ntwo\nthree\nfour\nfive\n"));
  EXPECT_EQ(text(a.read("x")), "one\nnew\ntwo\nthree\nfour\nFIVE\n");
}

// What another process fetched stands in the kernel's pages: who reads it there is not seen, nor is
// who opens the file and does not read it.
class Unseen : public OneMount {
 protected:
  void SetUp() override {
    OneMount::SetUp();
    ASSERT_OK(a.write("x", "one\n"));
    b.me.tid = p.tid();
    EXPECT_OK(b.read("x"));
    EXPECT_OK(a.read("x"));
    ASSERT_OK(a.write("x", "one\ntwo\n"));
  }
  Opened looks(int flags) {
    const auto opened = b.vfs->open(b.me, b.ino("x"), flags);
    EXPECT_OK(opened);
    return opened.ok() ? *opened : Opened{};
  }
  OtherProcess p, q;
};

TEST_F(Unseen, WhoHadReadAnOlderVersionReadsPastThePagesUntilItHasReadThisOne) {
  b.me.tid = q.tid();
  EXPECT_EQ(text(b.read("x")), "one\ntwo\n");
  b.me.tid = p.tid();
  const Opened opened = looks(O_RDONLY);
  EXPECT_TRUE(opened.direct);
  b.vfs->release(b.ino("x"), opened.handle);  // and has not read it
  EXPECT_FALSE(looks(O_RDWR).keep_cache);
  ASSERT_OK(b.write("x", "one\nmine\n"));
  const std::string head = text(a.read("x"));
  EXPECT_EQ(count(head, "two\n"), 1u) << head;
  EXPECT_EQ(count(head, "mine\n"), 1u) << head;
  EXPECT_EQ(text(b.read("x")), head);
  EXPECT_FALSE(looks(O_RDONLY).direct);
}

TEST_F(Unseen, OthersReadThem) {
  b.me.tid = q.tid();
  EXPECT_FALSE(looks(O_RDONLY).direct);
  EXPECT_FALSE(looks(O_RDONLY).direct);
}

}  // namespace
}  // namespace linkspan::vfs::testing
