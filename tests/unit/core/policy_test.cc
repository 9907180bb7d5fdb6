// No lost update: what becomes of a commit or a rename whose base is not the head any more.
#include "policy_fixture.h"

namespace linkspan::core::testing {
namespace {

TEST_F(PolicyTest, MergeKeepsBothAndSaysSo) {
  Mount m = mount();
  const Ino x = moved_on(m);
  const Outcome merged = m.start_write(x, "first\nmine\n", Version{2}).get();
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  EXPECT_TRUE(merged->merged);
  EXPECT_EQ(merged->version, Version{5});
  EXPECT_EQ(merged->unmerged, Version{4});
  EXPECT_EQ(m.content(x), "first\nother\nmine\n");
  // It goes on from what it wrote.
  ASSERT_TRUE(m.start_write(x, "first\n", merged->unmerged).get().ok());
  EXPECT_EQ(m.content(x), "first\nother\n");
}

TEST_F(PolicyTest, WithTheHeadAsBaseNothingIsMerged) {
  Mount m = mount();
  const Ino x = moved_on(m);
  const Outcome written = m.start_write(x, "mine\n", Version{3}).get();
  ASSERT_TRUE(written.ok());
  EXPECT_FALSE(written->merged);
  EXPECT_EQ(m.content(x), "mine\n");
}

TEST_F(PolicyTest, AReplayedMergeIsToldAsOne) {
  Mount m = mount();
  const Ino x = moved_on(m);
  CommitRequest request = m.rewrite(x, "first\nmine\n", Version{2});
  ASSERT_TRUE(m.start(request).get()->merged);
  request.op.retry = true;
  const Outcome again = m.start(request).get();
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->merged);
  EXPECT_EQ(again->unmerged, Version{4});
  request = m.rewrite(x, "plain\n", Version{5});
  ASSERT_TRUE(m.start(request).get().ok());
  EXPECT_FALSE(m.start(request).get()->merged);
}

TEST_F(PolicyTest, OverlappingEditsAreAConflictThatTouchesNothing) {
  Mount m = mount();
  const Ino x = moved_on(m);
  ASSERT_TRUE(m.start_write(x, "FIRST\nother\n").get().ok());
  const Outcome refused = m.start_write(x, "premier\n", Version{2}).get();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.code(), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 4u);
  EXPECT_EQ(m.content(x), "FIRST\nother\n");
}

TEST_F(PolicyTest, AnEditInPlaceIsMerged) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x.md");
  ASSERT_TRUE(m.start_write(x, "one\ntwo\nthree\n").get().ok());
  ASSERT_TRUE(m.start_write(x, "one\ntwo\nthree\nfour\n").get().ok());
  CommitRequest edit = m.rewrite(x, "");
  edit.base = Version{2};
  edit.keep_below = UINT64_MAX;
  edit.size = 14;
  edit.extents = bytes("ONE", 0);
  const Outcome merged = m.start(edit).get();
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  EXPECT_TRUE(merged->merged);
  EXPECT_EQ(m.content(x), "ONE\ntwo\nthree\nfour\n");
}

TEST_F(PolicyTest, StructuredAndBinaryFilesAreRejected) {
  Mount m = mount();
  const Ino json = moved_on(m, "state.json");
  EXPECT_EQ(m.start_write(json, "first\nmine\n", Version{2}).get().code(), Code::conflict);
  const Ino binary = moved_on(m, "data");
  EXPECT_EQ(m.start_write(binary, std::string("first\nmi\0ne\n", 12), Version{2}).get().code(),
            Code::conflict);
  const Ino large = moved_on(m, "large");
  CommitRequest request = m.rewrite(large, "", Version{2});
  request.size = (1 << 20) + 1;
  request.extents = bytes("tail", (1 << 20) - 3);
  EXPECT_EQ(m.start(request).get().code(), Code::conflict);
}

// The name decides that the file has now, not the one that it was made under.
TEST_F(PolicyTest, TheNameAfterARenameDecides) {
  Mount m = mount();
  const Ino x = moved_on(m, "draft");
  ASSERT_TRUE(m.start_rename(m.root(), "draft", m.root(), "state.json").get().ok());
  EXPECT_EQ(m.start_write(x, "first\nmine\n", Version{2}).get().code(), Code::conflict);
}

TEST_F(PolicyTest, RejectRefusesAndLastWriterOverwrites) {
  Mount r = mount("reject");
  const Ino x = moved_on(r);
  const Outcome refused = r.start_write(x, "first\nmine\n", Version{2}).get();
  EXPECT_EQ(refused.code(), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 3u);
  EXPECT_EQ(r.content(x), "first\nother\n");
  Mount w = mount("lww");
  const Pending written = w.start_write(x, "mine\n", Version{2});
  r.ack(1);
  ASSERT_TRUE(written.get().ok());
  EXPECT_EQ(w.content(x), "mine\n");
}

TEST_F(PolicyTest, WithoutABaseItOverwrites) {
  Mount m = mount("reject");
  const Ino x = moved_on(m);
  ASSERT_TRUE(m.start_write(x, "mine\n").get().ok());
  EXPECT_EQ(m.content(x), "mine\n");
}

TEST_F(PolicyTest, EachRouteHasItsOwnPolicy) {
  Mount m = mount("mixed");
  const Ino in_memory = moved_on(m, "a", m.root("memory"));
  const Ino in_sessions = moved_on(m, "b", m.root("sessions"));
  EXPECT_EQ(m.start_write(in_memory, "first\nmine\n", Version{2}).get().code(), Code::conflict);
  EXPECT_TRUE(m.start_write(in_sessions, "first\nmine\n", Version{2}).get().ok());
}

TEST_F(PolicyTest, ACommitFollowsThePattern) {
  Mount m = mount("patterns");
  const Ino lists = m.create(m.root(), "lists", Kind::directory);
  const Ino journal = m.create(m.root(), "journal", Kind::directory);
  const Ino year = m.create(journal, "2026", Kind::directory);
  const auto edit = [&](Ino ino) { return m.start_write(ino, "first\nmine\n", Version{2}).get(); };

  const Ino csv = moved_on(m, "a.csv", lists);
  EXPECT_EQ(edit(csv).code(), Code::conflict);
  EXPECT_EQ(m.content(csv), "first\nother\n");
  const Ino json = moved_on(m, "a.json", lists);
  const Outcome merged = edit(json);
  ASSERT_TRUE(merged.ok()) << "the operator's word beats the built-in list";
  EXPECT_TRUE(merged->merged);
  EXPECT_EQ(m.content(json), "first\nother\nmine\n");
  EXPECT_EQ(edit(moved_on(m, "a.json")).code(), Code::conflict) << "another directory: built in";
  const Ino log = moved_on(m, "a.log", year);
  const Outcome over = edit(log);
  ASSERT_TRUE(over.ok()) << over.error().message;
  EXPECT_FALSE(over->merged);
  EXPECT_EQ(over->version, Version{4});
  EXPECT_EQ(m.content(log), "first\nmine\n");
  const Outcome plain = edit(moved_on(m, "a.log"));
  ASSERT_TRUE(plain.ok());
  EXPECT_TRUE(plain->merged) << "no pattern matches: the route's";
}

TEST_F(PolicyTest, OverwritingByAPatternIsWhole) {
  Mount m = mount("patterns");
  const Ino journal = m.create(m.root(), "journal", Kind::directory);
  const Ino log = m.create(journal, "a.log");
  ASSERT_TRUE(m.start_write(log, "one\ntwo\n").get().ok());
  ASSERT_TRUE(m.start_write(log, "one\ntwo\nthree\n").get().ok());
  CommitRequest edit = m.rewrite(log, "", Version{2});
  edit.keep_below = UINT64_MAX;
  edit.size = 8;
  edit.extents = bytes("ONE", 0);
  ASSERT_TRUE(m.start(edit).get().ok());
  EXPECT_EQ(m.content(log), "ONE\ntwo\nthree\n") << "written over the head, no byte of it lost";
  edit.op.retry = true;
  ASSERT_TRUE(m.start(edit).get().ok());
  EXPECT_EQ(router_->getattr(m.who, {log})->node.attr.version, Version{4}) << "once";
}

// Of several names the oldest counts; without any, the last one that it had.
TEST_F(PolicyTest, TheOldestNameDecides) {
  Mount m = mount("patterns");
  const Ino csv = moved_on(m, "a.csv");
  ASSERT_TRUE(m.start(LinkRequest{m.op(), csv, m.root(), "b.md"}).get().ok());
  const auto edit = [&] { return m.start_write(csv, "first\nmine\n", Version{2}).get(); };
  EXPECT_EQ(edit().code(), Code::conflict);
  ASSERT_TRUE(m.start_remove(m.root(), "a.csv").get().ok());
  const Outcome merged = edit();
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  EXPECT_TRUE(merged->merged);
  const Ino gone = moved_on(m, "gone.csv");
  ASSERT_TRUE(m.start_remove(m.root(), "gone.csv").get().ok());
  EXPECT_EQ(m.start_write(gone, "first\nmine\n", Version{2}).get().code(), Code::conflict);
}

TEST_F(PolicyTest, ThePathIsAskedForOnlyWhereItDecides) {
  Mount m = mount("patterns");
  const Ino x = moved_on(m);
  ASSERT_TRUE(m.start_write(x, "mine\n", Version{3}).get().ok());
  EXPECT_EQ(store_->calls("path_of"), 0) << "the base was the head";
  ASSERT_TRUE(router_->detach(m.who).ok());
  Mount reject = mount("reject");
  EXPECT_EQ(reject.start_write(x, "mine\n", Version{2}).get().code(), Code::conflict);
  EXPECT_EQ(store_->calls("path_of"), 0) << "a route without patterns";
}

TEST_F(PolicyTest, RoutesOfOnePolicyAndOtherPatternsAreToldApart) {
  add_token("two", [](auto& t) {
    t.routes = {route("memory", true, Policy::merge), route("sessions", true, Policy::merge)};
    t.routes[1].patterns = {{"*.md", Policy::reject}};
  });
  Mount m = mount("two");
  const Ino in_memory = moved_on(m, "a.md", m.root("memory"));
  const Ino in_sessions = moved_on(m, "a.md", m.root("sessions"));
  EXPECT_TRUE(m.start_write(in_memory, "first\nmine\n", Version{2}).get().ok());
  EXPECT_EQ(m.start_write(in_sessions, "first\nmine\n", Version{2}).get().code(), Code::conflict);
}

TEST_F(PolicyTest, AppendsNeverConflict) {
  Mount m = mount("reject");
  const Ino x = moved_on(m);
  CommitRequest append = m.rewrite(x, "");
  append.append = true;
  append.base = Version{2};
  append.extents = bytes("more\n");
  const Outcome appended = m.start(append).get();
  ASSERT_TRUE(appended.ok());
  EXPECT_EQ(appended->offset, 12u);
  EXPECT_EQ(m.content(x), "first\nother\nmore\n");
}

// ---- rename over a file, which every editor's save is ----

TEST_F(SaveTest, TwoSavesFromOneBaseKeepBoth) {
  Mount m = mount();
  const Saved first = save(m, "# Memory\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  const Saved theirs = save(m, "# Memory\n- theirs\n", first.ino, base);
  ASSERT_TRUE(theirs.outcome.ok());
  EXPECT_FALSE(theirs.outcome->merged);
  const Saved mine = save(m, "# Memory\n- mine\n", first.ino, base);
  ASSERT_TRUE(mine.outcome.ok()) << mine.outcome.error().message;
  EXPECT_TRUE(mine.outcome->merged);
  EXPECT_EQ(head(m), "# Memory\n- theirs\n- mine\n");
  // One history, with every state of the file, and what was merged.
  const auto found = m.look(m.root(), "MEMORY.md");
  EXPECT_EQ(found.node->attr.ino, mine.ino);
  EXPECT_EQ(found.node->attr.version, Version{base.value + 3});
  EXPECT_EQ(mine.outcome->version, Version{base.value + 3});
  EXPECT_EQ(mine.outcome->unmerged, Version{base.value + 2});
}

TEST_F(SaveTest, EightSaversFromOneBase) {
  Mount m = mount();
  const Saved first = save(m, "# Memory\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  for (int i = 0; i < 8; ++i) {
    const auto line = "- " + std::to_string(i) + "\n";
    ASSERT_TRUE(save(m, "# Memory\n" + line, first.ino, base).outcome.ok());
  }
  EXPECT_EQ(head(m), "# Memory\n- 0\n- 1\n- 2\n- 3\n- 4\n- 5\n- 6\n- 7\n");
}

TEST_F(SaveTest, OverlappingSavesConflictAndLeaveBothFiles) {
  Mount m = mount();
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(m, "theirs\n", first.ino, base).outcome.ok());
  const Saved mine = save(m, "mine\n", first.ino, base);
  ASSERT_FALSE(mine.outcome.ok());
  EXPECT_EQ(mine.outcome.code(), Code::conflict);
  EXPECT_EQ(mine.outcome.error().head_version, base.value + 1);
  EXPECT_EQ(head(m), "theirs\n");
  EXPECT_EQ(m.content(mine.ino), "mine\n");
}

TEST_F(SaveTest, ARemovedTargetComesBack) {
  Mount m = mount();
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(m.start_remove(m.root(), "MEMORY.md").get().ok());
  const Saved mine = save(m, "text\nmine\n", first.ino, base);
  ASSERT_TRUE(mine.outcome.ok()) << mine.outcome.error().message;
  EXPECT_EQ(head(m), "text\nmine\n");
}

// Removed and made anew by another: not the history that was read, but the texts can still be
// merged.
TEST_F(SaveTest, ATargetThatIsAnotherFileNow) {
  Mount m = mount();
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(m.start_remove(m.root(), "MEMORY.md").get().ok());
  ASSERT_TRUE(save(m, "text\nanew\n", {}, {}).outcome.ok());
  const Saved mine = save(m, "text\nmine\n", first.ino, base);
  ASSERT_TRUE(mine.outcome.ok()) << mine.outcome.error().message;
  EXPECT_EQ(head(m), "text\nanew\nmine\n");
}

TEST_F(SaveTest, AReplayedMergeIsOneRename) {
  Mount m = mount();
  const Saved first = save(m, "a\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(m, "a\ntheirs\n", first.ino, base).outcome.ok());
  const Ino temp = m.create(m.root(), "tmp");
  ASSERT_TRUE(m.start_write(temp, "a\nmine\n").get().ok());
  RenameRequest request{m.op(), m.root(), "tmp",     m.root(), "MEMORY.md",
                        false,  false,    first.ino, base};
  const Outcome once = m.start(request).get();
  ASSERT_TRUE(once.ok()) << once.error().message;
  request.op.retry = true;
  const Outcome again = m.start(request).get();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again->merged);
  EXPECT_EQ(again->seq, once->seq);
  EXPECT_EQ(head(m), "a\ntheirs\nmine\n");
}

// The writer of the moved file still has it open, and commits more of it between the merge and the
// rename.
TEST_F(SaveTest, WhatIsMovedIsWhatWasMerged) {
  Mount m = mount();
  const Saved first = save(m, "a\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(m, "a\ntheirs\n", first.ino, base).outcome.ok());
  const Ino temp = m.create(m.root(), "tmp");
  ASSERT_TRUE(m.start_write(temp, "a\nmine\n").get().ok());
  int renames = 0;
  store_->before("rename", [&] {
    if (++renames != 2) return ok();
    EXPECT_TRUE(m.start_write(temp, "a\nmine\nmore\n").get().ok());
    return ok();
  });
  const Outcome moved =
      m.start_rename(m.root(), "tmp", m.root(), "MEMORY.md", first.ino, base).get();
  ASSERT_TRUE(moved.ok()) << moved.error().message;
  EXPECT_TRUE(moved->merged);
  EXPECT_EQ(renames, 3);
  EXPECT_EQ(head(m), "a\ntheirs\nmine\nmore\n");
}

// What was to be moved became another name of the target, or another file took its name, between
// the merge and the rename.
TEST_F(SaveTest, NamesThatGoToOtherFilesMeanwhile) {
  Mount m = mount();
  const Saved first = save(m, "a\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(m, "a\ntheirs", first.ino, base).outcome.ok());
  const Ino head_ino = m.look(m.root(), "MEMORY.md").node->attr.ino;
  int renames = 0;
  const auto rename_with = [&](const std::string& temp, const std::function<void()>& meanwhile) {
    renames = 0;
    store_->before("rename", [&renames, meanwhile] {
      if (++renames == 2) meanwhile();
      return ok();
    });
    return m.start_rename(m.root(), temp, m.root(), "MEMORY.md", first.ino, base).get();
  };
  const auto make = [&](const std::string& name, const std::string& content) {
    EXPECT_TRUE(m.start_write(m.create(m.root(), name), content).get().ok());
  };
  make("tmp", "a\nmine\n");
  const Outcome linked = rename_with("tmp", [&] {
    EXPECT_TRUE(m.start_remove(m.root(), "tmp").get().ok());
    EXPECT_TRUE(m.start(LinkRequest{m.op(), head_ino, m.root(), "tmp"}).get().ok());
  });
  EXPECT_TRUE(linked.ok()) << linked.error().message;
  EXPECT_EQ(head(m), "a\ntheirs");
  make("tmp2", "a\nmine\n");
  const Outcome other = rename_with("tmp2", [&] {
    EXPECT_TRUE(m.start_remove(m.root(), "tmp2").get().ok());
    make("tmp2", "a\nanother's\n");
  });
  EXPECT_TRUE(other.ok()) << other.error().message;
  EXPECT_EQ(head(m), "a\ntheirs\nanother's");
}

TEST_F(SaveTest, RejectAndLastWriterWins) {
  Mount r = mount("reject");
  const Saved first = save(r, "a\n", {}, {});
  const Version base = r.look(r.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(r, "a\nb\n", first.ino, base).outcome.ok());
  EXPECT_EQ(save(r, "a\nc\n", first.ino, base).outcome.code(), Code::conflict);
  EXPECT_EQ(head(r), "a\nb\n");
  ASSERT_TRUE(router_->detach(r.who).ok());
  Mount w = mount("lww");
  ASSERT_TRUE(save(w, "a\nd\n", first.ino, base).outcome.ok());
  EXPECT_EQ(head(w), "a\nd\n");
}

TEST_F(SaveTest, ASaveFollowsThePattern) {
  Mount m = mount("patterns");
  const Ino journal = m.create(m.root(), "journal", Kind::directory);
  // Two saves from one base: what became of the second.
  const auto second = [&](Ino dir, const std::string& name) {
    const auto save_in = [&](const std::string& content, Ino base_ino, Version base) {
      const std::string temp = "tmp" + std::to_string(m.operations);
      const Ino ino = m.create(m.root(), temp);
      EXPECT_TRUE(m.start_write(ino, content).get().ok());
      return m.start_rename(m.root(), temp, dir, name, base_ino, base).get();
    };
    EXPECT_TRUE(save_in("a\n", {}, {}).ok());
    const Attr base = m.look(dir, name).node->attr;
    EXPECT_TRUE(save_in("a\ntheirs\n", base.ino, base.version).ok());
    const Outcome mine = save_in("a\nmine\n", base.ino, base.version);
    const std::string head = m.content(m.look(dir, name).node->attr.ino);
    return (mine.ok() ? mine->merged ? "merged: " : "over: " : "refused: ") + head;
  };
  EXPECT_EQ(second(m.root(), "a.csv"), "refused: a\ntheirs\n");
  EXPECT_EQ(second(journal, "a.csv"), "refused: a\ntheirs\n");
  EXPECT_EQ(second(journal, "a.log"), "over: a\nmine\n");
  EXPECT_EQ(second(m.root(), "a.log"), "merged: a\ntheirs\nmine\n");
  EXPECT_EQ(second(m.root(), "a.json"), "refused: a\ntheirs\n");
  ASSERT_TRUE(router_->detach(m.who).ok());

  m.attached = *attach({.token = "names"});
  m.who = {m.attached.session, m.attached.secret};
  const int asked = store_->calls("path_of");
  EXPECT_EQ(second(journal, "b.md"), "merged: a\ntheirs\nmine\n");
  EXPECT_EQ(second(journal, "b.log"), "over: a\nmine\n");
  EXPECT_EQ(second(journal, "b"), "refused: a\ntheirs\n");
  EXPECT_EQ(store_->calls("path_of"), asked) << "a rename says the name";
}

TEST_F(SaveTest, JsonIsNotMerged) {
  Mount m = mount();
  const Saved first = save(m, "{\n}\n", {}, {}, "s.json");
  const Version base = m.look(m.root(), "s.json").node->attr.version;
  ASSERT_TRUE(save(m, "{\n1\n}\n", first.ino, base, "s.json").outcome.ok());
  EXPECT_EQ(save(m, "{\n2\n}\n", first.ino, base, "s.json").outcome.code(), Code::conflict);
}

}  // namespace
}  // namespace linkspan::core::testing
