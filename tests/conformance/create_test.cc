// create, remove, link: names, link counts, times, errors.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class Create : public StoreTest {};
class Remove : public StoreTest {};
class Link : public StoreTest {};
LINKSPAN_CONFORMANCE(Create);
LINKSPAN_CONFORMANCE(Remove);
LINKSPAN_CONFORMANCE(Link);

TEST_P(Create, FileHasTheAttributesItWasGiven) {
  const Attr root_before = world().attr(root());
  const store::Applied applied = must(world().create(root(), "file", Kind::file, 04751));
  ASSERT_EQ(applied.reply.nodes.size(), 2u);
  EXPECT_FALSE(applied.replayed);
  EXPECT_TRUE(applied.reply.created);
  EXPECT_FALSE(applied.reply.merged);
  EXPECT_EQ(applied.reply.as_of, Seq{});
  const Attr attr = attr_of(applied);
  EXPECT_EQ(attr.kind, Kind::file);
  EXPECT_EQ(attr.mode, 04751u);
  EXPECT_EQ(attr.uid, 1000u);
  EXPECT_EQ(attr.gid, 1001u);
  EXPECT_EQ(attr.nlink, 1u);
  EXPECT_EQ(attr.size, 0u);
  EXPECT_EQ(attr.allocated, 0u);
  EXPECT_EQ(attr.version, Version{1});
  EXPECT_EQ(attr.seq, applied.reply.seq);
  EXPECT_FALSE(attr.has_xattrs);
  for (const Time time : {attr.atime, attr.mtime, attr.ctime, attr.btime})
    EXPECT_EQ(time, world().now());
  EXPECT_EQ(world().attr(attr.ino), attr);
  EXPECT_EQ(world().find(root(), "file")->attr, attr);

  const Attr parent = attr_of(applied, 1);
  EXPECT_EQ(parent.ino, root());
  EXPECT_EQ(parent.mtime, world().now());
  EXPECT_EQ(parent.ctime, world().now());
  EXPECT_EQ(parent.atime, root_before.atime);
  EXPECT_EQ(parent.nlink, 2u);
  EXPECT_EQ(parent.seq, applied.reply.seq);
  EXPECT_EQ(world().attr(root()), parent);
}

TEST_P(Create, DirectoryCountsInItsParentsLinks) {
  const store::Applied applied = must(world().create(root(), "dir", Kind::directory, 01755));
  const Attr attr = attr_of(applied);
  EXPECT_EQ(attr.kind, Kind::directory);
  EXPECT_EQ(attr.mode, 01755u);
  EXPECT_EQ(attr.nlink, 2u);
  EXPECT_EQ(attr.size, 0u);
  EXPECT_EQ(attr.version, Version{});
  EXPECT_EQ(attr.parent, root());
  EXPECT_EQ(attr_of(applied, 1).nlink, 3u);
  must(world().create(attr.ino, "sub", Kind::directory, 0700));
  EXPECT_EQ(world().attr(attr.ino).nlink, 3u);
  EXPECT_EQ(world().attr(root()).nlink, 3u);
}

TEST_P(Create, SymlinkKeepsItsTarget) {
  const std::string target(limits::kSymlinkBytes, 't');
  const Attr attr = attr_of(must(world().symlink(root(), "link", target)));
  EXPECT_EQ(attr.kind, Kind::symlink);
  EXPECT_EQ(attr.mode, 0777u);
  EXPECT_EQ(attr.size, target.size());
  EXPECT_EQ(attr.version, Version{});
  EXPECT_EQ(world().find(root(), "link")->target, target);
  EXPECT_EQ(must(store_->getattr(world().scope, {attr.ino, true})).node.target, target);
  const std::string bytes = "/\xff\xfe/\n";
  must(world().symlink(root(), "bytes", bytes));
  EXPECT_EQ(world().find(root(), "bytes")->target, bytes);
}

TEST_P(Create, FifoAndSocketAreNodes) {
  for (const Kind kind : {Kind::fifo, Kind::socket}) {
    const std::string name = kind == Kind::fifo ? "fifo" : "socket";
    const Attr attr = attr_of(must(world().create(root(), name, kind, 0622)));
    EXPECT_EQ(attr.kind, kind);
    EXPECT_EQ(attr.mode, 0622u);
    EXPECT_EQ(attr.nlink, 1u);
    EXPECT_EQ(attr.version, Version{});
  }
  EXPECT_EQ(world().changes().back().what, "mknod");
}

TEST_P(Create, NamesAreBytes) {
  std::string all;
  for (int byte = 1; byte < 256; ++byte)
    if (byte != '/') all.push_back(static_cast<char>(byte));
  for (const std::string& name :
       {all, std::string(255, 'n'), std::string("\xff\xfe"), std::string("a\nb"),
        std::string("..."), std::string(" "), std::string("\\x41"), std::string("%s'\"")}) {
    const Ino ino = world().make_file(root(), name);
    EXPECT_EQ(world().find(root(), name)->attr.ino, ino);
  }
  EXPECT_EQ(world().find(root(), "\\x42"), std::nullopt);
  EXPECT_EQ(world().names(root()).size(), 8u);
  EXPECT_EQ(world().names(root())[0], all);
}

TEST_P(Create, BadNamesAreRefused) {
  EXPECT_EQ(code_of(world().create(root(), std::string(256, 'n'))), Code::name_too_long);
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("a\0b", 3)})
    EXPECT_EQ(code_of(world().create(root(), name)), Code::invalid) << name;
  EXPECT_TRUE(world().names(root()).empty());
}

TEST_P(Create, BadRequestsAreRefused) {
  EXPECT_EQ(code_of(world().create(root(), "f", Kind::file, 010644)), Code::invalid);
  EXPECT_EQ(code_of(world().symlink(root(), "l", "")), Code::invalid);
  EXPECT_EQ(code_of(world().symlink(root(), "l", std::string(4096, 'x'))), Code::name_too_long);
  EXPECT_EQ(code_of(world().symlink(root(), "l", std::string("a\0b", 3))), Code::invalid);
}

TEST_P(Create, ExistingNames) {
  const Ino file = world().make_file(root(), "file", "x");
  const Ino dir = world().make_dir(root(), "dir");
  EXPECT_EQ(code_of(world().create(root(), "file")), Code::exists);
  EXPECT_EQ(code_of(world().create(root(), "dir")), Code::exists);
  EXPECT_EQ(code_of(world().create(root(), "file", Kind::directory)), Code::exists);

  CreateRequest request;
  request.parent = root();
  request.name = "file";
  request.exclusive = false;
  const auto create = [&](const std::string& name, Kind kind) {
    request.op = world().op();
    request.name = name;
    request.kind = kind;
    store::Mutation m = world().next();
    m.new_ino = world().unused_ino();
    return store_->create(m, request);
  };
  const Attr parent_before = world().attr(root());
  const Attr before = world().attr(file);
  const size_t logged = world().changes().size();
  const store::Applied found = must(create("file", Kind::file));
  EXPECT_FALSE(found.reply.created);
  ASSERT_EQ(found.reply.nodes.size(), 2u);
  EXPECT_EQ(attr_of(found), before);
  EXPECT_EQ(attr_of(found, 1), parent_before);
  EXPECT_EQ(world().attr(root()), parent_before);
  EXPECT_EQ(world().changes().size(), logged);
  EXPECT_EQ(found.usage.bytes, 0);
  EXPECT_EQ(found.usage.files, 0);

  EXPECT_EQ(code_of(create("dir", Kind::file)), Code::exists);
  EXPECT_EQ(code_of(create("file", Kind::directory)), Code::exists);
  must(world().symlink(root(), "link", "file"));
  EXPECT_EQ(code_of(create("link", Kind::file)), Code::exists);
  EXPECT_TRUE(must(create("fresh", Kind::file)).reply.created);
  EXPECT_EQ(world().attr(dir).nlink, 2u);
}

TEST_P(Create, ParentMustBeADirectory) {
  const Ino file = world().make_file(root(), "file");
  EXPECT_EQ(code_of(world().create(file, "x")), Code::not_directory);
  EXPECT_EQ(code_of(world().create(Ino{999999999}, "x")), Code::stale_node);
  const Ino dir = world().make_dir(root(), "dir");
  must(world().rmdir(root(), "dir"));
  EXPECT_EQ(code_of(world().create(dir, "x")), Code::not_found);
}

TEST_P(Create, SetGidIsInherited) {
  const Ino dir = world().make_dir(root(), "dir");
  SetAttrRequest chmod;
  chmod.ino = dir;
  chmod.mode = 02775;
  chmod.gid = 4242;
  must(world().set(chmod));
  const Attr file = attr_of(must(world().create(dir, "file", Kind::file, 0640)));
  EXPECT_EQ(file.gid, 4242u);
  EXPECT_EQ(file.uid, 1000u);
  EXPECT_EQ(file.mode, 0640u);
  const Attr sub = attr_of(must(world().create(dir, "sub", Kind::directory, 0755)));
  EXPECT_EQ(sub.gid, 4242u);
  EXPECT_EQ(sub.mode, 02755u);
  EXPECT_EQ(attr_of(must(world().create(sub.ino, "deep"))).gid, 4242u);
  EXPECT_EQ(attr_of(must(world().create(root(), "outside"))).gid, 1001u);
}

TEST_P(Remove, UnlinkUpdatesTimesAndLinks) {
  const Ino ino = world().make_file(root(), "file", "bytes");
  must(world().link(ino, root(), "second"));
  const Attr before = world().attr(ino);
  const store::Applied applied = must(world().unlink(root(), "file"));
  ASSERT_EQ(applied.reply.nodes.size(), 2u);
  const Attr after = attr_of(applied);
  EXPECT_EQ(after.ino, ino);
  EXPECT_EQ(after.nlink, 1u);
  EXPECT_EQ(after.ctime, world().now());
  EXPECT_EQ(after.mtime, before.mtime);
  EXPECT_EQ(after.seq, applied.reply.seq);
  EXPECT_EQ(attr_of(applied, 1).ino, root());
  EXPECT_EQ(attr_of(applied, 1).mtime, world().now());
  EXPECT_EQ(attr_of(applied, 1).ctime, world().now());
  EXPECT_EQ(world().find(root(), "file"), std::nullopt);
  EXPECT_EQ(world().content(ino), "bytes");
}

TEST_P(Remove, OrphansCanBeReadAndWritten) {
  const Ino ino = world().make_file(root(), "file", "before");
  const Attr gone = attr_of(must(world().unlink(root(), "file")));
  EXPECT_EQ(gone.nlink, 0u);
  EXPECT_EQ(world().attr(ino).nlink, 0u);
  EXPECT_EQ(world().content(ino), "before");
  must(world().append(ino, " after"));
  EXPECT_EQ(world().content(ino), "before after");
  must(world().truncate(ino, 3));
  EXPECT_EQ(world().content(ino), "bef");
  must(world().set_xattr(ino, "user.a", "1"));
  SetAttrRequest chmod;
  chmod.ino = ino;
  chmod.mode = 0600;
  EXPECT_EQ(attr_of(must(world().set(chmod))).mode, 0600u);
  EXPECT_EQ(world().changes().back().path, "");
  EXPECT_EQ(world().versions(ino).size(), 4u);
  EXPECT_EQ(world().content(ino, Version{2}), "before");
  EXPECT_EQ(code_of(world().link(ino, root(), "again")), Code::not_found);
  const Ino fresh = world().make_file(root(), "file");
  EXPECT_NE(fresh, ino);
  EXPECT_EQ(world().attr(fresh).version, Version{1});
}

TEST_P(Remove, Rmdir) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino sub = world().make_dir(dir, "sub");
  EXPECT_EQ(code_of(world().rmdir(root(), "dir")), Code::not_empty);
  const store::Applied applied = must(world().rmdir(dir, "sub"));
  EXPECT_EQ(attr_of(applied).ino, sub);
  EXPECT_EQ(attr_of(applied).nlink, 0u);
  EXPECT_EQ(attr_of(applied, 1).nlink, 2u);
  must(world().rmdir(root(), "dir"));
  EXPECT_EQ(world().attr(root()).nlink, 2u);
  EXPECT_EQ(world().attr(dir).nlink, 0u);
  EXPECT_TRUE(world().names(dir).empty());
  EXPECT_EQ(world().find(dir, "sub"), std::nullopt);
  EXPECT_EQ(code_of(world().rename(root(), "dir", root(), "x")), Code::not_found);
}

TEST_P(Remove, Errors) {
  const Ino file = world().make_file(root(), "file");
  world().make_dir(root(), "dir");
  EXPECT_EQ(code_of(world().unlink(root(), "none")), Code::not_found);
  EXPECT_EQ(code_of(world().rmdir(root(), "none")), Code::not_found);
  EXPECT_EQ(code_of(world().unlink(root(), "dir")), Code::is_directory);
  EXPECT_EQ(code_of(world().rmdir(root(), "file")), Code::not_directory);
  EXPECT_EQ(code_of(world().unlink(file, "x")), Code::not_directory);
  EXPECT_EQ(code_of(world().unlink(Ino{999999999}, "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().unlink(root(), "..")), Code::invalid);
  EXPECT_EQ(code_of(world().unlink(root(), std::string(256, 'a'))), Code::name_too_long);
  EXPECT_EQ(world().names(root()), (std::vector<std::string>{"file", "dir"}));
}

TEST_P(Link, AddsAName) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino ino = world().make_file(root(), "file", "x");
  const Attr before = world().attr(ino);
  const store::Applied applied = must(world().link(ino, dir, "name"));
  ASSERT_EQ(applied.reply.nodes.size(), 2u);
  EXPECT_EQ(attr_of(applied).nlink, 2u);
  EXPECT_EQ(attr_of(applied).ctime, world().now());
  EXPECT_EQ(attr_of(applied).mtime, before.mtime);
  EXPECT_EQ(attr_of(applied).version, before.version);
  EXPECT_EQ(attr_of(applied, 1).ino, dir);
  EXPECT_EQ(attr_of(applied, 1).mtime, world().now());
  EXPECT_EQ(world().find(dir, "name")->attr, world().find(root(), "file")->attr);
  EXPECT_EQ(applied.usage.files, 0);
  EXPECT_EQ(applied.usage.bytes, 0);
  EXPECT_EQ(attr_of(must(world().unlink(root(), "file"))).nlink, 1u);
  EXPECT_EQ(world().content(ino), "x");
}

TEST_P(Link, SymlinksAndFifosToo) {
  const Ino symlink = attr_of(must(world().symlink(root(), "s", "t"))).ino;
  const Ino fifo = attr_of(must(world().create(root(), "f", Kind::fifo))).ino;
  EXPECT_EQ(attr_of(must(world().link(symlink, root(), "s2"))).nlink, 2u);
  EXPECT_EQ(attr_of(must(world().link(fifo, root(), "f2"))).nlink, 2u);
  EXPECT_EQ(world().find(root(), "s2")->target, "t");
}

TEST_P(Link, Errors) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino file = world().make_file(root(), "file");
  EXPECT_EQ(code_of(world().link(dir, root(), "x")), Code::not_permitted);
  EXPECT_EQ(code_of(world().link(file, root(), "dir")), Code::exists);
  EXPECT_EQ(code_of(world().link(file, root(), "file")), Code::exists);
  EXPECT_EQ(code_of(world().link(file, file, "x")), Code::not_directory);
  EXPECT_EQ(code_of(world().link(file, root(), "a/b")), Code::invalid);
  EXPECT_EQ(code_of(world().link(Ino{999999999}, root(), "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().link(file, Ino{999999999}, "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().link(file, world().other_root(), "x")), Code::cross_volume);
  must(world().rmdir(root(), "dir"));
  EXPECT_EQ(code_of(world().link(file, dir, "x")), Code::not_found);
  EXPECT_EQ(world().attr(file).nlink, 1u);
}

TEST_P(Link, AtMostSoMany) {
  // tests/unit/pg does it with a count that it makes up.
  if (engine().durable() && !slow_tests()) return;
  const Ino file = world().make_file(root(), "file");
  for (uint32_t i = 1; i < limits::kLinks; ++i)
    must(world().link(file, root(), "link-" + std::to_string(i)));
  EXPECT_EQ(world().attr(file).nlink, limits::kLinks);
  EXPECT_EQ(code_of(world().link(file, root(), "more")), Code::too_many_links);
}

}  // namespace
}  // namespace linkspan::test
