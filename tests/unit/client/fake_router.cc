#include "tests/unit/client/fake_router.h"

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "linkspan/convert_status.h"
#include "linkspan/limits.h"

namespace linkspan::client {

using namespace std::chrono_literals;

FakeRouter::FakeRouter() {
  char folder[] = "/tmp/linkspan-fake-XXXXXX";
  folder_ = mkdtemp(folder);
  address_ = "unix:" + folder_ + "/router.sock";
}

FakeRouter::~FakeRouter() {
  stop();
  std::filesystem::remove_all(folder_);
}

void FakeRouter::start() {
  unlink(address_.substr(5).c_str());
  {
    const std::lock_guard lock(mutex_);
    stopping_ = false;
  }
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::Fs::Service*>(this));
  builder.RegisterService(static_cast<v1::Session::Service*>(this));
  builder.SetMaxReceiveMessageSize(static_cast<int>(limits::kMessageBytes));
  server_ = builder.BuildAndStart();
}

void FakeRouter::stop() {
  if (!server_) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
  server_.reset();
}

bool FakeRouter::wait(const std::function<bool(const Record&)>& enough) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, 10s * test::kSlowdown, [&] { return enough(record_); });
}

FakeRouter::Record FakeRouter::record() {
  const std::lock_guard lock(mutex_);
  return record_;
}

std::shared_ptr<FakeStream> FakeRouter::stream() {
  const std::lock_guard lock(mutex_);
  return stream_;
}

grpc::Status FakeRouter::wait_for_cancel(grpc::ServerContext& context) {
  for (;;) {
    if (context.IsCancelled()) break;
    std::unique_lock lock(mutex_);
    if (stopping_) break;
    changed_.wait_for(lock, 1ms);  // gRPC's synchronous server tells of a cancellation no other way
  }
  add([](Record& r) { ++r.cancelled; });
  return grpc::Status(grpc::StatusCode::CANCELLED, "cancelled");
}

grpc::Status FakeRouter::enter(const std::string& method, grpc::ServerContext& context) {
  std::function<grpc::Status(grpc::ServerContext&)> hook;
  add([&](Record& r) {
    r.calls.push_back(method);
    if (const auto it = hooks.find(method); it != hooks.end()) hook = it->second;
  });
  return hook ? hook(context) : grpc::Status::OK;
}

void FakeRouter::note(const v1::OpHeader& op, grpc::ServerContext& context) {
  const auto it = context.client_metadata().find(wire::kSessionKey);
  const auto credential = it == context.client_metadata().end()
                              ? wire::decode_credential("")
                              : wire::decode_credential({it->second.data(), it->second.size()});
  add([&](Record& r) {
    r.operations.push_back(op);
    r.sessions.push_back(credential.ok() ? credential->session.value : 0);
  });
}

// ---- Session -----------------------------------------------------------------------------------

grpc::Status FakeRouter::Attach(grpc::ServerContext* context, const v1::AttachRequest* request,
                                v1::AttachReply* reply) {
  if (auto status = enter("Attach", *context); !status.ok()) return status;
  auto attach = wire::from_wire(*request);
  if (!attach.ok()) return wire::finish(*context, attach.error());
  wire::Attached attached;
  std::optional<Error> refused;
  add([&](Record& r) {
    r.attaches.push_back(*attach);
    refused = refuse_attach;
    const bool known = know_sessions && known_.count(attach->resume.value) != 0;
    if (attach->resume && !known) refused = fail(Code::session_lost, "no such session");
    if (!attach->resume) known_.insert(next_session_);
    attached.session = attach->resume ? attach->resume : SessionId(next_session_++);
    attached.resumed = attach->resume && attach_resumed;
    attached.lease = lease;
    Route memory;
    memory.path = memory.volume = "memory";
    memory.rights = Access::read_write;
    memory.root = root;
    attached.routes = {memory};
  });
  if (refused) return wire::finish(*context, *refused);
  attached.secret = "0123456789abcdef";
  attached.tenant = "default";
  attached.principal = "agent";
  attached.sandbox = "box";
  attached.router = "fake";
  wire::to_wire(attached, reply);
  return grpc::Status::OK;
}

grpc::Status FakeRouter::Detach(grpc::ServerContext* context, const v1::DetachRequest*,
                                v1::DetachReply*) {
  add([](Record& r) { ++r.detaches; });
  return enter("Detach", *context);
}

grpc::Status FakeRouter::Stream(grpc::ServerContext* context, FakeStream::Stream* stream) {
  if (auto status = enter("Stream", *context); !status.ok()) return status;
  auto mine = std::make_shared<FakeStream>(stream, context);
  v1::ClientFrame m;
  while (stream->Read(&m)) {
    const auto frame = wire::from_wire(m);
    if (!frame.ok()) break;
    if (const auto* hello = std::get_if<wire::Hello>(&*frame)) {
      bool greet = true, resumed = true;
      std::chrono::milliseconds granted{};
      script([&](FakeRouter& r) {
        greet = r.welcome;
        resumed = r.welcome_resumed;
        granted = r.lease;
      });
      add([&](Record& r) {
        stream_ = mine;
        r.hellos.push_back(hello->last_revocation);
      });
      if (greet) mine->send(wire::Welcome{granted, resumed});
    } else if (const auto* renew = std::get_if<wire::Renew>(&*frame)) {
      bool answer = true;
      std::chrono::milliseconds granted{};
      add([&](Record& r) {
        answer = answer_renewals;
        granted = lease;
        r.renews.push_back(*renew);
      });
      if (answer) mine->send(wire::Renewed{renew->nonce, granted});
    } else if (const auto* ack = std::get_if<wire::Ack>(&*frame)) {
      add([&](Record& r) { r.acks.push_back(ack->revocation); });
    }
  }
  mine->closed();
  return grpc::Status::OK;
}

// ---- Fs ----------------------------------------------------------------------------------------

grpc::Status FakeRouter::Lookup(grpc::ServerContext* context, const v1::LookupRequest* request,
                                v1::LookupReply* reply) {
  if (auto status = enter("Lookup", *context); !status.ok()) return status;
  reply->set_as_of(request->parent());
  return grpc::Status::OK;
}

grpc::Status FakeRouter::Create(grpc::ServerContext* context, const v1::CreateRequest* request,
                                v1::MutationReply* reply) {
  note(request->op(), *context);
  reply->set_seq(request->op().number());
  decltype(on_create) hook;
  script([&](FakeRouter& r) { hook = r.on_create; });
  if (hook) return hook(*context, *request, reply);
  return enter("Create", *context);
}

grpc::Status FakeRouter::Commit(grpc::ServerContext* context,
                                grpc::ServerReader<v1::CommitPart>* reader,
                                v1::MutationReply* reply) {
  v1::CommitPart part;
  bool first = true;
  while (reader->Read(&part)) {
    if (std::exchange(first, false)) note(part.head().op(), *context);
    add([&](Record& r) { r.parts.push_back(part); });
  }
  reply->set_seq(1);
  return enter("Commit", *context);
}

grpc::Status FakeRouter::Prefetch(grpc::ServerContext* context, const v1::PrefetchRequest* request,
                                  grpc::ServerWriter<v1::PrefetchReply>* writer) {
  std::vector<v1::ReadDirReply> mine;
  script([&](FakeRouter& r) { mine = r.pages; });
  for (const v1::ReadDirReply& page : mine) {
    v1::PrefetchReply reply;
    reply.set_dir(request->dir());
    *reply.mutable_page() = page;
    if (!writer->Write(reply)) break;
  }
  return enter("Prefetch", *context);
}

}  // namespace linkspan::client
