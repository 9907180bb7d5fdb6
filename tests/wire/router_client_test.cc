// The gRPC client against the real router (over the memory store) on a unix socket: the two halves
// of the protocol, without FUSE.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <future>
#include <thread>

#include "fusefs/client/grpc_client.h"
#include "fusefs/client/narrow.h"
#include "linkspan/limits.h"
#include "routerd/core/grant.h"
#include "routerd/core/router.h"
#include "routerd/rpc/server.h"
#include "tests/support/slowdown.h"
#include "tests/unit/client/recorder.h"
#include "tests/unit/core/forward_store.h"

namespace linkspan::client {
namespace {

using namespace std::chrono_literals;
using core::testing::ForwardStore;

Call within(std::chrono::milliseconds time) {
  return Call{std::chrono::steady_clock::now() + time * test::kSlowdown, nullptr};
}

// A router process: what is in it goes when it is killed; the store stays.
class RouterProcess {
 public:
  RouterProcess(store::Store* inner, const std::string& address, std::chrono::milliseconds lease) {
    auto forward = std::make_unique<ForwardStore>(inner);
    store = forward.get();
    core::RouterOptions options;
    options.lease = lease;
    options.session_grace = 10s * test::kSlowdown;
    options.name = "test";
    core_ = core::make_router(std::move(forward), options);
    rpc::ServerOptions server;
    server.listen = {address};
    server.workers = 4;
    auto started = rpc::Server::start(core_.get(), server);
    EXPECT_TRUE(started.ok()) << started.error().message;
    server_ = std::move(*started);
  }
  ~RouterProcess() {
    server_->stop(0ms);
    core_->stop();
  }
  bool stop_gracefully() { return server_->stop(5s * test::kSlowdown); }

  ForwardStore* store;

 private:
  std::unique_ptr<core::Router> core_;
  std::unique_ptr<rpc::Server> server_;
};

struct Mount {
  Recorder listener;
  std::unique_ptr<RouterClient> client;
  SessionInfo info;
  Ino root() const { return info.routes.at(0).root; }
};

class RouterClientTest : public ::testing::Test {
 protected:
  RouterClientTest() {
    char folder[] = "/tmp/linkspan-wire-XXXXXX";
    folder_ = mkdtemp(folder);
    address_ = "unix:" + folder_.string() + "/router.sock";
    store_ = store::make_mem_store();
    store::TenantSpec tenant;
    tenant.name = "default";
    tenant.volumes = {{"memory"}};
    EXPECT_TRUE(store_->provision(tenant, Time{1}).ok());
    store::TokenRecord token;
    token.hash = store::hash_token("lsp_test");
    token.tenant = "default";
    token.principal = "agent";
    Route route;
    route.path = "memory";
    route.volume = "memory";
    route.rights = Access::read_write;
    token.routes = {route};
    EXPECT_TRUE(store_->put_token(token).ok());
  }
  ~RouterClientTest() override {
    mounts_.clear();
    router.reset();
    std::filesystem::remove_all(folder_);
  }

  void start() { router = std::make_unique<RouterProcess>(store_.get(), address_, lease); }
  Mount& mount(std::function<void(const Revocation&)> revoking = {}) {
    auto& mount = mounts_.emplace_back(std::make_unique<Mount>());
    mount->listener.revoking = std::move(revoking);
    GrpcClientOptions options;
    options.address = address_;
    options.token = "lsp_test";
    options.reconnect = {10ms, 50ms};
    mount->client = make_grpc_client(options);
    auto info = mount->client->attach(within(10s), &mount->listener);
    EXPECT_TRUE(info.ok()) << info.error().message;
    if (info.ok()) mount->info = std::move(*info);
    EXPECT_TRUE(mount->listener.wait("connected"));
    return *mount;
  }
  static Result<MutationReply> create(Mount& mount, const std::string& name) {
    CreateRequest request;
    request.parent = mount.root();
    request.name = name;
    request.mode = 0644;
    return mount.client->create(within(20s), request);
  }
  static Result<MutationReply> write(Mount& mount, Ino ino, std::string data, bool append = false) {
    CommitRequest request;
    request.ino = ino;
    request.keep_below = 0;
    request.size = data.size();
    request.append = append;
    request.mtime = Time{5};
    const uint64_t length = data.size();
    request.extents =
        std::make_shared<ExtentList>(std::vector<Extent>{{0, length, std::move(data)}});
    return mount.client->commit(within(20s), request);
  }
  static Result<LookupReply> lookup(Mount& mount, const std::string& name) {
    return mount.client->lookup(within(20s), LookupRequest{mount.root(), name, true});
  }

  std::chrono::milliseconds lease = 5s * test::kSlowdown;
  std::unique_ptr<RouterProcess> router;

 private:
  std::filesystem::path folder_;
  std::string address_;
  std::unique_ptr<store::Store> store_;
  std::vector<std::unique_ptr<Mount>> mounts_;
};

TEST_F(RouterClientTest, WhatOneMountWritesAnotherReads) {
  start();
  Mount& a = mount();
  Mount& b = mount();
  const auto made = create(a, "MEMORY.md");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const Ino ino = made->nodes.at(0).attr.ino;
  const auto written = write(a, ino, "remember\n");
  ASSERT_TRUE(written.ok()) << written.error().message;
  const auto found = lookup(b, "MEMORY.md");
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_TRUE(found->node.has_value());
  EXPECT_EQ(found->node->content, std::optional<std::string>("remember\n"));
  EXPECT_EQ(found->node->attr.version, written->version);
}

TEST_F(RouterClientTest, EveryCallIsAnswered) {
  start();
  Mount& a = mount();
  RouterClient& client = *a.client;
  const auto made = create(a, "f");
  ASSERT_TRUE(made.ok());
  const Ino ino = made->nodes.at(0).attr.ino;
  ASSERT_TRUE(write(a, ino, "12345").ok());
  EXPECT_EQ(client.getattr(within(10s), {ino, false})->node.attr.size, 5u);
  EXPECT_EQ(client.read(within(10s), {ino, {}, 1, 3})->data, "234");
  EXPECT_EQ(client.readdir(within(10s), {a.root(), {}, 100, true})->entries.at(0).name, "f");
  ASSERT_TRUE(client.set_xattr(within(10s), {{}, ino, "user.k", "v", false, false}).ok());
  EXPECT_EQ(client.xattrs(within(10s), ino)->xattrs.at(0).value, "v");
  EXPECT_TRUE(client.statfs(within(10s), a.root()).ok());
  SetAttrRequest mode;
  mode.ino = ino;
  mode.mode = 0600;
  EXPECT_EQ(client.set_attributes(within(10s), mode)->nodes.at(0).attr.mode, 0600u);
  EXPECT_TRUE(client.link(within(10s), {{}, ino, a.root(), "g"}).ok());
  RenameRequest rename;
  rename.from_parent = rename.to_parent = a.root();
  rename.from_name = "g";
  rename.to_name = "h";
  EXPECT_TRUE(client.rename(within(10s), rename).ok());
  EXPECT_TRUE(client.remove(within(10s), {{}, a.root(), "h", false}).ok());
  EXPECT_EQ(client.remove(within(10s), {{}, a.root(), "h", false}).code(), Code::not_found);
  EXPECT_FALSE(client.versions(within(10s), {ino, {}, 10})->empty());
  EXPECT_FALSE(client.changes(within(10s), {{}, 10, true, {}})->changes.empty());
  std::vector<std::string> prefetched;
  EXPECT_TRUE(client
                  .prefetch(within(10s), a.root(), 1 << 20, 100,
                            [&](Ino, ReadDirReply page) {
                              for (const auto& entry : page.entries)
                                prefetched.push_back(entry.name);
                              return true;
                            })
                  .ok());
  EXPECT_THAT(prefetched, ::testing::ElementsAre("f"));
  client.detach();
}

TEST_F(RouterClientTest, ALargeFileGoesThroughAndComesBack) {
  start();
  Mount& a = mount();
  Mount& b = mount();
  const Ino ino = create(a, "big")->nodes.at(0).attr.ino;
  constexpr uint64_t kPieces = 24;
  std::vector<Extent> extents;
  for (uint64_t i = 0; i < kPieces; ++i)
    extents.push_back({i << 20, 1 << 20, std::string(1 << 20, static_cast<char>('a' + i))});
  CommitRequest request;
  request.ino = ino;
  request.size = kPieces << 20;
  request.extents = std::make_shared<ExtentList>(std::move(extents));
  const auto written = a.client->commit(within(60s), request);
  ASSERT_TRUE(written.ok()) << written.error().message;
  for (uint64_t i = 0; i < kPieces; ++i) {
    const auto read = b.client->read(within(20s), {ino, {}, i << 20, limits::kReadBytes});
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_EQ(read->data, std::string(1 << 20, static_cast<char>('a' + i)));
  }
}

TEST_F(RouterClientTest, AMutationReturnsAfterTheOthersDroppedWhatTheyCached) {
  start();
  Mount& a = mount();
  Mount& b = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(lookup(b, "f").ok());  // b may cache it now
    const uint64_t before = b.client->stats().revocations;
    ASSERT_TRUE(write(a, ino, std::to_string(round)).ok());
    EXPECT_GT(b.client->stats().revocations, before);
  }
  EXPECT_EQ(b.listener.count("lost"), 0u);
  EXPECT_EQ(a.listener.count("lost"), 0u);
}

TEST_F(RouterClientTest, TwoMountsThatSaveTheSameFileNeverWaitForALease) {
  start();
  Mount& a = mount();
  Mount& b = mount();
  const Attr made = create(a, "f")->nodes.at(0).attr;
  const Ino ino = made.ino;
  std::atomic<int64_t> longest{0};
  const auto work = [&](Mount& m) {
    for (int round = 0; round < 200; ++round) {
      const auto begun = std::chrono::steady_clock::now();
      ASSERT_TRUE(lookup(m, "f").ok());
      const auto written = write(m, ino, std::to_string(round), true);
      ASSERT_TRUE(written.ok()) << written.error().message;
      const int64_t took = (std::chrono::steady_clock::now() - begun) / 1ms;
      if (took > longest) longest = took;
    }
  };
  std::thread other([&] { work(b); });
  work(a);
  other.join();
  EXPECT_LT(longest, 3000 * test::kSlowdown);  // what is left of a lease is longer
  EXPECT_EQ(a.client->getattr(within(10s), {ino, false})->node.attr.version.value,
            made.version.value + 400);
}

TEST_F(RouterClientTest, ARestartedRouterReplaysWhatItAppliedBefore) {
  start();
  Mount& a = mount();
  const Ino ino = create(a, "log")->nodes.at(0).attr.ino;
  // The store applies the append, and then the router dies before it can answer.
  std::promise<void> applied, die;
  std::atomic<bool> first{true};  // the mount tries again for as long as the router takes to die
  router->store->after("commit", [&]() -> Status {
    if (first.exchange(false)) {
      applied.set_value();
      die.get_future().wait();
    }
    return fail(Code::unavailable, "dying");
  });
  auto appended = std::async([&] { return write(a, ino, "line\n", true); });
  applied.get_future().wait();
  die.set_value();
  router.reset();
  start();
  const auto result = appended.get();
  ASSERT_TRUE(result.ok()) << result.error().message;
  EXPECT_EQ(lookup(a, "log")->node->content, std::optional<std::string>("line\n"));
  EXPECT_EQ(a.client->stats().sessions, 1u);  // the same session, taken up again
  EXPECT_GE(a.listener.count("lost"), 1u);    // but its caches could not be proved
}

TEST_F(RouterClientTest, AppendsSurviveARouterThatIsKilledAgainAndAgain) {
  lease = 300ms * test::kSlowdown;
  start();
  Mount& a = mount();
  Mount& b = mount();
  const Ino ino = create(a, "log")->nodes.at(0).attr.ino;
  std::atomic<int> done{0};
  const auto work = [&](Mount& m, const std::string& line) {
    for (int round = 0; round < 60; ++round) {
      const auto written = write(m, ino, line, true);
      ASSERT_TRUE(written.ok()) << written.error().message;
      ++done;
    }
  };
  std::thread first([&] { work(a, "a\n"); });
  std::thread second([&] { work(b, "b\n"); });
  for (int kill = 1; kill <= 3; ++kill) {
    while (done < kill * 30) std::this_thread::yield();
    router.reset();
    start();
  }
  first.join();
  second.join();
  const std::string content = lookup(a, "log")->node->content.value();
  EXPECT_EQ(std::count(content.begin(), content.end(), 'a'), 60);
  EXPECT_EQ(std::count(content.begin(), content.end(), 'b'), 60);
  EXPECT_EQ(content.size(), 240u);
}

TEST_F(RouterClientTest, AGracefulStopIsAPauseForTheMount) {
  start();
  Mount& a = mount();
  ASSERT_TRUE(create(a, "before").ok());
  router->stop_gracefully();
  ASSERT_TRUE(a.listener.wait("disconnected"));
  auto made = std::async([&] { return create(a, "after"); });
  router.reset();
  start();
  const auto result = made.get();
  ASSERT_TRUE(result.ok()) << result.error().message;
}

TEST_F(RouterClientTest, AMountThatHangsDelaysAWriterByOneLeaseAtMost) {
  lease = 400ms * test::kSlowdown;
  start();
  Mount& a = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  std::promise<void> proceed;
  auto proceeded = proceed.get_future().share();
  Mount& b = mount([proceeded](const Revocation&) { proceeded.wait(); });
  ASSERT_TRUE(lookup(b, "f").ok());
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_TRUE(write(a, ino, "x").ok());
  const auto took = std::chrono::steady_clock::now() - begun;
  EXPECT_GT(took, 100ms);
  EXPECT_LT(took, 3s * test::kSlowdown);
  EXPECT_FALSE(b.client->lease_valid());
  proceed.set_value();
  ASSERT_TRUE(b.listener.wait("lost"));
  ASSERT_TRUE(b.listener.wait("connected", 2));
}

// ---- locks -------------------------------------------------------------------------------------

class LockClientTest : public RouterClientTest {
 protected:
  static Lock lock(Ino ino, LockType type = LockType::exclusive) {
    return {ino, LockKind::record, 7, type, {0, 10}, 1, false};
  }
  struct Asked {
    OpNumber number;
    Status status = ok();
  };
  static Asked set(Mount& m, const Lock& what, LockWait wait = LockWait::no) {
    Asked asked;
    asked.status = m.client->set_lock(
        Call{std::chrono::steady_clock::now() + 20s * test::kSlowdown, nullptr, &asked.number},
        what, wait);
    return asked;
  }
  // Queued, and awaited on another thread.
  static std::future<Status> wait_for(Mount& m, const Lock& what, CancelToken* cancel = nullptr,
                                      OpNumber* number = nullptr) {
    Asked queued = set(m, what, LockWait::queue);
    EXPECT_EQ(queued.status.code(), Code::would_block);
    EXPECT_TRUE(queued.number);
    return std::async(
        std::launch::async, [&m, what, cancel, number, own = queued.number]() mutable {
          OpNumber* const carried = number != nullptr ? number : &own;
          *carried = own;
          return m.client->set_lock(
              Call{std::chrono::steady_clock::now() + 20s * test::kSlowdown, cancel, carried}, what,
              LockWait::stay);
        });
  }
  static bool waits(std::future<Status>& status) {
    return status.wait_for(100ms) == std::future_status::timeout;
  }
};

TEST_F(LockClientTest, OneGetsWhatTheOtherGivesUp) {
  start();
  Mount &a = mount(), &b = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  EXPECT_TRUE(set(a, lock(ino)).status.ok());
  EXPECT_EQ(a.client->lock_held(lock(ino)), LockType::exclusive);
  const Asked refused = set(b, lock(ino));
  EXPECT_EQ(refused.status.code(), Code::would_block);
  EXPECT_FALSE(refused.number);
  EXPECT_TRUE(b.client->test_lock(within(10s), lock(ino))->blocker);
  auto waiting = wait_for(b, lock(ino));
  EXPECT_TRUE(waits(waiting));
  EXPECT_TRUE(set(a, lock(ino, LockType::none)).status.ok());
  EXPECT_FALSE(a.client->has_locks(lock(ino)));
  EXPECT_TRUE(waiting.get().ok());
  a.client->detach();
  EXPECT_EQ(b.client->stats().locks_held, 1u);
}

TEST_F(LockClientTest, AWaitIsTakenBackOrHeldNothingBetween) {
  start();
  Mount &a = mount(), &b = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  for (int round = 0; round < 50; ++round) {
    ASSERT_TRUE(set(a, lock(ino)).status.ok());
    CancelToken cancel;
    OpNumber number;
    auto waiting = wait_for(b, lock(ino), &cancel, &number);
    std::thread unlocking([&] { (void)set(a, lock(ino, LockType::none)).status.ok(); });
    cancel.cancel();
    Status got = waiting.get();
    if (!got.ok()) {
      EXPECT_EQ(got.code(), Code::interrupted);
      ASSERT_TRUE(number);
      got = b.client->cancel_lock(
          Call{std::chrono::steady_clock::now() + 10s * test::kSlowdown, nullptr, &number},
          lock(ino));
      EXPECT_FALSE(number);
    }
    unlocking.join();
    EXPECT_EQ(b.client->lock_held(lock(ino)), got.ok() ? LockType::exclusive : LockType::none);
    EXPECT_EQ(set(a, lock(ino)).status.ok(), !got.ok()) << "the router and the mount disagree";
    ASSERT_TRUE(set(b, lock(ino, LockType::none)).status.ok());
  }
}

TEST_F(LockClientTest, LocksAndWaitsOutliveARouter) {
  start();
  Mount &a = mount(), &b = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  EXPECT_TRUE(set(a, lock(ino)).status.ok());
  auto waiting = wait_for(b, lock(ino));
  for (int restarts = 0; restarts < 2; ++restarts) {
    router.reset();
    ASSERT_TRUE(a.listener.wait("disconnected", static_cast<size_t>(restarts) + 1));
    start();
    ASSERT_TRUE(a.listener.wait("connected", static_cast<size_t>(restarts) + 2));
    EXPECT_TRUE(waits(waiting));
    EXPECT_EQ(set(b, lock(ino, LockType::shared)).status.code(), Code::would_block);
  }
  EXPECT_TRUE(set(a, lock(ino, LockType::none)).status.ok());
  EXPECT_TRUE(waiting.get().ok());
  EXPECT_EQ(a.listener.count("locks lost"), 0u);
}

TEST_F(LockClientTest, AGracefulStopWaitsForNoLock) {
  start();
  Mount &a = mount(), &b = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  EXPECT_TRUE(set(a, lock(ino)).status.ok());
  auto waiting = wait_for(b, lock(ino));
  EXPECT_TRUE(waits(waiting));
  const auto begun = std::chrono::steady_clock::now();
  router->stop_gracefully();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 4s * test::kSlowdown);
  router.reset();
  start();
  EXPECT_TRUE(set(a, lock(ino, LockType::none)).status.ok());
  EXPECT_TRUE(waiting.get().ok());
}

TEST_F(LockClientTest, ALockOfAMountThatHangsIsGivenAwayAndToldOf) {
  lease = 400ms * test::kSlowdown;
  start();
  std::promise<void> proceed;
  auto proceeded = proceed.get_future().share();
  Mount& a = mount([proceeded](const Revocation&) { proceeded.wait(); });
  Mount& b = mount();
  const Ino ino = create(a, "f")->nodes.at(0).attr.ino;
  EXPECT_TRUE(set(a, lock(ino)).status.ok());
  ASSERT_TRUE(lookup(a, "f").ok());
  auto waiting = wait_for(b, lock(ino));
  ASSERT_TRUE(write(b, ino, "x").ok());  // a's stream hangs in the revocation: its lease runs out
  EXPECT_TRUE(waiting.get().ok());
  EXPECT_TRUE(write(b, ino, "b's").ok());
  // What a sends meanwhile does not get through; and it hears why before anything else does.
  auto late = std::async(std::launch::async, [&] { return write(a, ino, "a's"); });
  EXPECT_EQ(late.wait_for(200ms), std::future_status::timeout);
  proceed.set_value();
  EXPECT_EQ(late.get().code(), Code::io);
  EXPECT_TRUE(a.listener.wait("locks lost 1"));
  EXPECT_EQ(a.client->lock_held(lock(ino)), LockType::none);
  EXPECT_EQ(lookup(b, "f")->node->content, std::optional<std::string>("b's"));
  EXPECT_TRUE(write(a, ino, "now").ok());
}

TEST_F(RouterClientTest, ATokenIsNarrowedWithAndWithoutASession) {
  start();
  Mount& whole = mount();
  NarrowRequest request;
  request.reaches = {{"memory/notes", Access::append_only}};
  request.sandbox = "sub";
  const auto through = whole.client->narrow(within(10s), request);
  ASSERT_TRUE(through.ok()) << through.error().message;
  EXPECT_EQ(through->sandbox, whole.info.sandbox + "/sub");
  EXPECT_EQ(through->principal, "agent");
  ASSERT_EQ(through->routes.size(), 1u);
  EXPECT_EQ(through->routes[0].reaches, std::vector<std::string>{"notes"});
  EXPECT_EQ(through->routes[0].root, whole.root());

  GrpcClientOptions options;
  const std::string nobodys = "unix:/nonexistent/nobody.sock";
  options.address = nobodys + "," + whole.info.address;
  options.token = through->token;
  options.instance.assign(limits::kInstanceBytes, '\xff');
  const auto alone = narrow_token(options, {});
  ASSERT_TRUE(alone.ok()) << alone.error().message;
  EXPECT_EQ(alone->routes, through->routes);
  request.reaches[0].rights = Access::read_write;
  EXPECT_EQ(narrow_token(options, request).code(), Code::access_denied);
  options.token = "lsp_wrong";
  EXPECT_EQ(narrow_token(options, {}).code(), Code::unauthenticated);
  options.address = nobodys;
  const auto nobody = narrow_token(options, {});
  EXPECT_EQ(nobody.code(), Code::unavailable);
  EXPECT_NE(nobody.error().message.find("nobody.sock"), std::string::npos);
}

// Nor does the server wait for the store, when it stops, to say what became of a mutation.
TEST_F(RouterClientTest, AServerStopsThoughTheStoreHasNotSaidWhatItApplied) {
  start();
  Mount& m = mount();
  const auto silent = [] { return Status(fail(Code::io, "no answer")); };
  router->store->no_answer("create", silent);
  router->store->no_answer("recall", silent);
  auto made = std::async(std::launch::async, [&] { return create(m, "x"); });
  while (router->store->calls("recall") == 0) std::this_thread::yield();
  EXPECT_TRUE(router->stop_gracefully()) << "all that was accepted was answered";
  EXPECT_EQ(made.get().code(), Code::io);
}

TEST_F(RouterClientTest, AWrongTokenIsRefused) {
  start();
  GrpcClientOptions options;
  options.address = "unix:" + std::string("/nonexistent");
  options.token = "lsp_wrong";
  Mount& a = mount();  // the router is there
  options.address = a.info.address;
  Recorder listener;
  const auto client = make_grpc_client(options);
  const auto info = client->attach(within(30s), &listener);
  ASSERT_FALSE(info.ok());
  EXPECT_EQ(info.code(), Code::unauthenticated);
  EXPECT_EQ(info.error().message.find("lsp_wrong"), std::string::npos);
}

}  // namespace
}  // namespace linkspan::client
