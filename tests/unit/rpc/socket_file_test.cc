#include "routerd/rpc/socket_file.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace linkspan::rpc {
namespace {

class SocketFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/linkspan-socket-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    dir_ = path;
    path_ = dir_ + "/s";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  // A listening socket, and its descriptor.
  int bind_socket() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path_.c_str());
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd, 1), 0);
    return fd;
  }
  bool exists() const {
    struct stat at {};
    return lstat(path_.c_str(), &at) == 0;
  }

  std::string dir_, path_;
};

TEST_F(SocketFileTest, ADeadRoutersSocketIsReplaced) {
  close(bind_socket());
  ASSERT_TRUE(exists());
  const auto claimed = SocketFile::claim(path_);
  ASSERT_TRUE(claimed.ok()) << claimed.error().message;
  EXPECT_FALSE(exists());
}

TEST_F(SocketFileTest, ALivingServerIsLeftAloneWithAndWithoutALock) {
  const std::string message = "cannot listen on unix:" + path_ +
                              ": another router listens there; stop it, or listen on another path";
  const int fd = bind_socket();
  auto claimed = SocketFile::claim(path_);
  ASSERT_FALSE(claimed.ok());
  EXPECT_EQ(claimed.error().message, message);
  EXPECT_TRUE(exists());
  close(fd);
  const auto first = SocketFile::claim(path_);
  ASSERT_TRUE(first.ok());
  claimed = SocketFile::claim(path_);
  ASSERT_FALSE(claimed.ok());
  EXPECT_EQ(claimed.error().message, message);
}

TEST_F(SocketFileTest, AnotherKindOfFileIsNeverRemoved) {
  std::ofstream(path_) << "precious";
  const auto claimed = SocketFile::claim(path_);
  ASSERT_FALSE(claimed.ok());
  EXPECT_EQ(claimed.error().message, "cannot listen on unix:" + path_ +
                                         ": the path is taken by something that is no socket; "
                                         "remove it, or listen on another path");
  EXPECT_TRUE(exists());
}

TEST_F(SocketFileTest, AMissingDirectoryIsNamed) {
  const auto claimed = SocketFile::claim(dir_ + "/no/s");
  ASSERT_FALSE(claimed.ok());
  EXPECT_EQ(claimed.error().message, "cannot listen on unix:" + dir_ + "/no/s: the directory " +
                                         dir_ + "/no/ does not exist; create it");
}

}  // namespace
}  // namespace linkspan::rpc
