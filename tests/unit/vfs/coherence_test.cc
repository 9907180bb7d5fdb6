// What a mutating call that returned on one mount makes visible on the other, and that nothing else
// costs a fetch.
#include <sys/stat.h>
#include <sys/xattr.h>

#include <stdio.h>

#include <future>

#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

TEST_F(TwoMounts, AWrittenFileIsThereAtOnce) {
  EXPECT_FALSE(b.there("x"));  // b knows that it is not there
  ASSERT_OK(a.write("x", "hello"));
  EXPECT_EQ(text(b.read("x")), "hello");
  EXPECT_EQ(b.attr("x").size, 5u);
  ASSERT_OK(a.write("x", "hello, world"));
  EXPECT_EQ(b.attr("x").size, 12u);
  EXPECT_EQ(text(b.read("x")), "hello, world");
  EXPECT_EQ(text(a.read("x")), "hello, world");
}

TEST_F(TwoMounts, TheKernelIsToldWhatItMayKeepAndWhatToDrop) {
  ASSERT_OK(a.write("x", "one"));
  const auto entry = b.find("x");
  ASSERT_OK(entry);
  EXPECT_GT(entry->times.entry, 0);
  EXPECT_GT(entry->times.attr, 0);
  EXPECT_TRUE(b.vfs->reply_gate().enter(entry->times.as_of).current());
  b.kernel.forget();
  ASSERT_OK(a.write("x", "two"));
  EXPECT_TRUE(b.kernel.dropped_content(entry->attr.ino));
  EXPECT_FALSE(b.vfs->reply_gate().enter(entry->times.as_of).current());
  EXPECT_FALSE(b.kernel.dropped_name("x"));  // an overwrite leaves names alone
  ASSERT_OK(a.save("x", "three"));
  EXPECT_TRUE(b.kernel.dropped_name("x"));
  // No name may stay where nothing can make the kernel drop it.
  b.kernel.epoch = false;
  EXPECT_EQ(b.find("x")->times.entry, 0);
  EXPECT_GT(b.find("x")->times.attr, 0);
}

TEST_F(TwoMounts, NamesComeAndGo) {
  ASSERT_OK(a.mkdir("d"));
  EXPECT_TRUE(b.list("d").empty());
  ASSERT_OK(a.write("d/one", "1"));
  ASSERT_OK(a.write("d/two", "2"));
  EXPECT_EQ(b.list("d"), (std::vector<std::string>{"one", "two"}));
  ASSERT_OK(a.unlink("d/one"));
  EXPECT_FALSE(b.there("d/one"));
  EXPECT_EQ(b.list("d"), std::vector<std::string>{"two"});
  ASSERT_OK(a.rename("d/two", "d/three"));
  EXPECT_FALSE(b.there("d/two"));
  EXPECT_EQ(text(b.read("d/three")), "2");
  ASSERT_OK(a.rename("d", "e"));
  EXPECT_FALSE(b.there("d"));
  EXPECT_EQ(text(b.read("e/three")), "2");
  EXPECT_EQ(b.vfs->rmdir(b.me, b.root, "e").code(), Code::not_empty);
  ASSERT_OK(b.unlink("e/three"));
  ASSERT_OK(b.vfs->rmdir(b.me, b.root, "e"));
  EXPECT_FALSE(a.there("e"));
}

TEST_F(TwoMounts, AttributesLinksAndSymlinks) {
  ASSERT_OK(a.write("x", "1"));
  EXPECT_EQ(b.attr("x").mode, 0644u);
  SetAttr chmod;
  chmod.mode = 0600;
  ASSERT_OK(a.set("x", chmod));
  EXPECT_EQ(b.attr("x").mode, 0600u);
  ASSERT_OK(a.vfs->link(a.me, a.ino("x"), a.root, "y"));
  EXPECT_EQ(b.attr("x").nlink, 2u);
  EXPECT_EQ(b.ino("y"), b.ino("x"));
  SetAttr times;
  times.mtime = Time{123456789};
  ASSERT_OK(b.set("y", times));
  EXPECT_EQ(a.attr("x").mtime, Time{123456789});
  ASSERT_OK(a.vfs->symlink(a.me, a.root, "s", "to/there"));
  EXPECT_EQ(text(b.vfs->readlink(b.me, b.ino("s"))), "to/there");
  ASSERT_OK(a.unlink("s"));
  ASSERT_OK(a.vfs->symlink(a.me, a.root, "s", "elsewhere"));
  EXPECT_EQ(text(b.vfs->readlink(b.me, b.ino("s"))), "elsewhere");
  SetAttr cut;
  cut.size = 0;
  ASSERT_OK(a.set("x", cut));
  EXPECT_EQ(b.attr("y").size, 0u);
  EXPECT_EQ(text(b.read("x")), "");
}

TEST_F(TwoMounts, Xattrs) {
  ASSERT_OK(a.write("x", "1"));
  EXPECT_EQ(b.vfs->getxattr(b.me, b.ino("x"), "user.k").code(), Code::no_attribute);
  ASSERT_OK(a.vfs->setxattr(a.me, a.ino("x"), "user.k", "v", XATTR_CREATE));
  EXPECT_EQ(text(b.vfs->getxattr(b.me, b.ino("x"), "user.k")), "v");
  EXPECT_EQ(b.vfs->setxattr(b.me, b.ino("x"), "user.k", "w", XATTR_CREATE).code(), Code::exists);
  ASSERT_OK(b.vfs->setxattr(b.me, b.ino("x"), "user.k", "w", XATTR_REPLACE));
  EXPECT_EQ(text(a.vfs->getxattr(a.me, a.ino("x"), "user.k")), "w");
  EXPECT_EQ(*a.vfs->listxattr(a.me, a.ino("x")), std::vector<std::string>{"user.k"});
  ASSERT_OK(a.vfs->removexattr(a.me, a.ino("x"), "user.k"));
  EXPECT_TRUE(b.vfs->listxattr(b.me, b.ino("x"))->empty());
  EXPECT_EQ(b.vfs->removexattr(b.me, b.ino("x"), "user.k").code(), Code::no_attribute);
}

TEST_F(TwoMounts, XattrsOfHistoryAndThoseThatCostNothing) {
  ASSERT_OK(a.write("x", "1"));
  ASSERT_OK(a.write("x", "2"));
  const Ino x = b.ino("x");
  EXPECT_EQ(text(b.vfs->getxattr(b.me, x, "user.linkspan.version")),
            std::to_string(b.attr("x").version.value));
  EXPECT_EQ(text(b.vfs->getxattr(b.me, x, "user.linkspan.author")), "agent");
  EXPECT_EQ(text(b.vfs->getxattr(b.me, x, "user.linkspan.session")).size(), 16u);
  EXPECT_EQ(text(b.vfs->getxattr(b.me, x, "user.linkspan.changed")).back(), 'Z');
  EXPECT_EQ(b.vfs->getxattr(b.me, x, "user.linkspan.other").code(), Code::no_attribute);
  EXPECT_EQ(b.vfs->setxattr(b.me, x, "user.linkspan.author", "me", 0).code(), Code::not_permitted);
  EXPECT_EQ(b.vfs->getxattr(b.me, x, "system.posix_acl_access").code(), Code::unsupported);
  EXPECT_EQ(b.vfs->setxattr(b.me, x, "system.posix_acl_access", "", 0).code(), Code::unsupported);
  const uint64_t before = b.client.calls();
  for (int i = 0; i < 10; ++i)
    EXPECT_EQ(b.vfs->getxattr(b.me, x, "security.capability").code(), Code::no_attribute);
  EXPECT_EQ(b.client.calls(), before);
}

TEST_F(TwoMounts, WhatIsCachedCostsNoCall) {
  ASSERT_OK(a.mkdir("d"));
  for (int i = 0; i < 20; ++i) ASSERT_OK(a.write("d/" + std::to_string(i), "content"));
  EXPECT_EQ(b.list("d").size(), 20u);
  // Access times are told in the background, so maybe between two looks.
  const auto asked = [&] {
    for (;;) {
      const uint64_t told = b.client.calls("set_attributes"), all = b.client.calls();
      if (b.client.calls("set_attributes") == told) return all - told;
    }
  };
  const uint64_t before = asked();
  // Listings bring attributes, names and small content.
  for (int i = 0; i < 20; ++i) EXPECT_EQ(text(b.read("d/" + std::to_string(i))), "content");
  EXPECT_FALSE(b.there("d/99"));
  EXPECT_EQ(b.list("d").size(), 20u);
  EXPECT_EQ(asked(), before);
  // A change of one file costs what is about it.
  ASSERT_OK(a.write("d/7", "changed"));
  EXPECT_EQ(text(b.read("d/7")), "changed");
  EXPECT_EQ(text(b.read("d/8")), "content");
  EXPECT_EQ(b.client.calls() - b.client.calls("set_attributes"), before + 1);
}

TEST_F(TwoMounts, OwnMutationsAreKnownWithoutAsking) {
  ASSERT_OK(a.write("x", "1"));
  ASSERT_OK(a.mkdir("d"));
  ASSERT_OK(a.rename("x", "d/y"));
  const uint64_t before = a.client.calls() - a.client.calls("set_attributes");
  a.client.before = [](const std::string& what) { EXPECT_EQ(what, "set_attributes"); };
  EXPECT_EQ(text(a.read("d/y")), "1");
  EXPECT_FALSE(a.there("x"));
  ASSERT_EQ(a.attr("d").nlink, 2u);
  EXPECT_EQ(a.client.calls() - a.client.calls("set_attributes"), before);
}

TEST_F(TwoMounts, APartialPageOfABigDirectoryIsStableUnderChange) {
  ASSERT_OK(a.mkdir("d"));
  for (int i = 0; i < 2500; ++i)
    ASSERT_OK(a.vfs->mknod(a.me, a.ino("d"), "f" + std::to_string(i), Kind::file, 0644));
  EXPECT_EQ(b.list("d", 100).size(), 2500u);
  // Halfway through, entries before and behind the reader go and come.
  const Ino dir = b.ino("d");
  const Handle h = *b.vfs->opendir(b.me, dir);
  std::set<std::string> seen;
  uint64_t offset = 0;
  for (int round = 0;; ++round) {
    const auto items = b.vfs->readdir(b.me, dir, h, offset, 100);
    ASSERT_OK(items);
    if (items->empty()) break;
    for (const DirItem& item : *items) {
      EXPECT_TRUE(seen.insert(item.name).second) << item.name << " came twice";
      offset = item.offset;
    }
    if (round == 10) {
      for (int i = 0; i < 500; i += 5) ASSERT_OK(a.unlink("d/f" + std::to_string(i)));
      for (int i = 0; i < 50; ++i)
        ASSERT_OK(a.vfs->mknod(a.me, a.ino("d"), "new" + std::to_string(i), Kind::file, 0644));
    }
  }
  for (int i = 0; i < 2500; ++i)
    if (i >= 500 || i % 5 != 0) {
      EXPECT_EQ(seen.count("f" + std::to_string(i)), 1u) << i;
    }
  EXPECT_EQ(b.list("d", 333).size(), 2450u);
}

TEST_F(TwoMounts, RenameFlags) {
  ASSERT_OK(a.write("x", "1"));
  ASSERT_OK(a.write("y", "2"));
  EXPECT_EQ(a.rename("x", "y", RENAME_NOREPLACE).code(), Code::exists);
  ASSERT_OK(a.rename("x", "y", RENAME_EXCHANGE));
  EXPECT_EQ(text(b.read("x")), "2");
  EXPECT_EQ(text(b.read("y")), "1");
  EXPECT_EQ(text(a.read("x")), "2");
  EXPECT_EQ(a.rename("x", "y", 1u << 7).code(), Code::invalid);
  // Two names of one node: nothing happens, both stay.
  ASSERT_OK(a.vfs->link(a.me, a.ino("x"), a.root, "z"));
  ASSERT_OK(a.rename("x", "z"));
  EXPECT_TRUE(a.there("x"));
  EXPECT_TRUE(b.there("x"));
  EXPECT_TRUE(b.there("z"));
}

TEST_F(TwoMounts, UnlinkedWhileOpen) {
  ASSERT_OK(a.write("x", "content"));
  const auto here = a.open("x", O_RDWR);
  const auto there = b.open("x", O_RDONLY);
  ASSERT_OK(here);
  ASSERT_OK(there);
  ASSERT_OK(a.unlink("x"));
  EXPECT_FALSE(b.there("x"));
  EXPECT_EQ(text(a.pread(*here, 0, 100)), "content");
  EXPECT_EQ(text(b.pread(*there, 0, 100)), "content");
  ASSERT_OK(a.pwrite(*here, 0, "CON"));
  const uint64_t commits = a.client.calls("commit");
  EXPECT_EQ(text(a.pread(*here, 0, 100)), "CONtent");
  ASSERT_OK(a.fsync(*here));
  ASSERT_OK(a.close(*here));
  EXPECT_EQ(a.client.calls("commit"), commits);  // nobody could ever read it
  ASSERT_OK(b.close(*there));
  // The thread that commits drops it.
  EXPECT_TRUE(eventually([&] { return a.vfs->stats().dirty_files == 0; }));
}

TEST_F(TwoMounts, ATruncationIsCommittedThoughNothingIsWritten) {
  ASSERT_OK(a.write("x", "old"));
  EXPECT_EQ(text(b.read("x")), "old");
  const auto held = a.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(held);
  EXPECT_TRUE(eventually([&] { return text(b.read("x")).empty(); }));
  ASSERT_OK(b.append("x", "b\n"));
  ASSERT_OK(a.pwrite(*held, 0, "a\n", true));
  ASSERT_OK(a.close(*held));
  EXPECT_EQ(text(a.read("x")), "b\na\n");
}

// What a process had read under the name, and saves again later, is what it saved before.
TEST_F(TwoMounts, ASaveOverANameThatTheMountDoesNotKnowIsRead) {
  ASSERT_OK(a.write("x", "one\ntwo\n"));
  ASSERT_OK(a.write("temp", "one\ntwo\nthree\n"));
  const Ino source = a.ino("temp");
  a.vfs->on_caches_lost();
  EXPECT_EQ(a.ino("temp"), source);
  ASSERT_OK(a.vfs->rename(a.me, a.root, "temp", a.root, "x", 0));
  EXPECT_EQ(text(b.read("x")), "one\ntwo\nthree\n");
  ASSERT_OK(b.save("x", "ONE\ntwo\nthree\n"));
  ASSERT_OK(a.write("temp", "one\ntwo\nthree\nfour\n"));
  ASSERT_OK(a.rename("temp", "x"));
  EXPECT_EQ(text(b.read("x")), "ONE\ntwo\nthree\nfour\n");
}

TEST_F(TwoMounts, AMutationWaitsForTheOthersAcknowledgement) {
  ASSERT_OK(a.write("x", "old"));
  EXPECT_EQ(text(b.read("x")), "old");
  b.client.hold_revocations();
  std::atomic<bool> returned{false};
  std::thread writer([&] {
    EXPECT_OK(a.write("x", "new"));
    returned = true;
  });
  // Not acknowledged, so not returned; b may still see the old content.
  EXPECT_FALSE(eventually([&] { return returned.load(); }, 100ms));
  EXPECT_EQ(text(b.read("x")), "old");
  b.client.let_revocations();
  writer.join();
  EXPECT_EQ(text(b.read("x")), "new");
}

TEST_F(TwoMounts, KeepCacheFollowsTheContent) {
  ASSERT_OK(a.write("x", "one"));
  auto h = b.open("x", O_RDONLY);
  EXPECT_FALSE(b.kept);
  ASSERT_OK(b.close(*h));
  h = b.open("x", O_RDONLY);
  EXPECT_TRUE(b.kept);
  ASSERT_OK(b.close(*h));
  SetAttr chmod;
  chmod.mode = 0640;
  ASSERT_OK(a.set("x", chmod));
  h = b.open("x", O_RDONLY);
  EXPECT_TRUE(b.kept);  // attributes are not pages
  ASSERT_OK(b.close(*h));
  ASSERT_OK(a.write("x", "two"));
  h = b.open("x", O_RDONLY);
  EXPECT_FALSE(b.kept);
  EXPECT_EQ(text(b.pread(*h, 0, 10)), "two");  // only now it has read this one
  ASSERT_OK(b.close(*h));
  // An own rewrite went through the kernel's pages.
  ASSERT_OK(b.write("x", "three"));
  h = b.open("x", O_RDONLY);
  EXPECT_TRUE(b.kept);
  ASSERT_OK(b.close(*h));
}

TEST(Ownership, SquashAndIdentity) {
  LocalRouter router;
  Mount squashed(&router);
  Mount identity(&router, {.ownership = Ownership::identity});
  identity.me.uid = 7;
  identity.me.gid = 8;
  ASSERT_OK(identity.write("x", "1"));
  EXPECT_EQ(identity.attr("x").uid, 7u);
  EXPECT_EQ(identity.attr("x").gid, 8u);
  EXPECT_EQ(squashed.attr("x").uid, 1000u);
  SetAttr chown;
  chown.uid = 9;
  ASSERT_OK(identity.set("x", chown));
  EXPECT_EQ(identity.attr("x").uid, 9u);
  EXPECT_EQ(squashed.set("x", chown).code(), Code::not_permitted);
  chown.uid = 1000;
  chown.gid = 1000;
  EXPECT_OK(squashed.set("x", chown));
  EXPECT_EQ(identity.attr("x").uid, 9u);
  ASSERT_OK(squashed.write("y", "1"));
  EXPECT_EQ(identity.attr("y").uid, 0u);
}

TEST(ReadOnlyRoute, ANameForWhichTheKernelWaitsKeepsNobodyFromComingBack) {
  LocalRouter router(300ms);
  Mount publisher(&router, {.route = "skills", .token = LocalRouter::kPublisher});
  Mount agent(&router, {.route = "skills"});
  ASSERT_OK(publisher.write("skill", "v1"));
  EXPECT_EQ(text(agent.read("skill")), "v1");
  std::promise<void> answered;
  agent.kernel.before_names = [waits = answered.get_future().share()] { waits.wait(); };
  agent.client.cut();
  // A lookup of the directory waits for the link, and the kernel, with the name, for the lookup.
  EXPECT_TRUE(eventually([&] { return agent.losses > 0; }));
  agent.client.join();
  EXPECT_EQ(text(agent.read("skill")), "v1");
  answered.set_value();
}

TEST(ReadOnlyRoute, RefusesEveryMutation) {
  LocalRouter router;
  Mount publisher(&router, {.route = "skills", .token = LocalRouter::kPublisher});
  Mount agent(&router, {.route = "skills"});
  ASSERT_OK(publisher.write("skill", "v1"));
  EXPECT_EQ(text(agent.read("skill")), "v1");
  EXPECT_EQ(agent.write("skill", "x").code(), Code::read_only);
  EXPECT_EQ(agent.write("other", "x").code(), Code::read_only);
  EXPECT_EQ(agent.unlink("skill").code(), Code::read_only);
  EXPECT_EQ(agent.mkdir("d").code(), Code::read_only);
  EXPECT_EQ(agent.rename("skill", "s2").code(), Code::read_only);
  EXPECT_EQ(agent.set("skill", SetAttr{.mode = 0777}).code(), Code::read_only);
  EXPECT_EQ(agent.vfs->setxattr(agent.me, agent.ino("skill"), "user.k", "v", 0).code(),
            Code::read_only);
  EXPECT_EQ(agent.client.calls("create") + agent.client.calls("remove"), 0u);
  ASSERT_OK(publisher.save("skill", "v2"));
  EXPECT_EQ(text(agent.read("skill")), "v2");
  EXPECT_EQ(agent.client.calls("set_attributes"), 0u);  // no access times
}

}  // namespace
}  // namespace linkspan::vfs::testing
