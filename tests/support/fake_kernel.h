// The kernel's side of a FUSE connection, over a SOCK_SEQPACKET pair: sends what a real kernel
// rarely sends, and shows every byte that comes back.
//
// Threads: any thread may send and wait; one thread of its own reads what the filesystem writes.
#pragma once

#include <linux/fuse.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/fuse/connection.h"
#include "fusefs/fuse/notifier.h"
#include "tests/support/slowdown.h"

namespace linkspan::test {

using namespace std::chrono_literals;

inline constexpr Ino kRoot{16};  // of the route that is served

struct Reply {
  fuse_out_header header = {};
  std::string body;
  int error() const { return -header.error; }  // positive errno, or 0
  template <class T>
  T as() const {
    T value = {};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }
};

// Bytes of a request: structs and names in order.
class Bytes {
 public:
  template <class T>
  Bytes& add(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& name(const std::string& text) {
    bytes_.append(text).push_back('\0');
    return *this;
  }
  Bytes& raw(const std::string& data) {
    bytes_.append(data);
    return *this;
  }
  const std::string& str() const { return bytes_; }

 private:
  std::string bytes_;
};

class FakeKernel {
 public:
  static constexpr auto kPatience = 10s * test::kSlowdown;  // for a reply that must come

  struct Options {
    unsigned max_threads = 64;
    unsigned idle_threads = 10;
    uint32_t init_flags = ~0u & ~static_cast<uint32_t>(FUSE_INIT_EXT);
  };
  // Connects and shakes hands; throws std::runtime_error if that fails.
  FakeKernel(fuse::Operations* operations, fuse::Notifier* notifier);
  FakeKernel(fuse::Operations* operations, fuse::Notifier* notifier, Options options);
  ~FakeKernel();

  // Sends a request of process `pid` and returns its number.
  uint64_t send(uint32_t opcode, uint64_t nodeid, const std::string& body = {}, int32_t pid = 0);
  void send_raw(const std::string& message);
  void interrupt(uint64_t unique);
  void forget(uint64_t nodeid, uint64_t count);

  // Throws std::runtime_error when none comes.
  Reply reply(uint64_t unique);
  std::optional<Reply> reply_within(uint64_t unique, std::chrono::milliseconds time);
  Reply call(uint32_t opcode, uint64_t nodeid, const std::string& body = {}, int32_t pid = 0) {
    return reply(send(opcode, nodeid, body, pid));
  }
  // Messages with unique 0, in order, whole; waits until there are `count`.
  std::vector<std::string> notifications(size_t count);
  const fuse_init_out& init() const { return init_; }

  // As an unmount: every later reply fails.
  void hang_up();
  // From now on no reply is read, and each one that is sent fails.
  fuse::Connection& connection() { return *connection_; }

 private:
  void read_all();

  int socket_ = -1;
  fuse_init_out init_ = {};
  std::mutex mutex_;
  std::condition_variable arrived_;
  uint64_t next_unique_ = 2;
  std::map<uint64_t, Reply> replies_;
  std::vector<std::string> notifications_;
  std::thread reader_;
  std::unique_ptr<fuse::Connection> connection_;
};

// The process id of nobody: of a child that has ended.
int32_t dead_pid();

// One entry of a READDIR or READDIRPLUS reply.
struct ListedEntry {
  std::string name;
  uint64_t ino = 0, nodeid = 0, offset = 0;
  uint32_t type = 0;
  fuse_entry_out entry = {};
};
std::vector<ListedEntry> parse_listing(const std::string& body, bool plus);

}  // namespace linkspan::test
