// The change log.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class Changes : public StoreTest {
 protected:
  Change last() { return world().changes().back(); }
};
LINKSPAN_CONFORMANCE(Changes);

TEST_P(Changes, SayWhatWhoWhereAndWhen) {
  const Ino dir = world().make_dir(root(), "dir");
  EXPECT_EQ(last().what, "mkdir");
  const Ino file = attr_of(must(world().create(dir, "a"))).ino;
  EXPECT_EQ(last().what, "create");
  const store::Applied written = must(world().rewrite(file, "hello"));
  Change expected;
  expected.seq = written.reply.seq;
  expected.what = "write";
  expected.ino = file;
  expected.version = Version{2};
  expected.volume = "memory";
  expected.path = "dir/a";
  expected.principal = "alice";
  expected.sandbox = "box-1";
  expected.session = world().session();
  expected.at = world().now();
  expected.size = 5;
  EXPECT_EQ(last(), expected);
  must(world().append(file, "!"));
  EXPECT_EQ(last().what, "append");
  EXPECT_EQ(last().size, 6u);
  must(world().truncate(file, 1));
  EXPECT_EQ(last().what, "truncate");
  must(world().set_xattr(file, "user.a", "b"));
  EXPECT_EQ(last().what, "setxattr");
  must(world().remove_xattr(file, "user.a"));
  EXPECT_EQ(last().what, "setxattr");
  SetAttrRequest chmod;
  chmod.ino = file;
  chmod.mode = 0600;
  must(world().set(chmod));
  EXPECT_EQ(last().what, "setattr");
  EXPECT_EQ(last().path, "dir/a");
  must(world().link(file, root(), "b"));
  EXPECT_EQ(last().what, "link");
  EXPECT_EQ(last().path, "b");
  must(world().unlink(root(), "b"));
  EXPECT_EQ(last().what, "unlink");
  EXPECT_EQ(last().path, "b");
  must(world().rename(dir, "a", root(), "c"));
  EXPECT_EQ(last().what, "rename");
  EXPECT_EQ(last().path, "c");
  EXPECT_EQ(last().old_path, "dir/a");
  must(world().symlink(root(), "s", "t"));
  EXPECT_EQ(last().what, "symlink");
  EXPECT_EQ(last().size, 1u);
  must(world().rmdir(root(), "dir"));
  EXPECT_EQ(last().what, "rmdir");
  EXPECT_EQ(last().path, "dir");
  EXPECT_EQ(last().ino, dir);
  chmod.ino = root();
  must(world().set(chmod));
  EXPECT_EQ(last().path, "");
}

TEST_P(Changes, FailuresAreNotLogged) {
  world().make_file(root(), "a");
  const size_t before = world().changes().size();
  EXPECT_FALSE(world().create(root(), "a").ok());
  EXPECT_FALSE(world().unlink(root(), "none").ok());
  EXPECT_EQ(world().changes().size(), before);
}

TEST_P(Changes, PagesBySeq) {
  for (int i = 0; i < 10; ++i) world().make_file(root(), "f" + std::to_string(i));
  const std::vector<Change> all = world().changes();
  ASSERT_EQ(all.size(), 10u);
  for (size_t i = 1; i < all.size(); ++i) EXPECT_LT(all[i - 1].seq, all[i].seq);
  const std::vector<Change> page = world().changes(all[3].seq, 4);
  ASSERT_EQ(page.size(), 4u);
  EXPECT_EQ(page[0], all[4]);
  EXPECT_EQ(page[3], all[7]);
  EXPECT_TRUE(world().changes(all.back().seq).empty());

  ChangesRequest newest;
  newest.newest = true;
  newest.limit = 3;
  const std::vector<Change> tail = must(store_->changes(world().scope, newest)).changes;
  ASSERT_EQ(tail.size(), 3u);
  EXPECT_EQ(tail[0], all[7]);
  EXPECT_EQ(tail[2], all[9]);
  newest.after = all[8].seq;
  EXPECT_EQ(must(store_->changes(world().scope, newest)).changes.size(), 1u);
  newest.limit = 0;
  EXPECT_EQ(code_of(store_->changes(world().scope, newest)), Code::invalid);
  newest.limit = limits::kHistoryPage + 1;
  EXPECT_EQ(code_of(store_->changes(world().scope, newest)), Code::invalid);
}

TEST_P(Changes, UnderANodeOrADirectory) {
  const Ino a = world().make_dir(root(), "a");
  const Ino b = world().make_dir(root(), "b");
  const Ino file = world().make_file(a, "file", "x");
  world().make_file(b, "noise");
  must(world().rename(a, "file", b, "moved"));
  must(world().append(file, "y"));
  const auto under = [&](Ino ino) {
    ChangesRequest request;
    request.limit = 100;
    request.under = ino;
    std::string out;
    for (const Change& change : must(store_->changes(world().scope, request)).changes)
      out += change.what + ":" + change.path + " ";
    return out;
  };
  EXPECT_EQ(under(file), "create:a/file write:a/file rename:b/moved append:b/moved ");
  EXPECT_EQ(under(a), "mkdir:a create:a/file write:a/file rename:b/moved ");
  EXPECT_EQ(under(b), "mkdir:b create:b/noise rename:b/moved append:b/moved ");
  EXPECT_EQ(under(Ino{999999999}), "");
}

// All pages of a request, in the order of the log, and each page checked.
class Filtered : public Changes {
 protected:
  std::vector<Change> pages(ChangesRequest request) {
    std::vector<Change> out;
    for (int calls = 0; calls < 1000; ++calls) {
      const ChangesReply reply = must(store_->changes(world().scope, request));
      EXPECT_LE(reply.changes.size(), request.limit);
      out.insert(request.newest ? out.begin() : out.end(), reply.changes.begin(),
                 reply.changes.end());
      if (!reply.next) return out;
      (request.newest ? request.before : request.after) = reply.next;
    }
    ADD_FAILURE() << "the pages never end";
    return out;
  }
  // The same in both directions, in pages of several sizes.
  std::string told(ChangesRequest request) {
    std::optional<std::vector<Change>> first;
    for (const bool newest : {false, true})
      for (const uint32_t limit : {1000u, 1u, 2u, 3u, 7u}) {
        request.newest = newest;
        request.limit = limit;
        const std::vector<Change> all = pages(request);
        if (!first) first = all;
        EXPECT_EQ(all, *first) << newest << " " << limit;
      }
    std::string out;
    for (const Change& change : *first)
      out += change.what + " " + change.path +
             (change.old_path.empty() ? "" : " from " + change.old_path) + "\n";
    return out;
  }
};
LINKSPAN_CONFORMANCE(Filtered);

TEST_P(Filtered, BySeq) {
  for (int i = 0; i < 6; ++i) world().make_file(root(), "f" + std::to_string(i));
  const std::vector<Change> all = world().changes();
  ChangesRequest request;
  request.after = all[1].seq;
  request.before = all[4].seq;
  EXPECT_EQ(told(request), "create f2\ncreate f3\n");
  request.after = all[4].seq;
  EXPECT_EQ(told(request), "");
}

TEST_P(Filtered, ByPath) {
  const Ino a = world().make_dir(root(), "a");
  const Ino ab = world().make_dir(root(), "ab");
  const Ino deep = world().make_dir(a, "deep");
  world().make_file(deep, "file");
  world().make_file(ab, "file");
  must(world().rename(deep, "file", root(), "out"));
  must(world().rename(ab, "file", a, "in"));
  must(world().unlink(a, "in"));
  ChangesRequest request;
  request.below = "a";
  EXPECT_EQ(told(request),
            "mkdir a\nmkdir a/deep\ncreate a/deep/file\nrename out from a/deep/file\n"
            "rename a/in from ab/file\nunlink a/in\n");
  request.below = "a/deep";
  EXPECT_EQ(told(request), "mkdir a/deep\ncreate a/deep/file\nrename out from a/deep/file\n");
  request.below = "a/in";
  EXPECT_EQ(told(request), "rename a/in from ab/file\nunlink a/in\n");
  request.below = "none";
  EXPECT_EQ(told(request), "");
  request.below = "a";
  request.under = deep;
  EXPECT_EQ(told(request), "mkdir a/deep\ncreate a/deep/file\nrename out from a/deep/file\n");
  request.what = "create";
  EXPECT_EQ(told(request), "create a/deep/file\n");
  world().make_file(root(), "\xff");
  request = {};
  request.below = "\xff";
  EXPECT_EQ(told(request), "create \xff\n");
}

TEST_P(Filtered, ByAuthorKindAndTime) {
  const Ino ino = world().make_file(root(), "file", "x");
  World bob = world().fork();
  bob.author.principal = "bob";
  bob.author.sandbox = "box-2";
  must(bob.append(ino, "y"));
  const Time then = bob.now();
  must(world().append(ino, "z"));
  must(bob.set_xattr(ino, "user.a", "1"));
  ChangesRequest request;
  request.principal = "bob";
  EXPECT_EQ(told(request), "append file\nsetxattr file\n");
  request.what = "append";
  EXPECT_EQ(told(request), "append file\n");
  request.sandbox = "box-1";
  EXPECT_EQ(told(request), "");
  request.principal.clear();
  EXPECT_EQ(told(request), "append file\n");
  request = {};
  request.since = then;
  EXPECT_EQ(told(request), "append file\nappend file\nsetxattr file\n");
  request.since = Time{then.ns + 1};
  request.what = "append";
  EXPECT_EQ(told(request), "append file\n");
}

TEST_P(Filtered, ByVolume) {
  world().make_file(root(), "here");
  const Ino there = world().make_file(world().other_root(), "there");
  ChangesRequest request;
  request.volume_of = world().other_root();
  EXPECT_EQ(told(request), "create there\n");
  request.volume_of = there;
  EXPECT_EQ(told(request), "create there\n");
  request.volume_of = root();
  EXPECT_EQ(told(request), "create here\n");
  request.volume_of = Ino{99999999};
  EXPECT_EQ(code_of(store_->changes(world().scope, request)), Code::stale_node);
  world().scope.readable = world().scope.writable = {world().volume()};
  request.volume_of = there;
  EXPECT_EQ(code_of(store_->changes(world().scope, request)), Code::stale_node);
}

// One call looks at so many entries and no more; the next goes on where it ended.
TEST_P(Filtered, InBoundedSteps) {
  // tests/unit/pg does it with a log that it makes up.
  if (engine().durable() && !slow_tests()) return;
  const Ino ino = world().make_file(root(), "wanted");
  const Ino other = world().make_file(root(), "other");
  for (uint32_t i = 0; i < limits::kChangesScanned + 10; ++i) must(world().truncate(other, i % 2));
  must(world().append(ino, "x"));
  ChangesRequest request;
  request.below = "wanted";
  ChangesReply reply = must(store_->changes(world().scope, request));
  ASSERT_EQ(reply.changes.size(), 1u);
  EXPECT_EQ(reply.changes[0].what, "create");
  const std::vector<Change> all = pages({});
  EXPECT_EQ(reply.next, all[limits::kChangesScanned - 1].seq);
  request.after = reply.next;
  reply = must(store_->changes(world().scope, request));
  ASSERT_EQ(reply.changes.size(), 1u);
  EXPECT_EQ(reply.changes[0].what, "append");
  EXPECT_EQ(reply.next, Seq{});
  request.after = {};
  EXPECT_EQ(told(request), "create wanted\nappend wanted\n");
}

TEST_P(Changes, PathsAreBytes) {
  const Ino dir = world().make_dir(root(), "\xff");
  world().make_file(dir, "a\nb");
  EXPECT_EQ(last().path, "\xff/a\nb");
}

TEST_P(Changes, SeqNeverGoesDown) {
  const Ino ino = world().make_file(root(), "file");
  store::Mutation early = world().next();
  store::Mutation late = world().next();
  const auto chmod = [&](const store::Mutation& m) {
    SetAttrRequest request;
    request.op = world().op();
    request.ino = ino;
    request.mode = 0600;
    return attr_of(must(store_->set_attributes(m, request))).seq;
  };
  EXPECT_EQ(chmod(late), late.seq);
  EXPECT_EQ(chmod(early), late.seq) << "numbers are drawn before the store is called";
  const std::vector<Change> all = world().changes();
  EXPECT_EQ(all[all.size() - 1].seq, late.seq);
  EXPECT_EQ(all[all.size() - 2].seq, early.seq);
  EXPECT_GE(must(store_->open_tenant(tenant_, limits::kLease)).last_seq, late.seq);
}

TEST_P(Changes, OfALongPathTheLastNamesAreLogged) {
  const std::string name(limits::kNameBytes, 'd');
  Ino dir = root();
  for (int depth = 0; depth < 20; ++depth) dir = world().make_dir(dir, name);
  world().make_file(dir, "file.json");
  const std::string path = world().changes().back().path;
  EXPECT_LE(path.size(), limits::kPathBytes);
  EXPECT_GT(path.size(), limits::kPathBytes - 2 * limits::kNameBytes);
  EXPECT_EQ(path.substr(0, 5), ".../d");
  EXPECT_EQ(path.substr(path.size() - 11), "d/file.json");
  must(world().rename(dir, "file.json", root(), "file.json"));
  EXPECT_EQ(world().changes().back().path, "file.json");
  EXPECT_EQ(world().changes().back().old_path, path);
}

}  // namespace
}  // namespace linkspan::test
