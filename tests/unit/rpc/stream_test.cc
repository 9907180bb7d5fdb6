#include <future>
#include <thread>

#include "tests/unit/rpc/fixture.h"

namespace linkspan::rpc::testing {
namespace {

using Commit = ServerTest;
using Prefetch = ServerTest;
using SessionStream = ServerTest;

v1::CommitPart head(uint64_t size) {
  v1::CommitPart part;
  part.mutable_head()->mutable_op()->set_number(1);
  part.mutable_head()->set_ino(20);
  part.mutable_head()->set_size(size);
  return part;
}

void add(v1::CommitPart* part, uint64_t offset, const std::string& data) {
  auto* extent = part->add_extents();
  extent->set_offset(offset);
  extent->set_length(data.size());
  extent->set_data(data);
}

TEST_F(Commit, GathersItsPartsInMemory) {
  start();
  Context context;
  v1::MutationReply reply;
  auto upload = fs_->Commit(&context, &reply);
  auto part = head(11);
  add(&part, 0, "hello");
  ASSERT_TRUE(upload->Write(part));
  v1::CommitPart more;
  add(&more, 6, "world");
  ASSERT_TRUE(upload->Write(more));
  upload->WritesDone();
  ASSERT_TRUE(upload->Finish().ok());
  EXPECT_EQ(reply.seq(), 9u);
  EXPECT_EQ(router_.request().size, 11u);
  const auto extents = router_.committed();
  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[0].data, "hello");
  EXPECT_EQ(extents[1].offset, 6u);
  EXPECT_EQ(extents[1].data, "world");
  wait_no_uploads();
}

TEST_F(Commit, SpoolsALargeUploadAndReadsItBackWhole) {
  auto wanted = options();
  wanted.upload_memory = 100'000;
  start(wanted);
  Context context;
  v1::MutationReply reply;
  auto upload = fs_->Commit(&context, &reply);
  constexpr uint64_t kPart = 300'000;
  constexpr uint64_t kParts = 20;
  ASSERT_TRUE(upload->Write(head(kPart * kParts)));
  for (uint64_t i = 0; i < kParts; ++i) {
    v1::CommitPart part;
    add(&part, i * kPart, std::string(kPart, static_cast<char>('a' + i)));
    ASSERT_TRUE(upload->Write(part));
  }
  upload->WritesDone();
  const auto status = upload->Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  for (const auto& extents : {router_.committed(), router_.committed_again()}) {
    ASSERT_EQ(extents.size(), kParts);
    for (uint64_t i = 0; i < kParts; ++i) {
      EXPECT_EQ(extents[i].offset, i * kPart);
      EXPECT_TRUE(extents[i].data == std::string(kPart, static_cast<char>('a' + i))) << i;
    }
  }
  wait_no_uploads();
}

TEST_F(Commit, AllUploadsTogetherAreBounded) {
  auto wanted = options();
  wanted.upload_memory = 1000;
  wanted.spool_bytes = 100'000;
  start(wanted);
  Context context;
  v1::MutationReply reply;
  auto upload = fs_->Commit(&context, &reply);
  auto part = head(200'000);
  add(&part, 0, std::string(200'000, 'x'));
  upload->Write(part);
  upload->WritesDone();
  EXPECT_EQ(error(context, upload->Finish()).code, Code::busy);
}

// Sends the parts and returns the error.
#define EXPECT_COMMIT_ERROR(expected, text, ...)                                \
  do {                                                                          \
    Context context;                                                            \
    v1::MutationReply reply;                                                    \
    auto upload = fs_->Commit(&context, &reply);                                \
    for (const v1::CommitPart& part : std::vector<v1::CommitPart>{__VA_ARGS__}) \
      if (!upload->Write(part)) break;                                          \
    upload->WritesDone();                                                       \
    const Error e = error(context, upload->Finish());                           \
    EXPECT_EQ(e.code, expected) << e.message;                                   \
    EXPECT_NE(e.message.find(text), std::string::npos) << e.message;            \
  } while (false)

TEST_F(Commit, HostileUploadsGetClearErrors) {
  start();
  v1::CommitPart no_head, backwards, overlap, lying;
  add(&no_head, 0, "a");
  add(&backwards, 10, "a");
  add(&backwards, 0, "b");
  add(&overlap, 0, "aaaa");
  add(&overlap, 3, "b");
  auto* extent = lying.add_extents();
  extent->set_length(5);
  extent->set_data("abc");
  v1::CommitPart huge;
  add(&huge, limits::kFileBytes, "a");
  EXPECT_COMMIT_ERROR(Code::invalid, "head: missing", );
  EXPECT_COMMIT_ERROR(Code::invalid, "head: missing in the first part", no_head);
  EXPECT_COMMIT_ERROR(Code::invalid, "head: only the first part", head(1), head(1));
  EXPECT_COMMIT_ERROR(Code::invalid, "extents.offset", head(1), backwards);
  EXPECT_COMMIT_ERROR(Code::invalid, "extents.offset", head(1), overlap);
  EXPECT_COMMIT_ERROR(Code::invalid, "extents.offset", head(1), no_head, no_head);  // across parts
  EXPECT_COMMIT_ERROR(Code::invalid, "extents.data", head(1), lying);
  EXPECT_COMMIT_ERROR(Code::too_large, "extents", head(1), huge);
  wait_no_uploads();
  EXPECT_TRUE(router_.committed().empty());
}

TEST_F(Commit, AStalledUploadIsEndedAndTakesNoWorker) {
  auto wanted = options();
  wanted.workers = 1;
  wanted.upload_stall = 50ms;
  start(wanted);
  Context context;
  v1::MutationReply reply;
  auto upload = fs_->Commit(&context, &reply);
  ASSERT_TRUE(upload->Write(head(1)));
  EXPECT_TRUE(lookup().ok());                        // the only worker is free
  const Error e = error(context, upload->Finish());  // comes without WritesDone
  EXPECT_EQ(e.code, Code::timed_out);
  EXPECT_EQ(e.message, "the upload stalled: no part came for 50 ms");
}

TEST_F(Commit, WhoIsNotAttachedIsRefusedBeforeItsParts) {
  start();
  Context stranger(false);
  stranger.AddMetadata(wire::kSessionKey,
                       wire::encode_credential({SessionId(1), std::string(16, 'x')}));
  v1::MutationReply reply;
  auto upload = fs_->Commit(&stranger, &reply);
  // No part was sent, and none is waited for.
  EXPECT_EQ(error(stranger, upload->Finish()).code, Code::session_lost);
  wait_no_uploads();
}

TEST_F(Commit, AnUploadThatIsGivenUpLeavesNothing) {
  auto wanted = options();
  wanted.upload_memory = 1000;
  start(wanted);
  {
    Context context;
    v1::MutationReply reply;
    auto upload = fs_->Commit(&context, &reply);
    auto part = head(100'000);
    add(&part, 0, std::string(100'000, 'x'));
    ASSERT_TRUE(upload->Write(part));
    context.TryCancel();
    EXPECT_EQ(upload->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  wait_no_uploads();
  EXPECT_TRUE(router_.committed().empty());
}

DirEntry entry(const std::string& name, uint64_t ino, Kind kind) {
  DirEntry out;
  out.name = name;
  out.node = a_node(ino, kind);
  if (kind == Kind::file) {
    out.node.content = std::string(10, 'c');
    out.node.attr.size = 10;
  }
  return out;
}

std::vector<std::string> walk(v1::Fs::Stub* fs, uint64_t max_bytes, uint32_t max_nodes,
                              grpc::Status* status) {
  Context context;
  v1::PrefetchRequest request;
  request.set_dir(16);
  request.set_max_bytes(max_bytes);
  request.set_max_nodes(max_nodes);
  auto reader = fs->Prefetch(&context, request);
  std::vector<std::string> out;
  v1::PrefetchReply reply;
  while (reader->Read(&reply))
    for (const auto& one : reply.page().entries())
      out.push_back(std::to_string(reply.dir()) + "/" + one.name());
  *status = reader->Finish();
  return out;
}

TEST_F(Prefetch, WalksBreadthFirstPageByPageWithinItsBounds) {
  router_.directories = {
      {entry("a", 17, Kind::directory), entry("b", 100, Kind::file),
       entry("c", 18, Kind::directory)},
      {entry("d", 101, Kind::file), entry("e", 55, Kind::directory)},  // 55 is gone meanwhile
      {entry("f", 102, Kind::file)}};
  start();
  grpc::Status status;
  EXPECT_EQ(walk(fs_.get(), 1 << 20, 100, &status),
            (std::vector<std::string>{"16/a", "16/b", "16/c", "17/d", "17/e", "18/f"}));
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(walk(fs_.get(), 1 << 20, 3, &status),
            (std::vector<std::string>{"16/a", "16/b", "16/c"}));
  EXPECT_TRUE(status.ok());
  EXPECT_EQ(walk(fs_.get(), 11, 100, &status), (std::vector<std::string>{"16/a", "16/b"}));
  EXPECT_TRUE(status.ok());
  router_.remove_directories();
  EXPECT_TRUE(walk(fs_.get(), 1, 1, &status).empty());
  EXPECT_FALSE(status.ok());  // what was asked for is gone
}

TEST_F(Prefetch, AClientThatDoesNotReadHoldsNoWorker) {
  std::vector<DirEntry> many;
  for (uint64_t i = 0; i < 2000; ++i) {
    many.push_back(entry("f" + std::to_string(i), 1000 + i, Kind::file));
    many.back().node.content = std::string(60'000, 'c');
    many.back().node.attr.size = 60'000;
  }
  router_.directories = {many};
  router_.page_entries = 10;
  auto wanted = options();
  wanted.workers = 1;
  start(wanted);
  Context context;
  v1::PrefetchRequest request;
  request.set_dir(16);
  request.set_max_bytes(200 << 20);
  request.set_max_nodes(5000);
  auto reader = fs_->Prefetch(&context, request);
  v1::PrefetchReply reply;
  ASSERT_TRUE(reader->Read(&reply));
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(lookup().ok());
  context.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(SessionStream, CarriesWelcomeRenewalsRevocationsAndAcknowledgements) {
  start();
  Context context;
  auto stream = session_->Stream(&context);
  v1::ClientFrame out;
  out.mutable_hello()->set_last_revocation(0);
  ASSERT_TRUE(stream->Write(out));
  v1::RouterFrame in;
  ASSERT_TRUE(stream->Read(&in));
  EXPECT_EQ(in.welcome().lease_ms(), 1000u);
  EXPECT_TRUE(in.welcome().resumed());

  out.Clear();
  out.mutable_renew()->set_nonce(42);
  router_.wait_sink();
  ASSERT_TRUE(stream->Write(out));
  ASSERT_TRUE(stream->Read(&in));
  EXPECT_EQ(in.renewed().nonce(), 42u);

  Revocation revocation;
  revocation.number = 1;
  revocation.seq = Seq(7);
  revocation.nodes = {{Ino(20), true, false}};
  revocation.names = {{Ino(16), "a"}};
  router_.wait_sink()->revoke(revocation);
  ASSERT_TRUE(stream->Read(&in));
  EXPECT_EQ(in.revoke().number(), 1u);
  EXPECT_EQ(in.revoke().nodes(0).ino(), 20u);
  EXPECT_EQ(in.revoke().names(0).name(), "a");

  out.Clear();
  out.mutable_ack()->set_revocation(1);
  ASSERT_TRUE(stream->Write(out));
  router_.wait_acknowledged(1);
  EXPECT_EQ(server_->metrics().streams, 1u);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  router_.wait_closed(1);
}

TEST_F(SessionStream, AnEndedSessionIsToldWhy) {
  start();
  Context context;
  auto stream = session_->Stream(&context);
  v1::ClientFrame hello;
  hello.mutable_hello();
  ASSERT_TRUE(stream->Write(hello));
  v1::RouterFrame in;
  ASSERT_TRUE(stream->Read(&in));
  router_.wait_sink()->end(fail(Code::unauthenticated, "the token was revoked"));
  ASSERT_TRUE(stream->Read(&in));
  EXPECT_EQ(in.end().code(), static_cast<uint32_t>(Code::unauthenticated));
  EXPECT_EQ(in.end().message(), "the token was revoked");
  EXPECT_FALSE(stream->Read(&in));
  EXPECT_EQ(error(context, stream->Finish()).code, Code::unauthenticated);
  router_.wait_closed(1);
}

TEST_F(SessionStream, AStopEndsItWithAReasonButNotTheSession) {
  start();
  Context context;
  auto stream = session_->Stream(&context);
  v1::ClientFrame hello;
  hello.mutable_hello();
  ASSERT_TRUE(stream->Write(hello));
  v1::RouterFrame in;
  ASSERT_TRUE(stream->Read(&in));
  router_.wait_sink();
  EXPECT_TRUE(server_->stop(20s));
  EXPECT_FALSE(stream->Read(&in));  // no End frame
  const Error e = error(context, stream->Finish());
  EXPECT_EQ(e.code, Code::unavailable);
  EXPECT_EQ(e.message, "the router is stopping; the mount tries again by itself");
}

TEST_F(SessionStream, WhoIsNotAttachedIsRefusedBeforeItsHello) {
  start();
  Context stranger(false);
  stranger.AddMetadata(wire::kSessionKey,
                       wire::encode_credential({SessionId(1), std::string(16, 'x')}));
  auto stream = session_->Stream(&stranger);
  EXPECT_EQ(error(stranger, stream->Finish()).code, Code::session_lost);
}

TEST_F(SessionStream, WithoutAHelloItIsEnded) {
  auto wanted = options();
  wanted.hello_wait = 50ms;
  start(wanted);
  Context silent;
  auto stream = session_->Stream(&silent);
  v1::RouterFrame in;
  EXPECT_FALSE(stream->Read(&in));
  const Error e = error(silent, stream->Finish());
  EXPECT_EQ(e.code, Code::timed_out);
  EXPECT_EQ(e.message, "hello: none came within 50 ms");
}

TEST_F(SessionStream, HostileFramesGetClearErrors) {
  start();
  const auto send = [&](std::vector<v1::ClientFrame> frames) {
    Context context;
    auto stream = session_->Stream(&context);
    for (const auto& frame : frames)
      if (!stream->Write(frame)) break;
    v1::RouterFrame in;
    while (stream->Read(&in)) {
    }
    return error(context, stream->Finish());
  };
  v1::ClientFrame hello, ack, nothing;
  hello.mutable_hello();
  ack.mutable_ack()->set_revocation(1);
  EXPECT_EQ(send({ack}).message, "hello: must be the first frame of a stream");
  EXPECT_EQ(send({hello, hello}).message, "hello: a stream has only one");
  EXPECT_EQ(send({nothing}).code, Code::invalid);
  Context context(false);
  auto stream = session_->Stream(&context);
  EXPECT_EQ(error(context, stream->Finish()).code, Code::session_lost);
}

TEST_F(SessionStream, AClientThatNeverReadsNeitherBlocksTheCoreNorGrowsTheQueue) {
  start();
  Context context;
  auto stream = session_->Stream(&context);
  v1::ClientFrame hello;
  hello.mutable_hello();
  ASSERT_TRUE(stream->Write(hello));
  auto sink = router_.wait_sink();
  Revocation revocation;
  revocation.names = {{Ino(16), std::string(200, 'n')}};
  // gRPC's windows take some; the queue the rest, until it is full and the stream ends.
  for (uint64_t i = 1; i <= limits::kRevocationQueue + 20'000; ++i) {
    revocation.number = i;
    sink->revoke(revocation);
  }
  sink.reset();
  router_.wait_closed(1);
  v1::RouterFrame in;
  while (stream->Read(&in)) {
  }
  EXPECT_FALSE(stream->Finish().ok());
}

}  // namespace
}  // namespace linkspan::rpc::testing
