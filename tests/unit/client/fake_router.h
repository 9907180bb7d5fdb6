// A router without a filesystem, on a unix socket in the test's own process: what it answers is
// scripted, what it was asked is recorded. For tests of the client.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_context.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "linkspan/convert.h"
#include "linkspan/v1/fs.grpc.pb.h"
#include "linkspan/v1/session.grpc.pb.h"
#include "tests/support/slowdown.h"

namespace linkspan::client {

// One open session stream, as the router sees it.
class FakeStream {
 public:
  using Stream = grpc::ServerReaderWriter<v1::RouterFrame, v1::ClientFrame>;
  FakeStream(Stream* stream, grpc::ServerContext* context) : stream_(stream), context_(context) {}
  template <class Frame>
  void send(const Frame& frame) {
    v1::RouterFrame m;
    wire::to_wire(frame, &m);
    const std::lock_guard lock(mutex_);
    if (stream_ != nullptr) stream_->Write(m);
  }
  void break_off() {
    const std::lock_guard lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }
  void closed() {
    const std::lock_guard lock(mutex_);
    stream_ = nullptr;
    context_ = nullptr;
  }

 private:
  std::mutex mutex_;
  Stream* stream_;
  grpc::ServerContext* context_;
};

class FakeRouter final : public v1::Fs::Service, public v1::Session::Service {
 public:
  FakeRouter();
  ~FakeRouter() override;

  const std::string& address() const { return address_; }
  void start();
  void stop();  // at once: connections break

  // -- the script: set before start(), or under the lock of script() --
  std::chrono::milliseconds lease{5000 * test::kSlowdown};
  bool answer_renewals = true;
  bool welcome = true;  // else Hello is left unanswered
  bool welcome_resumed = true;
  bool know_sessions = true;  // false: every resume is refused with session_lost
  bool attach_resumed = true;
  std::optional<Error> refuse_attach;
  Ino root{16};
  std::map<std::string, std::function<grpc::Status(grpc::ServerContext&)>> hooks;  // by method
  std::function<grpc::Status(grpc::ServerContext&, const v1::CreateRequest&, v1::MutationReply*)>
      on_create;
  std::vector<v1::ReadDirReply> pages;  // of Prefetch
  template <class Edit>
  void script(Edit edit) {
    const std::lock_guard lock(mutex_);
    edit(*this);
  }

  // -- the record --
  struct Record {
    std::vector<wire::Attach> attaches;
    std::vector<uint64_t> hellos, acks;
    std::vector<wire::Renew> renews;
    std::vector<v1::OpHeader> operations;
    std::vector<uint64_t> sessions;  // of the operations
    std::vector<v1::CommitPart> parts;
    std::vector<std::string> calls;
    unsigned detaches = 0;
    unsigned cancelled = 0;  // calls that were cancelled while a hook waited
  };
  // Waits until `enough(record)`; false after 10 s.
  bool wait(const std::function<bool(const Record&)>& enough);
  Record record();
  std::shared_ptr<FakeStream> stream();  // the newest
  // In a hook: returns when the call is cancelled or the fake stops.
  grpc::Status wait_for_cancel(grpc::ServerContext& context);

  // -- services --
  grpc::Status Attach(grpc::ServerContext* context, const v1::AttachRequest* request,
                      v1::AttachReply* reply) override;
  grpc::Status Detach(grpc::ServerContext* context, const v1::DetachRequest* request,
                      v1::DetachReply* reply) override;
  grpc::Status Stream(grpc::ServerContext* context, FakeStream::Stream* stream) override;
  grpc::Status Lookup(grpc::ServerContext* context, const v1::LookupRequest* request,
                      v1::LookupReply* reply) override;
  grpc::Status Create(grpc::ServerContext* context, const v1::CreateRequest* request,
                      v1::MutationReply* reply) override;
  grpc::Status Commit(grpc::ServerContext* context, grpc::ServerReader<v1::CommitPart>* reader,
                      v1::MutationReply* reply) override;
  grpc::Status Prefetch(grpc::ServerContext* context, const v1::PrefetchRequest* request,
                        grpc::ServerWriter<v1::PrefetchReply>* writer) override;

 private:
  grpc::Status enter(const std::string& method, grpc::ServerContext& context);
  void note(const v1::OpHeader& op, grpc::ServerContext& context);
  template <class Edit>
  void add(Edit edit) {
    {
      const std::lock_guard lock(mutex_);
      edit(record_);
    }
    changed_.notify_all();
  }

  std::string folder_, address_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Record record_;
  bool stopping_ = false;
  uint64_t next_session_ = 100;
  std::set<uint64_t> known_;
  std::shared_ptr<FakeStream> stream_;
};

}  // namespace linkspan::client
