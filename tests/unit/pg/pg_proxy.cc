#include "tests/unit/pg/pg_proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string_view>

namespace linkspan::test {
namespace {

constexpr int kLookMs = 50;                               // how soon stop_ is seen
constexpr std::string_view kCommitBind("\0commit\0", 8);  // portal, statement in a Bind message

sockaddr_un address(const std::string& directory) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  const std::string path = directory + "/.s.PGSQL.5432";
  if (path.size() >= sizeof out.sun_path) throw std::runtime_error(path + " is too long");
  std::memcpy(out.sun_path, path.c_str(), path.size() + 1);
  return out;
}

bool send_all(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

// What can be read now; empty at the end.
std::string receive(int from) {
  std::string bytes(1 << 20, '\0');
  const ssize_t count = ::recv(from, bytes.data(), bytes.size(), 0);
  bytes.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return bytes;
}

}  // namespace

PgProxy::PgProxy(const std::string& directory) : server_path_(directory) {
  std::string name = "/tmp/lsprx.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make a directory");
  directory_ = name;
  listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un at = address(directory_);
  if (::bind(listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listener_, 64) != 0)
    throw std::runtime_error("cannot listen in " + directory_);
  accepting_ = std::thread([this] { accept_all(); });
}

PgProxy::~PgProxy() {
  stop_ = true;
  accepting_.join();
  for (std::thread& thread : serving_) thread.join();
  ::close(listener_);
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::string PgProxy::conninfo(const std::string& database) const {
  return "host=" + directory_ + " user=linkspan dbname=" + database;
}

void PgProxy::accept_all() {
  while (!stop_) {
    pollfd fd{listener_, POLLIN, 0};
    if (::poll(&fd, 1, kLookMs) <= 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0) continue;
    ++connections_;
    serving_.emplace_back([this, client] { serve(client); });
  }
}

void PgProxy::serve(int client) {
  const int server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un at = address(server_path_);
  if (::connect(server, reinterpret_cast<const sockaddr*>(&at), sizeof at) == 0) {
    bool going = true;
    while (going && !stop_) {
      pollfd fds[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      const bool silent = break_ == Break::silent;
      if (::poll(fds, silent ? 0 : 2, kLookMs) <= 0) continue;
      if (fds[0].revents != 0) going = pass_to_server(client, server);
      if (going && fds[1].revents != 0) going = pass_to_client(client, server);
    }
  }
  ::close(server);
  ::close(client);
}

bool PgProxy::pass_to_server(int client, int server) {
  const std::string bytes = receive(client);
  if (bytes.empty()) return false;
  const bool commits = bytes.find(kCommitBind) != std::string::npos;
  Break before = Break::before_commit;
  if (commits && break_.compare_exchange_strong(before, Break::nowhere)) return false;
  if (!send_all(server, bytes)) return false;
  Break after = Break::after_commit;
  if (!commits || !break_.compare_exchange_strong(after, Break::nowhere)) return true;
  // The answer to COMMIT is on its way when the server says that it is ready again.
  std::string answer;
  while (answer.find("COMMIT") == std::string::npos) {
    const std::string more = receive(server);
    if (more.empty()) break;
    answer += more;
  }
  return false;
}

bool PgProxy::pass_to_client(int client, int server) {
  const std::string bytes = receive(server);
  return !bytes.empty() && send_all(client, bytes);
}

}  // namespace linkspan::test
