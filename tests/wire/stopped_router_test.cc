// The client against a router that is stopped: nothing answers, and nothing breaks by itself.
#include <gtest/gtest.h>
#include <signal.h>

#include <future>

#include "fusefs/client/grpc_client.h"
#include "linkspan/limits.h"
#include "tests/unit/client/recorder.h"
#include "tests/wire/router_process.h"

namespace linkspan::client {
namespace {

using namespace std::chrono_literals;

Call within(std::chrono::seconds time) {
  return Call{std::chrono::steady_clock::now() + time * test::kSlowdown, nullptr};
}

CommitRequest whole(Ino ino, uint64_t pieces) {
  constexpr uint64_t kPiece = 1 << 20;
  CommitRequest request;
  request.ino = ino;
  request.size = pieces * kPiece;
  request.mtime = Time{5};
  std::vector<Extent> extents;
  for (uint64_t i = 0; i < pieces; ++i)
    extents.push_back({i * kPiece, kPiece, std::string(kPiece, static_cast<char>('a' + i % 26))});
  request.extents = std::make_shared<ExtentList>(std::move(extents));
  return request;
}

TEST(StoppedRouter, InTheMiddleOfALargeCommitTheLinkIsGivenUp) {
  test::RouterProcess router({"mem:", 1000 * test::kSlowdown, {}});
  Recorder listener;
  GrpcClientOptions options;
  options.address = router.tcp_address();
  options.token = router.token();
  const auto client = make_grpc_client(options);
  const auto info = client->attach(within(10s), &listener);
  ASSERT_TRUE(info.ok()) << info.error().message;
  ASSERT_TRUE(listener.wait("connected"));
  CreateRequest create;
  create.parent = info->routes.at(0).root;
  create.name = "large";
  create.mode = 0644;
  const auto made = client->create(within(10s), create);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const Ino ino = made->nodes.at(0).attr.ino;

  router.signal(SIGSTOP);
  constexpr uint64_t kMiB = 64;  // more than a connection takes that nobody reads
  auto commit =
      std::async(std::launch::async, [&] { return client->commit(within(60s), whole(ino, kMiB)); });
  EXPECT_TRUE(listener.wait("disconnected")) << "nothing else is told so until the router goes on";
  router.signal(SIGCONT);
  const auto committed = commit.get();
  ASSERT_TRUE(committed.ok()) << committed.error().message;
  const auto seen = client->getattr(within(10s), GetAttrRequest{ino});
  ASSERT_TRUE(seen.ok()) << seen.error().message;
  EXPECT_EQ(seen->node.attr.size, kMiB << 20);
  client->detach();
}

}  // namespace
}  // namespace linkspan::client
