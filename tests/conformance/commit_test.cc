// Content: rewrite, overwrite, append, holes, bases, large and sparse files.
#include <random>

#include "tests/conformance/commits.h"

namespace linkspan::test {
namespace {

constexpr uint64_t kChunk = limits::kChunkBytes;

LINKSPAN_CONFORMANCE(Commit);

TEST_P(Commit, ReplacesTheWhole) {
  const Ino ino = world().make_file(root(), "file");
  CommitRequest r = request(ino, 0, 5, {data(0, "hello")});
  r.mtime = Time{123456789};
  const store::Applied applied = must(world().commit(r));
  ASSERT_EQ(applied.reply.nodes.size(), 1u);
  EXPECT_EQ(applied.reply.version, Version{2});
  const Attr attr = attr_of(applied);
  EXPECT_EQ(attr.version, Version{2});
  EXPECT_EQ(attr.size, 5u);
  EXPECT_EQ(attr.allocated, 5u);
  EXPECT_EQ(attr.mtime, Time{123456789});
  EXPECT_EQ(attr.ctime, world().now());
  EXPECT_EQ(attr.seq, applied.reply.seq);
  EXPECT_EQ(world().attr(ino), attr);
  EXPECT_EQ(world().content(ino), "hello");
  must(world().rewrite(ino, "x"));
  EXPECT_EQ(world().content(ino), "x");
  must(world().rewrite(ino, ""));
  EXPECT_EQ(world().content(ino), "");
  EXPECT_EQ(world().attr(ino).allocated, 0u);
  EXPECT_EQ(world().content(ino, Version{2}), "hello");
}

TEST_P(Commit, KeepsMtimeWhenAsked) {
  const Ino ino = world().make_file(root(), "file");
  SetAttrRequest touch;
  touch.ino = ino;
  touch.mtime = Time{42};
  must(world().set(touch));
  CommitRequest r = request(ino, 0, 1, {data(0, "x")});
  r.mtime = Time{99};
  r.keep_mtime = true;
  must(world().commit(r));
  EXPECT_EQ(world().attr(ino).mtime, Time{42});
  EXPECT_EQ(world().attr(ino).ctime, world().now());
}

TEST_P(Commit, OverwritesInPlace) {
  const Ino ino = world().make_file(root(), "file", "0123456789");
  must(world().commit(request(ino, UINT64_MAX, 10, {data(2, "ab"), data(6, "c")})));
  EXPECT_EQ(world().content(ino), "01ab45c789");
  must(world().overwrite(ino, 8, "XYZ"));
  EXPECT_EQ(world().content(ino), "01ab45c7XYZ");
  must(world().overwrite(ino, 13, "!"));
  EXPECT_EQ(world().content(ino), std::string("01ab45c7XYZ\0\0!", 14));
}

TEST_P(Commit, KeepBelowCutsTheOldContent) {
  const Ino ino = world().make_file(root(), "file", "0123456789");
  must(world().commit(request(ino, 4, 8, {data(6, "ab")})));
  EXPECT_EQ(world().content(ino), std::string("0123\0\0ab", 8));
  must(world().commit(request(ino, 2, 2, {})));
  EXPECT_EQ(world().content(ino), "01");
  must(world().commit(request(ino, 100, 4, {})));
  EXPECT_EQ(world().content(ino), std::string("01\0\0", 4));
}

TEST_P(Commit, NeverCutsWhatIsKept) {
  const Ino ino = world().make_file(root(), "file", "0123456789");
  const store::Applied applied = must(world().commit(request(ino, UINT64_MAX, 4, {data(1, "AB")})));
  EXPECT_EQ(world().content(ino), "0AB3456789") << "another may have appended meanwhile";
  EXPECT_EQ(attr_of(applied).size, 10u);
  must(world().commit(request(ino, 6, 4, {})));
  EXPECT_EQ(world().content(ino), "0AB345");
}

TEST_P(Commit, AnEmptyCommitIsAVersion) {
  const Ino ino = world().make_file(root(), "file", "abc");
  CommitRequest r = request(ino, UINT64_MAX, 3, {});
  EXPECT_EQ(must(world().commit(r)).reply.version, Version{3});
  r.extents = nullptr;
  EXPECT_EQ(must(world().commit(r)).reply.version, Version{4});
  EXPECT_EQ(world().content(ino), "abc");
}

TEST_P(Commit, HolesAreZeros) {
  const std::string text(3 * kChunk, 'x');
  const Ino ino = world().make_file(root(), "file", text);
  const uint64_t before = world().attr(ino).allocated;
  EXPECT_EQ(before, 3 * kChunk);
  must(world().commit(request(ino, UINT64_MAX, 3 * kChunk, {hole(kChunk - 5, kChunk + 10)})));
  std::string expected = text;
  expected.replace(kChunk - 5, kChunk + 10, kChunk + 10, '\0');
  EXPECT_EQ(world().content(ino), expected);
  EXPECT_LE(world().attr(ino).allocated, 2 * kChunk) << "a whole piece that was punched is gone";
  EXPECT_EQ(world().content(ino, Version{2}), text);
  must(world().commit(request(ino, UINT64_MAX, 3 * kChunk, {hole(0, 3 * kChunk)})));
  EXPECT_EQ(world().attr(ino).allocated, 0u);
  EXPECT_EQ(world().content(ino), std::string(3 * kChunk, '\0'));
}

TEST_P(Commit, ExtentsAcrossPieces) {
  std::mt19937_64 random(7);
  std::string expected(5 * kChunk + 77, '\0');
  for (char& c : expected) c = static_cast<char>(random());
  const Ino ino = world().make_file(root(), "file", expected);
  EXPECT_EQ(world().content(ino), expected);
  for (const uint64_t offset : {uint64_t{0}, kChunk - 1, kChunk, 2 * kChunk - 3, 4 * kChunk + 9}) {
    const std::string piece(kChunk + 2, static_cast<char>('a' + offset % 26));
    must(world().overwrite(ino, offset, piece));
    if (expected.size() < offset + piece.size()) expected.resize(offset + piece.size());
    expected.replace(offset, piece.size(), piece);
    ASSERT_EQ(world().content(ino), expected);
  }
}

TEST_P(Commit, AppendGoesToTheEnd) {
  const Ino ino = world().make_file(root(), "file");
  EXPECT_EQ(must(world().append(ino, "one\n")).reply.offset, 0u);
  EXPECT_EQ(must(world().append(ino, "two\n")).reply.offset, 4u);
  CommitRequest r;
  r.ino = ino;
  r.append = true;
  r.keep_below = 0;  // not looked at
  r.size = 1;
  r.extents = extents({data(0, "th"), data(2, "ree"), data(8, "4")});
  const store::Applied applied = must(world().commit(r));
  EXPECT_EQ(applied.reply.offset, 8u);
  EXPECT_EQ(applied.reply.version, Version{4});
  EXPECT_EQ(world().content(ino), std::string("one\ntwo\nthree\0\0\0"
                                              "4",
                                              17));
  EXPECT_EQ(world().attr(ino).mtime.ns, world().now().ns - 7);
}

TEST_P(Commit, AppendAcrossPieces) {
  const Ino ino = world().make_file(root(), "file");
  std::string expected;
  for (int i = 0; i < 9; ++i) {
    const std::string piece(kChunk / 3 + 1, static_cast<char>('a' + i));
    must(world().append(ino, piece));
    expected += piece;
  }
  EXPECT_EQ(world().content(ino), expected);
  EXPECT_EQ(world().attr(ino).allocated, expected.size());
}

TEST_P(Commit, BaseIsChecked) {
  const Ino ino = world().make_file(root(), "file", "one");
  CommitRequest r = request(ino, 0, 4, {data(0, "mine")});
  r.base = Version{1};
  auto refused = world().commit(r);
  EXPECT_EQ(code_of(refused), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 2u);
  EXPECT_EQ(world().content(ino), "one");
  EXPECT_EQ(world().attr(ino).version, Version{2});
  r.extents->rewind();
  r.base = Version{2};
  EXPECT_EQ(must(world().commit(r)).reply.version, Version{3});
  EXPECT_EQ(world().content(ino), "mine");
}

TEST_P(Commit, OnlyFilesHaveContent) {
  const Ino link = attr_of(must(world().symlink(root(), "l", "t"))).ino;
  const Ino fifo = attr_of(must(world().create(root(), "f", Kind::fifo))).ino;
  EXPECT_EQ(code_of(world().rewrite(root(), "x")), Code::is_directory);
  EXPECT_EQ(code_of(world().rewrite(link, "x")), Code::invalid);
  EXPECT_EQ(code_of(world().append(fifo, "x")), Code::invalid);
  EXPECT_EQ(code_of(world().rewrite(Ino{999999999}, "x")), Code::stale_node);
  EXPECT_EQ(code_of(store_->read(world().scope, {root(), {}, 0, 1})), Code::is_directory);
  EXPECT_EQ(code_of(store_->read(world().scope, {link, {}, 0, 1})), Code::invalid);
  EXPECT_EQ(code_of(store_->read(world().scope, {Ino{999999999}, {}, 0, 1})), Code::stale_node);
}

TEST_P(Commit, BadExtentsChangeNothing) {
  const Ino ino = world().make_file(root(), "file", "keep");
  const Attr before = world().attr(ino);
  const std::string big(limits::kExtentBytes + 1, 'b');
  const std::vector<std::vector<Extent>> bad = {
      {data(0, "abc"), data(2, "x")},  // overlap
      {data(5, "a"), data(0, "b")},    // order
      {Extent{0, 5, "four"}},          // length
      {data(8, "abc")},                // past the new size
      {data(0, "ok"), hole(2, 100)},   // past the new size
      {hole(UINT64_MAX - 1, 3)},       // wraps
  };
  for (const auto& list : bad)
    EXPECT_EQ(code_of(world().commit(request(ino, UINT64_MAX, 10, list))), Code::invalid);
  EXPECT_EQ(code_of(world().commit(request(ino, 0, big.size(), {data(0, big)}))), Code::invalid);
  EXPECT_EQ(code_of(world().commit(request(ino, 0, limits::kFileBytes + 1, {}))), Code::too_large);
  EXPECT_EQ(world().attr(ino), before);
  EXPECT_EQ(world().content(ino), "keep");
  must(world().commit(request(ino, UINT64_MAX, 4, {hole(0, 0), data(1, "E")})));
  EXPECT_EQ(world().content(ino), "kEep");
}

TEST_P(Commit, AppendPastTheLargestFile) {
  const Ino ino = world().make_file(root(), "file");
  must(world().truncate(ino, limits::kFileBytes - 2));
  EXPECT_EQ(code_of(world().append(ino, "abc")), Code::too_large);
  EXPECT_EQ(must(world().append(ino, "ab")).reply.offset, limits::kFileBytes - 2);
  EXPECT_EQ(code_of(world().append(ino, "c")), Code::too_large);
}

class FailingSource final : public ExtentSource {
 public:
  Result<bool> next(Extent* out) override {
    if (calls_++ > 2) return fail(Code::io, "the spool file broke");
    *out = Extent{calls_ * kChunk, kChunk, std::string(kChunk, 'f')};
    return true;
  }
  void rewind() override { calls_ = 0; }

 private:
  uint64_t calls_ = 0;
};

TEST_P(Commit, ASourceThatFailsChangesNothing) {
  const Ino ino = world().make_file(root(), "file", "keep");
  const Attr before = world().attr(ino);
  CommitRequest r = request(ino, 0, 10 * kChunk, {});
  r.extents = std::make_shared<FailingSource>();
  r.op = world().op();
  EXPECT_EQ(code_of(store_->commit(world().next(), r)), Code::io);
  EXPECT_EQ(world().attr(ino), before);
  EXPECT_EQ(world().content(ino), "keep");
  r.extents = extent(0, "again");
  r.size = 5;
  EXPECT_FALSE(must(store_->commit(world().next(), r)).replayed) << "a failure has no result";
}

TEST_P(Commit, ReadsAreExact) {
  const std::string text = "0123456789";
  const Ino ino = world().make_file(root(), "file", text);
  const auto read = [&](uint64_t offset, uint32_t length, Version version = {}) {
    return store_->read(world().scope, {ino, version, offset, length});
  };
  EXPECT_EQ(must(read(3, 4)).data, "3456");
  EXPECT_EQ(must(read(8, 100)).data, "89");
  EXPECT_EQ(must(read(10, 1)).data, "");
  EXPECT_EQ(must(read(UINT64_MAX, 1)).data, "");
  EXPECT_EQ(must(read(0, 0)).data, "");
  EXPECT_EQ(must(read(0, 1)).version, Version{2});
  EXPECT_EQ(must(read(0, 1)).size, 10u);
  EXPECT_EQ(must(read(0, 1, Version{1})).size, 0u);
  EXPECT_EQ(code_of(read(0, 1, Version{3})), Code::not_found);
  EXPECT_EQ(code_of(read(0, limits::kReadBytes + 1)), Code::invalid);
}

TEST_P(Commit, SmallFilesTravelInline) {
  const Ino ino = world().make_file(root(), "file", "inline");
  EXPECT_EQ(world().find(root(), "file", true)->content, "inline");
  EXPECT_EQ(world().find(root(), "file", false)->content, std::nullopt);
  EXPECT_EQ(must(store_->getattr(world().scope, {ino, true})).node.content, "inline");
  const Ino empty = world().make_file(root(), "empty");
  EXPECT_EQ(must(store_->getattr(world().scope, {empty, true})).node.content, "");
  const std::string edge(limits::kInlineContent, 'e');
  must(world().rewrite(ino, edge));
  EXPECT_EQ(world().find(root(), "file", true)->content, edge);
  must(world().append(ino, "x"));
  EXPECT_EQ(world().find(root(), "file", true)->content, std::nullopt);
  must(world().truncate(ino, 10));
  EXPECT_EQ(world().find(root(), "file", true)->content, std::string(10, 'e'));
  must(world().truncate(ino, 20));
  EXPECT_EQ(world().find(root(), "file", true)->content,
            std::string(10, 'e') + std::string(10, '\0'));
  world().make_dir(root(), "dir");
  EXPECT_EQ(world().find(root(), "dir", true)->content, std::nullopt);
}

TEST_P(Commit, OneByteOfALargeFileCostsOnePiece) {
  constexpr uint64_t kSize = 1ull << 30;
  const Ino ino = world().make_file(root(), "big");
  store::Applied applied =
      must(world().commit(request(ino, 0, kSize, {data(0, "start"), data(kSize - 3, "end")})));
  EXPECT_EQ(attr_of(applied).size, kSize);
  EXPECT_LE(attr_of(applied).allocated, 2 * kChunk);
  applied = must(world().overwrite(ino, kSize / 2, "m"));
  EXPECT_GT(applied.usage.bytes, 0);
  EXPECT_LE(applied.usage.bytes, static_cast<int64_t>(kChunk));
  EXPECT_EQ(must(store_->read(world().scope, {ino, {}, kSize / 2 - 1, 3})).data,
            std::string("\0m\0", 3));
  EXPECT_EQ(must(store_->read(world().scope, {ino, {}, kSize - 3, 9})).data, "end");
  EXPECT_EQ(must(store_->read(world().scope, {ino, Version{2}, kSize / 2 - 1, 3})).data,
            std::string(3, '\0'));
}

TEST_P(Commit, ManyExtentsInOneCommit) {
  const Ino ino = world().make_file(root(), "file");
  const uint64_t megabytes = slow_tests() ? 200 : 24;
  std::vector<Extent> list;
  for (uint64_t i = 0; i < megabytes; ++i)
    list.push_back(data(i << 20, std::string(1 << 20, static_cast<char>('a' + i % 26))));
  const store::Applied applied = must(world().commit(request(ino, 0, megabytes << 20, list)));
  EXPECT_EQ(attr_of(applied).allocated, megabytes << 20);
  for (uint64_t i = 0; i < megabytes; i += 5)
    EXPECT_EQ(must(store_->read(world().scope, {ino, {}, i << 20, 1 << 20})).data,
              std::string(1 << 20, static_cast<char>('a' + i % 26)));
  EXPECT_EQ(must(world().overwrite(ino, (megabytes << 19) + 1, "!")).usage.bytes, 0);
}

TEST_P(Commit, DataRangesTellTheHoles) {
  using Ranges = std::vector<DataRange>;
  const Ino ino = world().make_file(root(), "file");
  EXPECT_EQ(world().data_ranges(ino), Ranges{});
  must(world().commit(request(ino, 0, 10 * kChunk,
                              {data(kChunk + 7, "one"), data(3 * kChunk, std::string(kChunk, 'x')),
                               data(4 * kChunk, std::string(kChunk, 'y')),
                               Extent{5 * kChunk, kChunk, ""}, data(8 * kChunk, "eight")})));
  const Ranges second{
      {kChunk, kChunk + 10}, {3 * kChunk, 5 * kChunk}, {8 * kChunk, 8 * kChunk + 5}};
  EXPECT_EQ(world().data_ranges(ino), second);
  EXPECT_EQ(world().data_ranges(ino, {}, 4 * kChunk + 1),
            (Ranges{{4 * kChunk + 1, 5 * kChunk}, {8 * kChunk, 8 * kChunk + 5}}));
  EXPECT_EQ(world().data_ranges(ino, {}, 8 * kChunk + 5), Ranges{});
  EXPECT_EQ(world().data_ranges(ino, {}, 1ull << 50), Ranges{});
  // Holes over data, a cut within a chunk, and data over a hole.
  must(world().commit(request(ino, UINT64_MAX, 10 * kChunk,
                              {Extent{0, 3 * kChunk + 5, ""}, data(6 * kChunk, "six")})));
  EXPECT_EQ(world().data_ranges(ino), (Ranges{{3 * kChunk, 5 * kChunk},
                                              {6 * kChunk, 6 * kChunk + 3},
                                              {8 * kChunk, 8 * kChunk + 5}}));
  must(world().truncate(ino, 3 * kChunk + 9));
  must(world().truncate(ino, 20 * kChunk));
  EXPECT_EQ(world().data_ranges(ino), (Ranges{{3 * kChunk, 3 * kChunk + 9}}));
  must(world().append(ino, "end"));
  EXPECT_EQ(world().data_ranges(ino, {}, 4 * kChunk), (Ranges{{20 * kChunk, 20 * kChunk + 3}}));
  EXPECT_EQ(world().data_ranges(ino, Version{2}), second) << "old versions stay what they were";
  EXPECT_EQ(world().content(ino, Version{2}).substr(kChunk + 7, 3), "one");
  // Refusals.
  const auto ask = [&](Ino of, uint64_t version) {
    return code_of(world().store().data_ranges(world().scope, {of, Version{version}, 0}));
  };
  EXPECT_EQ(ask(ino, 99), Code::not_found);
  EXPECT_EQ(ask(root(), 0), Code::is_directory);
  EXPECT_EQ(ask(Ino{999999}, 0), Code::stale_node);
  store::Scope elsewhere = world().scope;
  elsewhere.readable = {world().other_volume()};
  elsewhere.writable = {};
  EXPECT_EQ(code_of(world().store().data_ranges(elsewhere, {ino, {}, 0})), Code::stale_node);
}

TEST_P(Commit, BoundsHoldWhereTheContentIs) {
  const Ino ino = world().make_file(root(), "file", "abc");
  const auto tried = [&](store::Mutation::Bounds bounds, CommitRequest what) {
    store::Mutation m = world().next();
    m.bounds = bounds;
    what.op = world().op();
    return code_of(world().store().commit(m, what));
  };
  const auto sized = [&](store::Mutation::Bounds bounds, uint64_t size) {
    store::Mutation m = world().next();
    m.bounds = bounds;
    SetAttrRequest what;
    what.op = world().op();
    what.ino = ino;
    what.size = size;
    return code_of(world().store().set_attributes(m, what));
  };
  const auto append = [&](const std::string& text) {
    CommitRequest what = request(ino, UINT64_MAX, 0, {data(0, text)});
    what.append = true;
    return what;
  };
  const store::Mutation::Bounds kept{.keeps_bytes = true}, small{.max_bytes = 5};
  EXPECT_EQ(tried(kept, request(ino, 0, 3, {data(0, "abc")})), Code::not_permitted);
  EXPECT_EQ(tried(kept, request(ino, 2, 3, {})), Code::not_permitted);
  EXPECT_EQ(tried(kept, request(ino, UINT64_MAX, 4, {data(2, "cd")})), Code::not_permitted);
  EXPECT_EQ(sized(kept, 2), Code::not_permitted);
  EXPECT_EQ(sized(kept, 3), std::nullopt);
  EXPECT_EQ(tried(kept, request(ino, UINT64_MAX, 4, {data(3, "d")})), std::nullopt);
  EXPECT_EQ(tried(kept, append("e")), std::nullopt);
  EXPECT_EQ(world().content(ino), "abcde");
  EXPECT_EQ(tried(small, append("f")), Code::too_large);
  EXPECT_EQ(tried(small, request(ino, 0, 6, {data(0, "123456")})), Code::too_large);
  EXPECT_EQ(sized(small, 6), Code::too_large);
  EXPECT_EQ(tried(small, request(ino, 0, 5, {data(0, "12345")})), std::nullopt);
  must(world().append(ino, "678"));
  EXPECT_EQ(sized(small, 7), std::nullopt) << "a file that is too large may become smaller";
  EXPECT_EQ(world().content(ino), "1234567");
  store::Mutation m = world().next();
  m.bounds = small;
  EXPECT_EQ(code_of(world().store().link(m, {world().op(), ino, root(), "link"})), Code::too_large);
  RenameRequest rename;
  rename.op = world().op();
  rename.from_parent = rename.to_parent = root();
  rename.from_name = "file";
  rename.to_name = "moved";
  EXPECT_EQ(code_of(world().store().rename(m, rename)), Code::too_large);
}

TEST_P(Commit, DataRangesComeInPages) {
  constexpr size_t kPieces = limits::kDataRanges + 10;
  const Ino ino = world().make_file(root(), "file");
  std::vector<Extent> list;
  for (size_t i = 0; i < kPieces; ++i) list.push_back(data(2 * i * kChunk, "x"));
  must(world().commit(request(ino, 0, 2 * kPieces * kChunk, std::move(list))));
  const DataRangesReply page = must(world().store().data_ranges(world().scope, {ino, {}, 0}));
  EXPECT_EQ(page.ranges.size(), limits::kDataRanges);
  EXPECT_LT(page.until, page.size);
  EXPECT_EQ(page.size, 2 * kPieces * kChunk);
  const auto all = world().data_ranges(ino);
  ASSERT_EQ(all.size(), kPieces);
  for (size_t i = 0; i < kPieces; ++i)
    ASSERT_EQ(all[i], (DataRange{2 * i * kChunk, 2 * i * kChunk + 1})) << i;
}

TEST_P(Commit, UsageCountsWhatLivesIsStored) {
  const auto used = [&] {
    World again = World::reopen(store_, tenant_);
    const store::Volume volume = again.state().volumes[0];
    world_ = std::make_unique<World>(std::move(again));
    return std::pair(volume.used_bytes, volume.used_files);
  };
  store::Applied applied = must(world().create(root(), "a"));
  EXPECT_EQ(applied.usage.volume, world().volume());
  EXPECT_EQ(applied.usage.files, 1);
  EXPECT_EQ(applied.usage.bytes, 0);
  const Ino a = attr_of(applied).ino;
  EXPECT_EQ(must(world().rewrite(a, std::string(1000, 'x'))).usage.bytes, 1000);
  EXPECT_EQ(must(world().rewrite(a, "1234")).usage.bytes, -996);
  EXPECT_EQ(must(world().append(a, "567")).usage.bytes, 3);
  EXPECT_EQ(used(), std::pair(uint64_t{7}, uint64_t{1}));
  EXPECT_EQ(must(world().link(a, root(), "b")).usage.files, 0);
  EXPECT_EQ(must(world().unlink(root(), "a")).usage.files, 0);
  EXPECT_EQ(must(world().create(root(), "dir", Kind::directory)).usage.files, 1);
  applied = must(world().unlink(root(), "b"));
  EXPECT_EQ(applied.usage.files, -1);
  EXPECT_EQ(applied.usage.bytes, -7);
  applied = must(world().append(a, "orphan"));
  EXPECT_EQ(applied.usage.bytes, 0) << "a node without a name does not count";
  EXPECT_EQ(used(), std::pair(uint64_t{0}, uint64_t{1}));
  EXPECT_EQ(must(world().rmdir(root(), "dir")).usage.files, -1);
  EXPECT_EQ(used(), std::pair(uint64_t{0}, uint64_t{0}));
}

// What the core merged, after what the author wrote.
TEST_P(Commit, WhatWasMergedIsAVersionOfItsOwn) {
  const Ino ino = world().make_file(root(), "file", "theirs");
  CommitRequest r = request(ino, 0, 15, {data(0, "theirs and mine")});
  r.base = Version{2};
  r.op = world().op();
  store::Mutation m = world().next();
  m.unmerged = "mine";
  const store::Applied applied = must(store_->commit(m, r));
  EXPECT_TRUE(applied.reply.merged);
  EXPECT_EQ(applied.reply.unmerged, Version{3});
  EXPECT_EQ(applied.reply.version, Version{4});
  EXPECT_EQ(applied.usage.bytes, 15 - 6);
  EXPECT_EQ(world().content(ino), "theirs and mine");
  EXPECT_EQ(world().content(ino, Version{3}), "mine");
  EXPECT_EQ(world().content(ino, Version{2}), "theirs");
  EXPECT_EQ(world().versions(ino)[1].what, "unmerged");
  r.op.retry = true;
  const store::Applied again = must(store_->commit(m, r));
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.reply, applied.reply);
}

// It may not grow beyond its bounds, whatever was merged.
TEST_P(Commit, AMergeKeepsToItsBounds) {
  const Ino ino = world().make_file(root(), "file", "theirs");
  CommitRequest r = request(ino, 0, 15, {data(0, "theirs and mine")});
  r.base = Version{2};
  r.op = world().op();
  store::Mutation m = world().next();
  m.unmerged = "mine, which is longer";
  m.bounds.max_bytes = 10;
  EXPECT_EQ(code_of(store_->commit(m, r)), Code::too_large);
  EXPECT_EQ(world().content(ino), "theirs");
  EXPECT_EQ(world().versions(ino).size(), 2u);
  // One that is larger already may stay so.
  must(world().rewrite(ino, "twenty bytes of text"));
  r.op = world().op();
  r.base = Version{3};
  m = world().next();
  m.unmerged = "mine";
  m.bounds.max_bytes = 10;
  must(store_->commit(m, r));
  EXPECT_EQ(world().content(ino), "theirs and mine");
  EXPECT_EQ(world().content(ino, Version{4}), "mine");
}

}  // namespace
}  // namespace linkspan::test
