#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fusefs/fuse/control_fs.h"
#include "tests/support/fake_kernel.h"

namespace linkspan::test {
namespace {

class ControlWire : public ::testing::Test {
 protected:
  void SetUp() override {
    fuse::ControlTree tree;
    tree.add_directory("memory", true);
    tree.add_directory("workspace");
    tree.add_symlink("link", "/somewhere");
    tree.add_file(".linkspan/status", [this] { return content; });
    tree.add_file(".linkspan/broken", []() -> std::string { throw std::runtime_error("planted"); });
    operations = fuse::make_control_operations(std::move(tree), {.uid = 7, .gid = 8});
    kernel = std::make_unique<FakeKernel>(operations.get(), nullptr);
  }
  void TearDown() override { kernel.reset(); }
  fuse_entry_out lookup(uint64_t parent, const std::string& name) {
    return kernel->call(FUSE_LOOKUP, parent, Bytes().name(name).str()).as<fuse_entry_out>();
  }
  std::string read(uint64_t fh, uint64_t offset, uint32_t size) {
    fuse_read_in in = {};
    in.fh = fh;
    in.offset = offset;
    in.size = size;
    return kernel->call(FUSE_READ, 0, Bytes().add(in).str()).body;
  }

  std::string content = "healthy\n";
  std::unique_ptr<fuse::Operations> operations;
  std::unique_ptr<FakeKernel> kernel;
};

TEST_F(ControlWire, TreeIsListedWithItsTypes) {
  fuse_read_in in = {};
  in.size = 4096;
  auto entries = parse_listing(kernel->call(FUSE_READDIRPLUS, 1, Bytes().add(in).str()).body, true);
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{".", "..", ".linkspan", "link", "memory", "workspace"}));
  EXPECT_EQ(lookup(1, "memory").attr.mode, uint32_t{S_IFDIR | 0755});
  EXPECT_EQ(lookup(1, "workspace").attr.mode, uint32_t{S_IFDIR | 0555});
  EXPECT_EQ(lookup(1, "memory").attr.uid, 7u);
  EXPECT_EQ(lookup(1, "link").attr.mode & S_IFMT, uint32_t{S_IFLNK});
  EXPECT_EQ(kernel->call(FUSE_READLINK, lookup(1, "link").nodeid).body, "/somewhere");
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, 1, Bytes().name("none").str()).error(), ENOENT);
}

TEST_F(ControlWire, ContentIsOfTheOpenWholeAndFresh) {
  uint64_t status = lookup(lookup(1, ".linkspan").nodeid, "status").nodeid;
  fuse_open_in in = {};
  auto opened = kernel->call(FUSE_OPEN, status, Bytes().add(in).str()).as<fuse_open_out>();
  EXPECT_TRUE(opened.open_flags & FOPEN_DIRECT_IO);
  content = "stale, and longer\n";
  EXPECT_EQ(read(opened.fh, 0, 4096), "healthy\n");
  EXPECT_EQ(read(opened.fh, 3, 2), "lt");
  EXPECT_EQ(read(opened.fh, 100, 10), "");
  auto attr = kernel->call(FUSE_GETATTR, status, Bytes().add(fuse_getattr_in{}).str());
  EXPECT_EQ(attr.as<fuse_attr_out>().attr.size, content.size());
  EXPECT_EQ(attr.as<fuse_attr_out>().attr_valid, 0u);
  fuse_release_in release = {};
  release.fh = opened.fh;
  EXPECT_EQ(kernel->call(FUSE_RELEASE, status, Bytes().add(release).str()).error(), 0);
}

TEST_F(ControlWire, EveryChangeIsErofs) {
  auto error = [&](uint32_t opcode, const std::string& body) {
    return kernel->call(opcode, 1, body).error();
  };
  EXPECT_EQ(error(FUSE_UNLINK, Bytes().name("memory").str()), EROFS);
  EXPECT_EQ(error(FUSE_RMDIR, Bytes().name("memory").str()), EROFS);
  EXPECT_EQ(error(FUSE_MKDIR, Bytes().add(fuse_mkdir_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_MKNOD, Bytes().add(fuse_mknod_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_CREATE, Bytes().add(fuse_create_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_SYMLINK, Bytes().name("x").name("y").str()), EROFS);
  EXPECT_EQ(error(FUSE_LINK, Bytes().add(fuse_link_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_RENAME, Bytes().add(fuse_rename_in{}).name("x").name("y").str()), EROFS);
  EXPECT_EQ(error(FUSE_SETATTR, Bytes().add(fuse_setattr_in{}).str()), EROFS);
  fuse_open_in writing = {};
  writing.flags = O_WRONLY;
  uint64_t status = lookup(lookup(1, ".linkspan").nodeid, "status").nodeid;
  EXPECT_EQ(kernel->call(FUSE_OPEN, status, Bytes().add(writing).str()).error(), EROFS);
}

TEST_F(ControlWire, BrokenContentIsEio) {
  uint64_t dir = lookup(1, ".linkspan").nodeid;
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, dir, Bytes().name("broken").str()).error(), EIO);
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, dir, Bytes().name("status").str()).error(), 0);
}

}  // namespace
}  // namespace linkspan::test
