// What is denied is told in no way; neither links nor moves nor numbers lead around a rule; and the
// rules for execute bits, sizes and names.
#include "rules_fixture.h"

namespace linkspan::core::testing {
namespace {

// ---- what is denied ----

TEST_F(RulesTest, WhatIsDeniedIsListedAndNoMore) {
  Mount all = mount();
  const Ino dir = all.create(all.root(), "d", Kind::directory);
  const Ino secret = file(all, dir, "a.key", "secret");
  const Ino plain = file(all, dir, "a.txt", "plain");
  Mount m = ruled({with_access("*.key", Access::none)});
  const auto found = m.look(dir, "a.key");
  ASSERT_TRUE(found.node);
  EXPECT_EQ(found.node->attr.size, 6u);
  EXPECT_EQ(found.node->attr.access, Access::none);
  EXPECT_FALSE(found.node->content);
  EXPECT_EQ(m.look(dir, "a.txt").node->content, "plain");
  const auto listed = router_->readdir(m.who, {dir, {}, 10, true});
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->entries.size(), 2u);
  for (const DirEntry& entry : listed->entries)
    EXPECT_EQ(entry.node.content.has_value(), entry.name == "a.txt") << entry.name;
  const auto node = router_->getattr(m.who, {secret, true});
  ASSERT_TRUE(node.ok());
  EXPECT_FALSE(node->node.content);

  EXPECT_EQ(router_->read(m.who, {secret, {}, 0, 10}).code(), Code::access_denied);
  EXPECT_EQ(router_->read(m.who, {secret, Version{1}, 0, 10}).code(), Code::access_denied);
  EXPECT_EQ(router_->data_ranges(m.who, {secret, {}, 0}).code(), Code::access_denied);
  EXPECT_EQ(router_->xattrs(m.who, secret).code(), Code::access_denied);
  EXPECT_EQ(router_->versions(m.who, {secret, {}, 10}).code(), Code::access_denied);
  EXPECT_EQ(m.content(plain), "plain");
  const auto changes = router_->changes(m.who, {});
  ASSERT_TRUE(changes.ok());
  EXPECT_FALSE(changes->changes.empty());
  for (const Change& change : changes->changes) EXPECT_NE(change.path, "d/a.key");
  std::promise<Code> locked;
  SetLockRequest lock;
  lock.number = OpNumber{1};
  lock.lock.ino = secret;
  lock.lock.type = LockType::shared;
  router_->set_lock(m.who, lock,
                    [&](auto reply) { locked.set_value(reply.ok() ? kDone : reply.code()); });
  EXPECT_EQ(locked.get_future().get(), Code::access_denied);
}

TEST_F(RulesTest, BelowADeniedDirectoryNothingIsTold) {
  Mount all = mount();
  const Ino dir = all.create(all.root(), "secret", Kind::directory);
  const Ino sub = all.create(dir, "sub", Kind::directory);
  const Ino ino = file(all, sub, "x");
  Mount m = ruled({with_access("secret", Access::none)});
  EXPECT_TRUE(m.look(m.root(), "secret").node);
  EXPECT_TRUE(router_->getattr(m.who, {dir}).ok());
  EXPECT_EQ(router_->readdir(m.who, {dir}).code(), Code::access_denied);
  EXPECT_EQ(router_->readdir(m.who, {sub}).code(), Code::access_denied);
  EXPECT_EQ(router_->lookup(m.who, {dir, "sub"}).code(), Code::access_denied);
  EXPECT_EQ(router_->lookup(m.who, {dir, "none"}).code(), Code::access_denied);
  EXPECT_EQ(router_->getattr(m.who, {ino}).code(), Code::access_denied);
  EXPECT_EQ(code(m.start_remove(dir, "none").get()), Code::access_denied);
  EXPECT_EQ(code(m.start_create(sub, "mine").get()), Code::access_denied);
  EXPECT_EQ(code(m.start_rename(m.root(), "secret", m.root(), "open").get()), Code::access_denied);
}

TEST_F(RulesTest, ConflictsOfWhatIsDeniedAreNotListedAndTheirBytesNotRead) {
  Mount all = mount();
  const Ino secret = all.create(all.root(), "a.key");
  ASSERT_TRUE(all.start_write(secret, "one\n").get().ok());
  ASSERT_TRUE(all.start_write(secret, "two\n").get().ok());
  const Outcome refused = all.start_write(secret, "three\n", Version{2}).get();
  ASSERT_EQ(code(refused), Code::conflict);
  const auto kept = router_->conflicts(all.who, {});
  ASSERT_EQ(kept->conflicts.size(), 1u);
  const Conflict conflict = kept->conflicts[0];
  Mount denied = ruled({with_access("*.key", Access::none)});
  EXPECT_TRUE(router_->conflicts(denied.who, {})->conflicts.empty());
  EXPECT_EQ(router_->read(denied.who, {conflict.theirs, {}, 0, 9}).code(), Code::access_denied);
  const auto settle = [&](Mount& m) {
    Pending p;
    router_->settle(m.who, {m.op(), conflict.number}, p.done());
    return code(p.get());
  };
  Mount appends = ruled({with_access("*.key", Access::append_only)});
  Mount writes = ruled({with_access("*.key", Access::no_delete)});
  EXPECT_EQ(settle(denied), Code::access_denied);
  EXPECT_EQ(settle(appends), Code::not_permitted);
  EXPECT_EQ(settle(writes), kDone);
  EXPECT_EQ(router_->read(denied.who, {conflict.theirs, {}, 0, 9}).code(), Code::access_denied)
      << "nobody knows of what it was, so it may be of what is denied";
}

// ---- ways around ----

// The router would read it for whoever names it, and put it into what they may read.
TEST_F(RulesTest, ABaseThatIsDeniedIsNotRead) {
  Mount all = mount();
  const Ino secret = file(all, all.root(), "a.key", "secret\n");
  const Ino ino = file(all, all.root(), "mine.txt", "mine\n");
  ASSERT_TRUE(all.start_write(ino, "mine, again\n").get().ok());
  const auto told = [&](Mount& m) {
    CommitRequest as_it_is = at_offset(m, ino, "+", 0);
    as_it_is.base_ino = secret;
    as_it_is.base = Version{2};
    const bool refused = code(m.start(as_it_is).get()) == Code::conflict;
    std::string all_of_it = m.content(ino);
    const auto versions = *router_->versions(m.who, {ino, {}, 10});
    for (const VersionInfo& version : versions)
      all_of_it += router_->read(m.who, {ino, version.version, 0, 100})->data;
    const auto conflicts = router_->conflicts(m.who, {})->conflicts;
    for (const Conflict& kept : conflicts)
      all_of_it += router_->read(m.who, {kept.theirs, {}, 0, 100})->data;
    EXPECT_TRUE(refused);
    return all_of_it.find("ecret") != std::string::npos;
  };
  Mount m = ruled({with_access("*.key", Access::none)});
  EXPECT_FALSE(told(m));
  EXPECT_TRUE(told(all)) << "who may read it gets it back as it was written";
}

TEST_F(RulesTest, AnotherNameIsNoWayAround) {
  Mount all = mount();
  const Ino ino = file(all, all.root(), "journal.log");
  const Ino secret = file(all, all.root(), "a.key");
  Mount m = ruled({with_access("*.log", Access::append_only), with_access("*.key", Access::none)});
  EXPECT_EQ(code(m.start(LinkRequest{m.op(), secret, m.root(), "free"}).get()),
            Code::access_denied);
  ASSERT_EQ(code(m.start(LinkRequest{m.op(), ino, m.root(), "free"}).get()), kDone);
  EXPECT_EQ(code(m.start_write(ino, "x").get()), Code::not_permitted);
  EXPECT_EQ(m.look(m.root(), "free").node->attr.access, Access::append_only);
  ASSERT_EQ(code(all.start(LinkRequest{all.op(), secret, all.root(), "open"}).get()), kDone);
  EXPECT_FALSE(m.look(m.root(), "open").node->content) << "the strictest of all names";
  EXPECT_EQ(router_->read(m.who, {secret, {}, 0, 9}).code(), Code::access_denied);
  const Ino late = file(all, all.root(), "late", "secret");
  ASSERT_EQ(code(all.start(LinkRequest{all.op(), late, all.root(), "late.key"}).get()), kDone);
  EXPECT_FALSE(m.look(m.root(), "late").node->content) << "not only the oldest";
  // The name that is free may go; what it named stays.
  EXPECT_EQ(code(m.start_remove(m.root(), "free").get()), kDone);
  EXPECT_EQ(code(m.start_remove(m.root(), "journal.log").get()), Code::not_permitted);
}

TEST_F(RulesTest, MovingIsNoWayAround) {
  Mount all = mount();
  const Ino place = all.create(all.root(), "place", Kind::directory);
  const Ino sub = all.create(place, "sub", Kind::directory);
  file(all, sub, "x");
  file(all, place, "kept");
  file(all, all.root(), "free");
  Mount m = ruled({with_access("place/sub/*", Access::read_only),
                   with_access("place/kept", Access::append_only)});
  const auto move = [&](Ino from, const char* name, Ino to, const char* as, bool exchange = false) {
    RenameRequest request;
    request.op = m.op();
    request.from_parent = from;
    request.from_name = name;
    request.to_parent = to;
    request.to_name = as;
    request.exchange = exchange;
    return code(m.start(request).get());
  };
  EXPECT_EQ(move(m.root(), "place", m.root(), "other"), Code::cross_volume);
  EXPECT_EQ(move(place, "sub", m.root(), "sub"), Code::cross_volume);
  EXPECT_EQ(move(sub, "x", m.root(), "x"), Code::access_denied);
  EXPECT_EQ(move(place, "kept", m.root(), "x"), Code::not_permitted);
  EXPECT_EQ(move(m.root(), "free", place, "kept"), Code::not_permitted);
  EXPECT_EQ(move(m.root(), "free", place, "kept", true), Code::not_permitted);
  EXPECT_EQ(move(m.root(), "free", sub, "y"), Code::access_denied);
  m.create(m.root(), "empty", Kind::directory);
  EXPECT_EQ(move(m.root(), "empty", m.root(), "renamed"), kDone);
  EXPECT_EQ(move(m.root(), "renamed", m.root(), "place2"), kDone);
  EXPECT_EQ(move(m.root(), "free", place, "free"), kDone);
}

TEST_F(RulesTest, WhatLostItsNameIsUnderTheRulesOfThatName) {
  Mount all = mount();
  const Ino removed = file(all, all.root(), "a.key", "secret");
  const Ino replaced = file(all, all.root(), "b.key", "secret");
  file(all, all.root(), "new", "other");
  Mount m = ruled({with_access("*.key", Access::none)});
  ASSERT_TRUE(all.start_remove(all.root(), "a.key").get().ok());
  ASSERT_TRUE(all.start_rename(all.root(), "new", all.root(), "b.key").get().ok());
  for (int i = 0; i < 30; ++i)  // the log's last entries of it have no path
    ASSERT_TRUE(all.start(appended(all, removed, "x")).get().ok());
  EXPECT_EQ(router_->read(m.who, {removed, {}, 0, 9}).code(), Code::access_denied);
  EXPECT_EQ(router_->read(m.who, {replaced, {}, 0, 9}).code(), Code::access_denied);
  EXPECT_EQ(code(m.start(appended(m, removed, "x")).get()), Code::access_denied);
  // One's own temporary file stays one's own.
  const Ino temp = file(m, m.root(), "temp");
  ASSERT_TRUE(m.start_remove(m.root(), "temp").get().ok());
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(m.start(appended(m, temp, "x")).get().ok());
  EXPECT_EQ(m.content(temp).size(), 33u);
}

// ---- execute bits, sizes, names ----

TEST_F(RulesTest, ExecuteBitsSizesAndNames) {
  PolicyPattern plain{"plain/**"};
  plain.no_exec = true;
  plain.max_bytes = 8;
  plain.allowed = {"*.md", "sub"};
  Mount all = mount();
  const Ino place = all.create(all.root(), "plain", Kind::directory);
  Mount m = ruled({plain});
  const Ino note = file(m, place, "a.md");
  const auto chmod = [&](Ino ino, uint32_t mode) {
    auto request = attributes(m, ino);
    request.mode = mode;
    return code(m.start(request).get());
  };
  EXPECT_EQ(chmod(note, 0600), kDone);
  EXPECT_EQ(chmod(note, 0700), Code::not_permitted);
  EXPECT_EQ(chmod(note, 0601), Code::not_permitted);
  CreateRequest script;
  script.op = m.op();
  script.parent = place;
  script.name = "b.md";
  script.mode = 0755;
  EXPECT_EQ(code(m.start(script).get()), Code::not_permitted);
  EXPECT_EQ(code(m.start_create(place, "sub", Kind::directory).get()), kDone);
  EXPECT_EQ(chmod(m.look(place, "sub").node->attr.ino, 0755), kDone) << "of files only";
  const Ino tool = file(m, m.root(), "tool");
  EXPECT_EQ(chmod(tool, 0755), kDone);
  EXPECT_EQ(code(m.start_rename(m.root(), "tool", place, "tool.md").get()), Code::not_permitted);
  EXPECT_EQ(code(m.start(LinkRequest{m.op(), tool, place, "tool.md"}).get()), Code::not_permitted);

  EXPECT_EQ(code(m.start_write(note, "12345678").get()), kDone);
  EXPECT_EQ(code(m.start_write(note, "123456789").get()), Code::too_large);
  EXPECT_EQ(code(m.start(appended(m, note, "9")).get()), Code::too_large);
  auto grow = attributes(m, note);
  grow.size = 9;
  EXPECT_EQ(code(m.start(grow).get()), Code::too_large);
  file(m, m.root(), "large", "123456789");
  const Ino large = m.look(m.root(), "large").node->attr.ino;
  EXPECT_EQ(code(m.start_rename(m.root(), "large", place, "large.md").get()), Code::too_large);
  EXPECT_EQ(code(m.start(LinkRequest{m.op(), large, place, "large.md"}).get()), Code::too_large);
  RenameRequest swap;
  swap.op = m.op();
  swap.from_parent = place;
  swap.from_name = "a.md";
  swap.to_parent = m.root();
  swap.to_name = "large";
  swap.exchange = true;
  EXPECT_EQ(code(m.start(swap).get()), Code::too_large);

  EXPECT_EQ(code(m.start_create(place, "x.sh").get()), Code::not_permitted);
  file(m, m.root(), "x");
  EXPECT_EQ(code(m.start_rename(m.root(), "x", place, "x.sh").get()), Code::not_permitted);
  EXPECT_EQ(
      code(m.start(LinkRequest{m.op(), m.look(m.root(), "x").node->attr.ino, place, "x.sh"}).get()),
      Code::not_permitted);
  EXPECT_EQ(code(m.start_rename(m.root(), "x", place, "x.md").get()), kDone);
}

TEST_F(RulesTest, WithoutRulesTheStoreIsAskedNothingMore) {
  Mount m = mount();
  const Ino ino = file(m, m.root(), "x");
  m.content(ino);
  ASSERT_TRUE(m.start(appended(m, ino, "x")).get().ok());
  ASSERT_TRUE(m.start_remove(m.root(), "x").get().ok());
  EXPECT_EQ(store_->calls("path_of") + store_->calls("paths_of") + store_->calls("getattr"), 0);
  Mount appends = ruled({}, Access::append_only);
  const Ino log = file(appends, appends.root(), "log", "");
  ASSERT_TRUE(appends.start(appended(appends, log, "x")).get().ok());
  EXPECT_EQ(store_->calls("path_of") + store_->calls("paths_of"), 0) << "rights know no paths";
}

}  // namespace
}  // namespace linkspan::core::testing
