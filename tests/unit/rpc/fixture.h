// A real rpc::Server on a unix socket over a FakeRouter, and raw stubs.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <thread>

#include "linkspan/convert.h"
#include "linkspan/convert_status.h"
#include "linkspan/v1/fs.grpc.pb.h"
#include "linkspan/v1/session.grpc.pb.h"
#include "routerd/rpc/server.h"
#include "tests/support/slowdown.h"
#include "tests/unit/rpc/fake_router.h"

namespace linkspan::rpc::testing {

using namespace std::chrono_literals;

class TempDir {
 public:
  TempDir() {
    char path[] = "/tmp/linkspan-rpc-XXXXXX";
    if (!mkdtemp(path)) std::abort();
    path_ = path;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A context with credentials and a deadline that only a bug reaches.
class Context : public grpc::ClientContext {
 public:
  explicit Context(bool credentials = true) {
    set_deadline(std::chrono::system_clock::now() + 20s * test::kSlowdown);
    if (credentials) AddMetadata(wire::kSessionKey, wire::encode_credential({kSession, kSecret}));
  }
};

class ServerTest : public ::testing::Test {
 protected:
  ServerOptions options() const {
    ServerOptions out;
    out.listen = {"unix:" + dir_.path() + "/s"};
    out.workers = 2;
    out.spool_dir = dir_.path();
    return out;
  }
  void start(ServerOptions options) {
    auto started = Server::start(&router_, std::move(options));
    ASSERT_TRUE(started.ok()) << started.error().message;
    server_ = *std::move(started);
    channel_ =
        grpc::CreateChannel(server_->listening().front(), grpc::InsecureChannelCredentials());
    fs_ = v1::Fs::NewStub(channel_);
    session_ = v1::Session::NewStub(channel_);
  }
  void start() { start(options()); }

  // The domain error of a failed call.
  static Error error(const grpc::ClientContext& context, const grpc::Status& status) {
    EXPECT_FALSE(status.ok());
    const auto& trailing = context.GetServerTrailingMetadata();
    EXPECT_TRUE(trailing.find(wire::kErrorKey) != trailing.end())
        << "no error detail: " << status.error_message();
    return wire::error_of(context, status);
  }
  Error lookup_error(grpc::ClientContext* context, const std::string& name = "a",
                     uint64_t parent = 16) {
    v1::LookupRequest request;
    request.set_parent(parent);
    request.set_name(name);
    v1::LookupReply reply;
    return error(*context, fs_->Lookup(context, request, &reply));
  }
  // An upload and its space go a moment after its answer; the test's own timeout bounds this.
  void wait_no_uploads() const {
    while (server_->metrics().uploads != 0 || server_->metrics().spooled_bytes != 0)
      std::this_thread::yield();
  }
  grpc::Status lookup() {
    Context context;
    v1::LookupRequest request;
    request.set_parent(16);
    request.set_name("a");
    v1::LookupReply reply;
    return fs_->Lookup(&context, request, &reply);
  }

  TempDir dir_;
  FakeRouter router_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Fs::Stub> fs_;
  std::unique_ptr<v1::Session::Stub> session_;
};

}  // namespace linkspan::rpc::testing
