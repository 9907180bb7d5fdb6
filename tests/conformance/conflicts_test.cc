// What refused writers wrote: kept, listed, settled, pruned.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class Conflicts : public StoreTest {
 protected:
  // A write over (ino, base) that was refused.
  store::KeepRequest refused(Ino ino, Version base, uint64_t keep_below, uint64_t size,
                             std::vector<Extent> list) {
    store::KeepRequest keep;
    keep.operation = OpNumber{++operations_};
    keep.what = "write";
    keep.ino = keep.base_ino = keep.from = ino;
    keep.base = keep.from_version = base;
    keep.head = Version{base.value + 1};
    keep.keep_below = keep_below;
    keep.size = size;
    keep.extents = extents(std::move(list));
    return keep;
  }
  store::KeepRequest rewrite(Ino ino, Version base, const std::string& data) {
    return refused(ino, base, 0, data.size(), {{0, data.size(), data}});
  }
  store::Mutation next() {
    store::Mutation m = world().next();
    m.new_ino = world().unused_ino();
    return m;
  }
  Conflict keep(const store::KeepRequest& request) {
    const store::Mutation m = next();
    const Conflict kept = must(store_->keep(m, request));
    EXPECT_EQ(kept.number, m.seq);
    EXPECT_EQ(kept.theirs, m.new_ino);
    return kept;
  }
  std::vector<Conflict> list(Seq after = {}, uint32_t limit = 100) {
    return must(store_->conflicts(world().scope, {after, limit})).conflicts;
  }
  Result<store::Applied> settle(Seq number) {
    return store_->settle(world().next(), {world().op(), number});
  }
  uint64_t prune(Time now) {
    uint64_t total = 0;
    while (const uint64_t removed = must(store_->prune(world().state().id, now))) total += removed;
    return total;
  }
  Time later(int64_t days) { return Time{world().now().ns + days * kDay}; }

  uint64_t operations_ = 5000;
};
LINKSPAN_CONFORMANCE(Conflicts);

TEST_P(Conflicts, ARewriteIsKeptWhole) {
  const Ino dir = world().make_dir(root(), "notes");
  const Ino ino = world().make_file(dir, "MEMORY.md", "base\n");
  must(world().rewrite(ino, "theirs\n"));
  world().author = {"bob", "box-7", world().session()};
  const Conflict kept = keep(rewrite(ino, Version{2}, "mine\n"));
  EXPECT_EQ(kept.what, "write");
  EXPECT_EQ(kept.volume, "memory");
  EXPECT_EQ(kept.path, "notes/MEMORY.md");
  EXPECT_EQ(kept.ino, ino);
  EXPECT_EQ(kept.base_ino, ino);
  EXPECT_EQ(kept.base, Version{2});
  EXPECT_EQ(kept.head, Version{3});
  EXPECT_EQ(kept.size, 5u);
  EXPECT_EQ(kept.principal, "bob");
  EXPECT_EQ(kept.sandbox, "box-7");
  EXPECT_EQ(kept.session, world().session());
  EXPECT_EQ(kept.at, world().now());
  EXPECT_EQ(list(), std::vector{kept});
  EXPECT_EQ(world().content(kept.theirs), "mine\n");
  EXPECT_EQ(world().content(kept.theirs, Version{1}), "mine\n");
  EXPECT_EQ(world().content(ino), "theirs\n");
  EXPECT_EQ(world().attr(ino).version, Version{3});
}

TEST_P(Conflicts, AFileWithoutANameIsListedUnderItsLast) {
  const Ino dir = world().make_dir(root(), "notes");
  const Ino ino = world().make_file(root(), "temp", "base\n");
  must(world().rename(root(), "temp", dir, "MEMORY.md"));
  must(world().unlink(dir, "MEMORY.md"));
  must(world().append(ino, "more\n"));  // logged without a path
  EXPECT_EQ(keep(rewrite(ino, Version{2}, "mine\n")).path, "notes/MEMORY.md");
}

TEST_P(Conflicts, TheKeptNodeHasNoNameAndOneVersion) {
  const Ino ino = world().make_file(root(), "file", "base");
  const Conflict kept = keep(rewrite(ino, Version{2}, "mine"));
  const Attr attr = world().attr(kept.theirs);
  EXPECT_EQ(attr.ino, kept.theirs);
  EXPECT_EQ(attr.kind, Kind::file);
  EXPECT_EQ(attr.nlink, 0u);
  EXPECT_EQ(attr.mode, world().attr(ino).mode);
  EXPECT_EQ(attr.size, 4u);
  EXPECT_EQ(attr.allocated, 4u);
  EXPECT_EQ(attr.version, Version{1});
  EXPECT_EQ(attr.seq, kept.number);
  EXPECT_EQ(attr.mtime, world().now());
  const auto versions = world().versions(kept.theirs);
  ASSERT_EQ(versions.size(), 1u);
  EXPECT_EQ(versions[0].what, "conflict");
  EXPECT_EQ(versions[0].ino, kept.theirs);
  EXPECT_EQ(world().names(root()), std::vector<std::string>{"file"});
}

TEST_P(Conflicts, AnEditInPlaceIsLaidOverItsBase) {
  const Ino ino = world().make_file(root(), "file", "one two three");
  must(world().rewrite(ino, "another text altogether"));
  const Conflict over = keep(refused(ino, Version{2}, UINT64_MAX, 13, {{4, 3, "TWO"}}));
  EXPECT_EQ(world().content(over.theirs), "one TWO three");
  const Conflict cut = keep(refused(ino, Version{2}, 3, 6, {{5, 1, "!"}}));
  EXPECT_EQ(world().content(cut.theirs), std::string("one\0\0!", 6));
  const Conflict longer = keep(refused(ino, Version{2}, UINT64_MAX, 15, {hole(0, 3)}));
  EXPECT_EQ(world().content(longer.theirs), std::string("\0\0\0 two three\0\0", 15));
  const Conflict emptied = keep(refused(ino, Version{2}, 0, 0, {}));
  EXPECT_EQ(world().content(emptied.theirs), "");
  EXPECT_EQ(world().attr(emptied.theirs).allocated, 0u);
  store::KeepRequest of_head = refused(ino, Version{2}, UINT64_MAX, 3, {{0, 3, "ANO"}});
  of_head.from_version = Version{};
  EXPECT_EQ(world().content(keep(of_head).theirs), "ANOther text altogether");
  EXPECT_EQ(world().content(ino, Version{2}), "one two three");
  EXPECT_EQ(list().size(), 5u);
}

// Content of many chunks, of full and partial pieces, with holes, read as of an old version.
TEST_P(Conflicts, LargeContentIsTheBaseWithTheWritesOnTop) {
  constexpr uint64_t kChunk = limits::kChunkBytes;
  const Ino ino = world().make_file(root(), "file");
  std::string bytes(20 * kChunk + 77, 'b');
  must(world().rewrite(ino, bytes));
  const auto put = [&](uint64_t at, const std::string& data) {
    bytes.replace(at, data.size(), data);
    must(world().overwrite(ino, at, data));
  };
  put(3 * kChunk + 5, "first");
  put(3 * kChunk + 7, "second");
  put(7 * kChunk - 2, "across");
  CommitRequest punch;
  punch.ino = ino;
  punch.size = bytes.size();
  punch.extents = extents({hole(9 * kChunk, 2 * kChunk)});
  must(world().commit(punch));
  bytes.replace(9 * kChunk, 2 * kChunk, std::string(2 * kChunk, '\0'));
  const Version base = world().attr(ino).version;
  const uint64_t allocated = world().attr(ino).allocated;
  must(world().rewrite(ino, "short"));

  store::KeepRequest request =
      refused(ino, base, UINT64_MAX, bytes.size(), {{12 * kChunk - 1, 3, "abc"}});
  std::string expected = bytes;
  expected.replace(12 * kChunk - 1, 3, "abc");
  const Conflict kept = keep(request);
  EXPECT_TRUE(world().content(kept.theirs) == expected);
  EXPECT_EQ(world().attr(kept.theirs).allocated, allocated);
  EXPECT_EQ(world().data_ranges(kept.theirs), world().data_ranges(ino, base));

  request = refused(ino, base, 9 * kChunk + 10, 15 * kChunk, {{14 * kChunk, 4, "tail"}});
  expected = bytes.substr(0, 9 * kChunk + 10);
  expected.resize(15 * kChunk, '\0');
  expected.replace(14 * kChunk, 4, "tail");
  EXPECT_TRUE(world().content(keep(request).theirs) == expected);
  EXPECT_TRUE(world().content(ino, base) == bytes);
}

TEST_P(Conflicts, ARenameIsKeptUnderTheNameItWasFor) {
  const Ino dir = world().make_dir(root(), "notes");
  const Ino target = world().make_file(dir, "MEMORY.md", "theirs");
  const Ino temp = world().make_file(root(), "temp", "mine");
  store::KeepRequest request;
  request.operation = OpNumber{77};
  request.what = "rename";
  request.ino = target;
  request.dir = dir;
  request.name = "MEMORY.md";
  request.base_ino = Ino{4711};
  request.base = Version{9};
  request.head = Version{10};
  request.from = temp;
  const Conflict kept = keep(request);
  EXPECT_EQ(kept.path, "notes/MEMORY.md");
  EXPECT_EQ(kept.base_ino, Ino{4711});
  EXPECT_EQ(kept.size, 4u);
  must(world().rewrite(temp, "another"));
  must(world().unlink(root(), "temp"));
  EXPECT_EQ(world().content(kept.theirs), "mine");
  // The target may be gone, and with it all that could name it.
  must(world().unlink(dir, "MEMORY.md"));
  const Ino temp2 = world().make_file(root(), "temp2", "mine too");
  request.operation = OpNumber{78};
  request.ino = Ino{99999999};
  request.from = temp2;
  EXPECT_EQ(keep(request).path, "notes/MEMORY.md");
  request.operation = OpNumber{79};
  request.dir = Ino{99999999};
  EXPECT_EQ(code_of(store_->keep(next(), request)), Code::stale_node);
}

TEST_P(Conflicts, EachOperationLeavesOne) {
  const Ino ino = world().make_file(root(), "file", "base");
  const auto request = rewrite(ino, Version{2}, "mine");
  store::KeepRequest recall;
  recall.operation = request.operation;
  recall.recall = true;
  EXPECT_EQ(code_of(store_->keep(next(), recall)), Code::not_found);
  const Conflict kept = keep(request);
  EXPECT_EQ(must(store_->keep(next(), request)), kept);
  EXPECT_EQ(must(store_->keep(next(), recall)), kept);
  must(settle(kept.number));
  EXPECT_EQ(must(store_->keep(next(), request)), kept);
  EXPECT_TRUE(list().empty());
  EXPECT_EQ(world().changes().back().what, "resolve");
  // Another session's operations have numbers of their own.
  World other = world().fork();
  store::Mutation m = other.next();
  m.new_ino = other.unused_ino();
  EXPECT_NE(must(store_->keep(m, request)), kept);
  EXPECT_EQ(list().size(), 1u);
}

TEST_P(Conflicts, AreLogged) {
  const Ino dir = world().make_dir(root(), "notes");
  const Ino ino = world().make_file(dir, "file", "base");
  const Conflict kept = keep(rewrite(ino, Version{2}, "mine!"));
  Change change = world().changes().back();
  EXPECT_EQ(change.seq, kept.number);
  EXPECT_EQ(change.what, "conflict");
  EXPECT_EQ(change.ino, ino);
  EXPECT_EQ(change.version, Version{});
  EXPECT_EQ(change.path, "notes/file");
  EXPECT_EQ(change.size, 5u);
  EXPECT_EQ(change.principal, "alice");
  const store::Applied settled = must(settle(kept.number));
  EXPECT_TRUE(settled.reply.nodes.empty());
  change = world().changes().back();
  EXPECT_EQ(change.seq, settled.reply.seq);
  EXPECT_EQ(change.what, "resolve");
  EXPECT_EQ(change.ino, ino);
  EXPECT_EQ(change.path, "notes/file");
  for (const Ino under : {ino, dir}) {
    ChangesRequest request;
    request.under = under;
    request.newest = true;
    request.limit = 2;
    const auto changes = must(store_->changes(world().scope, request)).changes;
    ASSERT_EQ(changes.size(), 2u);
    EXPECT_EQ(changes[0].what, "conflict");
    EXPECT_EQ(changes[1].what, "resolve");
  }
}

TEST_P(Conflicts, AreSettledOnce) {
  const Ino ino = world().make_file(root(), "file", "base");
  const Conflict kept = keep(rewrite(ino, Version{2}, "mine"));
  const SettleRequest request{world().op(), kept.number};
  const store::Applied settled = must(store_->settle(world().next(), request));
  EXPECT_EQ(settled.usage.volume, world().volume());
  EXPECT_EQ(settled.usage.bytes, 0);
  EXPECT_EQ(settled.usage.files, 0);
  EXPECT_TRUE(list().empty());
  SettleRequest again = request;
  again.op.retry = true;
  const store::Applied replayed = must(store_->settle(world().next(), again));
  EXPECT_TRUE(replayed.replayed);
  EXPECT_EQ(replayed.reply, settled.reply);
  EXPECT_EQ(code_of(settle(kept.number)), Code::not_found);
  EXPECT_EQ(code_of(settle(Seq{123456})), Code::not_found);
  EXPECT_EQ(code_of(settle(Seq{0})), Code::invalid);
  EXPECT_EQ(world().content(kept.theirs), "mine");
}

TEST_P(Conflicts, PagesAndScopes) {
  const Ino here = world().make_file(root(), "here", "base");
  const Ino there = world().make_file(world().other_root(), "there", "base");
  std::vector<Conflict> all;
  for (int i = 0; i < 5; ++i)
    all.push_back(keep(rewrite(i % 2 == 0 ? here : there, Version{2}, std::to_string(i))));
  EXPECT_EQ(list(), all);
  EXPECT_EQ(list({}, 2), std::vector(all.begin(), all.begin() + 2));
  EXPECT_EQ(list(all[1].number, 2), std::vector(all.begin() + 2, all.begin() + 4));
  EXPECT_TRUE(list(all[4].number).empty());
  EXPECT_EQ(code_of(store_->conflicts(world().scope, {{}, 0})), Code::invalid);

  const store::Scope whole = world().scope;
  world().scope.readable = {world().other_volume()};
  world().scope.writable = {};
  EXPECT_EQ(list(), (std::vector{all[1], all[3]}));
  EXPECT_EQ(code_of(settle(all[0].number)), Code::not_found);
  EXPECT_EQ(code_of(settle(all[1].number)), Code::read_only);
  EXPECT_EQ(code_of(store_->keep(next(), rewrite(there, Version{2}, "x"))), Code::read_only);
  EXPECT_EQ(code_of(store_->keep(next(), rewrite(here, Version{2}, "x"))), Code::stale_node);
  world().scope = whole;
  EXPECT_EQ(list(), all);
}

TEST_P(Conflicts, RefusalsMakeNothing) {
  const Ino ino = world().make_file(root(), "file", "base");
  const auto code = [&](const store::KeepRequest& request) {
    return code_of(store_->keep(next(), request));
  };
  EXPECT_EQ(code(rewrite(ino, Version{7}, "x")), Code::not_found);
  EXPECT_EQ(code(rewrite(Ino{99999999}, Version{1}, "x")), Code::stale_node);
  EXPECT_EQ(code(rewrite(root(), Version{}, "x")), Code::is_directory);
  EXPECT_EQ(code(refused(ino, Version{2}, 0, 1, {{0, 4, "long"}})), Code::invalid);
  EXPECT_EQ(code(refused(ino, Version{2}, 0, limits::kFileBytes + 1, {})), Code::too_large);
  store::KeepRequest nobodys = rewrite(ino, Version{2}, "x");
  nobodys.operation = {};
  EXPECT_EQ(code(nobodys), Code::invalid);
  EXPECT_TRUE(list().empty());
  EXPECT_NE(world().changes().back().what, "conflict");
}

TEST_P(Conflicts, AFencedRouterKeepsNothing) {
  const Ino ino = world().make_file(root(), "file", "base");
  World newer = World::reopen(store_, tenant_);
  EXPECT_EQ(code_of(store_->keep(next(), rewrite(ino, Version{2}, "x"))), Code::fenced);
  EXPECT_EQ(code_of(settle(Seq{1})), Code::fenced);
}

TEST_P(Conflicts, CountInNoUsage) {
  const Ino ino = world().make_file(root(), "file", "base");
  const store::Volume before = World::reopen(store_, tenant_).state().volumes.at(0);
  world() = World::reopen(store_, tenant_);
  keep(rewrite(ino, Version{2}, std::string(100000, 'x')));
  const store::Volume after = World::reopen(store_, tenant_).state().volumes.at(0);
  EXPECT_EQ(after.used_bytes, before.used_bytes);
  EXPECT_EQ(after.used_files, before.used_files);
}

TEST_P(Conflicts, KeepTheirBytesUntilTheyAreSettledAndTheirDaysAreOver) {
  must(store_->provision({tenant_, {{"memory", 0, 0, 100, 30}}}, world().now()));
  const Ino ino = world().make_file(root(), "file", "base");
  const Conflict kept = keep(rewrite(ino, Version{2}, "mine"));
  const Conflict settled = keep(rewrite(ino, Version{2}, "mine too"));
  must(settle(settled.number));
  prune(later(29));
  EXPECT_EQ(list(), std::vector{kept});
  EXPECT_EQ(world().content(kept.theirs), "mine");
  EXPECT_EQ(world().content(settled.theirs), "mine too");
  prune(later(31));
  EXPECT_EQ(list(), std::vector{kept});
  EXPECT_EQ(world().content(kept.theirs), "mine");
  EXPECT_EQ(code_of(store_->getattr(world().scope, {settled.theirs, false})), Code::stale_node);

  store::Mutation later_on = world().next();
  later_on.now = later(40);
  must(store_->settle(later_on, {world().op(), kept.number}));
  prune(later(69));
  EXPECT_EQ(world().content(kept.theirs), "mine");
  prune(later(71));
  EXPECT_TRUE(list().empty());
  EXPECT_EQ(code_of(store_->getattr(world().scope, {kept.theirs, false})), Code::stale_node);
  EXPECT_EQ(world().content(ino), "base");
}

// What is kept has segments of its own: it outlives the file that it was copied from.
TEST_P(Conflicts, OutliveTheirBase) {
  must(store_->provision({tenant_, {{"memory", 0, 0, 1, 30}}}, world().now()));
  const std::string bytes(3 * limits::kChunkBytes, 'b');
  const Ino ino = world().make_file(root(), "file", bytes);
  must(world().rewrite(ino, "theirs"));
  std::string expected = bytes;
  expected.replace(5, 4, "mine");
  const Conflict kept = keep(refused(ino, Version{2}, UINT64_MAX, bytes.size(), {{5, 4, "mine"}}));
  prune(world().now());
  EXPECT_EQ(code_of(store_->read(world().scope, {ino, Version{2}, 0, 1})), Code::not_found);
  must(world().unlink(root(), "file"));
  prune(later(20));
  EXPECT_TRUE(world().content(kept.theirs) == expected);
}

// The version of a replaced file whose history another one goes on with.
TEST_P(Conflicts, OfAReplacedFile) {
  must(store_->provision({tenant_, {{"memory", 0, 0, 1, 30}}}, world().now()));
  const Ino old = world().make_file(root(), "file", "old content");
  world().make_file(root(), "temp", "new content");
  must(world().rename(root(), "temp", root(), "file"));
  const Version version = world().attr(old).version;
  EXPECT_EQ(world().content(keep(refused(old, version, UINT64_MAX, 3, {{0, 3, "OLD"}})).theirs),
            "OLD content");
  prune(world().now());  // cuts the shared history down to its head
  EXPECT_EQ(world().content(keep(refused(old, version, UINT64_MAX, 3, {{0, 3, "Old"}})).theirs),
            "Old content");
}

TEST_P(Conflicts, TheStoreNamesNodes) {
  const Ino dir = world().make_dir(root(), "a");
  const Ino ino = world().make_file(dir, "b");
  const auto path = [&](Ino node) { return must(store_->path_of(world().scope, node)); };
  EXPECT_EQ(path(ino), "a/b");
  EXPECT_EQ(path(dir), "a");
  EXPECT_EQ(path(root()), "");
  must(world().link(ino, root(), "0"));
  EXPECT_EQ(path(ino), "a/b") << "the oldest of its names";
  const auto paths = [&](Ino node, uint32_t limit) {
    return must(store_->paths_of(world().scope, node, limit));
  };
  using Paths = std::vector<std::string>;
  EXPECT_EQ(paths(ino, 9), (Paths{"a/b", "0"}));
  EXPECT_EQ(paths(ino, 1), (Paths{"a/b"}));
  EXPECT_EQ(paths(dir, 9), (Paths{"a"}));
  EXPECT_EQ(paths(root(), 9), Paths{});
  must(world().rename(dir, "b", dir, "c"));
  EXPECT_EQ(path(ino), "0") << "a/c is younger";
  must(world().unlink(root(), "0"));
  EXPECT_EQ(path(ino), "a/c");
  must(world().unlink(dir, "c"));
  EXPECT_EQ(path(ino), "");
  EXPECT_EQ(paths(ino, 9), Paths{});
  EXPECT_EQ(code_of(store_->paths_of(world().scope, Ino{99999999}, 9)), Code::stale_node);
  EXPECT_EQ(code_of(store_->path_of(world().scope, Ino{99999999})), Code::stale_node);
}

}  // namespace
}  // namespace linkspan::test
