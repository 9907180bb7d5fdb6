// A router in this process over the memory store, and clients that speak raw gRPC to it: the
// attacker, who has a valid token and the machine, and honest ones beside him.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "linkspan/convert.h"
#include "linkspan/convert_status.h"
#include "linkspan/limits.h"
#include "linkspan/v1/fs.grpc.pb.h"
#include "linkspan/v1/session.grpc.pb.h"
#include "routerd/core/router.h"
#include "routerd/rpc/server.h"
#include "tests/support/slowdown.h"

namespace linkspan::hostile {

using namespace std::chrono_literals;

inline constexpr auto kPatience = 30s * test::kSlowdown;  // after this a test gives up on an event
inline constexpr Code kDone{};                            // no error has it

// Two tenants, "a" and "b", each with the volumes "memory" and "skills" and the tokens
// "lsp_TENANT" (both routes; skills read-only), and "lsp_TENANT_memory" (the first only).
class Router {
 public:
  explicit Router(std::chrono::milliseconds lease = limits::kLease * test::kSlowdown,
                  rpc::ServerOptions options = {});
  ~Router();
  const std::string& address() const { return address_; }
  // A connection of its own: channels to one address share one otherwise.
  std::shared_ptr<grpc::Channel> connect() const;
  rpc::Server& server() { return *server_; }

 private:
  std::string folder_, address_;
  std::unique_ptr<core::Router> core_;
  std::unique_ptr<rpc::Server> server_;
};

class Context : public grpc::ClientContext {
 public:
  explicit Context(const std::string& credential = {}) {
    set_deadline(std::chrono::system_clock::now() + kPatience);
    if (!credential.empty()) AddMetadata(wire::kSessionKey, credential);
  }
};

// What became of a call by raw bytes.
struct Outcome {
  grpc::Status status;
  std::optional<Error> error;  // the router's own words, if they came
  std::string reply;           // bytes of the first one
  Code code() const { return error ? error->code : kDone; }
  std::string text() const {
    if (error) return std::string(to_string(error->code)) + ": " + error->message;
    return status.ok() ? "accepted" : "gRPC: " + status.error_message();
  }
};

// One attached session.
class Client {
 public:
  explicit Client(const Router& router, const std::string& token = "lsp_a");

  // Sends `frames` to the method ("/linkspan.v1.Fs/Lookup"), half-closes unless it `stays`, and
  // reads to the end.
  Outcome call(const std::string& method, const std::vector<std::string>& frames,
               bool stays = false);
  template <class Reply, class Method, class Request>
  Result<Reply> call(Method method, const Request& request) {
    Context context(credential);
    Reply reply;
    const auto status = (fs().*method)(&context, request, &reply);
    if (!status.ok()) return wire::error_of(context, status);
    return reply;
  }

  uint64_t root(const std::string& path = "memory") const;
  Result<v1::MutationReply> create(uint64_t parent, const std::string& name,
                                   v1::Kind kind = v1::KIND_FILE);
  Result<v1::MutationReply> write(uint64_t ino, const std::string& content);
  Result<v1::NodeReply> getattr(uint64_t ino);
  Result<v1::ReadReply> read(uint64_t ino);
  uint64_t next() { return ++number_; }
  v1::Fs::Stub& fs() { return *fs_; }
  v1::Session::Stub& session() { return *session_; }

  std::shared_ptr<grpc::Channel> channel;
  v1::AttachReply attached;
  std::string credential;

 private:
  std::unique_ptr<v1::Fs::Stub> fs_;
  std::unique_ptr<v1::Session::Stub> session_;
  std::atomic<uint64_t> number_{0};
};

Result<v1::AttachReply> attach(const std::shared_ptr<grpc::Channel>& channel,
                               const std::string& token);

// An honest mount: its stream renews and acknowledges, and it goes on writing a file of its own and
// reading it back, until it is asked what it noticed.
class Honest {
 public:
  explicit Honest(const Router& router, const std::string& token = "lsp_b");
  ~Honest();
  // Rounds that were done since the last time it was asked; waits for some. Fails the test for
  // every call that failed or told something else than was written.
  void notices_nothing();
  std::chrono::milliseconds slowest() const { return std::chrono::milliseconds(slowest_); }
  Client& client() { return client_; }

 private:
  void work();
  void listen();
  Client client_;
  std::unique_ptr<Context> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ClientFrame, v1::RouterFrame>> stream_;
  std::mutex writing_;  // of the stream: frames are written one at a time
  std::atomic<bool> ended_{false};
  std::atomic<uint64_t> rounds_{0};
  std::atomic<int64_t> slowest_{0};  // of a round, ms
  std::thread listener_, renewer_, worker_;
};

}  // namespace linkspan::hostile
