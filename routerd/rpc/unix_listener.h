// A listening unix socket that asks who connects (SO_PEERCRED, which the kernel vouches for) before
// gRPC sees the connection: gRPC (1.51) tells a service nothing of it. Costs a thread that accepts;
// connections that were let in are gRPC's as those of any other address.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::rpc {

// Any of these may connect; both empty: all.
struct PeerRule {
  std::vector<uint32_t> users, groups;
  bool all() const { return users.empty() && groups.empty(); }
};

class UnixListener {
 public:
  // Takes the descriptor of a peer that was let in. On the accepting thread.
  using Accepted = std::function<void(int fd)>;

  // Binds and listens; nobody but this user can connect yet.
  static Result<std::unique_ptr<UnixListener>> open(const std::string& path, PeerRule rule);
  ~UnixListener();  // stops, and removes the socket
  UnixListener(const UnixListener&) = delete;
  UnixListener& operator=(const UnixListener&) = delete;

  void start(Accepted accepted);  // once
  void stop();                    // no `accepted` any more when it returns; idempotent

 private:
  UnixListener(std::string path, int fd, int wake, PeerRule rule)
      : path_(std::move(path)), fd_(fd), wake_(wake), rule_(std::move(rule)) {}
  void run(const Accepted& accepted) const;
  // Why the peer may not connect; empty: it may.
  std::string refusal(int fd) const;

  const std::string path_;
  const int fd_, wake_;
  const PeerRule rule_;
  std::thread thread_;
};

}  // namespace linkspan::rpc
