#include "routerd/rpc/unix_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "routerd/rpc/log.h"

namespace linkspan::rpc {
namespace {

constexpr int kBacklog = 1024;            // net.core.somaxconn cuts it
constexpr std::chrono::seconds kSaid{1};  // between two lines about who was refused
// When nothing can be accepted (too many open files) the queue waits so long.
constexpr std::chrono::milliseconds kPause{100};

Error cannot_listen(const std::string& path, const std::string& why) {
  return fail(Code::io, "cannot listen on unix:" + path + ": " + why);
}

// The peer's other groups; SO_PEERCRED has only the first.
std::vector<gid_t> further_groups(int fd) {
  std::vector<gid_t> groups(64);
  for (;;) {
    auto bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0) {
      groups.resize(bytes / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE || bytes / sizeof(gid_t) <= groups.size()) return {};
    groups.resize(bytes / sizeof(gid_t));
  }
}

bool holds(const std::vector<uint32_t>& all, uint32_t one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// One frame of HTTP/2 (RFC 9113, 4.1), of the connection.
std::string frame(char type, const std::string& payload) {
  const auto size = static_cast<uint32_t>(payload.size());
  std::string out{static_cast<char>(size >> 16), static_cast<char>(size >> 8),
                  static_cast<char>(size), type};
  return out + std::string(5, '\0') + payload;  // no flags, stream 0
}

// A server's SETTINGS, and GOAWAY with the reason (NO stream was taken up), so that the other side
// can say why.
void refuse(int fd, const std::string& why) {
  constexpr char kSettings = 4, kGoAway = 7, kInadequate = 0xc;
  const std::string code{0, 0, 0, kInadequate};
  const std::string words =
      frame(kSettings, {}) + frame(kGoAway, std::string(4, '\0') + code + why);
  (void)!send(fd, words.data(), words.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  shutdown(fd, SHUT_WR);
}

}  // namespace

Result<std::unique_ptr<UnixListener>> UnixListener::open(const std::string& path, PeerRule rule) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::unique_ptr<UnixListener> made(new UnixListener(path, fd, wake, std::move(rule)));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (fd < 0 || wake < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(fd, kBacklog) != 0)
    return cannot_listen(path, std::strerror(errno));
  return made;
}

UnixListener::~UnixListener() {
  stop();
  unlink(path_.c_str());
  close(fd_);
  close(wake_);
}

void UnixListener::start(Accepted accepted) {
  thread_ = std::thread([this, accepted = std::move(accepted)] { run(accepted); });
}

void UnixListener::stop() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  (void)!write(wake_, &one, sizeof one);
  thread_.join();
}

std::string UnixListener::refusal(int fd) const {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0)
    return std::string("the kernel does not say who connects: ") + std::strerror(errno);
  if (rule_.all() || holds(rule_.users, peer.uid) || holds(rule_.groups, peer.gid)) return {};
  if (!rule_.groups.empty())
    for (const gid_t group : further_groups(fd))
      if (holds(rule_.groups, group)) return {};
  return "user " + std::to_string(peer.uid) + " (group " + std::to_string(peer.gid) +
         ") may not connect to unix:" + path_ +
         "; ask the router's operator (socket_users, socket_groups)";
}

void UnixListener::run(const Accepted& accepted) const {
  pollfd waits[] = {{wake_, POLLIN, 0}, {fd_, POLLIN, 0}};
  auto said = std::chrono::steady_clock::now() - kSaid;
  for (;;) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return log_warning("poll: " + path_);
    if (waits[0].revents != 0) return;
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
      log_warning("unix:" + path_ + " accepts nobody: " + std::strerror(errno));
      poll(waits, 1, static_cast<int>(kPause.count()));
      continue;
    }
    if (fd < 0) continue;  // who asked is gone again
    if (const std::string why = refusal(fd); !why.empty()) {
      if (const auto now = std::chrono::steady_clock::now(); now >= said + kSaid) {
        log_warning("refused: " + why);
        said = now;
      }
      refuse(fd, why);
      close(fd);
    } else {
      accepted(fd);
    }
  }
}

}  // namespace linkspan::rpc
