// Calls: retries under one operation number, deadlines, cancellation, commits, prefetching.
#include "linkspan/limits.h"
#include "tests/unit/client/client_fixture.h"

namespace linkspan::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CallsTest : public ClientTest {};

// A hook that fails the first `count` calls.
std::function<grpc::Status(grpc::ServerContext&)> fail_first(int count, Error error) {
  auto left = std::make_shared<std::atomic<int>>(count);
  return [left, error](grpc::ServerContext& context) {
    return left->fetch_sub(1) > 0 ? wire::finish(context, error) : grpc::Status::OK;
  };
}

TEST_F(CallsTest, AReadIsAnswered) {
  attach();
  const auto reply = lookup(within(10s));
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->as_of, Seq(16));
  EXPECT_EQ(retries("Lookup"), 0u);
}

TEST_F(CallsTest, DomainErrorsComeBackAsTheyAre) {
  router.hooks["Lookup"] = [](grpc::ServerContext& context) {
    return wire::finish(context, Error{Code::conflict, "no", 12});
  };
  attach();
  const auto reply = lookup(within(10s));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::conflict);
  EXPECT_EQ(reply.error().message, "no");
  EXPECT_EQ(reply.error().head_version, 12u);
}

TEST_F(CallsTest, ABusyRouterIsAskedAgain) {
  router.hooks["Lookup"] = fail_first(3, fail(Code::busy, "full"));
  attach();
  EXPECT_TRUE(lookup(within(10s)).ok());
  EXPECT_EQ(retries("Lookup"), 3u);
}

TEST_F(CallsTest, OperationNumbersAscendAndAnsweredOnesAreTold) {
  attach();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(client->create(within(10s), some_create()).ok());
  const auto operations = router.record().operations;
  ASSERT_EQ(operations.size(), 3u);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(operations[i].number(), i + 1);
    EXPECT_EQ(operations[i].answered_below(), i + 1);
    EXPECT_FALSE(operations[i].retry());
  }
}

TEST_F(CallsTest, ARetryRepeatsItsNumber) {
  router.hooks["Create"] = fail_first(2, fail(Code::unavailable, "postgres went away"));
  attach();
  ASSERT_TRUE(client->create(within(10s), some_create()).ok());
  const auto operations = router.record().operations;
  ASSERT_EQ(operations.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(operations[i].number(), 1u);
    EXPECT_EQ(operations[i].answered_below(), 1u);
    EXPECT_EQ(operations[i].retry(), i > 0);
  }
}

TEST_F(CallsTest, ALostReplyIsAskedForAgain) {
  std::atomic<int> calls{0};
  router.on_create = [&](grpc::ServerContext& context, const auto&, auto*) {
    if (calls++ > 0) return grpc::Status::OK;
    router.stream()->break_off();
    return grpc::Status(grpc::StatusCode::UNAVAILABLE, "");  // as a broken connection looks
  };
  attach();
  ASSERT_TRUE(client->create(within(10s), some_create()).ok());
  const auto record = router.record();
  ASSERT_EQ(record.operations.size(), 2u);
  EXPECT_EQ(record.operations[1].number(), 1u);
  EXPECT_TRUE(record.operations[1].retry());
  EXPECT_THAT(record.sessions, ElementsAre(100, 100));
}

TEST_F(CallsTest, ARestartedRouterThatKnowsTheSessionReplays) {
  attach();
  std::promise<void> reached;
  router.on_create = [&](grpc::ServerContext& context, const auto&, auto*) {
    reached.set_value();
    return router.wait_for_cancel(context);
  };
  auto made = std::async([&] { return client->create(within(20s), some_create()); });
  reached.get_future().wait();
  router.stop();
  router.on_create = nullptr;
  router.start();
  const auto result = made.get();
  ASSERT_TRUE(result.ok()) << result.error().message;
  const auto operations = router.record().operations;
  ASSERT_EQ(operations.size(), 2u);
  EXPECT_EQ(operations[1].number(), 1u);
  EXPECT_TRUE(operations[1].retry());
}

TEST_F(CallsTest, AnUnknownOutcomeIsSaidWhenTheSessionIsReplaced) {
  attach();
  std::promise<void> reached;
  router.on_create = [&](grpc::ServerContext& context, const auto&, auto*) {
    reached.set_value();
    return router.wait_for_cancel(context);
  };
  auto made = std::async([&] { return client->create(within(20s), some_create()); });
  reached.get_future().wait();
  router.stop();
  router.on_create = nullptr;
  router.know_sessions = false;
  router.start();
  const auto result = made.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.code(), Code::io);
  EXPECT_THAT(result.error().message, HasSubstr("may have been made or not"));
  EXPECT_EQ(router.record().operations.size(), 1u);
}

TEST_F(CallsTest, WhatWasNeverAppliedMayGoToANewSession) {
  attach();
  router.on_create = [&](grpc::ServerContext& context, const v1::CreateRequest&, auto*) {
    const auto sessions = router.record().sessions;
    if (sessions.back() != 100) return grpc::Status::OK;
    router.script([](FakeRouter& r) { r.know_sessions = false; });
    return wire::finish(context, fail(Code::session_lost, "who are you?"));
  };
  ASSERT_TRUE(client->create(within(20s), some_create()).ok());
  const auto record = router.record();
  // It may have asked in the old session more than once before it was attached anew.
  ASSERT_GE(record.operations.size(), 2u);
  EXPECT_EQ(record.sessions.front(), 100u);
  EXPECT_EQ(std::count(record.sessions.begin(), record.sessions.end(), 101u), 1);
  EXPECT_EQ(record.sessions.back(), 101u);
  EXPECT_EQ(record.operations.front().number(), 1u);
  EXPECT_EQ(record.operations.back().number(), 2u);
  EXPECT_EQ(record.operations.back().answered_below(), 2u);
  EXPECT_FALSE(record.operations.back().retry());
}

TEST_F(CallsTest, CallsWaitForTheRouterAndGoOn) {
  attach();
  router.stop();
  ASSERT_TRUE(listener.wait("disconnected"));
  auto made = std::async([&] { return client->create(within(20s), some_create()); });
  auto read = std::async([&] { return lookup(within(20s)); });
  EXPECT_EQ(made.wait_for(50ms), std::future_status::timeout);
  router.start();
  EXPECT_TRUE(made.get().ok());
  EXPECT_TRUE(read.get().ok());
  EXPECT_EQ(router.record().operations.size(), 1u);
}

TEST_F(CallsTest, TheDeadlineIsKeptWithoutARouter) {
  attach();
  router.stop();
  const auto reply = lookup(within_exactly(150ms));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::timed_out);
  EXPECT_THAT(reply.error().message, HasSubstr(router.address()));
  EXPECT_THAT(reply.error().message, HasSubstr("tried for 0.1 s"));
}

TEST_F(CallsTest, TheDeadlineIsKeptByASilentRouter) {
  router.hooks["Lookup"] = [&](grpc::ServerContext& context) {
    return router.wait_for_cancel(context);
  };
  attach();
  const auto begun = std::chrono::steady_clock::now();
  const auto reply = lookup(within(150ms));
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s * test::kSlowdown);
}

TEST_F(CallsTest, CancellingEndsTheCallAtOnce) {
  std::promise<void> reached;
  router.hooks["Lookup"] = [&](grpc::ServerContext& context) {
    reached.set_value();
    return router.wait_for_cancel(context);
  };
  attach();
  CancelToken cancel;
  auto reply = std::async([&] { return lookup(within(60s, &cancel)); });
  reached.get_future().wait();
  cancel.cancel();
  const auto result = reply.get();
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.code(), Code::interrupted);
  EXPECT_TRUE(router.wait([](const auto& r) { return r.cancelled == 1; }));
}

TEST_F(CallsTest, CancellingEndsTheWaitForTheRouter) {
  attach();
  router.stop();
  ASSERT_TRUE(listener.wait("disconnected"));
  CancelToken cancel;
  auto reply = std::async([&] { return lookup(within(60s, &cancel)); });
  EXPECT_EQ(reply.wait_for(20ms), std::future_status::timeout);
  cancel.cancel();
  EXPECT_EQ(reply.get().code(), Code::interrupted);
  EXPECT_EQ(lookup(within(60s, &cancel)).code(), Code::interrupted);  // it stays cancelled
}

TEST_F(CallsTest, ASilentLinkIsGivenUpAndItsCallsGoOn) {
  router.lease = 300ms * test::kSlowdown;
  std::promise<void> reached;
  std::atomic<int> calls{0};
  router.hooks["Lookup"] = [&](grpc::ServerContext& context) {
    if (calls++ > 0) return grpc::Status::OK;
    router.script([](FakeRouter& r) { r.answer_renewals = false; });
    reached.set_value();
    return router.wait_for_cancel(context);
  };
  attach();
  auto reply = std::async([&] { return lookup(within(60s)); });
  reached.get_future().wait();
  ASSERT_TRUE(listener.wait("lost"));
  EXPECT_TRUE(reply.get().ok());
  EXPECT_EQ(calls, 2);
}

TEST_F(CallsTest, AnAnswerThatBreaksTheContractIsAnInternalError) {
  router.on_create = [](grpc::ServerContext&, const auto&, v1::MutationReply* reply) {
    reply->add_nodes();  // without attributes
    return grpc::Status::OK;
  };
  attach();
  const auto reply = client->create(within(10s), some_create());
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::internal);
  EXPECT_THAT(reply.error().message, HasSubstr("node.attr"));
}

// ---- Call::operation ---------------------------------------------------------------------------

TEST_F(CallsTest, AnOperationOutlivesItsCall) {
  attach();
  std::promise<void> reached;
  router.on_create = [&](grpc::ServerContext& context, const auto&, auto*) {
    reached.set_value();
    return router.wait_for_cancel(context);
  };
  OpNumber operation;
  CancelToken cancel;
  Call first = within(60s, &cancel);
  first.operation = &operation;
  auto made = std::async([&] { return client->create(first, some_create()); });
  reached.get_future().wait();
  cancel.cancel();
  EXPECT_EQ(made.get().code(), Code::interrupted);
  EXPECT_EQ(operation, OpNumber(1));

  router.script([](FakeRouter& r) { r.on_create = nullptr; });
  ASSERT_TRUE(client->create(within(10s), some_create()).ok());  // another one meanwhile
  Call second = within(10s);
  second.operation = &operation;
  ASSERT_TRUE(client->create(second, some_create()).ok());
  EXPECT_EQ(operation, OpNumber());

  const auto operations = router.record().operations;
  ASSERT_EQ(operations.size(), 3u);
  EXPECT_EQ(operations[1].number(), 2u);
  EXPECT_EQ(operations[1].answered_below(), 1u);  // the first is still open
  EXPECT_EQ(operations[2].number(), 1u);
  EXPECT_TRUE(operations[2].retry());
  ASSERT_TRUE(client->create(within(10s), some_create()).ok());
  EXPECT_EQ(router.record().operations.back().answered_below(), 3u);
}

TEST_F(CallsTest, AForgottenOperationHoldsNothingUp) {
  attach();
  std::promise<void> reached;
  router.on_create = [&](grpc::ServerContext& context, const auto&, auto*) {
    reached.set_value();
    return router.wait_for_cancel(context);
  };
  OpNumber operation;
  CancelToken cancel;
  Call call = within(60s, &cancel);
  call.operation = &operation;
  auto made = std::async([&] { return client->create(call, some_create()); });
  reached.get_future().wait();
  cancel.cancel();
  EXPECT_FALSE(made.get().ok());
  client->forget_operation(operation);
  router.script([](FakeRouter& r) { r.on_create = nullptr; });
  ASSERT_TRUE(client->create(within(10s), some_create()).ok());
  EXPECT_EQ(router.record().operations.back().answered_below(), 2u);
}

TEST_F(CallsTest, AnOperationThatWasNeverSentLeavesNoNumber) {
  attach();
  router.stop();
  ASSERT_TRUE(listener.wait("disconnected"));
  OpNumber operation;
  Call call = within(50ms);
  call.operation = &operation;
  EXPECT_EQ(client->create(call, some_create()).code(), Code::timed_out);
  EXPECT_EQ(operation, OpNumber());
}

// ---- commits -----------------------------------------------------------------------------------

CommitRequest commit_of(std::vector<Extent> extents) {
  CommitRequest request;
  request.ino = Ino(20);
  request.extents = std::make_shared<ExtentList>(std::move(extents));
  return request;
}

TEST_F(CallsTest, ASmallCommitIsOneMessage) {
  attach();
  ASSERT_TRUE(client->commit(within(10s), commit_of({{0, 3, "abc"}, {10, 5, ""}})).ok());
  const auto parts = router.record().parts;
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].head().ino(), 20u);
  EXPECT_EQ(parts[0].head().op().number(), 1u);
  ASSERT_EQ(parts[0].extents_size(), 2);
  EXPECT_EQ(parts[0].extents(0).data(), "abc");
  EXPECT_EQ(parts[0].extents(1).length(), 5u);
}

TEST_F(CallsTest, ACommitWithoutExtentsIsItsHead) {
  attach();
  CommitRequest request;
  request.ino = Ino(20);
  ASSERT_TRUE(client->commit(within(10s), request).ok());
  EXPECT_EQ(router.record().parts.size(), 1u);
}

TEST_F(CallsTest, ALargeCommitIsStreamedInParts) {
  attach();
  std::vector<Extent> extents;
  constexpr size_t kPieces = 40;
  const std::string piece(300 << 10, 'x');
  for (size_t i = 0; i < kPieces; ++i) extents.push_back({i * piece.size(), piece.size(), piece});
  ASSERT_TRUE(client->commit(within(20s), commit_of(extents)).ok());
  const auto parts = router.record().parts;
  ASSERT_EQ(parts.size(), 14u);  // 3 pieces of 300 KiB fit in each
  wire::ExtentReader reader;
  std::vector<Extent> received;
  for (v1::CommitPart part : parts) {
    EXPECT_EQ(part.has_head(), received.empty());
    ASSERT_TRUE(reader.take(std::move(part), &received).ok());
  }
  ASSERT_EQ(received.size(), kPieces);
  for (size_t i = 0; i < kPieces; ++i) EXPECT_EQ(received[i].offset, extents[i].offset);
}

TEST_F(CallsTest, ManySmallExtentsAreSplitByCount) {
  attach();
  std::vector<Extent> extents;
  for (uint64_t i = 0; i <= limits::kExtentsPerPart; ++i) extents.push_back({2 * i, 1, "x"});
  ASSERT_TRUE(client->commit(within(20s), commit_of(extents)).ok());
  const auto parts = router.record().parts;
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[1].extents_size(), 1);
}

TEST_F(CallsTest, ARetriedCommitSendsEverythingAgain) {
  router.hooks["Commit"] = fail_first(1, fail(Code::unavailable, "not now"));
  attach();
  ASSERT_TRUE(client->commit(within(10s), commit_of({{0, 3, "abc"}})).ok());
  const auto record = router.record();
  ASSERT_EQ(record.parts.size(), 2u);
  EXPECT_EQ(record.parts[0].extents(0).data(), record.parts[1].extents(0).data());
  EXPECT_EQ(record.operations[0].number(), record.operations[1].number());
  EXPECT_TRUE(record.operations[1].retry());
}

class BrokenSource final : public ExtentSource {
 public:
  Result<bool> next(Extent* out) override {
    if (given_++ < 20) {
      *out = {given_ << 20, 1 << 20, std::string(1 << 20, 'x')};
      return true;
    }
    return fail(Code::io, "the buffer's file cannot be read");
  }
  void rewind() override { given_ = 0; }

 private:
  uint64_t given_ = 0;
};

TEST_F(CallsTest, ASourceThatFailsFailsTheCommit) {
  attach();
  CommitRequest request;
  request.ino = Ino(20);
  request.extents = std::make_shared<BrokenSource>();
  const auto reply = client->commit(within(20s), request);
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.code(), Code::io);
  EXPECT_EQ(reply.error().message, "the buffer's file cannot be read");
  EXPECT_TRUE(lookup(within(10s)).ok());
}

// ---- prefetching -------------------------------------------------------------------------------

v1::ReadDirReply page_of(uint64_t cookie, bool end) {
  ReadDirReply page;
  page.dir.attr.ino = Ino(16);
  page.dir.attr.kind = Kind::directory;
  Node node;
  node.attr.ino = Ino(20 + cookie);
  page.entries = {{"n" + std::to_string(cookie), Cookie(cookie), node}};
  page.end = end;
  v1::ReadDirReply m;
  wire::to_wire(std::move(page), &m);
  return m;
}

TEST_F(CallsTest, PrefetchHandsOutEveryPage) {
  router.pages = {page_of(1, false), page_of(2, true)};
  attach();
  std::vector<std::string> names;
  const Status status =
      client->prefetch(within(10s), Ino(16), 1 << 20, 100, [&](Ino dir, ReadDirReply page) {
        EXPECT_EQ(dir, Ino(16));
        names.push_back(page.entries.at(0).name);
        return true;
      });
  EXPECT_TRUE(status.ok());
  EXPECT_THAT(names, ElementsAre("n1", "n2"));
}

TEST_F(CallsTest, PrefetchStopsWhenToldTo) {
  router.pages = {page_of(1, false), page_of(2, true)};
  router.hooks["Prefetch"] = [&](grpc::ServerContext& context) {
    return router.wait_for_cancel(context);
  };
  attach();
  int pages = 0;
  EXPECT_TRUE(client
                  ->prefetch(within(60s), Ino(16), 1 << 20, 100,
                             [&](Ino, ReadDirReply) { return ++pages < 2; })
                  .ok());
  EXPECT_EQ(pages, 2);
}

}  // namespace
}  // namespace linkspan::client
