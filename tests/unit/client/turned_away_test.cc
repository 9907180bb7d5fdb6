#include "fusefs/client/turned_away.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

namespace linkspan::client {
namespace {

using namespace std::chrono_literals;

// What is made of a router that says `words` to whoever connects, and ends.
std::string heard_of(const std::string& words) {
  char dir[] = "/tmp/linkspan-away-XXXXXX";
  const std::string path = std::string(mkdtemp(dir)) + "/s";
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(listen(fd, 1), 0);
  std::thread router([&] {
    const int peer = accept(fd, nullptr, nullptr);
    (void)!send(peer, words.data(), words.size(), MSG_NOSIGNAL);
    close(peer);
  });
  const std::string why = why_turned_away(path, 30s);
  router.join();
  close(fd);
  std::filesystem::remove_all(dir);
  return why;
}

std::string frame_of(char type, const std::string& payload) {
  return std::string{0, 0, static_cast<char>(payload.size()), type, 0, 0, 0, 0, 0} + payload;
}

const std::string kEight(8, '\0');

TEST(TurnedAway, HearsTheReason) {
  EXPECT_EQ(heard_of(frame_of(4, "") + frame_of(7, kEight + "not you")), "not you");
  EXPECT_EQ(heard_of(frame_of(7, kEight + "not you") + frame_of(7, kEight + "nor me")), "not you");
}

TEST(TurnedAway, MakesNothingOfWhatIsNone) {
  for (const std::string& words :
       {std::string(), std::string("x"), frame_of(4, ""), frame_of(7, ""), frame_of(7, kEight),
        frame_of(7, kEight + "cut off").substr(0, 20), std::string(9, '\xff'),
        std::string(100'000, '\0'), std::string(100'000, '\xff')})
    EXPECT_EQ(heard_of(words), "") << words.size();
  EXPECT_EQ(why_turned_away("/nonexistent", 30s), "");
}

TEST(TurnedAway, KeepsTheTerminalAsItIs) {
  EXPECT_EQ(heard_of(frame_of(7, kEight + "a\x1b[2Jb")), "a?[2Jb");
}

}  // namespace
}  // namespace linkspan::client
