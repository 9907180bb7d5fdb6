// The exact bytes that tell the kernel what to drop.
#include <gtest/gtest.h>

#include "fusefs/fuse/control_fs.h"
#include "fusefs/fuse/notifier.h"
#include "tests/support/fake_kernel.h"

namespace linkspan::test {
namespace {

constexpr int32_t kIncreaseEpoch = 8;

std::string header(int32_t code, size_t body) {
  fuse_out_header out = {};
  out.len = static_cast<uint32_t>(sizeof out + body);
  out.error = code;
  return Bytes().add(out).str();
}
std::string epoch() {
  return header(kIncreaseEpoch, 0);
}
std::string inval_inode(uint64_t nodeid, int64_t offset) {
  fuse_notify_inval_inode_out body = {};
  body.ino = nodeid;
  body.off = offset;
  return header(FUSE_NOTIFY_INVAL_INODE, sizeof body) + Bytes().add(body).str();
}
std::string inval_entry(uint64_t parent, const std::string& name) {
  fuse_notify_inval_entry_out body = {};
  body.parent = parent;
  body.namelen = static_cast<uint32_t>(name.size());
  return header(FUSE_NOTIFY_INVAL_ENTRY, sizeof body + name.size() + 1) +
         Bytes().add(body).name(name).str();
}

class NotifierWire : public ::testing::Test {
 protected:
  void connect(fuse::NotifierOptions options) {
    options.root = kRoot;
    notifier = std::make_unique<fuse::Notifier>(options);
    kernel = std::make_unique<FakeKernel>(operations.get(), notifier.get());
  }
  void TearDown() override { kernel.reset(); }

  std::unique_ptr<fuse::Operations> operations = fuse::make_control_operations({}, {});
  std::unique_ptr<fuse::Notifier> notifier;
  std::unique_ptr<FakeKernel> kernel;
};

TEST_F(NotifierWire, NamesByEpochOnceForMany) {
  connect({});
  EXPECT_TRUE(notifier->can_drop_names());
  notifier->drop_names({{Ino(20), "a"}, {Ino(21), "b"}});
  notifier->drop_names({});
  notifier->drop_attributes(Ino(20));
  // The first is the probe.
  EXPECT_EQ(kernel->notifications(3),
            (std::vector<std::string>{epoch(), epoch(), inval_inode(20, -1)}));
}

TEST_F(NotifierWire, WithoutEpochNoNameIsLeftToTheKernel) {
  connect({.allow_epoch = false});
  EXPECT_FALSE(notifier->can_drop_names());
  notifier->drop_names({{Ino(20), "a"}});
  notifier->drop_content(kRoot);
  EXPECT_EQ(kernel->notifications(1), (std::vector<std::string>{inval_inode(1, 0)}));
}

TEST_F(NotifierWire, ReadOnlyRouteDropsNamesOneByOne) {
  connect({.read_only = true});
  EXPECT_TRUE(notifier->can_drop_names());
  notifier->drop_names({{kRoot, "a"}, {Ino(21), "bc"}});
  EXPECT_EQ(kernel->notifications(2),
            (std::vector<std::string>{inval_entry(1, "a"), inval_entry(21, "bc")}));
}

TEST_F(NotifierWire, EverythingIsEpochAndEachKnownInode) {
  connect({});
  notifier->known().add(30, 2);
  notifier->known().add(31);
  notifier->known().forget(31, 1);
  notifier->drop_everything();
  EXPECT_EQ(kernel->notifications(4),
            (std::vector<std::string>{epoch(), epoch(), inval_inode(30, 0), inval_inode(1, 0)}));
}

TEST_F(NotifierWire, AfterTheConnectionNothingIsSent) {
  connect({});
  ASSERT_TRUE(kernel->connection().close().ok());
  notifier->drop_attributes(Ino(20));
  notifier->drop_everything();
  EXPECT_FALSE(notifier->can_drop_names());
  EXPECT_EQ(kernel->notifications(1).size(), 1u);
}

}  // namespace
}  // namespace linkspan::test
