// Versions, the change log, and their retention.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class Versioned : public StoreTest {
 protected:
  std::vector<uint64_t> numbers(Ino ino) {
    std::vector<uint64_t> out;
    for (const VersionInfo& info : world().versions(ino)) out.push_back(info.version.value);
    return out;
  }
};
class History : public Versioned {};
class Changes : public StoreTest {
 protected:
  Change last() { return world().changes().back(); }
};
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
LINKSPAN_CONFORMANCE(History);
LINKSPAN_CONFORMANCE(Changes);
LINKSPAN_CONFORMANCE(Prune);

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
  Ino ino;
  for (int save = 0; save < 4; ++save) {
    ino = world().make_file(root(), "temp", "save");
    for (int more = 0; more <= 10 * save; ++more) must(world().append(ino, "+"));
    must(world().rename(root(), "temp", root(), "target"));
  }
  ASSERT_EQ(world().versions(ino).size(), 6u);
  ASSERT_GT(world().attr(ino).version.value, 30u);
  retain(4, 90);
  prune(world().now());
  EXPECT_EQ(world().versions(ino).size(), 4u);
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
