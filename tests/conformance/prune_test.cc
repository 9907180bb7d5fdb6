// Retention of versions, of nodes without a name, and of the change log.
#include "tests/conformance/versioned.h"

namespace linkspan::test {
namespace {

class Prune : public Versioned {
 protected:
  void retain(uint32_t versions, uint32_t days) {
    must(store_->provision({tenant_, {{"memory", 0, 0, versions, days}}}, world().now()));
  }
  uint64_t prune(Time now) {
    uint64_t total = 0;
    for (int round = 0; round < 1000; ++round) {
      const uint64_t removed = must(store_->prune(world().state().id, now));
      if (removed == 0) return total;
      total += removed;
    }
    ADD_FAILURE() << "prune never ends";
    return total;
  }
  Time later(int64_t days) { return Time{world().now().ns + days * kDay}; }
};
LINKSPAN_CONFORMANCE(Prune);

TEST_P(Prune, NothingToDo) {
  world().make_file(root(), "file", "x");
  EXPECT_EQ(prune(world().now()), 0u);
  EXPECT_EQ(code_of(store_->prune(TenantId{987654321}, world().now())), Code::not_found);
}

TEST_P(Prune, KeepsSoManyVersions) {
  const Ino ino = world().make_file(root(), "file");
  for (int i = 2; i <= 10; ++i) must(world().rewrite(ino, "v" + std::to_string(i)));
  retain(3, 90);
  EXPECT_EQ(prune(world().now()), 7u);
  EXPECT_EQ(world().versions(ino).size(), 3u);
  EXPECT_EQ(world().content(ino), "v10");
  EXPECT_EQ(world().content(ino, Version{8}), "v8");
  EXPECT_EQ(code_of(store_->read(world().scope, {ino, Version{7}, 0, 10})), Code::not_found);
  retain(0, 90);
  EXPECT_EQ(prune(world().now()), 2u);
  EXPECT_EQ(world().content(ino), "v10") << "the head stays";
  must(world().append(ino, "+"));
  EXPECT_EQ(world().attr(ino).version, Version{11});
}

// A saved file's version is numbered above its own: rows count, not numbers.
TEST_P(Prune, KeepsSoManyVersionsThoughNumbersHaveGaps) {
  world().make_file(root(), "target", "first");
  const Ino ino = world().make_file(root(), "temp", "save");
  for (int more = 0; more < 10; ++more) must(world().append(ino, "+"));
  must(world().rename(root(), "temp", root(), "target"));
  ASSERT_EQ(world().versions(ino).size(), 3u);
  ASSERT_EQ(world().attr(ino).version, Version{13});
  retain(2, 90);
  prune(world().now());
  EXPECT_EQ(world().versions(ino).size(), 2u);
  EXPECT_EQ(world().content(ino, Version{2}), "first");
}

TEST_P(Prune, KeepsPiecesThatYoungerVersionsShare) {
  constexpr uint64_t kSize = 4 * limits::kChunkBytes;
  const Ino ino = world().make_file(root(), "file", std::string(kSize, 'a'));
  must(world().overwrite(ino, limits::kChunkBytes, "b"));
  must(world().overwrite(ino, 0, "c"));
  retain(1, 90);
  EXPECT_EQ(prune(world().now()), 3u);
  std::string expected(kSize, 'a');
  expected[limits::kChunkBytes] = 'b';
  expected[0] = 'c';
  EXPECT_EQ(world().content(ino), expected);
}

TEST_P(Prune, KeepsWhatASavedFileTookOver) {
  const Ino target = world().make_file(root(), "target", std::string(100000, 't'));
  must(world().link(target, root(), "other"));
  const Ino temp = world().make_file(root(), "temp", std::string(100000, 'n'));
  must(world().rename(root(), "temp", root(), "target"));
  must(world().unlink(root(), "other"));
  // Past the orphan's time, within the versions'.
  retain(1000, 90);
  prune(later(89));
  EXPECT_EQ(world().content(temp, Version{2}), std::string(100000, 't'));
  prune(later(91));
  EXPECT_EQ(code_of(store_->getattr(world().scope, {target, false})), Code::stale_node);
  EXPECT_EQ(world().content(temp), std::string(100000, 'n'));
  EXPECT_EQ(world().versions(temp).size(), 1u);
}

TEST_P(Prune, WhatAMovedFileTookAlongAgesFromTheMove) {
  const Ino target = world().make_file(root(), "b", "b");
  const Ino ino = world().make_file(root(), "a", "a1");
  must(world().rewrite(ino, "a2"));
  retain(1000, 10);
  store::Mutation m = world().next();
  m.now = later(20);
  RenameRequest request;
  request.op = world().op();
  request.from_parent = request.to_parent = root();
  request.from_name = "a";
  request.to_name = "b";
  must(store_->rename(m, request));
  prune(Time{m.now.ns + 9 * kDay});
  EXPECT_EQ(world().content(ino, Version{4}), "a1");
  prune(Time{m.now.ns + 11 * kDay});
  EXPECT_EQ(world().versions(ino).size(), 1u);
  EXPECT_EQ(world().content(ino), "a2");
  EXPECT_EQ(code_of(store_->getattr(world().scope, {target, false})), Code::stale_node);
}

TEST_P(Prune, ByAgeSinceReplaced) {
  const Ino ino = world().make_file(root(), "file", "old");
  retain(1000, 10);
  EXPECT_EQ(must(store_->open_tenant(tenant_, limits::kLease)).volumes.size(), 2u);
  world_ = std::make_unique<World>(World::reopen(store_, tenant_));
  // Twenty days untouched, then replaced: the old content is kept ten more days.
  store::Mutation m = world().next();
  m.now = later(20);
  CommitRequest request;
  request.op = world().op();
  request.ino = ino;
  request.keep_below = 0;
  request.size = 3;
  request.extents = extent(0, "new");
  must(store_->commit(m, request));
  prune(Time{m.now.ns + 9 * kDay});
  EXPECT_EQ(world().content(ino, Version{2}), "old");
  EXPECT_EQ(world().versions(ino).size(), 2u) << "version 1 was replaced twenty-nine days ago";
  prune(Time{m.now.ns + 11 * kDay});
  EXPECT_EQ(world().versions(ino).size(), 1u);
  EXPECT_EQ(world().content(ino), "new");
  prune(Time{m.now.ns + 1000 * kDay});
  EXPECT_EQ(world().content(ino), "new");
}

TEST_P(Prune, OrphansAndLogGoByAge) {
  const Ino file = world().make_file(root(), "file", std::string(200000, 'x'));
  const Ino dir = world().make_dir(root(), "dir");
  must(world().set_xattr(file, "user.a", "b"));
  SetAttrRequest old;
  old.ino = file;
  old.mtime = old.atime = Time{1};
  must(world().set(old));
  must(world().unlink(root(), "file"));
  must(world().rmdir(root(), "dir"));
  const Ino kept = world().make_file(root(), "kept", "k");
  const Seq last = world().changes().back().seq;
  retain(1000, 10);
  prune(later(9));
  EXPECT_EQ(world().attr(file).nlink, 0u);
  EXPECT_EQ(world().attr(dir).nlink, 0u);
  EXPECT_FALSE(world().changes().empty());
  EXPECT_GE(prune(later(11)), 3u);
  EXPECT_EQ(code_of(store_->getattr(world().scope, {file, false})), Code::stale_node);
  EXPECT_EQ(code_of(store_->getattr(world().scope, {dir, false})), Code::stale_node);
  EXPECT_EQ(world().content(kept), "k");
  EXPECT_TRUE(world().changes().empty());
  EXPECT_GE(must(store_->open_tenant(tenant_, limits::kLease)).last_seq, last)
      << "also without a log";
}

TEST_P(Prune, OpenOrphansHaveADay) {
  const Ino file = world().make_file(root(), "file", "open somewhere");
  must(world().unlink(root(), "file"));
  retain(1, 0);
  prune(Time{world().now().ns + kDay / 2});
  EXPECT_EQ(world().content(file), "open somewhere");
  prune(later(2));
  EXPECT_EQ(code_of(store_->getattr(world().scope, {file, false})), Code::stale_node);
}

TEST_P(Prune, AReplacedFileThatIsOpenKeepsItsContent) {
  const std::string text(200000, 'o');
  const Ino open = world().make_file(root(), "name", text);
  world().make_file(root(), "temp", "new");
  must(world().rename(root(), "temp", root(), "name"));
  const Ino head = world().find(root(), "name")->attr.ino;
  for (int i = 0; i < 5; ++i) must(world().rewrite(head, "head " + std::to_string(i)));
  retain(1, 0);
  prune(Time{world().now().ns + kDay / 2});
  EXPECT_EQ(world().versions(head).size(), 1u);
  EXPECT_EQ(world().content(open), text);
  must(world().append(open, "+"));
  EXPECT_EQ(world().content(open), text + "+");
  EXPECT_EQ(world().content(head), "head 4");
  prune(later(2));
  EXPECT_EQ(code_of(store_->getattr(world().scope, {open, false})), Code::stale_node);
  EXPECT_EQ(world().content(head), "head 4");
}

TEST_P(Prune, TheListOfAReplacedFileWithAnotherNameAgesToo) {
  const Ino target = world().make_file(root(), "target", "two");
  must(world().rewrite(target, "three"));
  must(world().link(target, root(), "other"));
  world().make_file(root(), "temp", "four");
  must(world().rename(root(), "temp", root(), "target"));
  prune(later(89));
  EXPECT_EQ(numbers(target), (std::vector<uint64_t>{3, 2, 1}));
  retain(2, 90);
  prune(world().now());
  EXPECT_EQ(numbers(target), (std::vector<uint64_t>{3, 2}));
  prune(later(91));
  EXPECT_EQ(numbers(target), (std::vector<uint64_t>{3}));
  EXPECT_EQ(world().content(target), "three");
  EXPECT_EQ(numbers(world().find(root(), "target")->attr.ino), (std::vector<uint64_t>{4}));
}

// Its numbers go on from its own last one, not from the number that the file which replaced it got.
TEST_P(Prune, TheListOfAReplacedFileAgesByItsOwnCommits) {
  const Ino target = world().make_file(root(), "target", "one");
  must(world().link(target, root(), "other"));
  const Ino temp = world().make_file(root(), "temp", "new");
  for (int more = 0; more < 5; ++more) must(world().append(temp, "+"));
  must(world().rename(root(), "temp", root(), "target"));
  const Time replaced = world().now();
  must(world().rewrite(target, "two"));
  retain(1000, 10);
  prune(Time{replaced.ns + 10 * kDay + 1});
  EXPECT_EQ(numbers(target), (std::vector<uint64_t>{3, 2})) << "2 was the head until just now";
}

TEST_P(Prune, ReplacedNodesGoWithTheirBytesOnlyWhenNobodyNeedsThem) {
  // Three saves; each head was written by another node, all but the last of which are orphans.
  const std::string text(150000, 'a');
  world().make_file(root(), "name", text + "0");
  for (int save = 1; save <= 3; ++save) {
    world().make_file(root(), "temp", text + std::to_string(save));
    must(world().rename(root(), "temp", root(), "name"));
  }
  const Ino head = world().find(root(), "name")->attr.ino;
  retain(2, 90);
  prune(later(1));
  EXPECT_EQ(world().versions(head).size(), 2u);
  EXPECT_EQ(world().content(head, Version{4}), text + "2");
  EXPECT_EQ(world().content(head), text + "3");
  prune(later(200));
  EXPECT_EQ(world().versions(head).size(), 1u);
  EXPECT_EQ(world().content(head), text + "3");
}

TEST_P(Prune, ChangesNoUsage) {
  const Ino file = world().make_file(root(), "file", "12345");
  must(world().rewrite(file, "123"));
  world().make_file(root(), "gone", "x");
  must(world().unlink(root(), "gone"));
  retain(1, 1);
  EXPECT_GT(prune(later(100)), 0u);
  const store::TenantState state = must(store_->open_tenant(tenant_, limits::kLease));
  for (const store::Volume& volume : state.volumes) {
    if (volume.id != world().volume()) continue;
    EXPECT_EQ(volume.used_bytes, 3u);
    EXPECT_EQ(volume.used_files, 1u);
  }
}

TEST_P(Prune, ManyRowsInBoundedCalls) {
  const Ino ino = world().make_file(root(), "file");
  constexpr uint64_t kVersions = 1500;
  for (uint64_t i = 0; i < kVersions; ++i) must(world().append(ino, "x"));
  retain(1, 90);
  const uint64_t first = must(store_->prune(world().state().id, world().now()));
  EXPECT_LT(first, kVersions) << "a call is bounded";
  EXPECT_EQ(first + prune(world().now()), kVersions);
  EXPECT_EQ(world().content(ino), std::string(kVersions, 'x'));
}

}  // namespace
}  // namespace linkspan::test
