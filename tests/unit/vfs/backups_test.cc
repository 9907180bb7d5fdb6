// Saves of editors that move the file away and make a new one of its name, or rename one to it.
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

const char* const kText = "one\ntwo\nthree\n";

class SaveWithBackup : public ::testing::Test {
 protected:
  // Each edits what it had read, as a process of its own.
  static Status edit(Mount& m, const std::string& content, bool keep = true) {
    LINKSPAN_CHECK(m.rename("x", "x~"));
    LINKSPAN_TRY(const Handle h, m.open("x", O_WRONLY | O_CREAT | O_EXCL));
    LINKSPAN_CHECK(m.pwrite(h, 0, content));
    const Status saved = m.fsync(h);
    const Status closed = m.close(h);
    LINKSPAN_CHECK(saved);
    LINKSPAN_CHECK(closed);
    return keep ? ok() : m.unlink("x~");
  }
  using Save = std::function<Status(const std::string& content)>;
  void merges(const Save& by_b, const char* backup) {
    ASSERT_OK(a.write("x", kText));
    EXPECT_EQ(text(b.read("x")), kText);
    ASSERT_OK(a.save("x", "one\ntwo\nthree\nfour\n"));
    ASSERT_OK(by_b("ONE\ntwo\nthree\n"));
    EXPECT_EQ(text(a.read("x")), "ONE\ntwo\nthree\nfour\n");
    EXPECT_EQ(text(b.read("x")), "ONE\ntwo\nthree\nfour\n");
    EXPECT_EQ(text(b.read(backup)), "one\ntwo\nthree\nfour\n");
  }
  void refuses(const Save& by_b, const char* backup) {
    ASSERT_OK(a.write("x", kText));
    EXPECT_EQ(text(b.read("x")), kText);
    ASSERT_OK(a.save("x", "ONE\ntwo\nthree\n"));
    EXPECT_TRUE(refused(by_b("1st\ntwo\nthree\n")));
    const auto listed = a.client.conflicts({}, {});
    ASSERT_OK(listed);
    ASSERT_EQ(listed->conflicts.size(), 1u);
    EXPECT_EQ(listed->conflicts[0].path, "x");
    const auto theirs = a.client.read({}, {listed->conflicts[0].theirs, {}, 0, 100});
    ASSERT_OK(theirs);
    EXPECT_EQ(theirs->data, "1st\ntwo\nthree\n");
    // What the program does then: the old file comes back.
    ASSERT_OK(b.rename(backup, "x"));
    EXPECT_EQ(text(a.read("x")), "ONE\ntwo\nthree\n");
  }
  static std::vector<std::string> history(Mount& m) {
    std::vector<std::string> out;
    const auto versions = m.client.versions({}, VersionsRequest{m.ino("x"), {}, 100});
    EXPECT_OK(versions);
    if (!versions.ok()) return out;
    for (const VersionInfo& info : *versions) {
      const auto read = m.client.read({}, {m.ino("x"), info.version, 0, 100});
      out.push_back(read.ok() ? read->data : "");
    }
    return out;
  }

  LocalRouter router;
  Mount a{&router}, b{&router};
};

TEST_F(SaveWithBackup, GoesOnWithTheHistoryOfTheName) {
  ASSERT_OK(a.write("x", kText));
  EXPECT_EQ(text(b.read("x")), kText);
  ASSERT_OK(edit(b, "2", false));
  EXPECT_EQ(text(a.read("x")), "2");
  EXPECT_FALSE(a.there("x~"));
  ASSERT_OK(edit(a, "3"));
  EXPECT_EQ(text(b.read("x")), "3");
  EXPECT_EQ(text(b.read("x~")), "2");
  EXPECT_EQ(history(b), (std::vector<std::string>{"3", "", "2", "", kText, ""}));
}

TEST_F(SaveWithBackup, ChangesOfAnotherMountAreMerged) {
  merges([&](const std::string& content) { return edit(b, content); }, "x~");
}

TEST_F(SaveWithBackup, WhatCannotBeMergedIsRefusedAndKept) {
  refuses([&](const std::string& content) { return edit(b, content); }, "x~");
}

TEST_F(SaveWithBackup, ABackupOfAnEarlierSaveIsReplaced) {
  ASSERT_OK(a.write("x", kText));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(text(b.read("x")).empty());
    ASSERT_OK(edit(b, "save " + std::to_string(i)));
  }
  EXPECT_EQ(text(a.read("x")), "save 2");
  EXPECT_EQ(text(a.read("x~")), "save 1");
  EXPECT_EQ(history(a).at(2), "save 1");
}

TEST_F(SaveWithBackup, AnothersMoveIsNoSave) {
  ASSERT_OK(a.write("x", kText));
  EXPECT_EQ(text(b.read("x")), kText);
  ASSERT_OK(a.rename("x", "y"));
  ASSERT_OK(b.write("x", "new"));
  EXPECT_EQ(history(b), (std::vector<std::string>{"new", ""}));
  ASSERT_OK(a.rename("y", "z", RENAME_NOREPLACE));
  EXPECT_EQ(text(b.read("z")), kText);
}

TEST_F(SaveWithBackup, TheNameOfATemporaryFileBeginsAnew) {
  for (const char* content : {"1", "2", "3"}) {
    ASSERT_OK(a.write("temp", content));
    EXPECT_EQ(a.attr("temp").version, Version{2});
    ASSERT_OK(a.rename("temp", "x"));
  }
  EXPECT_EQ(history(b), (std::vector<std::string>{"3", "2", "1", ""}));
}

// ---- a new file that is renamed to the name: sed -i.bak, JetBrains' editors ----

class RenameWithBackup : public SaveWithBackup {
 protected:
  static Status replace(Mount& m, const std::string& content) {
    LINKSPAN_CHECK(m.write("temp", content));
    LINKSPAN_CHECK(m.rename("x", "x.bak"));
    return m.rename("temp", "x");
  }
};

TEST_F(RenameWithBackup, GoesOnWithTheHistoryOfTheName) {
  ASSERT_OK(a.write("x", kText));
  EXPECT_EQ(text(b.read("x")), kText);
  ASSERT_OK(replace(b, "2"));
  EXPECT_EQ(text(a.read("x")), "2");
  EXPECT_EQ(text(b.read("x.bak")), kText);
  ASSERT_OK(replace(b, "3"));  // without a look: it knows what it saved
  EXPECT_EQ(text(a.read("x")), "3");
  ASSERT_OK(replace(a, "4"));
  EXPECT_EQ(text(b.read("x")), "4");
  EXPECT_EQ(text(b.read("x.bak")), "3");
  const auto all = history(b);
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()),
            (std::set<std::string>{"4", "3", "2", kText, ""}));
}

TEST_F(RenameWithBackup, ChangesOfAnotherMountAreMerged) {
  merges([&](const std::string& content) { return replace(b, content); }, "x.bak");
}

// By three processes, as in a shell: one reads, one moves away, one renames.
TEST_F(RenameWithBackup, WhatTheMountHasReadCountsForEachOfItsProcesses) {
  ASSERT_OK(a.write("x", kText));
  EXPECT_EQ(text(b.read("x")), kText);
  ASSERT_OK(a.save("x", "one\ntwo\nthree\nfour\n"));
  OtherProcess first, second;
  ASSERT_OK(b.write("temp", "ONE\ntwo\nthree\n"));
  b.me.tid = first.tid();
  ASSERT_OK(b.rename("x", "x.bak"));
  b.me.tid = second.tid();
  ASSERT_OK(b.rename("temp", "x"));
  EXPECT_EQ(text(a.read("x")), "ONE\ntwo\nthree\nfour\n");
}

TEST_F(RenameWithBackup, WhatCannotBeMergedIsRefusedAndKept) {
  refuses([&](const std::string& content) { return replace(b, content); }, "x.bak");
}

// Two mounts in turns: neither has read the other's copy, which it replaces.
TEST_F(RenameWithBackup, ABackupReplacesAnothersBackup) {
  ASSERT_OK(a.write("x", "0\n"));
  for (int i = 1; i < 8; ++i) {
    Mount& m = i % 2 == 0 ? a : b;
    EXPECT_EQ(text(m.read("x")), std::to_string(i - 1) + "\n");
    ASSERT_OK(replace(m, std::to_string(i) + "\n"));
  }
  EXPECT_EQ(text(a.read("x")), "7\n");
  EXPECT_EQ(text(a.read("x.bak")), "6\n");
  // Who has read it does not replace what he has not seen.
  ASSERT_OK(b.write("x.bak", "new\n"));
  OtherProcess reader;
  a.me.tid = reader.tid();
  EXPECT_EQ(text(a.read("x.bak")), "new\n");
  ASSERT_OK(b.write("x.bak", "newer\n"));
  EXPECT_EQ(a.rename("x", "x.bak").code(), Code::conflict);
}

// Of files that are never merged: what was read is elsewhere, and nothing is overwritten.
TEST_F(RenameWithBackup, WhatIsMovedForGoodLeavesTheNameFree) {
  ASSERT_OK(b.write("s.json", "1"));
  EXPECT_EQ(text(b.read("s.json")), "1");
  ASSERT_OK(b.rename("s.json", "old.json"));
  ASSERT_OK(b.write("new.json", "2"));
  ASSERT_OK(b.rename("new.json", "s.json"));
  EXPECT_EQ(text(a.read("s.json")), "2");
  EXPECT_EQ(text(a.read("old.json")), "1");
  // A backup of a file of two names: no history goes on, and none is lost.
  EXPECT_EQ(text(b.read("s.json")), "2");
  ASSERT_TRUE(b.vfs->link(b.me, b.ino("s.json"), b.root, "link").ok());
  ASSERT_OK(b.write("new.json", "3"));
  ASSERT_OK(b.rename("s.json", "s.json.bak"));
  ASSERT_OK(b.rename("new.json", "s.json"));
  EXPECT_EQ(text(a.read("s.json")), "3");
  EXPECT_EQ(text(a.read("link")), "2");
}

// A file of another, made in the place meanwhile, is not overwritten unseen.
TEST_F(RenameWithBackup, WhatAnotherMadeThereMeanwhileIsMerged) {
  ASSERT_OK(a.write("x", kText));
  EXPECT_EQ(text(b.read("x")), kText);
  ASSERT_OK(b.write("temp", "ONE\ntwo\nthree\n"));
  ASSERT_OK(b.rename("x", "x.bak"));
  ASSERT_OK(a.write("x", "one\ntwo\nthree\nfour\n"));
  ASSERT_OK(b.rename("temp", "x"));
  EXPECT_EQ(text(a.read("x")), "ONE\ntwo\nthree\nfour\n");
}

// What was moved away for good: a log that is turned over, a link or a directory in its place.
TEST_F(RenameWithBackup, OnlyAFileAndOnlyAMomentAfter) {
  ASSERT_OK(a.write("x", kText));
  EXPECT_EQ(text(b.read("x")), kText);
  ASSERT_OK(a.save("x", "theirs"));
  ASSERT_OK(b.rename("x", "x.1"));
  ASSERT_OK(b.vfs->symlink(b.me, b.root, "link", "t"));
  ASSERT_OK(b.rename("link", "x"));
  ASSERT_OK(b.unlink("x"));
  ASSERT_OK(b.mkdir("d"));
  ASSERT_OK(b.rename("d", "x"));
  ASSERT_OK(b.rename("x", "d"));
  b.clock.stop();  // a day ahead
  ASSERT_OK(b.write("temp", "mine"));
  const uint64_t calls = b.client.calls("rename");
  ASSERT_OK(b.rename("temp", "x"));
  EXPECT_EQ(b.client.calls("rename"), calls + 1);
  EXPECT_EQ(text(a.read("x")), "mine");
}

// Who did not read the file saves over nobody's words: they are in the history.
TEST_F(SaveWithBackup, WithoutAReadIsBasedOnNothing) {
  ASSERT_OK(a.write("x", kText));
  ASSERT_OK(edit(b, "new"));
  EXPECT_EQ(text(a.read("x")), "new");
  EXPECT_EQ(history(a), (std::vector<std::string>{"new", "", kText, ""}));
}

}  // namespace
}  // namespace linkspan::vfs::testing
