#include "fusefs/client/turned_away.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "linkspan/convert.h"
#include "linkspan/limits.h"

namespace linkspan::client {
namespace {

constexpr size_t kHeadBytes = 9;    // of an HTTP/2 frame (RFC 9113, 4.1)
constexpr size_t kGoAwayBytes = 8;  // before its words
constexpr char kGoAway = 7;
constexpr size_t kMostBytes = 4096;

size_t length_of(std::string_view head) {
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(head[i]));
  };
  return byte(0) << 16 | byte(1) << 8 | byte(2);
}

// The words of the first GOAWAY in what was `heard`.
std::string words_in(std::string_view heard) {
  while (heard.size() >= kHeadBytes) {
    const size_t length = length_of(heard);
    const auto payload = heard.substr(kHeadBytes);
    if (payload.size() < length) return {};
    if (heard[3] == kGoAway && length > kGoAwayBytes)
      return std::string(payload.substr(kGoAwayBytes, length - kGoAwayBytes));
    heard = payload.substr(length);
  }
  return {};
}

// What the other side says by itself, until it ends.
std::string listen_to(int fd, std::chrono::steady_clock::time_point until) {
  std::string heard;
  char bytes[1024];
  while (heard.size() < kMostBytes) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd wait{fd, POLLIN, 0};
    if (left.count() <= 0 || poll(&wait, 1, static_cast<int>(left.count())) <= 0) break;
    const ssize_t n = recv(fd, bytes, sizeof bytes, 0);
    if (n <= 0) break;
    heard.append(bytes, static_cast<size_t>(n));
  }
  return heard;
}

}  // namespace

std::string why_turned_away(const std::string& path, std::chrono::milliseconds most) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  std::string heard;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    heard = listen_to(fd, std::chrono::steady_clock::now() + most);
  close(fd);
  return wire::clean_text(words_in(heard), limits::kErrorTextBytes);
}

}  // namespace linkspan::client
