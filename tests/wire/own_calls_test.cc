// What the mount asks of itself: who is believed to be it, what it is told, and what everybody else
// is.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fusefs/fuse/own_calls.h"
#include "fusefs/fuse/vfs_ops.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/scripted_vfs.h"

namespace linkspan::test {
namespace {

constexpr Ino kRoot{16}, kDir{20}, kFile{30};
constexpr int32_t kStranger = 1;

class OwnCalls : public ::testing::Test {
 protected:
  void SetUp() override { connect(false); }
  void connect(bool read_only) {
    kernel.reset();
    operations = fuse::make_vfs_operations(&vfs, &notifier, {read_only, &own});
    kernel = std::make_unique<FakeKernel>(operations.get(), &notifier);
    own.begin();
  }
  void TearDown() override {
    own.end();
    kernel.reset();
  }
  static Attr file(Ino ino) {
    Attr attr;
    attr.ino = ino;
    attr.mode = 0644;
    attr.nlink = 1;
    attr.size = 5;
    return attr;
  }
  Reply ask(uint32_t opcode, Ino node, const std::string& body) {
    return kernel->call(opcode, notifier.to_kernel(node), body, us);
  }
  Reply stranger(uint32_t opcode, Ino node, const std::string& body) {
    return kernel->call(opcode, notifier.to_kernel(node), body, kStranger);
  }
  static std::string name(const std::string& text) { return Bytes().name(text).str(); }
  static std::string mknod(const std::string& text) {
    return Bytes().add(fuse_mknod_in{}).name(text).str();
  }

  const int32_t us = static_cast<int32_t>(::syscall(SYS_gettid));
  ScriptedVfs vfs;
  fuse::Notifier notifier{fuse::NotifierOptions{.root = kRoot}};
  fuse::OwnCalls own{&vfs, &notifier};
  std::unique_ptr<fuse::Operations> operations;
  std::unique_ptr<FakeKernel> kernel;
};

TEST_F(OwnCalls, ANameThatIsThereIsMadeOnceMore) {
  vfs.on_lookup = [](const vfs::Caller&, Ino, const std::string&) {
    return vfs::Entry{file(kFile), {}, false};
  };
  own.pretend_absent(kDir, "new");
  EXPECT_EQ(ask(FUSE_LOOKUP, kDir, name("new")).error(), ENOENT);
  const auto made = ask(FUSE_MKNOD, kDir, mknod("new"));
  EXPECT_EQ(made.error(), 0);
  EXPECT_EQ(made.as<fuse_entry_out>().nodeid, kFile.value);
  EXPECT_EQ(notifier.known().references(kFile.value), 1u);
  // Everybody else finds it, meanwhile too; and another name cannot be made.
  EXPECT_EQ(stranger(FUSE_LOOKUP, kDir, name("new")).as<fuse_entry_out>().nodeid, kFile.value);
  EXPECT_EQ(ask(FUSE_MKNOD, kDir, mknod("other")).error(), EPERM);
  own.plain();
  EXPECT_EQ(ask(FUSE_MKNOD, kDir, mknod("new")).error(), EPERM);
}

TEST_F(OwnCalls, ANameThatIsGoneIsRemovedOnceMore) {
  vfs.on_lookup = [](const vfs::Caller&, Ino, const std::string&) {
    return vfs::Entry{{}, {}, true};
  };
  int unlinked = 0;
  vfs.on_unlink = [&](const vfs::Caller&, const std::string&) {
    ++unlinked;
    return Status(Done{});
  };
  own.pretend_there(kDir, "old", file(kFile), /*phantom=*/true);
  const auto found = ask(FUSE_LOOKUP, kDir, name("old")).as<fuse_entry_out>();
  EXPECT_NE(found.nodeid, kFile.value);
  EXPECT_EQ(found.entry_valid + found.attr_valid, 0u);
  EXPECT_EQ(stranger(FUSE_LOOKUP, kDir, name("old")).error() == 0 &&
                stranger(FUSE_LOOKUP, kDir, name("old")).as<fuse_entry_out>().nodeid != 0,
            false);
  EXPECT_EQ(ask(FUSE_UNLINK, kDir, name("old")).error(), 0);
  EXPECT_EQ(ask(FUSE_UNLINK, kDir, name("other")).error(), EPERM);
  EXPECT_EQ(unlinked, 0);
  EXPECT_EQ(stranger(FUSE_UNLINK, kDir, name("old")).error(), 0);
  EXPECT_EQ(unlinked, 1);
}

// Somebody put a file there meanwhile, and the kernel knows it: that one must keep its links.
TEST_F(OwnCalls, WhatTheKernelFoundItselfIsNotRemoved) {
  own.pretend_there(kDir, "old", file(kFile), true);
  EXPECT_EQ(ask(FUSE_UNLINK, kDir, name("old")).error(), EAGAIN);
  own.reach(kFile);
  own.pretend_absent(kDir, "old");
  const std::string rename = Bytes()
                                 .add(fuse_rename2_in{kDir.value, 0, 0})
                                 .name(std::to_string(kFile.value))
                                 .name("old")
                                 .str();
  EXPECT_EQ(ask(FUSE_RENAME2, Ino(99), rename).error(), EAGAIN);
  EXPECT_EQ(ask(FUSE_LOOKUP, kDir, name("old")).error(), ENOENT);
  EXPECT_EQ(ask(FUSE_RENAME2, Ino(99), rename).error(), 0);
}

TEST_F(OwnCalls, ThePassageIsFoundByNobodyElse) {
  std::vector<std::string> asked;
  vfs.on_lookup = [&](const vfs::Caller&, Ino, const std::string& text) {
    asked.push_back(text);
    return vfs::Entry{{}, {}, true};
  };
  vfs.on_getattr = [](const vfs::Caller&, Ino ino, std::optional<vfs::Handle>) {
    return vfs::AttrReply{file(ino), 0, 0};
  };
  EXPECT_EQ(ask(FUSE_LOOKUP, kRoot, name(own.passage())).error(), ENOENT);
  own.reach(kFile);
  const auto passage = ask(FUSE_LOOKUP, kRoot, name(own.passage())).as<fuse_entry_out>();
  ASSERT_NE(passage.nodeid, 0u);
  EXPECT_EQ(stranger(FUSE_LOOKUP, kRoot, name(own.passage())).as<fuse_entry_out>().nodeid, 0u);
  EXPECT_EQ(asked, std::vector<std::string>{own.passage()});
  const Ino inside(passage.nodeid);
  EXPECT_EQ(ask(FUSE_LOOKUP, inside, name("30")).as<fuse_entry_out>().nodeid, kFile.value);
  EXPECT_EQ(ask(FUSE_LOOKUP, inside, name("31")).error(), ENOENT);
  EXPECT_EQ(ask(FUSE_UNLINK, inside, name("30")).error(), EPERM);  // it has a name
  own.reach(kFile, file(kFile));
  EXPECT_EQ(ask(FUSE_UNLINK, inside, name("30")).error(), 0);
  own.close_passage();
  EXPECT_EQ(ask(FUSE_LOOKUP, kRoot, name(own.passage())).error(), ENOENT);
}

TEST_F(OwnCalls, AWriteChangesNothing) {
  int opened = 0, changed = 0;
  vfs.on_open = [&](const vfs::Caller&, Ino, int) {
    ++opened;
    return vfs::Opened{7, false};
  };
  vfs.on_getattr = [](const vfs::Caller&, Ino ino, std::optional<vfs::Handle>) {
    return vfs::AttrReply{file(ino), 0, 0};
  };
  vfs.on_setattr = [&](const vfs::Caller&, Ino ino, const vfs::SetAttr&) {
    ++changed;
    return vfs::AttrReply{file(ino), 0, 0};
  };
  fuse_open_in open = {};
  open.flags = O_WRONLY;
  const auto file = ask(FUSE_OPEN, kFile, Bytes().add(open).str()).as<fuse_open_out>();
  EXPECT_TRUE(file.open_flags & FOPEN_KEEP_CACHE);
  fuse_fallocate_in space = {};
  space.fh = file.fh;
  EXPECT_EQ(ask(FUSE_FALLOCATE, kFile, Bytes().add(space).str()).error(), 0);
  fuse_setattr_in attributes = {};
  attributes.valid = FATTR_MTIME | FATTR_MTIME_NOW | FATTR_SIZE;
  const auto now = ask(FUSE_SETATTR, kFile, Bytes().add(attributes).str());
  EXPECT_EQ(now.as<fuse_attr_out>().attr.size, 5u);
  // The kernel releases in nobody's name.
  fuse_release_in release = {};
  release.fh = file.fh;
  EXPECT_EQ(kernel->call(FUSE_RELEASE, kFile.value, Bytes().add(release).str(), 0).error(), 0);
  EXPECT_EQ(opened + changed, 0);
  EXPECT_EQ(stranger(FUSE_OPEN, kFile, Bytes().add(open).str()).as<fuse_open_out>().fh, 7u);
  EXPECT_EQ(stranger(FUSE_SETATTR, kFile, Bytes().add(attributes).str()).error(), 0);
  EXPECT_EQ(opened + changed, 2);
}

// All workers wait for the router; what is not in the caches is not waited for either.
TEST_F(OwnCalls, NeverWait) {
  Event leave;
  vfs.on_getattr = [&](const vfs::Caller& c, Ino ino,
                       std::optional<vfs::Handle>) -> Result<vfs::AttrReply> {
    if (c.cancel && c.cancel->cancelled()) return fail(Code::interrupted, "not known");
    leave.wait();
    return vfs::AttrReply{file(ino), 0, 0};
  };
  std::vector<uint64_t> waiting;
  const std::string body = Bytes().add(fuse_getattr_in{}).str();
  for (int i = 0; i < 80; ++i)
    waiting.push_back(kernel->send(FUSE_GETATTR, kFile.value, body, kStranger));
  EXPECT_EQ(ask(FUSE_GETATTR, kFile, body).error(), EAGAIN);
  own.pretend_absent(kDir, "new");
  EXPECT_EQ(ask(FUSE_LOOKUP, kDir, name("new")).error(), ENOENT);
  leave.set();
  for (const uint64_t unique : waiting) EXPECT_EQ(kernel->reply(unique).error(), 0);
}

TEST_F(OwnCalls, AReadOnlyRouteRefusesWhatTheKernelLetsThrough) {
  connect(true);
  fuse_open_in open = {};
  open.flags = O_RDWR;
  EXPECT_EQ(stranger(FUSE_OPEN, kFile, Bytes().add(open).str()).error(), EROFS);
  open.flags = O_RDONLY | O_TRUNC;
  EXPECT_EQ(stranger(FUSE_OPEN, kFile, Bytes().add(open).str()).error(), EROFS);
  EXPECT_EQ(stranger(FUSE_UNLINK, kDir, name("x")).error(), EROFS);
  EXPECT_EQ(stranger(FUSE_MKNOD, kDir, mknod("x")).error(), EROFS);
  EXPECT_EQ(stranger(FUSE_SETATTR, kFile, Bytes().add(fuse_setattr_in{}).str()).error(), EROFS);
  open.flags = O_WRONLY;
  EXPECT_EQ(ask(FUSE_OPEN, kFile, Bytes().add(open).str()).error(), 0);
}

}  // namespace
}  // namespace linkspan::test
