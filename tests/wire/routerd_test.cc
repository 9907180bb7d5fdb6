// The router's program from outside, by raw stubs: what any client may rely on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "linkspan/convert.h"
#include "linkspan/convert_status.h"
#include "linkspan/limits.h"
#include "tests/support/slowdown.h"
#include "tests/wire/router_process.h"

namespace linkspan {
namespace {

using namespace std::chrono_literals;
using test::RouterProcess;
using test::run_routerd;
using ::testing::HasSubstr;

// One attached session with raw stubs. Threads: each call from any.
class Mount {
 public:
  Mount(const RouterProcess& router, const std::string& address)
      : channel_(router.connect(address)),
        fs_(v1::Fs::NewStub(channel_)),
        session_(v1::Session::NewStub(channel_)) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 30s * test::kSlowdown);
    context.set_wait_for_ready(true);
    v1::AttachRequest request;
    request.set_token(router.token());
    request.set_client("wire test");
    const auto status = session_->Attach(&context, request, &attached_);
    EXPECT_TRUE(status.ok()) << status.error_message();
    credential_ = wire::encode_credential({SessionId(attached_.session()), attached_.secret()});
  }

  std::unique_ptr<grpc::ClientContext> context() const {
    auto out = std::make_unique<grpc::ClientContext>();
    out->set_deadline(std::chrono::system_clock::now() + 30s * test::kSlowdown);
    out->AddMetadata(wire::kSessionKey, credential_);
    return out;
  }
  uint64_t root(const std::string& path) const {
    for (const auto& route : attached_.routes())
      if (route.path() == path) return route.root_ino();
    return 0;
  }
  Result<v1::LookupReply> lookup(uint64_t parent, const std::string& name) {
    v1::LookupRequest request;
    request.set_parent(parent);
    request.set_name(name);
    request.set_want_content(true);
    return call<v1::LookupReply>(&v1::Fs::Stub::Lookup, request);
  }
  Result<v1::MutationReply> create(uint64_t parent, const std::string& name, uint64_t number,
                                   bool retry = false) {
    v1::CreateRequest request;
    request.mutable_op()->set_number(number);
    request.mutable_op()->set_retry(retry);
    request.set_parent(parent);
    request.set_name(name);
    request.set_kind(v1::KIND_FILE);
    request.set_mode(0644);
    request.set_exclusive(true);
    return call<v1::MutationReply>(&v1::Fs::Stub::Create, request);
  }
  Result<v1::ReadReply> read(uint64_t ino, uint64_t offset, uint32_t length) {
    v1::ReadRequest request;
    request.set_ino(ino);
    request.set_offset(offset);
    request.set_length(length);
    return call<v1::ReadReply>(&v1::Fs::Stub::Read, request);
  }
  // Replaces the file's content; sent in parts of 1 MiB.
  Result<v1::MutationReply> commit(uint64_t ino, const std::string& content, uint64_t number) {
    const auto mine = context();
    v1::MutationReply reply;
    auto upload = fs_->Commit(mine.get(), &reply);
    v1::CommitPart part;
    part.mutable_head()->mutable_op()->set_number(number);
    part.mutable_head()->set_ino(ino);
    part.mutable_head()->set_size(content.size());
    size_t at = 0;
    do {
      const size_t size = std::min(content.size() - at, limits::kExtentBytes);
      if (size > 0) {
        auto* extent = part.add_extents();
        extent->set_offset(at);
        extent->set_length(size);
        extent->set_data(content.substr(at, size));
      }
      if (!upload->Write(part)) break;
      part.Clear();
      at += size;
    } while (at < content.size());
    upload->WritesDone();
    const auto status = upload->Finish();
    if (!status.ok()) return wire::error_of(*mine, status);
    return reply;
  }
  v1::Fs::Stub& fs() { return *fs_; }
  v1::Session::Stub& session() { return *session_; }
  const v1::AttachReply& attached() const { return attached_; }

 private:
  template <class Reply, class Request, class Method>
  Result<Reply> call(Method method, const Request& request) {
    const auto mine = context();
    Reply reply;
    const auto status = ((*fs_).*method)(mine.get(), request, &reply);
    if (!status.ok()) return wire::error_of(*mine, status);
    return reply;
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Fs::Stub> fs_;
  std::unique_ptr<v1::Session::Stub> session_;
  v1::AttachReply attached_;
  std::string credential_;
};

// The stream of one mount, opened and welcomed.
class Stream {
 public:
  explicit Stream(Mount* mount)
      : context_(mount->context()), stream_(mount->session().Stream(context_.get())) {
    v1::ClientFrame hello;
    hello.mutable_hello();
    EXPECT_TRUE(stream_->Write(hello));
    v1::RouterFrame frame;
    EXPECT_TRUE(stream_->Read(&frame));
    EXPECT_TRUE(frame.has_welcome());
  }
  ~Stream() {
    context_->TryCancel();
    if (!finished_) stream_->Finish();
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  v1::RouterFrame::Revoke revocation() {
    v1::RouterFrame frame;
    while (stream_->Read(&frame))
      if (frame.has_revoke()) return frame.revoke();
    ADD_FAILURE() << "the stream ended before a revocation came";
    return {};
  }
  void acknowledge(uint64_t number) {
    v1::ClientFrame frame;
    frame.mutable_ack()->set_revocation(number);
    EXPECT_TRUE(stream_->Write(frame));
  }
  // Reads to the end; the error it ends with.
  Error ended() {
    v1::RouterFrame frame;
    while (stream_->Read(&frame)) {
    }
    finished_ = true;
    return wire::error_of(*context_, stream_->Finish());
  }

 private:
  bool finished_ = false;
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ClientFrame, v1::RouterFrame>> stream_;
};

// A mount without a stream acknowledges nothing, so that others wait for its lease: it is short
// here.
constexpr unsigned kShortLeaseMs = 200 * test::kSlowdown;
const test::RouterProcessOptions kShortLease{"mem:", kShortLeaseMs, {}};

TEST(Routerd, ServesAWholeLifeOnBothKindsOfSocket) {
  RouterProcess router(kShortLease);
  uint64_t number = 1;
  for (const std::string& address : {router.unix_address(), router.tcp_address()}) {
    Mount mount(router, address);
    EXPECT_EQ(mount.attached().principal(), "agent");
    EXPECT_EQ(mount.attached().tenant(), "default");
    EXPECT_EQ(mount.attached().lease_ms(), kShortLeaseMs);
    const uint64_t root = mount.root("memory");
    ASSERT_NE(root, 0u);
    const std::string name = "notes-" + std::to_string(number);
    const auto made = mount.create(root, name, number++);
    ASSERT_TRUE(made.ok()) << made.error().message;
    const uint64_t ino = made->nodes(0).attr().ino();
    const auto committed = mount.commit(ino, "hello\n", number++);
    ASSERT_TRUE(committed.ok()) << committed.error().message;
    const auto found = mount.lookup(root, name);
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_EQ(found->node().content(), "hello\n");
    EXPECT_GE(found->as_of(), committed->seq());
    const auto read = mount.read(ino, 1, 3);
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read->data(), "ell");
    const auto missing = mount.lookup(root, "missing");
    ASSERT_TRUE(missing.ok());
    EXPECT_FALSE(missing->has_node());
    const auto refused = mount.create(mount.root("skills"), "x", number++);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.code(), Code::read_only);
  }
}

TEST(Routerd, KeepsALargeFileWhole) {
  RouterProcess router;
  Mount mount(router, router.unix_address());
  const auto made = mount.create(mount.root("memory"), "big", 1);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const uint64_t ino = made->nodes(0).attr().ino();
  std::string content(20 << 20, '\0');
  for (size_t i = 0; i < content.size(); ++i)
    content[i] = static_cast<char>((i * 2654435761u) >> 24);
  const auto committed = mount.commit(ino, content, 2);
  ASSERT_TRUE(committed.ok()) << committed.error().message;
  EXPECT_EQ(committed->nodes(0).attr().size(), content.size());
  for (size_t at = 0; at < content.size(); at += limits::kReadBytes) {
    const auto read = mount.read(ino, at, limits::kReadBytes);
    ASSERT_TRUE(read.ok());
    ASSERT_TRUE(read->data() == content.substr(at, limits::kReadBytes)) << "at " << at;
  }
}

TEST(Routerd, ARetryGetsTheFirstTrysResult) {
  RouterProcess router;
  Mount mount(router, router.unix_address());
  const auto first = mount.create(mount.root("memory"), "a", 1);
  ASSERT_TRUE(first.ok());
  const auto again = mount.create(mount.root("memory"), "a", 1, true);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->seq(), first->seq());
  EXPECT_EQ(again->nodes(0).attr().ino(), first->nodes(0).attr().ino());
  const auto another = mount.create(mount.root("memory"), "a", 2);
  ASSERT_FALSE(another.ok());
  EXPECT_EQ(another.code(), Code::exists);
}

TEST(Routerd, RevokesBeforeItAnswers) {
  RouterProcess router({"mem:", 600'000, {}});  // a lease that does not run out here
  Mount writer(router, router.unix_address());
  Mount reader(router, router.tcp_address());
  Stream stream(&reader);
  const uint64_t root = reader.root("memory");
  ASSERT_FALSE(reader.lookup(root, "a")->has_node());  // from now on the reader may keep that
  auto created = std::async(std::launch::async, [&] { return writer.create(root, "a", 1); });
  const auto revocation = stream.revocation();
  ASSERT_GE(revocation.names_size(), 1);
  EXPECT_EQ(revocation.names(0).parent(), root);
  EXPECT_EQ(revocation.names(0).name(), "a");
  EXPECT_EQ(created.wait_for(100ms), std::future_status::timeout);
  stream.acknowledge(revocation.number());
  const auto made = created.get();
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->seq(), revocation.seq());
}

TEST(Routerd, ASilentHolderDelaysAWriterByOneLeaseAtMost) {
  RouterProcess router({"mem:", 500 * test::kSlowdown, {}});
  Mount writer(router, router.unix_address());
  Mount reader(router, router.unix_address());
  Stream stream(&reader);
  ASSERT_FALSE(reader.lookup(reader.root("memory"), "a")->has_node());
  const auto begun = std::chrono::steady_clock::now();
  const auto made = writer.create(writer.root("memory"), "a", 1);
  EXPECT_TRUE(made.ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s * test::kSlowdown);
}

TEST(Routerd, ManyCallersAtOnceAreAllAnswered) {
  RouterProcess router(kShortLease);
  constexpr int kCallers = 8, kFiles = 100;
  std::vector<std::thread> threads;
  std::atomic<int> made{0};
  for (int caller = 0; caller < kCallers; ++caller)
    threads.emplace_back([&, caller] {
      Mount mount(router, caller % 2 ? router.unix_address() : router.tcp_address());
      for (int file = 1; file <= kFiles; ++file)
        if (mount
                .create(mount.root("memory"), std::to_string(caller) + "-" + std::to_string(file),
                        static_cast<uint64_t>(file))
                .ok())
          ++made;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(made, kCallers * kFiles);
}

TEST(Routerd, AStopEndsStreamsWithAReasonAndExitsZero) {
  RouterProcess router;
  Mount mount(router, router.unix_address());
  Stream stream(&mount);
  router.signal(SIGTERM);
  const Error why = stream.ended();
  EXPECT_EQ(why.code, Code::unavailable);
  EXPECT_THAT(why.message, HasSubstr("stopping"));
  EXPECT_EQ(router.wait(), 0);
  EXPECT_THAT(router.log(), HasSubstr("everything that was accepted was answered"));
}

TEST(Routerd, AStopFinishesWhatWasAccepted) {
  RouterProcess router({"mem:", 600'000, {}});
  Mount writer(router, router.unix_address());
  Mount reader(router, router.unix_address());
  Stream stream(&reader);
  const uint64_t root = reader.root("memory");
  ASSERT_FALSE(reader.lookup(root, "a")->has_node());
  auto created = std::async(std::launch::async, [&] { return writer.create(root, "a", 1); });
  const auto revocation = stream.revocation();
  router.signal(SIGTERM);
  // New calls are refused while the accepted one waits.
  Result<v1::LookupReply> refused = fail(Code::internal);
  do refused = writer.lookup(root, "b");
  while (refused.ok());
  EXPECT_EQ(refused.code(), Code::unavailable);
  stream.acknowledge(revocation.number());
  const auto made = created.get();
  EXPECT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(router.wait(), 0);
}

TEST(Routerd, ASecondSignalEndsItAtOnce) {
  RouterProcess router({"mem:", 600'000, {}});
  Mount writer(router, router.unix_address());
  Mount reader(router, router.unix_address());
  Stream stream(&reader);
  const uint64_t root = reader.root("memory");
  ASSERT_FALSE(reader.lookup(root, "a")->has_node());
  auto created = std::async(std::launch::async, [&] { return writer.create(root, "a", 1); });
  stream.revocation();
  router.signal(SIGTERM);
  while (writer.lookup(root, "b").ok()) {
  }
  router.signal(SIGTERM);
  EXPECT_EQ(router.wait(), 1);
  EXPECT_FALSE(created.get().ok());
}

// A connection on which nothing is said.
class Silent {
 public:
  explicit Silent(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    EXPECT_EQ(::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  }
  ~Silent() { ::close(fd_); }
  Silent(const Silent&) = delete;
  Silent& operator=(const Silent&) = delete;

 private:
  int fd_;
};

// gRPC gives up a socket whose accept() failed: a router that stayed would take no mount any more.
TEST(Routerd, EndsWhenItCannotAcceptAnyMore) {
  RouterProcess router;
  Mount mount(router, router.tcp_address());
  constexpr unsigned kDescriptors = 100;
  router.limit_descriptors(kDescriptors);
  std::vector<std::unique_ptr<Silent>> all;
  for (unsigned i = 0; i < kDescriptors; ++i)
    all.push_back(std::make_unique<Silent>(router.dir() + "/router.sock"));
  EXPECT_EQ(router.wait(), 1);
  EXPECT_THAT(router.log(), HasSubstr("Too many open files"));
  EXPECT_THAT(router.log(), HasSubstr("LimitNOFILE="));
}

TEST(Routerd, ComesBackOnTheSocketOfADeadOne) {
  RouterProcess router;
  Mount before(router, router.unix_address());
  router.signal(SIGKILL);
  EXPECT_EQ(router.wait(), 128 + SIGKILL);
  router.start();
  // The memory store kept nothing, the session neither.
  Mount after(router, router.unix_address());
  EXPECT_TRUE(after.create(after.root("memory"), "a", 1).ok());
  const auto lost = before.lookup(before.root("memory"), "a");
  ASSERT_FALSE(lost.ok());
  EXPECT_TRUE(lost.code() == Code::session_lost || lost.code() == Code::unavailable)
      << lost.error().message;
}

TEST(Routerd, ReflectsItsServices) {
  RouterProcess router;
  const auto channel = router.connect(router.unix_address());
  const grpc::internal::RpcMethod method(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::internal::RpcMethod::BIDI_STREAMING);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 30s * test::kSlowdown);
  std::unique_ptr<grpc::ClientReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer>> stream(
      grpc::internal::ClientReaderWriterFactory<grpc::ByteBuffer, grpc::ByteBuffer>::Create(
          channel.get(), method, &context));
  const grpc::Slice list_services(std::string("\x3a\x00", 2));  // field 7, an empty string
  ASSERT_TRUE(stream->Write(grpc::ByteBuffer(&list_services, 1)));
  grpc::ByteBuffer answer;
  ASSERT_TRUE(stream->Read(&answer));
  grpc::Slice slice;
  ASSERT_TRUE(answer.DumpToSingleSlice(&slice).ok());
  const std::string text(reinterpret_cast<const char*>(slice.begin()), slice.size());
  EXPECT_THAT(text, HasSubstr("linkspan.v1.Fs"));
  EXPECT_THAT(text, HasSubstr("linkspan.v1.Session"));
  EXPECT_THAT(text, HasSubstr("grpc.health.v1.Health"));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST(RouterdProgram, ExitsByConventionAndNamesTheMend) {
  auto ran = run_routerd({"--nonsense"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("see linkspan-routerd --help"));
  ran = run_routerd({"--config", "/nowhere.toml"});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("/nowhere.toml: cannot be read: No such file or directory"));
  ran = run_routerd({});
  EXPECT_EQ(ran.status, 2);
  EXPECT_THAT(ran.err, HasSubstr("--store"));
  ran = run_routerd({"--store", "mem:", "--listen", "unix:/nowhere/s"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("the directory /nowhere/ does not exist; create it"));
  ran = run_routerd({"--store", "mem:", "--check-config"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.out, HasSubstr("listen: unix:/run/linkspan/router.sock"));
  ran = run_routerd({"token", "new"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(nlohmann::json::parse(ran.out).at("sha256").get<std::string>().size(), 64u);
}

}  // namespace
}  // namespace linkspan
