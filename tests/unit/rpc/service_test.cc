#include <grpcpp/impl/client_unary_call.h>
#include <sys/stat.h>

#include <future>
#include <thread>

#include "tests/unit/rpc/fixture.h"

namespace linkspan::rpc::testing {
namespace {

using Service = ServerTest;

TEST_F(Service, AnswersReadsAndMutations) {
  start();
  Context context;
  v1::LookupRequest request;
  request.set_parent(16);
  request.set_name("a");
  v1::LookupReply reply;
  ASSERT_TRUE(fs_->Lookup(&context, request, &reply).ok());
  EXPECT_EQ(reply.node().attr().ino(), 99u);
  EXPECT_EQ(reply.as_of(), 5u);

  Context again;
  v1::CreateRequest create;
  create.mutable_op()->set_number(1);
  create.set_parent(16);
  create.set_name("b");
  create.set_kind(v1::KIND_FILE);
  v1::MutationReply made;
  ASSERT_TRUE(fs_->Create(&again, create, &made).ok());
  EXPECT_EQ(made.seq(), 9u);
  const auto metrics = server_->metrics();
  ASSERT_EQ(metrics.rpcs.size(), 2u);
  EXPECT_EQ(metrics.rpcs[0].rpc, Rpc::lookup);
  EXPECT_EQ(metrics.rpcs[1].codes[0], 1u);
}

TEST_F(Service, SocketHasItsModeAndLeavesWithTheServer) {
  auto wanted = options();
  wanted.socket_mode = 0640;
  start(wanted);
  const std::string path = dir_.path() + "/s";
  struct stat at {};
  ASSERT_EQ(stat(path.c_str(), &at), 0);
  EXPECT_EQ(at.st_mode & 0777, 0640u);
  server_.reset();
  EXPECT_NE(stat(path.c_str(), &at), 0);
}

TEST_F(Service, HostileCallsGetClearErrors) {
  start();
  {
    Context context(false);
    const Error e = lookup_error(&context);
    EXPECT_EQ(e.code, Code::session_lost);
    EXPECT_EQ(e.message, "metadata linkspan-session-bin is missing; attach first");
  }
  {
    Context context(false);
    context.AddMetadata(wire::kSessionKey, "short");
    const Error e = lookup_error(&context);
    EXPECT_EQ(e.code, Code::session_lost);
    EXPECT_EQ(e.message, "linkspan-session-bin: not 24 bytes; attach first");
  }
  {
    Context context(false);
    context.AddMetadata(wire::kSessionKey,
                        wire::encode_credential({kSession, std::string(16, 'x')}));
    EXPECT_EQ(lookup_error(&context).code, Code::session_lost);
  }
  {
    Context context;
    EXPECT_EQ(lookup_error(&context, "a/b").code, Code::invalid);
  }
  {
    Context context;
    EXPECT_EQ(lookup_error(&context, "..").code, Code::invalid);
  }
  {
    Context context;
    EXPECT_EQ(lookup_error(&context, std::string(256, 'a')).code, Code::name_too_long);
  }
  {
    Context context;
    v1::CreateRequest request;
    request.mutable_op()->set_number(1);
    request.set_parent(16);
    request.set_name("b");
    request.set_kind(static_cast<v1::Kind>(42));
    v1::MutationReply reply;
    const Error e = error(context, fs_->Create(&context, request, &reply));
    EXPECT_EQ(e.code, Code::invalid);
    EXPECT_NE(e.message.find("kind"), std::string::npos) << e.message;
  }
  {
    Context context;
    v1::SetXattrRequest request;
    request.mutable_op()->set_number(1);
    request.set_ino(20);
    request.set_name("user.a");
    request.set_value(std::string(limits::kMessageBytes + 1, 'x'));
    v1::MutationReply reply;
    const auto status = fs_->SetXattr(&context, request, &reply);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  }
  EXPECT_TRUE(lookup().ok());  // and the router is none the worse for it
}

TEST_F(Service, AttachTellsWhatIsWrongWithTheToken) {
  start();
  Context context(false);
  v1::AttachRequest request;
  request.set_token("bad");
  v1::AttachReply reply;
  const Error e = error(context, session_->Attach(&context, request, &reply));
  EXPECT_EQ(e.code, Code::unauthenticated);
  EXPECT_EQ(e.message, "the token is not known; ask for a new one");
  Context again(false);
  request.set_token("good");
  ASSERT_TRUE(session_->Attach(&again, request, &reply).ok());
  EXPECT_EQ(reply.session(), kSession.value);
  EXPECT_EQ(reply.secret(), kSecret);
}

TEST_F(Service, AnExceptionIsInternalCountedAndKeptFromTheCaller) {
  router_.throw_in_lookup = "a secret of the inside";
  start();
  Context context;
  const Error e = lookup_error(&context);
  EXPECT_EQ(e.code, Code::internal);
  EXPECT_EQ(e.message, "the router failed inside; its log says why");
  EXPECT_EQ(server_->metrics().exceptions, 1u);
}

TEST_F(Service, ALostCallIsToldToItsCaller) {
  router_.drop_mutations = true;
  start();
  Context context;
  v1::RemoveRequest request;
  request.mutable_op()->set_number(1);
  request.set_parent(16);
  request.set_name("b");
  v1::MutationReply reply;
  EXPECT_EQ(error(context, fs_->Remove(&context, request, &reply)).code, Code::internal);
  Context again;
  auto upload = fs_->Commit(&again, &reply);
  v1::CommitPart part;
  part.mutable_head()->mutable_op()->set_number(2);
  part.mutable_head()->set_ino(20);
  ASSERT_TRUE(upload->Write(part));
  upload->WritesDone();
  EXPECT_EQ(error(again, upload->Finish()).code, Code::internal);
}

TEST_F(Service, AFullQueueAnswersBusyAtOnce) {
  Latch latch;
  router_.hold_lookup = &latch;
  auto wanted = options();
  wanted.workers = 1;
  wanted.queue = 1;
  start(wanted);
  auto here = std::async(std::launch::async, [&] { return lookup(); });
  latch.wait_for(1);  // where it arrived
  auto one = std::async(std::launch::async, [&] { return lookup(); });
  latch.wait_for(2);  // the worker
  // One more may wait; of two, one is refused. Which, is theirs to settle.
  auto two = std::async(std::launch::async, [&] { return lookup(); });
  auto three = std::async(std::launch::async, [&] { return lookup(); });
  const auto refused = [](const grpc::Status& status) {
    return status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED;
  };
  while (server_->metrics().refused_busy == 0) std::this_thread::yield();
  latch.open();
  EXPECT_TRUE(here.get().ok());
  EXPECT_TRUE(one.get().ok());
  const bool second = refused(two.get());
  EXPECT_NE(second, refused(three.get()));
  EXPECT_EQ(server_->metrics().refused_busy, 1u);
}

TEST_F(Service, CallsThatBlockHoldUpNoOther) {
  Latch latch;
  router_.hold_lookup = &latch;
  start();  // two workers
  auto here = std::async(std::launch::async, [&] { return lookup(); });
  latch.wait_for(1);
  auto worker = std::async(std::launch::async, [&] { return lookup(); });
  latch.wait_for(2);
  for (int i = 0; i < 20; ++i) {
    Context context;
    v1::GetAttrRequest request;
    request.set_ino(20);
    v1::NodeReply reply;
    EXPECT_TRUE(fs_->GetAttr(&context, request, &reply).ok());
  }
  latch.open();
  EXPECT_TRUE(here.get().ok());
  EXPECT_TRUE(worker.get().ok());
}

TEST_F(Service, StopAnswersWhatWasAcceptedAndRefusesTheRest) {
  router_.hold_mutations = true;
  start();
  auto pending = std::async(std::launch::async, [&] {
    Context context;
    v1::RemoveRequest request;
    request.mutable_op()->set_number(1);
    request.set_parent(16);
    request.set_name("b");
    v1::MutationReply reply;
    return fs_->Remove(&context, request, &reply);
  });
  auto done = router_.wait_held();
  auto stopped = std::async(std::launch::async, [&] { return server_->stop(20s); });
  // Refused as soon as the stop is under way.
  Error refusal;
  do {
    Context context;
    v1::LookupRequest request;
    request.set_parent(16);
    request.set_name("a");
    v1::LookupReply reply;
    const auto status = fs_->Lookup(&context, request, &reply);
    if (!status.ok()) refusal = error(context, status);
  } while (refusal.message.empty());
  EXPECT_EQ(refusal.code, Code::unavailable);
  EXPECT_EQ(refusal.message, "the router is stopping; the mount tries again by itself");
  EXPECT_EQ(pending.wait_for(0s), std::future_status::timeout);
  done(FakeRouter::reply());
  EXPECT_TRUE(pending.get().ok());
  EXPECT_TRUE(stopped.get());
}

TEST_F(Service, AStopThatIsTooShortSaysSo) {
  router_.hold_mutations = true;
  start();
  auto pending = std::async(std::launch::async, [&] {
    Context context;
    v1::RemoveRequest request;
    request.mutable_op()->set_number(1);
    request.set_parent(16);
    request.set_name("b");
    v1::MutationReply reply;
    return fs_->Remove(&context, request, &reply);
  });
  auto done = router_.wait_held();
  auto stopped = std::async(std::launch::async, [&] { return server_->stop(1ms); });
  EXPECT_FALSE(pending.get().ok());                                 // broken off: the grace is over
  EXPECT_EQ(stopped.wait_for(100ms), std::future_status::timeout);  // the call is not finished yet
  done(fail(Code::unavailable, "the router is stopping"));
  EXPECT_FALSE(stopped.get());
}

TEST_F(Service, HealthFollowsTheStoreAndTheStop) {
  // The server outlives this function.
  const auto there = std::make_shared<std::atomic<bool>>(true);
  auto wanted = options();
  wanted.ping = [there]() -> Status {
    if (*there) return ok();
    return fail(Code::io, "gone");
  };
  wanted.ping_period = 1ms;
  start(wanted);
  const auto method = grpc::internal::RpcMethod("/grpc.health.v1.Health/Check",
                                                grpc::internal::RpcMethod::NORMAL_RPC);
  const auto serving = [&] {
    Context context(false);
    const grpc::Slice nothing;
    grpc::ByteBuffer empty(&nothing, 1), reply;
    const auto status =
        grpc::internal::BlockingUnaryCall(channel_.get(), method, &context, empty, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    grpc::Slice slice;
    EXPECT_TRUE(reply.DumpToSingleSlice(&slice).ok());
    // HealthCheckResponse: field 1, enum; 1 is SERVING, 2 NOT_SERVING
    return slice.size() == 2 ? static_cast<int>(slice.begin()[1]) : 0;
  };
  while (serving() != 1) std::this_thread::yield();
  *there = false;
  while (serving() != 2) std::this_thread::yield();
  *there = true;
  while (serving() != 1) std::this_thread::yield();
}

TEST_F(Service, ASecondServerOnTheSameSocketIsRefused) {
  start();
  const std::string path = dir_.path() + "/s";
  auto second = Server::start(&router_, options());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message,
            "cannot listen on unix:" + path +
                ": another router listens there; stop it, or listen on another path");
  EXPECT_TRUE(lookup().ok());  // the living one was left alone
}

TEST_F(Service, ATakenPortIsNamed) {
  auto wanted = options();
  wanted.listen = {"127.0.0.1:0"};
  start(wanted);
  EXPECT_TRUE(lookup().ok());
  const std::string address = server_->listening().front();
  EXPECT_NE(address, "127.0.0.1:0");
  wanted.listen = {address};
  auto second = Server::start(&router_, wanted);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message,
            "cannot listen on " + address +
                ": Address already in use; stop what listens there, or choose another port");
}

}  // namespace
}  // namespace linkspan::rpc::testing
