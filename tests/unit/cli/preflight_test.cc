#include "fusefs/cli/preflight.h"

#include <gtest/gtest.h>

namespace linkspan::cli {
namespace {

TEST(PreflightTest, RouterAddresses) {
  for (const char* good :
       {"unix:/run/x.sock", "localhost:7433", "10.0.0.1:1", "[::1]:65535",
        "unix:/run/x.sock,localhost:7433", "tls://10.0.0.1:7433", "tls://a:1,tls://b:1"})
    EXPECT_TRUE(check_router_address(good).ok()) << good;
  for (const char* bad : {"", "unix:", "unix:/", "unix:relative", "host", "host:", ":80", "host:0",
                          "host:65536", "host:x", "host:999999", "http://host", "unix:/x,", ",a:1",
                          "a:1,,b:1", "a:1, b:1", "tls://host", "tls://host:0"})
    EXPECT_FALSE(check_router_address(bad).ok()) << bad;
}

TEST(PreflightTest, NothingUnencryptedLeavesTheMachineUnlessToldSo) {
  for (const char* good : {"unix:/run/x.sock", "localhost:1", "127.0.0.1:1,[::1]:1",
                           "tls://10.0.0.1:1,tls://router:1"})
    EXPECT_TRUE(check_plaintext(good, false).ok()) << good;
  for (const char* bad : {"10.0.0.1:1", "router:1", "unix:/x,0.0.0.0:1", "tls://a:1,a:1"}) {
    EXPECT_EQ(check_plaintext(bad, false).code(), Code::invalid) << bad;
    EXPECT_TRUE(check_plaintext(bad, true).ok()) << bad;
  }
}

TEST(PreflightTest, Mountpoints) {
  EXPECT_EQ(check_mountpoint("/nonexistent/x", false).code(), Code::not_found);
  EXPECT_EQ(check_mountpoint("/proc/self/status", false).code(), Code::not_directory);
  EXPECT_EQ(check_mountpoint("/usr", false).code(), Code::not_empty);
  EXPECT_TRUE(check_mountpoint("/usr", true).ok());
}

TEST(PreflightTest, Device) {
  const auto missing = check_fuse_device("/dev/no-such-device");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("modprobe fuse"), std::string::npos);
}

TEST(PreflightTest, Directories) {
  EXPECT_TRUE(check_workspace("/tmp").ok());
  EXPECT_EQ(check_workspace("/nonexistent").code(), Code::not_found);
  EXPECT_EQ(check_workspace("/etc/passwd").code(), Code::not_directory);
  EXPECT_EQ(check_workspace("/usr", "/usr").code(), Code::invalid);
  EXPECT_EQ(check_workspace("/usr/share/.", "/usr").code(), Code::invalid);
  EXPECT_TRUE(check_workspace("/usr", "/usr/share").ok());
  EXPECT_TRUE(check_workspace("/usr", "/us").ok());
  EXPECT_TRUE(check_prefix("/").ok());
  EXPECT_FALSE(check_prefix("/nonexistent").ok());
}

}  // namespace
}  // namespace linkspan::cli
