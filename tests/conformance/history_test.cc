// Versions of files, and what renames make of them.
#include <set>
#include <string>

#include "linkspan/forked.h"
#include "tests/conformance/versioned.h"

namespace linkspan::test {
namespace {

class History : public Versioned {};
LINKSPAN_CONFORMANCE(History);

TEST_P(History, EveryCommitIsAVersionWithItsAuthor) {
  const Ino ino = world().make_file(root(), "file");
  const Time created = world().now();
  World bob = world().fork();
  bob.author.principal = "bob";
  bob.author.sandbox = "box-2";
  must(bob.rewrite(ino, "four"));
  const Time written = world().now();
  must(world().append(ino, "!"));
  must(world().truncate(ino, 2));
  const std::vector<VersionInfo> infos = world().versions(ino);
  ASSERT_EQ(infos.size(), 4u);
  const VersionInfo expected{Version{2}, 4, "bob", "box-2", bob.session(), written, "write", ino};
  EXPECT_EQ(infos[2], expected);
  EXPECT_EQ(infos[3].what, "create");
  EXPECT_EQ(infos[3].at, created);
  EXPECT_EQ(infos[3].principal, "alice");
  EXPECT_EQ(infos[1].what, "append");
  EXPECT_EQ(infos[1].size, 5u);
  EXPECT_EQ(infos[0].what, "truncate");
  EXPECT_EQ(infos[0].version, Version{4});
  EXPECT_EQ(world().content(ino, Version{1}), "");
  EXPECT_EQ(world().content(ino, Version{2}), "four");
  EXPECT_EQ(world().content(ino, Version{3}), "four!");
  EXPECT_EQ(world().content(ino, Version{4}), "fo");
}

TEST_P(History, Pages) {
  const Ino ino = world().make_file(root(), "file");
  for (int i = 0; i < 9; ++i) must(world().append(ino, "x"));
  EXPECT_EQ(world().versions(ino, {}, 3)[2].version, Version{8});
  EXPECT_EQ(world().versions(ino, Version{8}, 3)[0].version, Version{7});
  EXPECT_EQ(world().versions(ino, Version{3}, 10).size(), 2u);
  EXPECT_TRUE(world().versions(ino, Version{1}, 10).empty());
  EXPECT_EQ(code_of(store_->versions(world().scope, {ino, {}, 0})), Code::invalid);
  EXPECT_EQ(code_of(store_->versions(world().scope, {ino, {}, limits::kHistoryPage + 1})),
            Code::invalid);
  EXPECT_EQ(code_of(store_->versions(world().scope, {Ino{999999999}, {}, 1})), Code::stale_node);
  EXPECT_EQ(code_of(store_->versions(world().scope, {root(), {}, 1})), Code::is_directory);
}

TEST_P(History, FollowsTheNameAcrossAtomicSaves) {
  Ino ino = world().make_file(root(), "MEMORY.md", "v2");
  for (int save = 3; save <= 6; ++save) {
    const Ino temp = world().make_file(root(), "temp", "v" + std::to_string(save));
    const store::Applied applied = must(world().rename(root(), "temp", root(), "MEMORY.md"));
    EXPECT_EQ(applied.reply.version, Version{static_cast<uint64_t>(save)});
    EXPECT_EQ(attr_of(applied).version, applied.reply.version);
    EXPECT_EQ(attr_of(applied).ino, temp);
    ino = temp;
  }
  EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{6, 5, 4, 3, 2, 1}));
  for (uint64_t version = 2; version <= 6; ++version)
    EXPECT_EQ(world().content(ino, Version{version}), "v" + std::to_string(version));
  const std::vector<VersionInfo> infos = world().versions(ino);
  EXPECT_EQ(infos[0].ino, ino);
  EXPECT_EQ(infos[0].what, "rename");
  EXPECT_EQ(infos[0].size, 2u);
  EXPECT_EQ(infos[0].at, world().now());
  EXPECT_NE(infos[1].ino, ino);
  must(world().append(ino, "+"));
  EXPECT_EQ(world().attr(ino).version, Version{7});
}

TEST_P(History, AReplacedFileWithAnotherNameKeepsItsOwn) {
  const Ino target = world().make_file(root(), "target", "two");
  must(world().link(target, root(), "other"));
  const Ino temp = world().make_file(root(), "temp", "three");
  must(world().rename(root(), "temp", root(), "target"));
  EXPECT_EQ(numbers(temp), (std::vector<uint64_t>{3, 2, 1}));
  EXPECT_EQ(world().content(temp, Version{2}), "two");
  EXPECT_EQ(numbers(target), (std::vector<uint64_t>{2, 1}));
  must(world().rewrite(target, "its own three"));
  must(world().rewrite(temp, "four"));
  EXPECT_EQ(world().content(target, Version{3}), "its own three");
  EXPECT_EQ(world().content(temp, Version{3}), "three");
  EXPECT_EQ(numbers(target), (std::vector<uint64_t>{3, 2, 1}));
  EXPECT_EQ(numbers(temp), (std::vector<uint64_t>{4, 3, 2, 1}));
}

TEST_P(History, AnOrphanGoesOnByItself) {
  const Ino target = world().make_file(root(), "target", "two");
  const Ino temp = world().make_file(root(), "temp", "three");
  must(world().rename(root(), "temp", root(), "target"));
  must(world().rewrite(target, "written by one who had it open"));
  EXPECT_EQ(world().attr(target).version, Version{kForked + 3});
  EXPECT_EQ(world().content(target), "written by one who had it open");
  EXPECT_EQ(world().content(temp), "three");
  EXPECT_EQ(numbers(temp), (std::vector<uint64_t>{3, 2, 1}));
}

TEST_P(History, APlainRenameKeepsIt) {
  const Ino ino = world().make_file(root(), "a", "x");
  must(world().rename(root(), "a", root(), "b"));
  EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{2, 1}));
  EXPECT_EQ(world().attr(ino).version, Version{2});
  must(world().symlink(root(), "link", "t"));
  must(world().rename(root(), "b", root(), "link"));
  EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{2, 1}))
      << "a symlink has no history to go on with";
}

TEST_P(History, AFileThatIsMovedOverAnotherTakesItsVersionsAlong) {
  must(world().append(world().make_file(root(), "b", "b1"), "b2"));  // version 3
  const Ino ino = world().make_file(root(), "a", "a1");
  World bob = world().fork();
  bob.author.principal = "bob";
  must(bob.rewrite(ino, "a2"));
  const Time written = world().now();
  must(world().rewrite(ino, "a3"));  // version 4
  const store::Applied applied = must(bob.rename(root(), "a", root(), "b"));
  EXPECT_EQ(applied.reply.version, Version{8});
  EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{8, 7, 6, 5, 3, 2, 1}));
  EXPECT_EQ(world().versions(ino)[1].principal, "alice") << "bob only moved it";
  EXPECT_EQ(world().content(ino), "a3");
  EXPECT_EQ(world().content(ino, Version{6}), "a2");
  EXPECT_EQ(world().content(ino, Version{5}), "a1");
  EXPECT_EQ(world().content(ino, Version{3}), "b1b2");
  const VersionInfo of_bob{Version{6}, 2, "bob", "", bob.session(), written, "write", ino};
  VersionInfo found = world().versions(ino)[2];
  found.sandbox.clear();
  EXPECT_EQ(found, of_bob);
  must(world().append(ino, "!"));
  EXPECT_EQ(world().content(ino, Version{9}), "a3!");
  EXPECT_EQ(world().content(ino, Version{5}), "a1");
}

TEST_P(History, WhatTwoFilesShareIsTakenAlongOnce) {
  const Ino first = world().make_file(root(), "a", "1");
  must(world().rewrite(first, "2"));
  must(world().link(first, root(), "b"));
  const Ino temp = world().make_file(root(), "temp", "3");
  must(world().rename(root(), "temp", root(), "a"));  // b keeps a list of its own
  must(world().rewrite(first, "3 of b"));
  must(world().rewrite(first, "4 of b"));
  must(world().rename(root(), "b", root(), "a"));
  EXPECT_EQ(numbers(first), (std::vector<uint64_t>{7, 6, 4, 3, 2, 1}));
  EXPECT_EQ(world().content(first, Version{6}), "3 of b");
  EXPECT_EQ(world().content(first, Version{4}), "3");
  EXPECT_EQ(world().content(first, Version{3}), "2");
  EXPECT_EQ(world().content(temp), "3");
}

TEST_P(History, WhatAReplacedFileSharesIsNotTakenFromIt) {
  const Ino held = world().make_file(root(), "a", "1");
  const Ino temp = world().make_file(root(), "temp", "2");
  must(world().rename(root(), "temp", root(), "a"));  // somebody has the first one open
  must(world().rewrite(temp, "3"));
  world().make_file(root(), "b", "b");
  must(world().rename(root(), "a", root(), "b"));
  EXPECT_EQ(world().content(held), "1");
  EXPECT_EQ(world().content(held, Version{1}), "");
  EXPECT_EQ(world().content(temp, Version{5}), "1");
}

class Continued : public Versioned {
 protected:
  Result<store::Applied> create_after(Ino moved_away, const std::string& name,
                                      Kind kind = Kind::file) {
    store::Mutation m = world().next();
    const auto there = store_->getattr(world().scope, {moved_away, false});
    m.continues = {moved_away, there.ok() ? there->node.attr.version : Version{2}};
    m.new_ino = world().unused_ino();
    CreateRequest request;
    request.op = world().op();
    request.parent = root();
    request.name = name;
    request.kind = kind;
    request.mode = 0644;
    request.exclusive = false;
    if (kind == Kind::symlink) request.target = "t";
    return store_->create(m, request);
  }
  // A rename of `temp`, based on that version of the file that was moved away; 0: on none.
  Result<store::Applied> rename_after(Ino moved_away, const std::string& temp,
                                      const std::string& name, Version base,
                                      std::optional<store::Mutation::Merged> merged = {}) {
    store::Mutation m = world().next();
    m.continues = {moved_away, world().attr(moved_away).version};
    m.merged = std::move(merged);
    RenameRequest request;
    request.op = world().op();
    request.from_parent = request.to_parent = root();
    request.from_name = temp;
    request.to_name = name;
    request.base_ino = base ? moved_away : Ino{};
    request.base_version = base;
    return store_->rename(m, request);
  }
};
LINKSPAN_CONFORMANCE(Continued);

TEST_P(Continued, AFileGoesOnWithTheHistoryOfTheOneThatWasMovedAway) {
  const Ino old = world().make_file(root(), "file", "one");
  must(world().rename(root(), "file", root(), "file~"));
  const store::Applied made = must(create_after(old, "file"));
  ASSERT_EQ(made.reply.nodes.size(), 2u);
  EXPECT_EQ(attr_of(made, 1).ino, root());
  EXPECT_EQ(made.usage.files, 1);
  const Ino ino = attr_of(made).ino;
  EXPECT_EQ(attr_of(made).version, Version{3});
  EXPECT_EQ(attr_of(made), world().attr(ino));
  EXPECT_EQ(world().content(ino), "");
  must(world().rewrite(ino, "two"));
  EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{4, 3, 2, 1}));
  EXPECT_EQ(world().content(ino, Version{2}), "one");
  // The other is as it was, and goes its own way.
  EXPECT_EQ(numbers(old), (std::vector<uint64_t>{2, 1}));
  must(world().append(old, "!"));
  EXPECT_EQ(numbers(old), (std::vector<uint64_t>{3, 2, 1}));
  EXPECT_EQ(world().content(old), "one!");
  EXPECT_EQ(world().content(ino, Version{3}), "");
  must(world().unlink(root(), "file~"));
  EXPECT_EQ(world().content(ino, Version{2}), "one");
}

TEST_P(Continued, MovedBackItTakesNothingAlongTwice) {
  const Ino old = world().make_file(root(), "file", "one");
  must(world().rewrite(old, "two"));
  must(world().rename(root(), "file", root(), "file~"));
  const Ino ino = attr_of(must(create_after(old, "file"))).ino;
  must(world().rewrite(ino, "torn"));
  must(world().rename(root(), "file~", root(), "file"));
  EXPECT_EQ(numbers(old), (std::vector<uint64_t>{6, 5, 4, 3, 2, 1}));
  EXPECT_EQ(world().content(old), "two");
  EXPECT_EQ(world().content(old, Version{5}), "torn");
}

TEST_P(Continued, OnlyAFileOfTheVolumeThatHasAName) {
  const auto begins = [&](Ino moved_away, const std::string& name) {
    const Ino ino = attr_of(must(create_after(moved_away, name))).ino;
    EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{1})) << name;
  };
  const Ino gone = world().make_file(root(), "x", "one");
  must(world().unlink(root(), "x"));
  begins(gone, "gone");
  begins(world().make_dir(root(), "d"), "directory");
  begins(Ino{999999999}, "nobody");
  begins(world().make_file(world().other_root(), "x", "one"), "elsewhere");
  const Ino file = world().make_file(root(), "y", "one");
  EXPECT_EQ(attr_of(must(create_after(file, "s", Kind::symlink))).version, Version{0});
  EXPECT_EQ(attr_of(must(create_after(file, "d2", Kind::directory))).version, Version{0});
  EXPECT_EQ(code_of(create_after(file, "y")), std::nullopt) << "found, as it is";
  EXPECT_EQ(numbers(file), (std::vector<uint64_t>{2, 1}));
  must(world().link(file, root(), "also"));
  begins(file, "of two names");
  must(world().unlink(root(), "also"));
  store::Mutation m = world().next();
  m.continues = {file, Version{2}};
  m.new_ino = world().unused_ino();
  must(world().append(file, "since"));
  CreateRequest request;
  request.op = world().op();
  request.parent = root();
  request.name = "changed since";
  EXPECT_EQ(attr_of(must(store_->create(m, request))).version, Version{1});
}

TEST_P(Continued, ARenamedFileGoesOnWithTheHistoryOfTheOneThatWasMovedAway) {
  const Ino old = world().make_file(root(), "file", "one");
  must(world().rename(root(), "file", root(), "file.bak"));
  const Ino temp = world().make_file(root(), "temp", "two!");
  const store::Applied moved = must(rename_after(old, "temp", "file", Version{2}));
  ASSERT_EQ(moved.reply.nodes.size(), 2u);
  EXPECT_EQ(moved.reply.version, Version{3});
  EXPECT_EQ(attr_of(moved), world().attr(temp));
  EXPECT_EQ(moved.usage.files, 0);
  EXPECT_EQ(moved.usage.bytes, 0);
  EXPECT_EQ(numbers(temp), (std::vector<uint64_t>{3, 2, 1}));
  EXPECT_EQ(world().content(temp), "two!");
  EXPECT_EQ(world().content(temp, Version{2}), "one");
  // The other is as it was, and goes its own way.
  EXPECT_EQ(numbers(old), (std::vector<uint64_t>{2, 1}));
  EXPECT_EQ(world().attr(old).nlink, 1u);
  must(world().append(old, "!"));
  EXPECT_EQ(numbers(old), (std::vector<uint64_t>{3, 2, 1}));
  EXPECT_EQ(world().content(old), "one!");
  EXPECT_EQ(world().content(temp), "two!");
  must(world().unlink(root(), "file.bak"));
  EXPECT_EQ(world().content(temp, Version{2}), "one");
}

TEST_P(Continued, ARenameIsHeldAgainstWhatTheMovedFileBecameSinceItWasRead) {
  const Ino old = world().make_file(root(), "file", "one");
  must(world().rewrite(old, "theirs"));
  must(world().rename(root(), "file", root(), "file.bak"));
  const Ino temp = world().make_file(root(), "temp", "mine");
  const auto refused = rename_after(old, "temp", "file", Version{2});
  ASSERT_EQ(code_of(refused), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 3u);
  EXPECT_EQ(numbers(temp), (std::vector<uint64_t>{2, 1}));
  const store::Applied moved = must(rename_after(
      old, "temp", "file", Version{3}, store::Mutation::Merged{"of both", temp, Version{2}}));
  EXPECT_EQ(moved.usage.bytes, 3);
  EXPECT_EQ(world().content(temp), "of both");
  EXPECT_EQ(numbers(temp), (std::vector<uint64_t>{5, 4, 3, 2, 1}));
  EXPECT_EQ(world().content(temp, Version{4}), "mine");
  EXPECT_EQ(world().content(temp, Version{3}), "theirs");
  EXPECT_EQ(world().content(old), "theirs");
}

TEST_P(Continued, ARenameToAFreeNameOnlyAndOfAnotherFile) {
  const Ino old = world().make_file(root(), "file", "one");
  must(world().rename(root(), "file", root(), "file.bak"));
  // Moved back.
  must(rename_after(old, "file.bak", "file", {}));
  EXPECT_EQ(numbers(old), (std::vector<uint64_t>{2, 1}));
  must(world().rename(root(), "file", root(), "file.bak"));
  // Another has made a file of that name: that is what it replaces.
  const Ino there = world().make_file(root(), "file", "another's");
  world().make_file(root(), "temp", "mine");
  EXPECT_EQ(code_of(rename_after(old, "temp", "file", Version{2})), Code::conflict);
  const Ino temp = attr_of(must(rename_after(old, "temp", "file", {}))).ino;
  EXPECT_EQ(world().content(temp, Version{2}), "another's");
  EXPECT_EQ(world().attr(there).nlink, 0u);
  // No file, or of two names.
  world().make_dir(root(), "d");
  EXPECT_EQ(must(rename_after(old, "d", "e", {})).reply.version, Version{0});
  must(world().link(old, root(), "also"));
  const Ino last = world().make_file(root(), "last", "mine");
  EXPECT_EQ(must(rename_after(old, "last", "new", {})).reply.version, Version{0});
  EXPECT_EQ(numbers(last), (std::vector<uint64_t>{2, 1}));
}

// As an editor does with each save, for as long as it likes: numbers grow by a few.
TEST_P(Continued, ABackupThatReplacesAnotherKeepsNumbersSmall) {
  Ino ino = world().make_file(root(), "file", "0");
  for (int save = 1; save <= 80; ++save) {
    must(world().rename(root(), "file", root(), "file~"));
    const Ino next = attr_of(must(create_after(ino, "file"))).ino;
    must(world().rewrite(next, std::to_string(save)));
    ino = next;
  }
  EXPECT_LT(world().attr(ino).version.value, 500u);
  const auto infos = world().versions(ino, {}, 1000);
  EXPECT_LT(infos.size(), 250u);
  std::set<std::string> texts;
  for (const VersionInfo& info : infos) texts.insert(world().content(ino, info.version));
  EXPECT_EQ(texts.size(), 82u) << "each save, and nothing";
}

TEST_P(Continued, ABackupBeforeARenameKeepsNumbersSmall) {
  Ino ino = world().make_file(root(), "file", "0");
  for (int save = 1; save <= 80; ++save) {
    world().make_file(root(), "temp", std::to_string(save));
    must(world().rename(root(), "file", root(), "file.bak"));
    ino = attr_of(must(rename_after(ino, "temp", "file", world().attr(ino).version))).ino;
  }
  EXPECT_LT(world().attr(ino).version.value, 500u);
  const auto infos = world().versions(ino, {}, 1000);
  EXPECT_LT(infos.size(), 170u);
  std::set<std::string> texts;
  for (const VersionInfo& info : infos) texts.insert(world().content(ino, info.version));
  EXPECT_EQ(texts.size(), 82u) << "each save, and nothing";
}

TEST_P(History, ThePartsOfOneWritingAreNotTakenAlong) {
  world().make_file(root(), "b", "b");
  const Ino ino = world().make_file(root(), "b.part", "p");
  for (int part = 0; part < 50; ++part) must(world().append(ino, "p"));
  must(world().rename(root(), "b.part", root(), "b"));
  EXPECT_EQ(numbers(ino), (std::vector<uint64_t>{53, 2, 1}));
  EXPECT_EQ(world().content(ino), std::string(51, 'p'));
}

TEST_P(History, DeletedAndMadeAgainIsANewOne) {
  const Ino first = world().make_file(root(), "a", "first");
  must(world().unlink(root(), "a"));
  const Ino second = world().make_file(root(), "a");
  EXPECT_EQ(numbers(second), (std::vector<uint64_t>{1}));
  EXPECT_EQ(world().content(first, Version{2}), "first");
}

}  // namespace
}  // namespace linkspan::test
