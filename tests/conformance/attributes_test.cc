// chmod, chown, utimensat, truncate, and extended attributes.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class Attributes : public StoreTest {};
class Xattrs : public StoreTest {
 protected:
  std::vector<Xattr> all(Ino ino) { return must(store_->xattrs(world().scope, ino)).xattrs; }
  Result<store::Applied> set(Ino ino, const std::string& name, std::optional<std::string> value,
                             bool create = false, bool replace = false) {
    return store_->set_xattr(world().next(),
                             {world().op(), ino, name, std::move(value), create, replace});
  }
};
LINKSPAN_CONFORMANCE(Attributes);
LINKSPAN_CONFORMANCE(Xattrs);

TEST_P(Attributes, ModeAndOwner) {
  const Ino ino = world().make_file(root(), "file", "x");
  const Attr before = world().attr(ino);
  SetAttrRequest request;
  request.ino = ino;
  request.mode = 06755;
  const store::Applied applied = must(world().set(request));
  ASSERT_EQ(applied.reply.nodes.size(), 1u);
  Attr expected = before;
  expected.mode = 06755;
  expected.ctime = world().now();
  expected.seq = applied.reply.seq;
  EXPECT_EQ(attr_of(applied), expected);
  EXPECT_EQ(world().attr(ino), expected);
  EXPECT_EQ(applied.reply.version, Version{});

  request = {};
  request.ino = ino;
  request.uid = 4294967294u;
  request.gid = 7;
  must(world().set(request));
  expected.uid = 4294967294u;
  expected.gid = 7;
  expected.ctime = world().now();
  expected.seq = world().attr(ino).seq;
  EXPECT_EQ(world().attr(ino), expected) << "set-id bits are the caller's to clear";
}

TEST_P(Attributes, TimesToTheNanosecond) {
  const Ino ino = world().make_file(root(), "file");
  SetAttrRequest request;
  request.ino = ino;
  request.atime = Time{-1};
  request.mtime = Time{-999999999999999999};
  must(world().set(request));
  EXPECT_EQ(world().attr(ino).atime, Time{-1});
  EXPECT_EQ(world().attr(ino).mtime, Time{-999999999999999999});
  EXPECT_EQ(world().attr(ino).ctime, world().now());
  request.atime.reset();
  request.mtime = Time{4102444800000000001};
  must(world().set(request));
  EXPECT_EQ(world().attr(ino).atime, Time{-1});
  EXPECT_EQ(world().attr(ino).mtime, Time{4102444800000000001});
  request = {};
  request.ino = ino;
  request.atime_now = request.mtime_now = true;
  must(world().set(request));
  EXPECT_EQ(world().attr(ino).atime, world().now());
  EXPECT_EQ(world().attr(ino).mtime, world().now());
}

TEST_P(Attributes, NothingSetIsAChangeOfCtime) {
  const Ino ino = world().make_file(root(), "file");
  Attr expected = world().attr(ino);
  SetAttrRequest request;
  request.ino = ino;
  const store::Applied applied = must(world().set(request));
  expected.ctime = world().now();
  expected.seq = applied.reply.seq;
  EXPECT_EQ(world().attr(ino), expected);
}

TEST_P(Attributes, EveryKindAndTheRoot) {
  const Ino link = attr_of(must(world().symlink(root(), "l", "t"))).ino;
  const Ino dir = world().make_dir(root(), "d");
  const Ino fifo = attr_of(must(world().create(root(), "f", Kind::fifo))).ino;
  for (const Ino ino : {link, dir, fifo, root()}) {
    SetAttrRequest request;
    request.ino = ino;
    request.mode = 0711;
    request.uid = 5;
    EXPECT_EQ(attr_of(must(world().set(request))).uid, 5u);
    EXPECT_EQ(world().attr(ino).mode, 0711u);
    request.size = 0;
    EXPECT_EQ(code_of(world().set(request)),
              world().attr(ino).kind == Kind::directory ? Code::is_directory : Code::invalid);
  }
}

TEST_P(Attributes, BadRequests) {
  const Ino ino = world().make_file(root(), "file");
  SetAttrRequest request;
  request.ino = ino;
  request.mode = 0100644;
  EXPECT_EQ(code_of(world().set(request)), Code::invalid);
  request = {};
  request.ino = Ino{999999999};
  EXPECT_EQ(code_of(world().set(request)), Code::stale_node);
  EXPECT_EQ(code_of(world().truncate(ino, limits::kFileBytes + 1)), Code::too_large);
}

TEST_P(Attributes, RelaxedAccessTimeIsNoChange) {
  const Ino ino = world().make_file(root(), "file", "x");
  Attr expected = world().attr(ino);
  const size_t logged = world().changes().size();
  SetAttrRequest request;
  request.ino = ino;
  request.relaxed = true;
  request.atime = Time{expected.atime.ns + 5};
  const store::Applied applied = must(world().set(request));
  expected.atime = *request.atime;
  EXPECT_EQ(attr_of(applied), expected);
  EXPECT_EQ(world().attr(ino), expected);
  request.atime.reset();
  request.atime_now = true;
  must(world().set(request));
  EXPECT_EQ(world().attr(ino).atime, world().now());
  EXPECT_EQ(world().attr(ino).ctime, expected.ctime);
  EXPECT_EQ(world().changes().size(), logged);
  request.mtime_now = true;
  EXPECT_EQ(code_of(world().set(request)), Code::invalid);
}

TEST_P(Attributes, TruncateMakesAVersion) {
  const Ino ino = world().make_file(root(), "file", "0123456789");
  store::Applied applied = must(world().truncate(ino, 4));
  EXPECT_EQ(applied.reply.version, Version{3});
  EXPECT_EQ(attr_of(applied).version, Version{3});
  EXPECT_EQ(attr_of(applied).size, 4u);
  EXPECT_EQ(attr_of(applied).mtime, world().now());
  EXPECT_EQ(attr_of(applied).ctime, world().now());
  EXPECT_EQ(applied.usage.bytes, -6);
  EXPECT_EQ(world().content(ino), "0123");
  must(world().truncate(ino, 8));
  EXPECT_EQ(world().content(ino), std::string("0123\0\0\0\0", 8)) << "what was cut does not return";
  EXPECT_EQ(world().content(ino, Version{2}), "0123456789");
  applied = must(world().truncate(ino, 0));
  EXPECT_EQ(attr_of(applied).allocated, 0u);
  EXPECT_EQ(world().content(ino), "");
}

TEST_P(Attributes, TruncateToTheSameSizeTouchesTheTimes) {
  const Ino ino = world().make_file(root(), "file", "same");
  Attr expected = world().attr(ino);
  const store::Applied applied = must(world().truncate(ino, 4));
  EXPECT_EQ(applied.reply.version, Version{});
  expected.mtime = expected.ctime = world().now();
  expected.seq = applied.reply.seq;
  EXPECT_EQ(world().attr(ino), expected);
  EXPECT_EQ(world().content(ino), "same");
}

TEST_P(Attributes, TruncateBesideOtherAttributes) {
  const Ino ino = world().make_file(root(), "file", "0123456789");
  SetAttrRequest request;
  request.ino = ino;
  request.size = 2;
  request.mode = 0600;
  request.mtime = Time{77};
  must(world().set(request));
  EXPECT_EQ(world().attr(ino).size, 2u);
  EXPECT_EQ(world().attr(ino).mode, 0600u);
  EXPECT_EQ(world().attr(ino).mtime, Time{77});
  EXPECT_EQ(world().changes().back().what, "truncate");
}

TEST_P(Attributes, TruncateToTheLargestSizeStoresNothing) {
  const Ino ino = world().make_file(root(), "file", "ab");
  const store::Applied grown = must(world().truncate(ino, limits::kFileBytes));
  EXPECT_EQ(attr_of(grown).size, limits::kFileBytes);
  EXPECT_LE(attr_of(grown).allocated, limits::kChunkBytes);
  const ReadReply reply = must(store_->read(world().scope, {ino, {}, limits::kFileBytes - 3, 100}));
  EXPECT_EQ(reply.data, std::string(3, '\0'));
  EXPECT_EQ(reply.size, limits::kFileBytes);
  const store::Applied cut = must(world().truncate(ino, 1));
  EXPECT_EQ(world().content(ino), "a");
  EXPECT_EQ(attr_of(cut).allocated, 1u);
}

TEST_P(Xattrs, SetGetListRemove) {
  const Ino ino = world().make_file(root(), "file");
  EXPECT_TRUE(all(ino).empty());
  Attr expected = world().attr(ino);
  const store::Applied applied = must(set(ino, "user.b", "2"));
  expected.has_xattrs = true;
  expected.ctime = world().now();
  expected.seq = applied.reply.seq;
  EXPECT_EQ(attr_of(applied), expected);
  EXPECT_EQ(world().attr(ino), expected);
  const std::string bytes("\0\xff\n", 3);
  must(set(ino, "user.a", bytes));
  must(set(ino, "user.c", ""));
  must(set(ino, "user.b", "two"));
  EXPECT_EQ(all(ino), (std::vector<Xattr>{{"user.a", bytes}, {"user.b", "two"}, {"user.c", ""}}));
  for (const char* name : {"user.a", "user.b", "user.c"}) must(set(ino, name, std::nullopt));
  EXPECT_FALSE(world().attr(ino).has_xattrs);
  EXPECT_EQ(world().attr(ino).ctime, world().now());
  EXPECT_TRUE(all(ino).empty());
  EXPECT_EQ(world().changes().back().what, "setxattr");
}

TEST_P(Xattrs, Flags) {
  const Ino ino = world().make_file(root(), "file");
  EXPECT_EQ(code_of(set(ino, "user.a", "1", false, true)), Code::no_attribute);
  must(set(ino, "user.a", "1", true));
  EXPECT_EQ(code_of(set(ino, "user.a", "2", true)), Code::exists);
  must(set(ino, "user.a", "3", false, true));
  EXPECT_EQ(all(ino), (std::vector<Xattr>{{"user.a", "3"}}));
  EXPECT_EQ(code_of(set(ino, "user.none", std::nullopt)), Code::no_attribute);
}

TEST_P(Xattrs, OfEveryKind) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino link = attr_of(must(world().symlink(root(), "l", "t"))).ino;
  for (const Ino ino : {dir, link, root()}) {
    must(set(ino, "trusted.x", "v"));
    EXPECT_EQ(all(ino), (std::vector<Xattr>{{"trusted.x", "v"}}));
  }
}

TEST_P(Xattrs, Limits) {
  const Ino ino = world().make_file(root(), "file");
  const std::string longest(limits::kXattrNameBytes, 'n');
  const std::string largest(limits::kXattrValueBytes, 'v');
  EXPECT_EQ(code_of(set(ino, longest + "n", "")), Code::name_too_long);
  EXPECT_EQ(code_of(set(ino, "", "")), Code::invalid);
  EXPECT_EQ(code_of(set(ino, "a", largest + "v")), Code::attribute_too_big);
  must(set(ino, longest, largest));
  must(set(ino, "b", largest));
  must(set(ino, "c", largest));
  EXPECT_EQ(code_of(set(ino, "d", largest)), Code::no_space) << "names count, too";
  must(set(ino, "d", std::string(limits::kXattrValueBytes - 255 - 3, 'w')));
  EXPECT_EQ(code_of(set(ino, "e", "")), Code::no_space);
  must(set(ino, "c", "small"));
  must(set(ino, "e", ""));
  EXPECT_EQ(all(ino).size(), 5u);
  EXPECT_EQ(all(ino)[4].value, largest) << "sorted by bytes: the name of n's is last";
}

TEST_P(Xattrs, AreBoundedInNumber) {
  const Ino ino = world().make_file(root(), "file");
  for (size_t i = 0; i < limits::kXattrs; ++i) must(set(ino, "n" + std::to_string(i), ""));
  EXPECT_EQ(code_of(set(ino, "more", "")), Code::no_space);
  must(set(ino, "n0", "another value"));
  EXPECT_EQ(all(ino).size(), limits::kXattrs);
  must(set(ino, "n1", std::nullopt));
  must(set(ino, "more", ""));
}

// Else nobody could list them (XATTR_LIST_MAX).
TEST_P(Xattrs, TheirNamesFitIntoOneList) {
  const Ino ino = world().make_file(root(), "file");
  const auto name = [](int i) { return std::string(250, 'n') + std::to_string(10000 + i); };
  for (int i = 0; i < 256; ++i) must(set(ino, name(i), ""));
  EXPECT_EQ(code_of(set(ino, "x", "")), Code::no_space);
  must(set(ino, name(0), "another value"));
  must(set(ino, name(1), std::nullopt));
  must(set(ino, "x", ""));
}

TEST_P(Xattrs, Errors) {
  EXPECT_EQ(code_of(set(Ino{999999999}, "a", "b")), Code::stale_node);
  EXPECT_EQ(code_of(store_->xattrs(world().scope, Ino{999999999})), Code::stale_node);
}

}  // namespace
}  // namespace linkspan::test
