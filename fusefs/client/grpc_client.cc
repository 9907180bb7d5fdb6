#include "fusefs/client/grpc_client.h"

#include <unistd.h>

#include <random>

#include "fusefs/client/call_loop.h"
#include "fusefs/client/commit_stream.h"
#include "fusefs/client/connection.h"
#include "fusefs/client/session.h"
#include "linkspan/convert_locks.h"
#include "linkspan/convert_status.h"
#include "linkspan/limits.h"

namespace linkspan::client {

namespace {

std::string describe_client() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return "linkspan " LINKSPAN_VERSION " " + std::string(host) + " " + std::to_string(getpid());
}

GrpcClientOptions completed(GrpcClientOptions options) {
  if (options.client.empty()) options.client = describe_client();
  if (options.seed == 0) options.seed = std::random_device()();
  return options;
}

// What from_wire() makes of a reply.
template <class Wire>
using Domain = decltype(wire::from_wire(std::declval<Wire&&>()));

class GrpcClient final : public RouterClient {
 public:
  explicit GrpcClient(GrpcClientOptions options)
      : options_(completed(std::move(options))),
        context_{.gate = gate_,
                 .operations = operations_,
                 .suspect = [this](uint64_t link) { session_.suspect(link); },
                 .busy = options_.busy,
                 .reconnect = options_.reconnect,
                 .address = options_.address,
                 .seed = options_.seed,
                 .counters = {}},
        session_(options_, gate_, operations_, locks_) {}

  Result<SessionInfo> attach(const Call& call, SessionListener* listener) override {
    return session_.attach(call, listener);
  }
  void detach() override { session_.detach(); }
  LinkState link() const override { return gate_.state(); }
  bool lease_valid() const override { return session_.lease_valid(); }
  std::chrono::nanoseconds lease_left() const override { return session_.lease_left(); }
  ClientStats stats() const override;
  void start_over() override { session_.start_over(); }
  void forget_operation(OpNumber operation) override { operations_.end(operation); }
  Result<Seq> give_up(const Call& call, OpNumber operation) override {
    return ask<v1::GiveUpRequest>(Method::give_up, call, operation, &v1::Fs::Stub::GiveUp);
  }

  Result<LookupReply> lookup(const Call& call, const LookupRequest& request) override {
    return ask<v1::LookupRequest>(Method::lookup, call, request, &v1::Fs::Stub::Lookup);
  }
  Result<NodeReply> getattr(const Call& call, const GetAttrRequest& request) override {
    return ask<v1::GetAttrRequest>(Method::getattr, call, request, &v1::Fs::Stub::GetAttr);
  }
  Result<ReadDirReply> readdir(const Call& call, const ReadDirRequest& request) override {
    return ask<v1::ReadDirRequest>(Method::readdir, call, request, &v1::Fs::Stub::ReadDir);
  }
  Result<ReadReply> read(const Call& call, const ReadRequest& request) override;
  Result<DataRangesReply> data_ranges(const Call& call, const DataRangesRequest& request) override {
    return ask<v1::DataRangesRequest>(Method::data_ranges, call, request,
                                      &v1::Fs::Stub::DataRanges);
  }
  Result<XattrsReply> xattrs(const Call& call, Ino ino) override {
    return ask<v1::XattrsRequest>(Method::xattrs, call, ino, &v1::Fs::Stub::GetXattrs);
  }
  Result<StatFsReply> statfs(const Call& call, Ino ino) override {
    return ask<v1::StatFsRequest>(Method::statfs, call, ino, &v1::Fs::Stub::StatFs);
  }
  Result<std::vector<VersionInfo>> versions(const Call& call,
                                            const VersionsRequest& request) override {
    return ask<v1::VersionsRequest>(Method::versions, call, request, &v1::Fs::Stub::Versions);
  }
  Result<ChangesReply> changes(const Call& call, const ChangesRequest& request) override {
    return ask<v1::ChangesRequest>(Method::changes, call, request, &v1::Fs::Stub::Changes);
  }
  Result<ConflictsReply> conflicts(const Call& call, const ConflictsRequest& request) override {
    return ask<v1::ConflictsRequest>(Method::conflicts, call, request, &v1::Fs::Stub::Conflicts);
  }
  Result<NarrowReply> narrow(const Call& call, const NarrowRequest& request) override;
  Status prefetch(const Call& call, Ino dir, uint64_t max_bytes, uint32_t max_nodes,
                  const std::function<bool(Ino, ReadDirReply)>& page) override;

  Result<MutationReply> create(const Call& call, CreateRequest request) override {
    return mutate<v1::CreateRequest>(Method::create, call, request, &v1::Fs::Stub::Create);
  }
  Result<MutationReply> remove(const Call& call, RemoveRequest request) override {
    return mutate<v1::RemoveRequest>(Method::remove, call, request, &v1::Fs::Stub::Remove);
  }
  Result<MutationReply> rename(const Call& call, RenameRequest request) override {
    return mutate<v1::RenameRequest>(Method::rename, call, request, &v1::Fs::Stub::Rename);
  }
  Result<MutationReply> link(const Call& call, LinkRequest request) override {
    return mutate<v1::LinkRequest>(Method::link, call, request, &v1::Fs::Stub::Link);
  }
  Result<MutationReply> set_attributes(const Call& call, SetAttrRequest request) override {
    return mutate<v1::SetAttrRequest>(Method::set_attributes, call, request,
                                      &v1::Fs::Stub::SetAttr);
  }
  Result<MutationReply> set_xattr(const Call& call, SetXattrRequest request) override {
    return mutate<v1::SetXattrRequest>(Method::set_xattr, call, request, &v1::Fs::Stub::SetXattr);
  }
  Result<MutationReply> settle(const Call& call, SettleRequest request) override {
    return mutate<v1::SettleRequest>(Method::settle, call, request, &v1::Fs::Stub::Settle);
  }
  Result<MutationReply> commit(const Call& call, CommitRequest request) override;

  Status set_lock(const Call& call, const Lock& lock, LockWait wait) override;
  Status cancel_lock(const Call& call, const Lock& lock) override;
  Result<TestLockReply> test_lock(const Call& call, const Lock& lock) override {
    return ask<v1::TestLockRequest>(Method::test_lock, call, TestLockRequest{lock},
                                    &v1::Fs::Stub::TestLock);
  }
  LockType lock_held(const Lock& lock) const override { return locks_.held(lock); }
  bool has_locks(const Lock& lock) const override { return locks_.has(lock); }

 private:
  template <class Request, class Reply>
  using StubCall = grpc::Status (v1::Fs::Stub::*)(grpc::ClientContext*, const Request&, Reply*);

  // One try of a unary call: nothing, and *reply is filled; or how it failed.
  // A mutation is only given to a connection that is up: then refusal is known to have done
  // nothing.
  template <class Reply, class Send>
  std::optional<Failure> attempt(CallLoop& loop, const Live& live, Reply* reply, const Send& send,
                                 bool mutation = false);
  template <class Reply>
  Domain<Reply> convert(Method method, Reply&& reply);

  template <class WireRequest, class Request, class Reply>
  Domain<Reply> ask(Method method, const Call& call, const Request& request,
                    StubCall<WireRequest, Reply> stub_call);
  template <class WireRequest, class Request>
  Result<MutationReply> mutate(Method method, const Call& call, const Request& request,
                               StubCall<WireRequest, v1::MutationReply> stub_call);

  // The number of a lock's request, which may have waited since an earlier call.
  OpNumber lock_number(const Live& live, OpNumber* carried);
  // The router's answer: the book has it, or it came too late and the request is sent once more.
  std::optional<Failure> enter_lock(const Live& live, const Lock& lock, uint64_t order);

  const GrpcClientOptions options_;
  Gate gate_;
  OpTracker operations_;
  OpTracker lock_numbers_;  // apart: a lock may be waited for for hours
  LockBook locks_;
  CallContext context_;
  Session session_;  // last: its threads use the others
};

// ---- tries -------------------------------------------------------------------------------------

template <class Reply, class Send>
std::optional<Failure> GrpcClient::attempt(CallLoop& loop, const Live& live, Reply* reply,
                                           const Send& send, bool mutation) {
  if (mutation && !live.connection->ready())
    return Failure{fail(Code::unavailable, "the connection broke"), Origin::unsent};
  grpc::ClientContext context;
  context.AddMetadata(wire::kSessionKey, live.credential);
  set_deadline(&context, loop.guard().try_deadline());
  if (!loop.guard().begin_try(live.link, [&context] { context.TryCancel(); }))
    return Failure{fail(Code::unavailable, "the link was given up"), Origin::unsent};
  const grpc::Status status = send(context, reply);
  loop.guard().end_try();
  if (status.ok()) return std::nullopt;
  const bool answered = context.GetServerTrailingMetadata().count(wire::kErrorKey) != 0;
  return Failure{wire::error_of(context, status), answered ? Origin::router : Origin::transport};
}

// An answer that breaks the contract is a bug of the router's, not an error of the caller's.
template <class Reply>
Domain<Reply> GrpcClient::convert(Method method, Reply&& reply) {
  auto converted = wire::from_wire(std::forward<Reply>(reply));
  if (converted.ok()) return converted;
  return fail(Code::internal, "the router's answer to " + std::string(to_string(method)) + ": " +
                                  converted.error().message);
}

template <class WireRequest, class Request, class Reply>
Domain<Reply> GrpcClient::ask(Method method, const Call& call, const Request& request,
                              StubCall<WireRequest, Reply> stub_call) {
  WireRequest m;
  wire::to_wire(request, &m);
  CallLoop loop(context_, method, call);
  while (const auto live = loop.next_try()) {
    Reply reply;
    const auto failure =
        attempt(loop, *live, &reply, [&](grpc::ClientContext& context, Reply* out) {
          return (live->connection->fs.get()->*stub_call)(&context, m, out);
        });
    if (!failure) return convert(method, std::move(reply));
    loop.failed(*failure);
  }
  return loop.error();
}

template <class WireRequest, class Request>
Result<MutationReply> GrpcClient::mutate(Method method, const Call& call, const Request& request,
                                         StubCall<WireRequest, v1::MutationReply> stub_call) {
  WireRequest m;
  wire::to_wire(request, &m);
  Operation operation(operations_, call.operation);
  CallLoop loop(context_, method, call, &operation);
  while (const auto live = loop.next_try()) {
    v1::MutationReply reply;
    const auto failure = attempt(
        loop, *live, &reply,
        [&](grpc::ClientContext& context, v1::MutationReply* out) {
          wire::to_wire(operation.header(), m.mutable_op());
          return (live->connection->fs.get()->*stub_call)(&context, m, out);
        },
        true);
    if (!failure) {
      operation.answered();
      return convert(method, std::move(reply));
    }
    loop.failed(*failure);
  }
  return loop.error();
}

// ---- the calls that are not unary, or need more than the rest ----------------------------------

Result<ReadReply> GrpcClient::read(const Call& call, const ReadRequest& request) {
  LINKSPAN_TRY(ReadReply reply,
               ask<v1::ReadRequest>(Method::read, call, request, &v1::Fs::Stub::Read));
  if (reply.data.size() <= request.length) return reply;
  return fail(Code::internal, "the router's answer to Read: more than was asked for");
}

Result<MutationReply> GrpcClient::commit(const Call& call, CommitRequest request) {
  Operation operation(operations_, call.operation);
  CallLoop loop(context_, Method::commit, call, &operation);
  const uint64_t losses = locks_.losses(request.ino);
  while (const auto live = loop.next_try()) {
    if (locks_.losses(request.ino) != losses)
      return fail(Code::io, "a lock under which this was written was lost with the link");
    v1::MutationReply reply;
    std::optional<Error> local;
    auto failure = attempt(
        loop, *live, &reply,
        [&](grpc::ClientContext& context, v1::MutationReply* out) {
          request.op = operation.header();
          return stream_commit(*live->connection->fs, context, request, out, &local);
        },
        true);
    if (!failure) {
      operation.answered();
      return convert(Method::commit, std::move(reply));
    }
    if (local) failure = Failure{std::move(*local), Origin::local};
    loop.failed(*failure);
  }
  return loop.error();
}

// ---- locks -------------------------------------------------------------------------------------

// Under another session the number means nothing: there the request was never made.
OpNumber GrpcClient::lock_number(const Live& live, OpNumber* carried) {
  if (*carried) {
    const auto pending = lock_numbers_.find(*carried);
    if (pending && pending->generation == live.generation) return *carried;
    if (pending) lock_numbers_.end(*carried);
  }
  *carried = lock_numbers_.begin(live.generation);
  return *carried;
}

std::optional<Failure> GrpcClient::enter_lock(const Live& live, const Lock& lock, uint64_t order) {
  if (locks_.set(lock, order, live.link)) return std::nullopt;
  return Failure{fail(Code::unavailable, "the link broke"), Origin::transport};
}

Status GrpcClient::set_lock(const Call& call, const Lock& lock, LockWait wait) {
  const LockBook::UnderWay under_way(&locks_, lock);
  SetLockRequest request{{}, {}, lock, wait};
  v1::SetLockRequest m;
  CallLoop loop(context_, Method::set_lock, call);
  while (const auto live = loop.next_try()) {
    request.number = lock_number(*live, call.operation);
    request.answered_below = lock_numbers_.answered_below(live->generation);
    wire::to_wire(request, &m);
    v1::SetLockReply reply;
    auto failure =
        attempt(loop, *live, &reply, [&](grpc::ClientContext& context, v1::SetLockReply* out) {
          return live->connection->fs->SetLock(&context, m, out);
        });
    if (!failure) failure = enter_lock(*live, lock, reply.order());
    if (!failure) {
      lock_numbers_.end(*call.operation);
      *call.operation = {};
      return ok();
    }
    loop.failed(*failure);
    const Code code = failure->error.code;
    const bool answered =
        failure->origin == Origin::router && !judge(failure->error, failure->origin, 0).retry;
    if (!answered) continue;
    // flock(2): who wants more gives up first what he has.
    if (lock.kind == LockKind::flock &&
        (code == Code::would_block || code == Code::interrupted || code == Code::no_space))
      locks_.gave_up(lock);
    if (code == Code::would_block && wait == LockWait::queue) break;  // the number waits
    lock_numbers_.end(*call.operation);
    *call.operation = {};
  }
  return loop.error();
}

Status GrpcClient::cancel_lock(const Call& call, const Lock& lock) {
  const LockBook::UnderWay under_way(&locks_, lock);
  const Error not_held = fail(Code::interrupted, "the lock is not waited for any more");
  CallLoop loop(context_, Method::cancel_lock, call);
  while (const auto live = loop.next_try()) {
    const auto pending = lock_numbers_.find(*call.operation);
    if (!pending || pending->generation != live->generation) {
      if (pending) lock_numbers_.end(*call.operation);
      *call.operation = {};
      return not_held;
    }
    v1::CancelLockRequest m;
    wire::to_wire(
        CancelLockRequest{*call.operation, lock_numbers_.answered_below(live->generation)}, &m);
    v1::CancelLockReply reply;
    auto failure =
        attempt(loop, *live, &reply, [&](grpc::ClientContext& context, v1::CancelLockReply* out) {
          return live->connection->fs->CancelLock(&context, m, out);
        });
    if (!failure && reply.granted()) failure = enter_lock(*live, lock, reply.order());
    if (failure) {
      loop.failed(*failure);
      continue;
    }
    if (!reply.granted() && lock.kind == LockKind::flock) locks_.gave_up(lock);
    lock_numbers_.end(*call.operation);
    *call.operation = {};
    return reply.granted() ? ok() : Status(not_held);
  }
  return loop.error();
}

Result<NarrowReply> GrpcClient::narrow(const Call& call, const NarrowRequest& request) {
  v1::NarrowRequest m;
  wire::to_wire(wire::Narrow{{{}, options_.instance}, request}, &m);
  CallLoop loop(context_, Method::narrow, call);
  while (const auto live = loop.next_try()) {
    v1::NarrowReply reply;
    const auto failure =
        attempt(loop, *live, &reply, [&](grpc::ClientContext& context, v1::NarrowReply* out) {
          return live->connection->session->Narrow(&context, m, out);
        });
    if (!failure) return convert(Method::narrow, std::move(reply));
    loop.failed(*failure);
  }
  return loop.error();
}

Status GrpcClient::prefetch(const Call& call, Ino dir, uint64_t max_bytes, uint32_t max_nodes,
                            const std::function<bool(Ino, ReadDirReply)>& page) {
  v1::PrefetchRequest m;
  wire::to_wire(wire::PrefetchRequest{dir, max_bytes, max_nodes}, &m);
  CallLoop loop(context_, Method::prefetch, call);
  while (const auto live = loop.next_try()) {
    bool delivered = false;
    std::optional<Status> over;  // by us
    v1::PrefetchReply reply;
    const auto failure =
        attempt(loop, *live, &reply, [&](grpc::ClientContext& context, v1::PrefetchReply* out) {
          auto reader = live->connection->fs->Prefetch(&context, m);
          while (!over && reader->Read(out)) {
            auto converted = convert(Method::prefetch, std::move(*out));
            if (!converted.ok()) {
              over = converted.error();
            } else if (!page(converted->dir, std::move(converted->page))) {
              over = ok();
            }
            delivered = true;
          }
          if (over) context.TryCancel();
          return reader->Finish();
        });
    if (over) return *over;
    if (!failure) return ok();
    // Pages are not handed out twice.
    loop.failed(delivered ? Failure{failure->error, Origin::local} : *failure);
  }
  return loop.error();
}

ClientStats GrpcClient::stats() const {
  ClientStats stats;
  for (size_t i = 0; i < kMethods; ++i) {
    const MethodCounters& counters = context_.counters[i];
    stats.methods.push_back({to_string(static_cast<Method>(i)), counters.calls.load(),
                             counters.failures.load(), counters.retries.load(),
                             counters.nanoseconds.load()});
  }
  const Session::Counters& session = session_.counters();
  stats.reconnects = session.reconnects.load();
  stats.sessions = session.sessions.load();
  stats.revocations = session.revocations.load();
  stats.caches_lost = session.caches_lost.load();
  stats.locks_held = locks_.size();
  stats.locks_lost = session.locks_lost.load();
  return stats;
}

}  // namespace

std::unique_ptr<RouterClient> make_grpc_client(GrpcClientOptions options) {
  tls::require_tls13();  // before there are threads
  return std::make_unique<GrpcClient>(std::move(options));
}

}  // namespace linkspan::client
