// Who takes all that he can get: streams, connections, uploads, sessions, calls; and who never
// answers. He gets an error that says which bound, or is dropped; an honest mount beside him goes
// on.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <deque>

#include "tests/wire/hostile/hostile.h"

namespace linkspan::hostile {
namespace {

using ::testing::HasSubstr;

// Many calls at once from one thread; what the router ends is counted.
class Calls {
 public:
  ~Calls() {
    for (Call& call : calls_) call.context.TryCancel();
    while (ended_ < calls_.size()) next();
    queue_.Shutdown();
    void* tag = nullptr;
    bool got = false;
    while (queue_.Next(&tag, &got)) {
    }
  }
  // Sends the frames, and then no more.
  void begin(Client& client, const std::string& method, std::vector<std::string> frames,
             bool half_close = false) {
    Call& call = calls_.emplace_back();
    call.context.AddMetadata(wire::kSessionKey, client.credential);
    call.frames = std::move(frames);
    call.half_close = half_close;
    call.stream = grpc::GenericStub(client.channel).PrepareCall(&call.context, method, &queue_);
    call.stream->StartCall(&call);
  }
  // Until so many have ended.
  void await(size_t count) {
    const auto until = std::chrono::system_clock::now() + kPatience;
    while (ended_ < count && next(until)) {
    }
    EXPECT_GE(ended_, count) << "not so many calls were ended";
  }
  size_t ended() const { return ended_; }
  // Of those that ended, how many so.
  size_t count(Code code, const std::string& text) const {
    size_t out = 0;
    for (const Call& call : calls_) {
      if (!call.finished || call.status.ok()) continue;
      const Error error = wire::error_of(call.context, call.status);
      if (error.code == code && error.message.find(text) != std::string::npos) ++out;
    }
    return out;
  }
  void cancel_all() {
    for (Call& call : calls_) call.context.TryCancel();
    await(calls_.size());
  }

 private:
  struct Call {
    grpc::ClientContext context;
    std::vector<std::string> frames;
    size_t sent = 0;
    bool half_close = false, reading = false, finishing = false, finished = false;
    grpc::ByteBuffer reply;
    grpc::Status status;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream;
  };
  bool next(std::chrono::system_clock::time_point until = std::chrono::system_clock::now() +
                                                          kPatience) {
    void* tag = nullptr;
    bool got = false;
    if (queue_.AsyncNext(&tag, &got, until) != grpc::CompletionQueue::GOT_EVENT) return false;
    go_on(*static_cast<Call*>(tag), got);
    return true;
  }
  void go_on(Call& call, bool got) {
    if (call.finishing) {
      call.finished = true;
      ++ended_;
    } else if (call.reading) {
      if (got) return call.stream->Read(&call.reply, &call);
      call.finishing = true;
      call.stream->Finish(&call.status, &call);
    } else if (got && call.sent < call.frames.size()) {
      const grpc::Slice slice(call.frames[call.sent++]);
      call.stream->Write(grpc::ByteBuffer(&slice, 1), &call);
    } else if (got && call.half_close) {
      call.half_close = false;
      call.stream->WritesDone(&call);
    } else {
      call.reading = true;
      call.stream->Read(&call.reply, &call);
    }
  }
  grpc::CompletionQueue queue_;
  std::deque<Call> calls_;
  size_t ended_ = 0;
};

// What comes a moment after a call's end.
template <class Condition>
void await(Condition condition, const char* what) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!condition() && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_TRUE(condition()) << what;
}

std::string hello() {
  v1::ClientFrame frame;
  frame.mutable_hello();
  return frame.SerializeAsString();
}

std::string head(Client& client, uint64_t ino) {
  v1::CommitPart part;
  part.mutable_head()->mutable_op()->set_number(client.next());
  part.mutable_head()->set_ino(ino);
  return part.SerializeAsString();
}

constexpr auto kStream = "/linkspan.v1.Session/Stream";
constexpr auto kCommit = "/linkspan.v1.Fs/Commit";

// ---- calls that stay open ----

TEST(Floods, TenThousandStreamsOfOneSession) {
  Router router;
  Honest honest(router);
  Client attacker(router);
  constexpr size_t kCount = 10'000 / (test::kSanitized ? 10 : 1);
  Calls calls;
  for (size_t i = 0; i < kCount; ++i) calls.begin(attacker, kStream, {});
  calls.await(kCount - rpc::bounds::kSessionStreams);
  EXPECT_EQ(calls.count(Code::busy, "streams: this mount has 16"), calls.ended());
  honest.notices_nothing();
}

TEST(Floods, StreamsThatGreetReplaceOneAnother) {
  Router router;
  Honest honest(router);
  Client attacker(router);
  Calls calls;
  for (int i = 0; i < 200; ++i) calls.begin(attacker, kStream, {hello()});
  calls.await(199);  // each by the next, or since there were too many
  await([&] { return router.server().metrics().streams <= 2; }, "the honest one's, and the last");
  honest.notices_nothing();
}

TEST(Floods, UploadsThatNeverEnd) {
  Router router;
  Honest honest(router);
  std::vector<std::unique_ptr<Client>> attackers;
  Calls calls;
  constexpr size_t kEach = rpc::bounds::kSessionUploads + 5;
  constexpr size_t kSessions = rpc::bounds::kTenantUploads / rpc::bounds::kSessionUploads + 1;
  for (size_t i = 0; i < kSessions; ++i) {
    Client& attacker = *attackers.emplace_back(std::make_unique<Client>(router));
    for (size_t n = 0; n < kEach; ++n)
      calls.begin(attacker, kCommit, {head(attacker, attacker.root())});
  }
  constexpr size_t kRefused = kSessions * kEach - rpc::bounds::kTenantUploads;
  calls.await(kRefused);
  const size_t by_mount = calls.count(Code::busy, "uploads: this mount has 128");
  const size_t by_tenant = calls.count(Code::busy, "uploads: this tenant has 512");
  EXPECT_EQ(by_mount + by_tenant, kRefused);
  EXPECT_GT(by_mount, 0u);
  EXPECT_GE(by_tenant, kRefused - 5 * kSessions);
  honest.notices_nothing();
  calls.cancel_all();
  await([&] { return router.server().metrics().uploads <= 1; },
        "but for the honest one's, perhaps");
  EXPECT_TRUE(attackers[0]->create(attackers[0]->root(), "after").ok());
}

// What is kept of them fills the spool only for the tenant whose they are.
TEST(Floods, UploadsThatFillTheSpool) {
  rpc::ServerOptions options;
  options.upload_memory = 1 << 10;
  options.spool_bytes = 8 << 20;
  Router router(limits::kLease * test::kSlowdown, options);
  Honest honest(router);
  Client attacker(router);
  v1::CommitPart part;
  part.mutable_head()->mutable_op()->set_number(1);
  part.mutable_head()->set_ino(attacker.root());
  v1::Extent* extent = part.add_extents();
  extent->set_length(limits::kExtentBytes);
  extent->set_data(std::string(limits::kExtentBytes, 'x'));
  Calls calls;
  for (int i = 0; i < 8; ++i) calls.begin(attacker, kCommit, {part.SerializeAsString()});
  calls.await(5);  // of 4 MiB
  EXPECT_EQ(calls.count(Code::busy, "spool space"), calls.ended());
  // One of another's that needs the spool too.
  Client& other = honest.client();
  const auto made = other.create(other.root(), "large");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto written = other.write(made->nodes(0).attr().ino(), std::string(1 << 20, 'y'));
  EXPECT_TRUE(written.ok()) << written.error().message;
  honest.notices_nothing();
}

TEST(Floods, PrefetchesThatAreNotRead) {
  rpc::ServerOptions options;
  options.walk_stall = 300ms;
  Router router(limits::kLease * test::kSlowdown, options);
  Honest honest(router);
  Client attacker(router);
  const std::string content(limits::kInlineContent, 'x');
  for (int i = 0; i < 32; ++i) {
    const auto made = attacker.create(attacker.root(), "file-" + std::to_string(i));
    ASSERT_TRUE(made.ok()) << made.error().message;
    ASSERT_TRUE(attacker.write(made->nodes(0).attr().ino(), content).ok());
  }
  v1::PrefetchRequest request;
  request.set_dir(attacker.root());
  request.set_max_bytes(UINT64_MAX);
  request.set_max_nodes(UINT32_MAX);
  Context context(attacker.credential);
  auto unread = attacker.fs().Prefetch(&context, request);
  // Its pages are larger than what gRPC takes for one who does not read.
  std::vector<std::unique_ptr<Context>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::PrefetchReply>>> more;
  size_t busy = 0;
  for (size_t i = 0; i < rpc::bounds::kSessionWalks; ++i) {
    contexts.push_back(std::make_unique<Context>(attacker.credential));
    more.push_back(attacker.fs().Prefetch(contexts.back().get(), request));
  }
  const Outcome refused = attacker.call("/linkspan.v1.Fs/Prefetch", {request.SerializeAsString()});
  if (refused.code() == Code::busy) ++busy;
  EXPECT_THAT(refused.text(), HasSubstr("prefetches: this mount has 4")) << refused.text();
  EXPECT_EQ(busy, 1u);
  // They are dropped, and there is room again.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  Outcome again = refused;
  while (again.code() == Code::busy && std::chrono::steady_clock::now() < until)
    again = attacker.call("/linkspan.v1.Fs/Prefetch", {request.SerializeAsString()});
  EXPECT_TRUE(again.status.ok()) << again.text();
  honest.notices_nothing();
}

// ---- connections ----

TEST(Floods, ConnectionsThatSayNothing) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = files.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  // Both ends are in this process.
  const size_t count = std::min<rlim_t>(10'000, (files.rlim_max - 500) / 2) / test::kSlowdown;
  rpc::ServerOptions options;
  options.hello_wait = 2000ms;
  Router router(limits::kLease * test::kSlowdown, options);
  Honest honest(router);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = router.address().substr(5);
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  std::vector<pollfd> sockets;
  for (size_t i = 0; i < count; ++i) {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
        << i << ": " << strerror(errno);
    sockets.push_back({fd, POLLIN, 0});
  }
  honest.notices_nothing();
  // Each is hung up on.
  const auto until = std::chrono::steady_clock::now() + kPatience;
  size_t over = 0;
  while (over < count && std::chrono::steady_clock::now() < until) {
    ASSERT_GE(poll(sockets.data(), sockets.size(), 1000), 0);
    for (pollfd& socket : sockets) {
      if (socket.fd < 0 || socket.revents == 0) continue;
      char bytes[256];
      const ssize_t got = read(socket.fd, bytes, sizeof bytes);
      if (got > 0) continue;  // its settings
      close(socket.fd);
      socket.fd = -1;
      ++over;
    }
  }
  EXPECT_EQ(over, count) << "the router did not hang up";
  for (const pollfd& socket : sockets)
    if (socket.fd >= 0) close(socket.fd);
  honest.notices_nothing();
}

// ---- sessions and calls ----

TEST(Floods, SessionsOfOneToken) {
  Router router;
  Honest honest(router);
  Client attacker(router);
  size_t attached = 1;
  Result<v1::AttachReply> last = fail(Code::internal, "none yet");
  for (; attached <= limits::kSessionsPerToken; ++attached) {
    last = attach(attacker.channel, "lsp_a");
    if (!last.ok()) break;
  }
  EXPECT_EQ(attached, limits::kSessionsPerToken);
  EXPECT_EQ(last.code(), Code::busy);
  EXPECT_THAT(last.error().message, HasSubstr("1024 mounts attached"));
  EXPECT_TRUE(attach(attacker.channel, "lsp_b").ok());
  honest.notices_nothing();
}

TEST(Floods, CallsFromMoreConnectionsThanThereAreWorkers) {
  Router router;
  Honest honest(router);
  std::atomic<bool> ended{false};
  std::atomic<int> done{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      Client attacker(router);
      v1::ReadDirRequest request;
      request.set_dir(attacker.root());
      request.set_limit(limits::kPageEntries);
      while (!ended) {
        Calls calls;
        for (int n = 0; n < 64; ++n)
          calls.begin(attacker, "/linkspan.v1.Fs/ReadDir", {request.SerializeAsString()}, true);
        calls.await(64);
        done += 64;
      }
    });
  for (int i = 0; i < 5; ++i) honest.notices_nothing();
  ended = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(done, 64);
}

// ---- who never answers ----

// The stream of an attacker: welcomed, and renewed as often as it says so.
class Stream {
 public:
  explicit Stream(Client& client)
      : context_(client.credential), stream_(client.session().Stream(&context_)) {
    v1::ClientFrame frame;
    frame.mutable_hello();
    EXPECT_TRUE(stream_->Write(frame));
    v1::RouterFrame welcome;
    EXPECT_TRUE(stream_->Read(&welcome) && welcome.has_welcome());
  }
  ~Stream() {
    context_.TryCancel();
    stream_->Finish();
  }
  bool renew() {
    v1::ClientFrame frame;
    frame.mutable_renew();
    return stream_->Write(frame);
  }
  bool acknowledge(uint64_t number) {
    v1::ClientFrame frame;
    frame.mutable_ack()->set_revocation(number);
    return stream_->Write(frame);
  }

 private:
  Context context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ClientFrame, v1::RouterFrame>> stream_;
};

// In the attacker's own tenant: whoever writes to what he has read waits for him as long as
// his lease; it is not renewed for him.
TEST(Floods, WhoNeverAcknowledgesIsWaitedForALeaseAtMost) {
  constexpr auto kShort = 500ms * test::kSlowdown;
  Router router(kShort);
  Client writer(router, "lsp_a"), attacker(router, "lsp_a_memory");
  const auto made = writer.create(writer.root(), "shared");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const uint64_t ino = made->nodes(0).attr().ino();
  Stream stream(attacker);
  ASSERT_TRUE(attacker.read(ino).ok());
  std::atomic<bool> ended{false};
  std::thread renewing([&] {
    while (!ended && stream.renew()) std::this_thread::sleep_for(10ms);
  });
  std::vector<std::chrono::steady_clock::duration> took;
  for (int i = 0; i < 20; ++i) {
    const auto begun = std::chrono::steady_clock::now();
    const auto written = writer.write(ino, "round " + std::to_string(i));
    EXPECT_TRUE(written.ok()) << written.error().message;
    took.push_back(std::chrono::steady_clock::now() - begun);
    const auto read = attacker.read(ino);  // goes on reading what others write
    EXPECT_TRUE(read.ok() || read.code() == Code::session_lost);
  }
  ended = true;
  renewing.join();
  // Twice: its lease may just have been renewed when the write came.
  for (const auto& one : took) EXPECT_LT(one, 3 * kShort);
}

// Acknowledges what it was never told, and reads nothing.
TEST(Floods, WhoNeverReadsHisStream) {
  Router router;
  Honest honest(router);
  Client writer(router, "lsp_a"), attacker(router, "lsp_a_memory");
  const auto made = writer.create(writer.root(), "shared");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const uint64_t ino = made->nodes(0).attr().ino();
  Stream stream(attacker);
  const auto begun = std::chrono::steady_clock::now();
  std::atomic<bool> ended{false};
  std::thread acknowledging([&] {
    while (!ended && stream.acknowledge(limits::kLastNumber) && stream.renew())
      std::this_thread::sleep_for(1ms);
  });
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(attacker.read(ino).ok());
    const auto written = writer.write(ino, "round " + std::to_string(i));
    ASSERT_TRUE(written.ok()) << written.error().message;
  }
  ended = true;
  acknowledging.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, kPatience);
  honest.notices_nothing();
}

// One mutation that waits for an attacker who never acknowledges, tried again and again.
TEST(Floods, TriesOfOneOperation) {
  Router router(1500ms * test::kSlowdown);
  Honest honest(router);
  Client holder(router, "lsp_a_memory"), attacker(router, "lsp_a");
  const auto made = attacker.create(attacker.root(), "shared");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const uint64_t ino = made->nodes(0).attr().ino();
  Stream stream(holder);
  ASSERT_TRUE(holder.read(ino).ok());
  v1::SetAttrRequest request;
  request.mutable_op()->set_number(attacker.next());
  request.set_ino(ino);
  request.set_mode(0600);
  Calls calls;
  for (int i = 0; i < 300; ++i)
    calls.begin(attacker, "/linkspan.v1.Fs/SetAttr", {request.SerializeAsString()}, true);
  calls.await(300);
  EXPECT_GE(calls.count(Code::busy, "are under way"), 300 - limits::kTriesJoined - 10);
  EXPECT_EQ(attacker.getattr(ino)->node().attr().mode(), 0600u);
  honest.notices_nothing();
}

// Deeper than any path can say.
TEST(Floods, DirectoriesWithoutEnd) {
  Router router;
  Honest honest(router);
  Client attacker(router);
  uint64_t parent = attacker.root();
  for (int i = 0; i < 3000 / test::kSlowdown; ++i) {
    const auto made = attacker.create(parent, "d", v1::KIND_DIRECTORY);
    ASSERT_TRUE(made.ok()) << i << ": " << made.error().message;
    parent = made->nodes(0).attr().ino();
  }
  v1::ChangesRequest request;
  request.set_limit(1);
  request.set_newest(true);
  const auto log = attacker.call<v1::ChangesReply>(&v1::Fs::Stub::Changes, request);
  ASSERT_TRUE(log.ok()) << log.error().message;
  EXPECT_LE(log->changes(0).path().size(), limits::kPathBytes);
  honest.notices_nothing();
}

}  // namespace
}  // namespace linkspan::hostile
