// Exactly once, fencing, and what a scope may see.
#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

using store::Applied;
using store::Mutation;

class Replay : public StoreTest {
 protected:
  CreateRequest create(const std::string& name) {
    CreateRequest request;
    request.op = world().op();
    request.parent = root();
    request.name = name;
    return request;
  }
  Mutation creating() {
    Mutation m = world().next();
    m.new_ino = world().unused_ino();
    return m;
  }
};
class Fence : public StoreTest {};
class ScopeIsolation : public StoreTest {};
class DurableReplay : public Replay {};
LINKSPAN_CONFORMANCE(Replay);
LINKSPAN_DURABLE_CONFORMANCE(DurableReplay);
LINKSPAN_CONFORMANCE(Fence);
LINKSPAN_CONFORMANCE(ScopeIsolation);

void expect_replay(const Result<Applied>& again, const Applied& first) {
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again->replayed);
  EXPECT_EQ(again->reply, first.reply);
  EXPECT_EQ(again->usage.bytes, 0);
  EXPECT_EQ(again->usage.files, 0);
}

TEST_P(Replay, Create) {
  const CreateRequest request = create("file");
  const Applied first = must(store_->create(creating(), request));
  EXPECT_FALSE(first.replayed);
  must(world().unlink(root(), "file"));
  expect_replay(store_->create(creating(), request), first);
  EXPECT_TRUE(world().names(root()).empty()) << "not made again";
}

TEST_P(Replay, MkdirNeverSaysExistsOfItself) {
  CreateRequest request = create("dir");
  request.kind = Kind::directory;
  const Applied first = must(store_->create(creating(), request));
  expect_replay(store_->create(creating(), request), first);
  expect_replay(store_->create(creating(), request), first);
  EXPECT_EQ(world().attr(root()).nlink, 3u);
}

TEST_P(Replay, AppendIsNeverDoubled) {
  const Ino ino = world().make_file(root(), "file", "start ");
  CommitRequest request;
  request.op = world().op();
  request.ino = ino;
  request.append = true;
  request.mtime = world().now();
  request.extents = extent(0, "once");
  const Applied first = must(store_->commit(world().next(), request));
  request.extents->rewind();
  must(world().append(ino, " more"));
  expect_replay(store_->commit(world().next(), request), first);
  EXPECT_EQ(world().content(ino), "start once more");
}

TEST_P(Replay, EveryOtherMutation) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino ino = world().make_file(root(), "file", "bytes");
  world().make_file(root(), "target", "old");

  const LinkRequest link{world().op(), ino, dir, "name"};
  Applied first = must(store_->link(world().next(), link));
  expect_replay(store_->link(world().next(), link), first);
  EXPECT_EQ(world().attr(ino).nlink, 2u);

  const RemoveRequest remove{world().op(), dir, "name", false};
  first = must(store_->remove(world().next(), remove));
  expect_replay(store_->remove(world().next(), remove), first);

  RenameRequest rename;
  rename.op = world().op();
  rename.from_parent = rename.to_parent = root();
  rename.from_name = "file";
  rename.to_name = "target";
  first = must(store_->rename(world().next(), rename));
  expect_replay(store_->rename(world().next(), rename), first);

  SetAttrRequest truncate;
  truncate.op = world().op();
  truncate.ino = ino;
  truncate.size = 2;
  first = must(store_->set_attributes(world().next(), truncate));
  must(world().rewrite(ino, "longer again"));
  expect_replay(store_->set_attributes(world().next(), truncate), first);
  EXPECT_EQ(world().content(ino), "longer again");

  SetXattrRequest xattr{world().op(), ino, "user.a", "1", true, false};
  first = must(store_->set_xattr(world().next(), xattr));
  expect_replay(store_->set_xattr(world().next(), xattr), first);
  EXPECT_EQ(must(store_->xattrs(world().scope, ino)).xattrs.size(), 1u);
}

TEST_P(Replay, ALargeReply) {
  CreateRequest request = create("link");
  request.kind = Kind::symlink;
  request.target = std::string(limits::kSymlinkBytes, '\xfe');
  const Applied first = must(store_->create(creating(), request));
  expect_replay(store_->create(creating(), request), first);
  EXPECT_EQ(first.reply.nodes[0].target, request.target);
}

TEST_P(Replay, ACreateThatFoundTheFile) {
  const Ino ino = world().make_file(root(), "file");
  CreateRequest request = create("file");
  request.exclusive = false;
  const Applied first = must(store_->create(creating(), request));
  EXPECT_FALSE(first.reply.created);
  must(world().unlink(root(), "file"));
  expect_replay(store_->create(creating(), request), first);
  EXPECT_EQ(attr_of(first).ino, ino);
}

TEST_P(Replay, FailuresAreTriedAgain) {
  const CreateRequest request = create("file");
  world().make_file(root(), "file");
  EXPECT_EQ(code_of(store_->create(creating(), request)), Code::exists);
  must(world().unlink(root(), "file"));
  EXPECT_FALSE(must(store_->create(creating(), request)).replayed);
}

TEST_P(Replay, NumbersBelongToTheirSession) {
  World other = world().fork();
  const CreateRequest request = create("one");
  must(store_->create(creating(), request));
  CreateRequest same = request;
  same.name = "two";
  Mutation m = other.next();
  m.new_ino = other.unused_ino();
  EXPECT_FALSE(must(store_->create(m, same)).replayed);
  EXPECT_EQ(world().names(root()), (std::vector<std::string>{"one", "two"}));
}

TEST_P(Replay, AnsweredResultsMayBeForgottenLaterOnesNot) {
  const CreateRequest first = create("1"), second = create("2");
  must(store_->create(creating(), first));
  const Applied two = must(store_->create(creating(), second));
  CreateRequest third = create("3");
  third.op.answered_below = second.op.number;
  must(store_->create(creating(), third));
  expect_replay(store_->create(creating(), second), two);
}

TEST_P(Replay, SurvivesAnotherRouter) {
  const CreateRequest request = create("file");
  const Applied first = must(store_->create(creating(), request));
  World second = World::reopen(engine().open(), tenant_);
  Mutation m = second.next();
  m.author = world().author;
  m.new_ino = second.unused_ino();
  expect_replay(second.store().create(m, request), first);
}

TEST_P(DurableReplay, SurvivesACrash) {
  const CreateRequest request = create("file");
  const Applied first = must(store_->create(creating(), request));
  engine().crash();
  expect_replay(store_->create(creating(), request), first);
}

TEST_P(Replay, EndsWithTheSession) {
  const CreateRequest request = create("file");
  must(store_->create(creating(), request));
  must(store_->end_session(world().state().id, world().session(), world().state().epoch));
  EXPECT_EQ(code_of(store_->create(creating(), request)), Code::exists);
}

TEST_P(Replay, NumberZeroIsNeverStored) {
  CreateRequest request = create("file");
  request.op = {};
  must(store_->create(creating(), request));
  EXPECT_EQ(code_of(store_->create(creating(), request)), Code::exists);
}

// Asked for by who has heard nothing of it: then nothing of before is applied any more, and a retry
// is a first try.
TEST_P(Replay, WhatBecameOfAnOperation) {
  const CreateRequest request = create("file");
  const Mutation m = creating();
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(must(store_->recall(m, request.op.number)));
  EXPECT_FALSE(must(store_->is_applied(m, request.op.number)));
  CreateRequest again = request;
  again.op.retry = true;
  const Applied first = must(store_->create(creating(), again));
  EXPECT_FALSE(first.replayed);
  EXPECT_EQ(must(store_->recall(creating(), request.op.number)), first.reply);
  EXPECT_TRUE(must(store_->is_applied(m, request.op.number)));
  expect_replay(store_->create(creating(), again), first);

  const CreateRequest other = create("other");
  EXPECT_FALSE(must(store_->recall(creating(), other.op.number)));
  must(store_->create(creating(), other));  // not said to be a retry
  EXPECT_EQ(world().names(root()).size(), 2u);
}

TEST_P(Fence, AnOldOwnerChangesNothing) {
  const Ino ino = world().make_file(root(), "file", "x");
  CreateRequest request;
  request.op = world().op();
  request.parent = root();
  request.name = "before";
  Mutation m = world().next();
  m.new_ino = world().unused_ino();
  must(store_->create(m, request));

  World owner = World::reopen(engine().open(), tenant_);
  EXPECT_EQ(code_of(store_->create(m, request)), Code::fenced) << "a retry as well";
  EXPECT_EQ(code_of(store_->recall(m, request.op.number)), Code::fenced);
  EXPECT_EQ(code_of(world().create(root(), "a")), Code::fenced);
  EXPECT_EQ(code_of(world().append(ino, "y")), Code::fenced);
  EXPECT_EQ(code_of(world().truncate(ino, 0)), Code::fenced);
  EXPECT_EQ(code_of(world().unlink(root(), "file")), Code::fenced);
  EXPECT_EQ(code_of(world().rmdir(root(), "none")), Code::fenced);
  EXPECT_EQ(code_of(world().rename(root(), "file", root(), "b")), Code::fenced);
  EXPECT_EQ(code_of(world().link(ino, root(), "b")), Code::fenced);
  EXPECT_EQ(code_of(world().set_xattr(ino, "user.a", "1")), Code::fenced);
  EXPECT_EQ(owner.names(root()), (std::vector<std::string>{"file", "before"}));
  EXPECT_EQ(owner.content(ino), "x");
  must(owner.append(ino, "y"));
  EXPECT_EQ(world().content(ino), "xy") << "reads need no ownership";
}

TEST_P(ScopeIsolation, TenantsDoNotSeeEachOther) {
  World other(store_, new_tenant_name());
  const Ino mine = world().make_file(root(), "secret", "mine");
  const Ino theirs = other.make_file(other.root(), "secret", "theirs");
  EXPECT_EQ(world().content(mine), "mine");
  EXPECT_EQ(other.content(theirs), "theirs");
  for (const Change& change : other.changes()) EXPECT_NE(change.session, world().session());
  EXPECT_EQ(other.changes().size(), 2u);

  // Inode numbers are the tenant's own; volumes are not.
  World thief = world().fork();
  thief.scope.readable = other.scope.readable;
  thief.scope.writable = other.scope.writable;
  EXPECT_EQ(code_of(store_->getattr(thief.scope, {mine, false})), Code::stale_node);
  EXPECT_EQ(code_of(store_->getattr(thief.scope, {theirs, false})), Code::stale_node);
  EXPECT_EQ(code_of(thief.unlink(root(), "secret")), Code::stale_node);
  EXPECT_EQ(code_of(thief.unlink(other.root(), "secret")), Code::stale_node);
  EXPECT_TRUE(must(store_->changes(thief.scope, {})).changes.empty());
  store::Scope nowhere = world().scope;
  nowhere.tenant = TenantId{987654321};
  EXPECT_EQ(code_of(store_->getattr(nowhere, {mine, false})), Code::stale_node);
}

TEST_P(ScopeIsolation, AnUnreadableVolumeDoesNotExist) {
  const Ino dir = world().make_dir(world().other_root(), "dir");
  const Ino file = world().make_file(dir, "file", "x");
  const Ino visible = world().make_file(root(), "visible");
  store::Scope scope = world().scope;
  scope.readable = scope.writable = {world().volume()};
  EXPECT_EQ(code_of(store_->lookup(scope, {dir, "file", false})), Code::stale_node);
  EXPECT_EQ(code_of(store_->getattr(scope, {file, false})), Code::stale_node);
  EXPECT_EQ(code_of(store_->readdir(scope, {dir, {}, 10, false})), Code::stale_node);
  EXPECT_EQ(code_of(store_->read(scope, {file, {}, 0, 10})), Code::stale_node);
  EXPECT_EQ(code_of(store_->xattrs(scope, file)), Code::stale_node);
  EXPECT_EQ(code_of(store_->versions(scope, {file, {}, 10})), Code::stale_node);
  for (const Change& change : must(store_->changes(scope, {})).changes)
    EXPECT_EQ(change.volume, "memory");
  world().scope = scope;
  EXPECT_EQ(code_of(world().create(dir, "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().unlink(dir, "file")), Code::stale_node);
  EXPECT_EQ(code_of(world().rename(root(), "visible", dir, "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().rename(dir, "file", root(), "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().link(visible, dir, "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().link(file, root(), "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().append(file, "x")), Code::stale_node);
  EXPECT_EQ(code_of(world().truncate(file, 0)), Code::stale_node);
  EXPECT_EQ(code_of(world().set_xattr(file, "user.a", "1")), Code::stale_node);
}

TEST_P(ScopeIsolation, AReadOnlyVolumeRefusesMutations) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino file = world().make_file(dir, "file", "x");
  world().scope.writable = {world().other_volume()};
  EXPECT_EQ(world().content(file), "x");
  EXPECT_EQ(world().names(dir).size(), 1u);
  EXPECT_FALSE(world().changes().empty());
  EXPECT_EQ(code_of(world().create(dir, "x")), Code::read_only);
  EXPECT_EQ(code_of(world().create(dir, "file")), Code::read_only);
  EXPECT_EQ(code_of(world().unlink(dir, "file")), Code::read_only);
  EXPECT_EQ(code_of(world().unlink(dir, "none")), Code::read_only);
  EXPECT_EQ(code_of(world().rmdir(root(), "dir")), Code::read_only);
  EXPECT_EQ(code_of(world().rename(dir, "file", dir, "y")), Code::read_only);
  EXPECT_EQ(code_of(world().link(file, dir, "y")), Code::read_only);
  EXPECT_EQ(code_of(world().append(file, "x")), Code::read_only);
  EXPECT_EQ(code_of(world().truncate(file, 0)), Code::read_only);
  EXPECT_EQ(code_of(world().set_xattr(file, "user.a", "1")), Code::read_only);
  EXPECT_EQ(code_of(world().link(file, world().other_root(), "x")), Code::cross_volume);
  EXPECT_EQ(code_of(world().rename(dir, "file", world().other_root(), "x")), Code::cross_volume);
  EXPECT_EQ(world().content(file), "x");
  must(world().create(world().other_root(), "writable"));
}

}  // namespace
}  // namespace linkspan::test
