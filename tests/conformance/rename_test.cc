// rename(2) and renameat2(2) in full.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class Rename : public StoreTest {
 protected:
  // What rename answered, by inode number, in order.
  static std::vector<Ino> inos(const store::Applied& applied) {
    std::vector<Ino> out;
    for (const Node& node : applied.reply.nodes) out.push_back(node.attr.ino);
    return out;
  }
  RenameRequest over_target() {
    RenameRequest request;
    request.op = world().op();
    request.from_parent = request.to_parent = root();
    request.from_name = "temp";
    request.to_name = "target";
    return request;
  }
  void expect_touched(Ino dir) {
    EXPECT_EQ(world().attr(dir).mtime, world().now());
    EXPECT_EQ(world().attr(dir).ctime, world().now());
  }
};
LINKSPAN_CONFORMANCE(Rename);

TEST_P(Rename, WithinADirectory) {
  const Ino file = world().make_file(root(), "old", "x");
  const Attr before = world().attr(file);
  const store::Applied applied = must(world().rename(root(), "old", root(), "new"));
  EXPECT_EQ(inos(applied), (std::vector<Ino>{file, root()}));
  Attr expected = before;
  expected.ctime = world().now();
  expected.seq = applied.reply.seq;
  EXPECT_EQ(attr_of(applied), expected);
  EXPECT_EQ(world().attr(file), expected);
  EXPECT_EQ(applied.reply.version, Version{});
  EXPECT_EQ(world().find(root(), "old"), std::nullopt);
  EXPECT_EQ(world().find(root(), "new")->attr.ino, file);
  EXPECT_EQ(world().attr(root()).nlink, 2u);
  expect_touched(root());
}

TEST_P(Rename, BetweenDirectories) {
  const Ino a = world().make_dir(root(), "a");
  const Ino b = world().make_dir(root(), "b");
  const Ino file = world().make_file(a, "file", "x");
  const store::Applied applied = must(world().rename(a, "file", b, "moved"));
  EXPECT_EQ(inos(applied), (std::vector<Ino>{file, a, b}));
  EXPECT_TRUE(world().names(a).empty());
  EXPECT_EQ(world().names(b), (std::vector<std::string>{"moved"}));
  EXPECT_EQ(world().attr(a).nlink, 2u);
  EXPECT_EQ(world().attr(b).nlink, 2u);
  expect_touched(a);
  expect_touched(b);
}

TEST_P(Rename, ADirectoryChangesItsParent) {
  const Ino a = world().make_dir(root(), "a");
  const Ino b = world().make_dir(root(), "b");
  const Ino sub = world().make_dir(a, "sub");
  const Ino deep = world().make_file(sub, "deep", "d");
  const Attr before = world().attr(sub);
  const store::Applied applied = must(world().rename(a, "sub", b, "sub2"));
  EXPECT_EQ(attr_of(applied).parent, b);
  EXPECT_EQ(attr_of(applied).mtime, before.mtime);
  EXPECT_EQ(attr_of(applied).nlink, 2u);
  EXPECT_EQ(world().attr(a).nlink, 2u);
  EXPECT_EQ(world().attr(b).nlink, 3u);
  EXPECT_EQ(world().attr(root()).nlink, 4u);
  EXPECT_EQ(world().find(sub, "deep")->attr.ino, deep);
  must(world().append(deep, "!"));
  EXPECT_EQ(world().changes().back().path, "b/sub2/deep");
}

TEST_P(Rename, ReplacesAFile) {
  const Ino target = world().make_file(root(), "target", "old");
  const Ino temp = world().make_file(root(), "temp", "new");
  const store::Applied applied = must(world().rename(root(), "temp", root(), "target"));
  EXPECT_EQ(inos(applied), (std::vector<Ino>{temp, root(), target}));
  EXPECT_EQ(attr_of(applied, 2).nlink, 0u);
  EXPECT_EQ(attr_of(applied, 2).ctime, world().now());
  EXPECT_EQ(world().names(root()), (std::vector<std::string>{"target"}));
  EXPECT_EQ(world().find(root(), "target")->attr.ino, temp);
  EXPECT_EQ(world().content(temp), "new");
  EXPECT_EQ(world().content(target), "old") << "readable by those who hold it open";
  EXPECT_EQ(applied.usage.files, -1);
  EXPECT_EQ(applied.usage.bytes, -3);
}

TEST_P(Rename, ReplacingKeepsTheEntrysPlace) {
  world().make_file(root(), "a");
  world().make_file(root(), "target");
  world().make_file(root(), "z");
  world().make_file(root(), "temp");
  const Cookie before = world().list(root())[1].cookie;
  must(world().rename(root(), "temp", root(), "target"));
  const auto entries = world().list(root());
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[1].name, "target");
  EXPECT_EQ(entries[1].cookie, before);
}

TEST_P(Rename, ReplacesOneNameOfAFileWithTwo) {
  const Ino target = world().make_file(root(), "target", "old");
  must(world().link(target, root(), "other"));
  const Ino temp = world().make_file(root(), "temp", "new");
  const store::Applied applied = must(world().rename(root(), "temp", root(), "target"));
  EXPECT_EQ(attr_of(applied, 2).nlink, 1u);
  EXPECT_EQ(applied.usage.files, 0);
  EXPECT_EQ(applied.usage.bytes, 0);
  EXPECT_EQ(world().find(root(), "other")->attr.ino, target);
  EXPECT_EQ(world().content(target), "old");
  EXPECT_EQ(world().find(root(), "target")->attr.ino, temp);
}

TEST_P(Rename, ReplacesAnEmptyDirectory) {
  const Ino a = world().make_dir(root(), "a");
  const Ino b = world().make_dir(root(), "b");
  const Ino source = world().make_dir(a, "d");
  const Ino target = world().make_dir(b, "d");
  world().make_file(source, "inside");
  const store::Applied applied = must(world().rename(a, "d", b, "d"));
  EXPECT_EQ(inos(applied), (std::vector<Ino>{source, a, b, target}));
  EXPECT_EQ(attr_of(applied).parent, b);
  EXPECT_EQ(attr_of(applied, 3).nlink, 0u);
  EXPECT_EQ(world().attr(a).nlink, 2u);
  EXPECT_EQ(world().attr(b).nlink, 3u);
  EXPECT_EQ(code_of(world().create(target, "x")), Code::not_found);
  const Ino same = world().make_dir(b, "e");
  must(world().rename(b, "d", b, "e"));
  EXPECT_EQ(world().attr(b).nlink, 3u);
  EXPECT_EQ(world().attr(same).nlink, 0u);
}

TEST_P(Rename, KindsMustFit) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino full = world().make_dir(root(), "full");
  world().make_file(full, "x");
  world().make_file(root(), "file");
  world().make_file(root(), "file2");
  must(world().symlink(root(), "link", "dir"));
  EXPECT_EQ(code_of(world().rename(root(), "file", root(), "dir")), Code::is_directory);
  EXPECT_EQ(code_of(world().rename(root(), "dir", root(), "file")), Code::not_directory);
  EXPECT_EQ(code_of(world().rename(root(), "dir", root(), "link")), Code::not_directory);
  EXPECT_EQ(code_of(world().rename(root(), "dir", root(), "full")), Code::not_empty);
  EXPECT_EQ(code_of(world().rename(root(), "none", root(), "x")), Code::not_found);
  EXPECT_EQ(world().attr(dir).nlink, 2u);
  must(world().rename(root(), "link", root(), "file"));
  EXPECT_EQ(world().find(root(), "file")->target, "dir");
  must(world().rename(root(), "file2", root(), "file"));
  EXPECT_EQ(world().find(root(), "file")->attr.kind, Kind::file);
}

TEST_P(Rename, NotIntoItself) {
  const Ino a = world().make_dir(root(), "a");
  const Ino b = world().make_dir(a, "b");
  const Ino c = world().make_dir(b, "c");
  EXPECT_EQ(code_of(world().rename(root(), "a", a, "x")), Code::loop);
  EXPECT_EQ(code_of(world().rename(root(), "a", c, "x")), Code::loop);
  EXPECT_EQ(code_of(world().rename(a, "b", c, "x")), Code::loop);
  EXPECT_EQ(code_of(world().rename(b, "c", root(), "a")), Code::not_empty) << "its own ancestor";
  EXPECT_EQ(code_of(world().exchange(b, "c", root(), "a")), Code::loop);
  EXPECT_EQ(code_of(world().exchange(root(), "a", b, "c")), Code::loop);
  EXPECT_EQ(world().attr(c).parent, b);
}

TEST_P(Rename, TwoNamesOfOneNodeIsNothing) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino file = world().make_file(root(), "a", "x");
  must(world().link(file, dir, "b"));
  const Attr before = world().attr(file);
  const Attr root_before = world().attr(root());
  const size_t logged = world().changes().size();
  const store::Applied applied = must(world().rename(root(), "a", dir, "b"));
  EXPECT_EQ(inos(applied), (std::vector<Ino>{file, root(), dir}));
  EXPECT_EQ(attr_of(applied), before);
  EXPECT_EQ(world().attr(file), before);
  EXPECT_EQ(world().attr(root()), root_before);
  EXPECT_EQ(world().find(root(), "a")->attr.ino, file);
  EXPECT_EQ(world().find(dir, "b")->attr.ino, file);
  must(world().rename(root(), "a", root(), "a"));
  must(world().rename(root(), "dir", root(), "dir"));
  must(world().exchange(root(), "a", dir, "b"));
  EXPECT_EQ(world().changes().size(), logged);
  EXPECT_EQ(world().attr(root()), root_before);
}

TEST_P(Rename, NoReplace) {
  RenameRequest request;
  request.from_parent = request.to_parent = root();
  request.from_name = "a";
  request.to_name = "b";
  request.no_replace = true;
  const Ino a = world().make_file(root(), "a");
  world().make_file(root(), "b");
  EXPECT_EQ(code_of(world().rename(request)), Code::exists);
  request.to_name = "a";
  EXPECT_EQ(code_of(world().rename(request)), Code::exists);
  must(world().link(a, root(), "a2"));
  request.to_name = "a2";
  EXPECT_EQ(code_of(world().rename(request)), Code::exists);
  request.to_name = "free";
  must(world().rename(request));
  EXPECT_EQ(code_of(world().rename(request)), Code::not_found);
  EXPECT_EQ(world().find(root(), "free")->attr.ino, a);
  request.exchange = true;
  EXPECT_EQ(code_of(world().rename(request)), Code::invalid);
}

TEST_P(Rename, ExchangeOfFiles) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino a = world().make_file(root(), "a", "aa");
  const Ino b = world().make_file(dir, "b", "bbb");
  const Version a_version = world().attr(a).version;
  const store::Applied applied = must(world().exchange(root(), "a", dir, "b"));
  EXPECT_EQ(inos(applied), (std::vector<Ino>{a, root(), dir, b}));
  EXPECT_EQ(world().find(root(), "a")->attr.ino, b);
  EXPECT_EQ(world().find(dir, "b")->attr.ino, a);
  EXPECT_EQ(world().attr(a).version, a_version) << "an exchange makes no version";
  EXPECT_EQ(world().attr(a).ctime, world().now());
  EXPECT_EQ(world().attr(b).ctime, world().now());
  EXPECT_EQ(applied.usage.bytes, 0);
  EXPECT_EQ(applied.usage.files, 0);
  expect_touched(root());
  expect_touched(dir);
  EXPECT_EQ(code_of(world().exchange(root(), "a", root(), "none")), Code::not_found);
  EXPECT_EQ(code_of(world().exchange(root(), "none", root(), "a")), Code::not_found);
}

TEST_P(Rename, ExchangeMovesDirectoriesAndLinkCounts) {
  const Ino x = world().make_dir(root(), "x");
  const Ino y = world().make_dir(root(), "y");
  const Ino sub = world().make_dir(x, "sub");
  const Ino file = world().make_file(y, "file");
  world().make_file(sub, "inside");
  must(world().exchange(x, "sub", y, "file"));
  EXPECT_EQ(world().find(y, "file")->attr.ino, sub);
  EXPECT_EQ(world().find(x, "sub")->attr.ino, file);
  EXPECT_EQ(world().attr(sub).parent, y);
  EXPECT_EQ(world().attr(x).nlink, 2u);
  EXPECT_EQ(world().attr(y).nlink, 3u);
  must(world().exchange(x, "sub", y, "file"));
  EXPECT_EQ(world().attr(sub).parent, x);
  EXPECT_EQ(world().attr(x).nlink, 3u);
  EXPECT_EQ(world().attr(y).nlink, 2u);
  const Ino second = world().make_dir(y, "second");
  must(world().exchange(x, "sub", y, "second"));
  EXPECT_EQ(world().attr(sub).parent, y);
  EXPECT_EQ(world().attr(second).parent, x);
  EXPECT_EQ(world().attr(x).nlink, 3u);
  EXPECT_EQ(world().attr(y).nlink, 3u);
  must(world().exchange(root(), "x", root(), "y"));
  EXPECT_EQ(world().find(root(), "x")->attr.ino, y);
  EXPECT_EQ(world().attr(root()).nlink, 4u);
}

TEST_P(Rename, ExchangeKeepsBothPlaces) {
  for (const char* name : {"a", "b", "c"}) world().make_file(root(), name);
  const auto before = world().list(root());
  must(world().exchange(root(), "a", root(), "c"));
  const auto after = world().list(root());
  ASSERT_EQ(after.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(after[i].name, before[i].name);
    EXPECT_EQ(after[i].cookie, before[i].cookie);
    EXPECT_EQ(after[i].node.attr.ino, before[2 - i].node.attr.ino);
  }
}

TEST_P(Rename, BadPlaces) {
  const Ino file = world().make_file(root(), "file");
  const Ino dir = world().make_dir(root(), "dir");
  EXPECT_EQ(code_of(world().rename(file, "x", root(), "y")), Code::not_directory);
  EXPECT_EQ(code_of(world().rename(root(), "file", file, "y")), Code::not_directory);
  EXPECT_EQ(code_of(world().rename(Ino{999999999}, "x", root(), "y")), Code::stale_node);
  EXPECT_EQ(code_of(world().rename(root(), "file", Ino{999999999}, "y")), Code::stale_node);
  EXPECT_EQ(code_of(world().rename(root(), "file", world().other_root(), "y")), Code::cross_volume);
  EXPECT_EQ(code_of(world().rename(root(), "file", root(), "a/b")), Code::invalid);
  EXPECT_EQ(code_of(world().rename(root(), ".", root(), "b")), Code::invalid);
  EXPECT_EQ(code_of(world().rename(root(), "file", root(), std::string(256, 'b'))),
            Code::name_too_long);
  must(world().rmdir(root(), "dir"));
  EXPECT_EQ(code_of(world().rename(root(), "file", dir, "y")), Code::not_found);
  EXPECT_EQ(world().names(root()), (std::vector<std::string>{"file"}));
}

TEST_P(Rename, BaseGuardsTheTarget) {
  const Ino target = world().make_file(root(), "target", "one");
  const Version read = world().attr(target).version;
  RenameRequest request;
  request.from_parent = request.to_parent = root();
  request.from_name = "temp";
  request.to_name = "target";
  request.base_ino = target;
  request.base_version = read;
  world().make_file(root(), "temp", "mine");
  must(world().append(target, "+"));
  auto refused = world().rename(request);
  EXPECT_EQ(code_of(refused), Code::conflict);
  EXPECT_EQ(refused.error().head_version, read.value + 1);
  EXPECT_EQ(world().content(world().find(root(), "target")->attr.ino), "one+");
  EXPECT_EQ(world().names(root()), (std::vector<std::string>{"target", "temp"}));

  request.base_version = Version{read.value + 1};
  const store::Applied applied = must(world().rename(request));
  EXPECT_EQ(applied.reply.version, Version{read.value + 2});

  // Another inode under the name, and no name at all.
  world().make_file(root(), "temp", "again");
  EXPECT_EQ(code_of(world().rename(request)), Code::conflict);
  must(world().unlink(root(), "target"));
  EXPECT_EQ(code_of(world().rename(request)), Code::conflict);
  request.base_ino = {};
  must(world().rename(request));
}

// The mounts know content by node and version: a number must never mean two contents.
TEST_P(Rename, AReplacingFileNeverUsesANumberTwice) {
  world().make_file(root(), "target", "one");
  const Ino temp = world().make_file(root(), "temp", "a");
  for (const char* more : {"b", "c", "d"}) must(world().append(temp, more));
  const Version before = world().attr(temp).version;
  must(world().rename(root(), "temp", root(), "target"));
  EXPECT_EQ(world().attr(temp).version, Version{before.value + 1});
  EXPECT_EQ(world().versions(temp).size(), 3u) << "created, written, replaced";
  EXPECT_EQ(world().content(temp, Version{2}), "one");
  EXPECT_EQ(world().content(temp), "abcd");
  EXPECT_EQ(code_of(store_->read(world().scope, {temp, before, 0, 10})), Code::not_found);
}

TEST_P(Rename, MergedContentIsOfTheVersionThatIsMoved) {
  const Ino target = world().make_file(root(), "target", "theirs");
  const Ino temp = world().make_file(root(), "temp", "mine");
  must(world().append(temp, " and more"));
  const RenameRequest request = over_target();
  store::Mutation m = world().next();
  m.merged = {"theirs and mine", temp, Version{2}};
  const auto refused = store_->rename(m, request);
  ASSERT_EQ(code_of(refused), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 3u);
  EXPECT_EQ(world().content(temp), "mine and more");
  EXPECT_EQ(world().content(target), "theirs");
  m = world().next();
  m.merged = {"theirs, mine and more", temp, Version{3}};
  EXPECT_EQ(must(store_->rename(m, request)).reply.version, Version{5});
  EXPECT_EQ(world().content(temp), "theirs, mine and more");
  EXPECT_EQ(world().content(temp, Version{4}), "mine and more");
}

// Both names were given to other files between the merge and the rename.
TEST_P(Rename, MergedContentIsOfTheFileThatIsMoved) {
  const Ino target = world().make_file(root(), "target", "theirs");
  const Ino temp = world().make_file(root(), "temp", "mine");
  must(world().rename(root(), "temp", root(), "elsewhere"));
  const Ino other = world().make_file(root(), "temp", "nobody's");
  const RenameRequest request = over_target();
  store::Mutation m = world().next();
  m.merged = {"theirs and mine", temp, world().attr(other).version};
  EXPECT_EQ(code_of(store_->rename(m, request)), Code::conflict);
  must(world().unlink(root(), "temp"));
  must(world().link(target, root(), "temp"));
  m = world().next();
  m.merged = {"theirs and mine", target, world().attr(target).version};
  EXPECT_EQ(code_of(store_->rename(m, request)), Code::conflict) << "a rename that does nothing";
  EXPECT_EQ(world().content(other), "nobody's");
  EXPECT_EQ(world().content(target), "theirs");
}

TEST_P(Rename, MergedContentIsTheVersionAfterWhatWasMoved) {
  const Ino target = world().make_file(root(), "target", "theirs");
  const Ino temp = world().make_file(root(), "temp", "mine");
  const RenameRequest request = over_target();
  store::Mutation m = world().next();
  m.merged = {"theirs and mine", temp, Version{2}};
  const store::Applied applied = must(store_->rename(m, request));
  EXPECT_EQ(world().content(temp), "theirs and mine");
  EXPECT_EQ(attr_of(applied).size, 15u);
  EXPECT_EQ(applied.reply.version, Version{4});
  EXPECT_EQ(applied.reply.unmerged, Version{3});
  EXPECT_TRUE(applied.reply.merged);
  EXPECT_EQ(world().content(temp, Version{2}), "theirs");
  EXPECT_EQ(world().content(temp, Version{3}), "mine");
  EXPECT_EQ(world().versions(temp).size(), 4u);
  EXPECT_EQ(applied.usage.files, -1);
  EXPECT_EQ(applied.usage.bytes, 15 - 6 - 4);
  EXPECT_EQ(world().content(target), "theirs");
}

}  // namespace
}  // namespace linkspan::test
