// Versions of files, and what renames make of them.
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
  EXPECT_EQ(world().attr(target).version, Version{3});
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

TEST_P(History, DeletedAndMadeAgainIsANewOne) {
  const Ino first = world().make_file(root(), "a", "first");
  must(world().unlink(root(), "a"));
  const Ino second = world().make_file(root(), "a");
  EXPECT_EQ(numbers(second), (std::vector<uint64_t>{1}));
  EXPECT_EQ(world().content(first, Version{2}), "first");
}

}  // namespace
}  // namespace linkspan::test
