#include "fusefs/cli/mountinfo.h"

#include <gtest/gtest.h>

namespace linkspan::cli {
namespace {

const char* const kText =
    "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
    "42 27 0:39 / /mnt/a ro,nosuid shared:7 - tmpfs linkspan-cover rw,size=4k\n"
    "43 42 0:40 / /mnt/a rw,nosuid shared:8 master:2 - fuse.linkspan linkspan rw,user_id=0\n"
    "44 27 0:50 /sub /mnt/with\\040space\\011tab\\134slash rw - fuse.linkspan linkspan rw\n"
    "45 27 0:51 / /mnt/tmp rw - tmpfs tmpfs rw\n"
    "nonsense\n"
    "46 27 0:52 / /mnt/short rw\n";

TEST(MountinfoTest, ParsesOptionalFieldsAndEscapes) {
  const auto mounts = parse_mountinfo(kText);
  ASSERT_EQ(mounts.size(), 5u);
  EXPECT_EQ(mounts[2].type, "fuse.linkspan");
  EXPECT_EQ(mounts[2].device, "0:40");
  EXPECT_EQ(mounts[2].user, std::optional<uid_t>(0));
  EXPECT_FALSE(mounts[3].user);
  EXPECT_EQ(mounts[3].mountpoint, "/mnt/with space\ttab\\slash");
  EXPECT_EQ(mounts[3].root, "/sub");
}

TEST(MountinfoTest, TheLastMountAtAPathIsOnTop) {
  const auto mounts = parse_mountinfo(kText);
  EXPECT_EQ(mount_at(mounts, "/mnt/a")->type, "fuse.linkspan");
  EXPECT_FALSE(mount_at(mounts, "/mnt"));
}

TEST(MountinfoTest, Ours) {
  const auto mounts = parse_mountinfo(kText);
  EXPECT_FALSE(is_ours(mounts[0]));
  EXPECT_TRUE(is_ours(mounts[1]));
  EXPECT_TRUE(is_ours(mounts[2]));
  EXPECT_FALSE(is_ours(mounts[4]));
}

TEST(MountinfoTest, ReadsItsOwn) {
  const auto mounts = read_mountinfo();
  ASSERT_TRUE(mounts.ok());
  EXPECT_TRUE(mount_at(*mounts, "/").has_value());
  EXPECT_FALSE(read_mountinfo("/nonexistent").ok());
}

}  // namespace
}  // namespace linkspan::cli
