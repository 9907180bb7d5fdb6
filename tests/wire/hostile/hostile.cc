#include "tests/wire/hostile/hostile.h"

#include <grpcpp/generic/generic_stub.h>
#include <stdlib.h>

#include <filesystem>

#include "routerd/store/store.h"

namespace linkspan::hostile {
namespace {

store::TokenRecord token_of(const std::string& tenant, const std::string& name, bool skills) {
  store::TokenRecord token;
  token.hash = store::hash_token("lsp_" + name);
  token.tenant = tenant;
  token.principal = name;
  token.sandbox = "sandbox-" + name;
  Route memory;
  memory.path = memory.volume = "memory";
  memory.rights = Access::read_write;
  token.routes = {memory};
  if (!skills) return token;
  Route shared;
  shared.path = shared.volume = "skills";
  shared.rights = Access::read_only;
  token.routes.push_back(shared);
  return token;
}

std::string text_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string out;
  if (!buffer.Dump(&slices).ok()) return out;
  for (const grpc::Slice& slice : slices)
    out.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return out;
}

}  // namespace

// ---- the router ----

Router::Router(std::chrono::milliseconds lease, rpc::ServerOptions options) {
  char folder[] = "/tmp/linkspan-hostile-XXXXXX";
  folder_ = mkdtemp(folder);
  address_ = "unix:" + folder_ + "/s";
  auto store = store::make_mem_store();
  for (const std::string tenant : {"a", "b"}) {
    store::TenantSpec spec;
    spec.name = tenant;
    spec.volumes = {{"memory"}, {"skills"}};
    EXPECT_TRUE(store->provision(spec, Time{1}).ok());
    EXPECT_TRUE(store->put_token(token_of(tenant, tenant, true)).ok());
    EXPECT_TRUE(store->put_token(token_of(tenant, tenant + "_memory", false)).ok());
  }
  core::RouterOptions core;
  core.lease = lease;
  core.name = "test";
  core_ = core::make_router(std::move(store), core);
  options.listen = {address_};
  options.workers = 4;
  options.spool_dir = folder_;
  auto started = rpc::Server::start(core_.get(), options);
  EXPECT_TRUE(started.ok()) << started.error().message;
  server_ = *std::move(started);
}

Router::~Router() {
  server_->stop(0ms);
  core_->stop();
  std::filesystem::remove_all(folder_);
}

std::shared_ptr<grpc::Channel> Router::connect() const {
  static std::atomic<int> count{0};
  grpc::ChannelArguments arguments;
  arguments.SetInt("linkspan.connection", ++count);
  arguments.SetMaxReceiveMessageSize(-1);
  return grpc::CreateCustomChannel(address_, grpc::InsecureChannelCredentials(), arguments);
}

// ---- a client ----

Result<v1::AttachReply> attach(const std::shared_ptr<grpc::Channel>& channel,
                               const std::string& token) {
  Context context;
  context.set_wait_for_ready(true);
  v1::AttachRequest request;
  request.set_token(token);
  v1::AttachReply reply;
  const auto status = v1::Session::NewStub(channel)->Attach(&context, request, &reply);
  if (!status.ok()) return wire::error_of(context, status);
  return reply;
}

Client::Client(const Router& router, const std::string& token)
    : channel(router.connect()),
      fs_(v1::Fs::NewStub(channel)),
      session_(v1::Session::NewStub(channel)) {
  auto reply = attach(channel, token);
  EXPECT_TRUE(reply.ok()) << reply.error().message;
  if (reply.ok()) attached = *std::move(reply);
  credential = wire::encode_credential({SessionId(attached.session()), attached.secret()});
}

uint64_t Client::root(const std::string& path) const {
  for (const v1::Route& route : attached.routes())
    if (route.path() == path) return route.root_ino();
  return 0;
}

Outcome Client::call(const std::string& method, const std::vector<std::string>& frames,
                     bool stays) {
  Context context(credential);
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  auto stream = stub.PrepareCall(&context, method, &queue);
  const auto done = [&queue] {
    void* tag = nullptr;
    bool got = false;
    return queue.Next(&tag, &got) && got;
  };
  stream->StartCall(nullptr);
  bool open = done();
  for (const std::string& frame : frames) {
    if (!open) break;
    const grpc::Slice slice(frame);
    stream->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    open = done();
  }
  if (open && !stays) {
    stream->WritesDone(nullptr);
    done();
  }
  Outcome out;
  grpc::ByteBuffer reply;
  for (bool first = true;; first = false) {
    stream->Read(&reply, nullptr);
    if (!done()) break;
    if (first) out.reply = text_of(reply);
  }
  stream->Finish(&out.status, nullptr);
  done();
  if (!out.status.ok() && context.GetServerTrailingMetadata().count(wire::kErrorKey) != 0)
    out.error = wire::error_of(context, out.status);
  return out;
}

Result<v1::MutationReply> Client::create(uint64_t parent, const std::string& name, v1::Kind kind) {
  v1::CreateRequest request;
  request.mutable_op()->set_number(next());
  request.set_parent(parent);
  request.set_name(name);
  request.set_kind(kind);
  request.set_mode(kind == v1::KIND_DIRECTORY ? 0755 : 0644);
  request.set_exclusive(true);
  return call<v1::MutationReply>(&v1::Fs::Stub::Create, request);
}

Result<v1::MutationReply> Client::write(uint64_t ino, const std::string& content) {
  Context context(credential);
  v1::MutationReply reply;
  auto upload = fs_->Commit(&context, &reply);
  v1::CommitPart part;
  part.mutable_head()->mutable_op()->set_number(next());
  part.mutable_head()->set_ino(ino);
  part.mutable_head()->set_size(content.size());
  v1::Extent* extent = part.add_extents();
  extent->set_length(content.size());
  extent->set_data(content);
  upload->Write(part);
  upload->WritesDone();
  const auto status = upload->Finish();
  if (!status.ok()) return wire::error_of(context, status);
  return reply;
}

Result<v1::NodeReply> Client::getattr(uint64_t ino) {
  v1::GetAttrRequest request;
  request.set_ino(ino);
  return call<v1::NodeReply>(&v1::Fs::Stub::GetAttr, request);
}

Result<v1::ReadReply> Client::read(uint64_t ino) {
  v1::ReadRequest request;
  request.set_ino(ino);
  request.set_length(4096);
  return call<v1::ReadReply>(&v1::Fs::Stub::Read, request);
}

// ---- an honest mount ----

Honest::Honest(const Router& router, const std::string& token)
    : client_(router, token),
      context_(std::make_unique<Context>(client_.credential)),
      stream_(([this] {
        context_->set_deadline(std::chrono::system_clock::now() + 1h);
        return client_.session().Stream(context_.get());
      })()) {
  v1::ClientFrame hello;
  hello.mutable_hello();
  EXPECT_TRUE(stream_->Write(hello));
  listener_ = std::thread([this] { listen(); });
  worker_ = std::thread([this] { work(); });
  renewer_ = std::thread([this] {
    const auto period = std::chrono::milliseconds(client_.attached.lease_ms()) / 5;
    for (auto next = std::chrono::steady_clock::now(); !ended_; next += period) {
      v1::ClientFrame renew;
      renew.mutable_renew();
      {
        const std::lock_guard lock(writing_);
        if (!stream_->Write(renew)) break;
      }
      while (!ended_ && std::chrono::steady_clock::now() < next + period)
        std::this_thread::sleep_for(5ms);
    }
  });
}

Honest::~Honest() {
  ended_ = true;
  renewer_.join();
  worker_.join();
  context_->TryCancel();
  listener_.join();
  stream_->Finish();
}

void Honest::listen() {
  v1::RouterFrame frame;
  while (stream_->Read(&frame)) {
    EXPECT_FALSE(frame.has_end()) << frame.end().message();
    if (!frame.has_revoke()) continue;
    v1::ClientFrame ack;
    ack.mutable_ack()->set_revocation(frame.revoke().number());
    const std::lock_guard lock(writing_);
    if (!stream_->Write(ack)) return;
  }
  EXPECT_TRUE(ended_) << "the honest mount's stream was ended";
}

void Honest::work() {
  const auto made = client_.create(client_.root(), "honest");
  ASSERT_TRUE(made.ok()) << made.error().message;
  const uint64_t ino = made->nodes(0).attr().ino();
  while (!ended_) {
    const auto begun = std::chrono::steady_clock::now();
    const std::string content = "round " + std::to_string(rounds_.load());
    const auto written = client_.write(ino, content);
    ASSERT_TRUE(written.ok()) << written.error().message;
    const auto told = client_.read(ino);
    ASSERT_TRUE(told.ok()) << told.error().message;
    ASSERT_EQ(told->data(), content);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - begun);
    slowest_ = std::max(slowest_.load(), int64_t{took.count()});
    ++rounds_;
  }
}

void Honest::notices_nothing() {
  const uint64_t before = rounds_;
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (rounds_ < before + 3 && std::chrono::steady_clock::now() < until &&
         !::testing::Test::HasFailure())
    std::this_thread::sleep_for(1ms);
  EXPECT_GE(rounds_, before + 3) << "the honest mount came no further";
  EXPECT_LT(slowest(), 2000ms * test::kSlowdown) << "the slowest write and read";
}

}  // namespace linkspan::hostile
