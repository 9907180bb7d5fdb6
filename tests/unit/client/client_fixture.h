// A client attached to a fake router.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "fusefs/client/grpc_client.h"
#include "linkspan/convert_status.h"
#include "tests/support/slowdown.h"
#include "tests/unit/client/fake_router.h"
#include "tests/unit/client/recorder.h"

namespace linkspan::client {

using namespace std::chrono_literals;

inline Call within_exactly(std::chrono::milliseconds time) {
  return Call{std::chrono::steady_clock::now() + time};
}
inline Call within(std::chrono::milliseconds time, CancelToken* cancel = nullptr) {
  return Call{std::chrono::steady_clock::now() + time * test::kSlowdown, cancel};
}

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { make(router.address()); }

  void make(const std::string& addresses) {
    GrpcClientOptions options;
    options.address = addresses;
    options.token = "lsp_token";
    options.attach_attempt = 1000ms * test::kSlowdown;
    options.reconnect = {5ms, 20ms};
    options.seed = 1;
    options.boot_clock = [this] { return boot_now() + BootTime(asleep.load()); };
    client = make_grpc_client(options);
  }
  // A client that is told of both, and a second router that is there but refuses.
  std::string make_with_standby() {
    standby.refuse_attach = fail(Code::unavailable, "another router serves the tenant");
    standby.start();
    std::string addresses = router.address() + "," + standby.address();
    make(addresses);
    return addresses;
  }
  void attach() {
    router.start();
    const auto info = client->attach(within(10s), &listener);
    ASSERT_TRUE(info.ok()) << info.error().message;
    ASSERT_TRUE(listener.wait("connected"));
  }
  static CreateRequest some_create() {
    CreateRequest request;
    request.parent = Ino(16);
    request.name = "a";
    return request;
  }
  Result<LookupReply> lookup(const Call& call) {
    return client->lookup(call, LookupRequest{Ino(16), "a", false});
  }
  uint64_t retries(const std::string& method) {
    for (const MethodStats& stats : client->stats().methods)
      if (stats.name == method) return stats.retries;
    return UINT64_MAX;
  }

  std::atomic<int64_t> asleep{0};  // ns that the machine slept
  FakeRouter router, standby;
  Recorder listener;
  std::unique_ptr<RouterClient> client;
};

}  // namespace linkspan::client
