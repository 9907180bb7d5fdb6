// A byte-for-byte proxy between two unix sockets, for tests/lab: one process a mount, so that
// stopping the process (SIGSTOP) is a network that swallows everything and continuing it one that
// healed. With --delay-us every piece is held that long in each direction. Signals: SIGUSR1 breaks
// every connection, with what is on its way in it; SIGUSR2 makes the network slow (kSlow more in
// each direction), SIGWINCH fast again.
//
// One thread, epoll; each direction buffers at most kBufferBytes, then stops reading
// (backpressure).
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kBufferBytes = 8 << 20;
constexpr size_t kPieceBytes = 256 << 10;
constexpr std::chrono::milliseconds kSlow{40};

struct Piece {
  Clock::time_point due;
  std::string bytes;
  size_t sent = 0;
};

// Bytes on their way to `fd`.
struct Direction {
  std::deque<Piece> pieces;
  size_t buffered = 0;
  bool source_ended = false;
  bool ended = false;  // shut down for writing
};

struct Pair {
  int fd[2] = {-1, -1};  // 0: the client, 1: the router
  Direction to[2];       // to[i]: bytes to be written to fd[i]
  bool broken = false;
  ~Pair() {
    for (int f : fd)
      if (f >= 0) close(f);
  }
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "lab-proxy: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    die(path);
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

class Proxy {
 public:
  Proxy(int listener, int signals, std::string target, std::chrono::microseconds delay)
      : listener_(listener),
        signals_(signals),
        target_(std::move(target)),
        delay_(delay),
        epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLIN;
    for (int fd : {listener_, signals_}) {
      event.data.fd = fd;
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
    }
  }

  void run() {
    std::vector<epoll_event> events(64);
    for (;;) {
      auto wait = timeout();
      int n = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()),
                           wait.tv_sec < 0 ? nullptr : &wait, nullptr);
      if (n < 0 && errno != EINTR) die("epoll_pwait2");
      for (int i = 0; i < n; ++i) on_event(events[static_cast<size_t>(i)]);
      for (const auto& pair : std::set<std::shared_ptr<Pair>>(all_)) {
        send_due(*pair);
        if (pair->broken || (pair->to[0].ended && pair->to[1].ended)) drop(pair);
      }
    }
  }

 private:
  void on_event(const epoll_event& event) {
    if (event.data.fd == listener_) return accept_one();
    if (event.data.fd == signals_) return on_signal();
    auto it = pairs_.find(event.data.fd);
    if (it == pairs_.end()) return;
    auto pair = it->second;
    int side = pair->fd[0] == event.data.fd ? 0 : 1;
    if (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(*pair, side);
  }

  void on_signal() {
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof info) != sizeof info) return;
    if (info.ssi_signo == SIGUSR1)
      for (const auto& pair : all_) pair->broken = true;  // dropped at the end of this round
    else
      slow_ = info.ssi_signo == SIGUSR2;
  }

  void accept_one() {
    int client = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client < 0) return;
    auto pair = std::make_shared<Pair>();
    pair->fd[0] = client;
    pair->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto address = address_of(target_);
    // A router that is not there: the client's connection is closed, as by a refused connect.
    if (connect(pair->fd[1], reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return;
    fcntl(pair->fd[1], F_SETFL, O_NONBLOCK);
    for (int side : {0, 1}) {
      epoll_event event{};
      event.events = EPOLLIN | EPOLLOUT | EPOLLET;
      event.data.fd = pair->fd[side];
      if (epoll_ctl(epoll_, EPOLL_CTL_ADD, pair->fd[side], &event) != 0) die("epoll_ctl");
      pairs_[pair->fd[side]] = pair;
    }
    all_.insert(pair);
  }

  // Edge-triggered: reads until there is no more, or the other side's buffer is full.
  void receive(Pair& pair, int side) {
    Direction& out = pair.to[1 - side];
    while (!out.source_ended && !pair.broken && out.buffered < kBufferBytes) {
      std::string bytes(kPieceBytes, '\0');
      ssize_t n = read(pair.fd[side], bytes.data(), bytes.size());
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n < 0) {
        pair.broken = true;
        return;
      }
      if (n == 0) {
        out.source_ended = true;
        return;
      }
      bytes.resize(static_cast<size_t>(n));
      out.buffered += bytes.size();
      auto due = Clock::now() + delay_ + (slow_ ? kSlow : std::chrono::milliseconds(0));
      // In order, also where the network has just become fast.
      if (!out.pieces.empty()) due = std::max(due, out.pieces.back().due);
      out.pieces.push_back({due, std::move(bytes)});
    }
  }

  void send_due(Pair& pair) {
    auto now = Clock::now();
    for (int side : {0, 1}) {
      Direction& out = pair.to[side];
      bool was_full = out.buffered >= kBufferBytes;
      while (!out.pieces.empty() && out.pieces.front().due <= now && !pair.broken) {
        Piece& piece = out.pieces.front();
        ssize_t n = send(pair.fd[side], piece.bytes.data() + piece.sent,
                         piece.bytes.size() - piece.sent, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (n < 0) {
          pair.broken = true;
          break;
        }
        piece.sent += static_cast<size_t>(n);
        out.buffered -= static_cast<size_t>(n);
        if (piece.sent == piece.bytes.size()) out.pieces.pop_front();
      }
      if (was_full && out.buffered < kBufferBytes) receive(pair, 1 - side);
      if (out.pieces.empty() && out.source_ended && !out.ended) {
        shutdown(pair.fd[side], SHUT_WR);
        out.ended = true;
      }
    }
  }

  // Until the first piece is due; tv_sec < 0: for ever. A full socket wakes us by EPOLLOUT.
  timespec timeout() const {
    Clock::time_point first = Clock::time_point::max();
    for (const auto& pair : all_)
      for (const Direction& out : pair->to)
        if (!out.pieces.empty() && out.pieces.front().due > Clock::now())
          first = std::min(first, out.pieces.front().due);
    if (first == Clock::time_point::max()) return {-1, 0};
    auto left =
        std::max<std::chrono::nanoseconds>(first - Clock::now(), std::chrono::nanoseconds(1));
    return {left.count() / 1'000'000'000, left.count() % 1'000'000'000};
  }

  void drop(const std::shared_ptr<Pair>& pair) {
    for (int fd : pair->fd) pairs_.erase(fd);
    all_.erase(pair);
  }

  int listener_;
  int signals_;  // signalfd
  std::string target_;
  std::chrono::microseconds delay_;
  bool slow_ = false;
  int epoll_;
  std::map<int, std::shared_ptr<Pair>> pairs_;  // by either descriptor
  std::set<std::shared_ptr<Pair>> all_;
};

int take_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGUSR1, SIGUSR2, SIGWINCH}) sigaddset(&set, number);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) die("signalfd");
  return fd;
}

int listen_at(const std::string& path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  auto address = address_of(path);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      listen(fd, 128) != 0)
    die("listening at " + path);
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  if (argc % 2 == 0 || options["--listen"].empty() || options["--to"].empty()) {
    std::fprintf(stderr,
                 "usage: lab-proxy --listen PATH --to PATH [--delay-us N] [--ready-fd N]\n");
    return 2;
  }
  std::signal(SIGPIPE, SIG_IGN);
  Proxy proxy(listen_at(options["--listen"]), take_signals(), options["--to"],
              std::chrono::microseconds(std::atoi(options["--delay-us"].c_str())));
  if (!options["--ready-fd"].empty()) {
    int ready = std::atoi(options["--ready-fd"].c_str());
    if (write(ready, "{}\n", 3) != 3) die("--ready-fd");
    close(ready);
  }
  proxy.run();
}
