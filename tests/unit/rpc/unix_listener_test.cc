#include "routerd/rpc/unix_listener.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <future>

namespace linkspan::rpc {
namespace {

class UnixListenerTest : public ::testing::Test {
 protected:
  UnixListenerTest() {
    char dir[] = "/tmp/linkspan-listener-XXXXXX";
    dir_ = mkdtemp(dir);
    path_ = dir_ + "/s";
  }
  ~UnixListenerTest() override { std::filesystem::remove_all(dir_); }

  int connect_to_it() const {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static std::string read_all(int fd) {
    std::string all;
    char bytes[512];
    for (ssize_t n; (n = read(fd, bytes, sizeof bytes)) > 0;)
      all.append(bytes, static_cast<size_t>(n));
    close(fd);
    return all;
  }

  std::string dir_, path_;
};

TEST_F(UnixListenerTest, HandsOverWhoIsNamed) {
  const PeerRule rules[] = {
      {{getuid()}, {}}, {{}, {getgid()}}, {{getuid() + 1, getuid()}, {getgid() + 1}}};
  for (const PeerRule& rule : rules) {
    auto listener = UnixListener::open(path_, rule);
    ASSERT_TRUE(listener.ok()) << listener.error().message;
    std::promise<int> accepted;
    (*listener)->start([&](int fd) { accepted.set_value(fd); });
    const int fd = connect_to_it();
    const int other = accepted.get_future().get();
    ASSERT_EQ(write(other, "hi", 2), 2);
    close(other);
    EXPECT_EQ(read_all(fd), "hi");
    (*listener)->stop();
    (*listener)->stop();
  }
}

TEST_F(UnixListenerTest, TellsOthersWhyNot) {
  auto listener = UnixListener::open(path_, {{getuid() + 1}, {getgid() + 1}});
  ASSERT_TRUE(listener.ok()) << listener.error().message;
  (*listener)->start([](int) { ADD_FAILURE() << "was let in"; });
  const std::string words = "user " + std::to_string(getuid()) + " (group " +
                            std::to_string(getgid()) + ") may not connect to unix:" + path_ +
                            "; ask the router's operator (socket_users, socket_groups)";
  const std::string heard = read_all(connect_to_it());
  // An empty SETTINGS frame, and GOAWAY: both heads of nine bytes, then last stream and code.
  ASSERT_EQ(heard.size(), 9 + 9 + 8 + words.size());
  EXPECT_EQ(heard[3], 4);
  EXPECT_EQ(heard[9 + 3], 7);
  EXPECT_EQ(static_cast<unsigned char>(heard[9 + 2]), (8 + words.size()) & 255);
  EXPECT_EQ(heard.substr(26), words);
}

TEST_F(UnixListenerTest, LeavesNothingBehind) {
  {
    auto listener = UnixListener::open(path_, {{getuid()}, {}});
    ASSERT_TRUE(listener.ok());
    EXPECT_TRUE(std::filesystem::exists(path_));
    (*listener)->start([](int fd) { close(fd); });
  }
  EXPECT_FALSE(std::filesystem::exists(path_));
  const auto nowhere = UnixListener::open(dir_ + "/no/s", {});
  ASSERT_FALSE(nowhere.ok());
  EXPECT_EQ(nowhere.error().message,
            "cannot listen on unix:" + dir_ + "/no/s: No such file or directory");
}

}  // namespace
}  // namespace linkspan::rpc
