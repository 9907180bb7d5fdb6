#include "local_client.h"

#include <algorithm>
#include <future>
#include <map>

#include "linkspan/clock.h"
#include "routerd/core/grant.h"

namespace linkspan::test {

class LocalClient::Sink final : public core::StreamSink {
 public:
  explicit Sink(LocalClient* client) : client_(client) {}
  void welcome(std::chrono::milliseconds, bool resumed) override {}
  void renewed(uint64_t nonce, std::chrono::milliseconds lease) override {
    std::lock_guard one(mutex_);
    if (!client_) return;
    std::lock_guard lock(client_->mutex_);
    if (client_->cut_) return;
    // `nonce` is when the renewal was sent: the lease counts from there.
    client_->lease_until_ = Steady(Steady::duration(static_cast<int64_t>(nonce))) + lease;
    client_->lost_ = false;
    client_->changed_.notify_all();
  }
  void revoke(const Revocation& revocation) override {
    std::lock_guard one(mutex_);
    if (!client_) return;
    std::lock_guard lock(client_->mutex_);
    if (client_->cut_) return;  // sent again when the stream is resumed
    client_->revocations_.push_back(revocation);
    client_->changed_.notify_all();
  }
  void end(const Error& why) override {}
  void close() {
    std::lock_guard one(mutex_);
    client_ = nullptr;
  }

 private:
  std::mutex mutex_;  // before the client's
  LocalClient* client_;
};

LocalClient::LocalClient(LocalRouter* router, std::string token)
    : router_(router), token_(std::move(token)) {}

LocalClient::~LocalClient() {
  detach();
  await_calls();
}

// Whoever blocks the store lets it go on before.
void LocalClient::await_calls() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return under_way_ == 0; });
}

// -- faults --------------------------------------------------------------------------------------

void LocalClient::cut() {
  std::shared_ptr<Sink> sink;
  {
    std::lock_guard lock(mutex_);
    cut_ = true;
    revocations_.clear();  // not acknowledged: sent again
    sink = sink_;
  }
  changed_.notify_all();
  router_->router().stream_closed(who_.session, sink.get());
}

void LocalClient::join() {
  auto fresh = std::make_shared<Sink>(this);
  uint64_t last = 0;
  {
    std::lock_guard lock(mutex_);
    sink_->close();
    sink_ = fresh;
    cut_ = false;
    last = last_revocation_;
  }
  core::AttachRequest request;
  request.token = token_;
  request.resume = who_.session;
  request.resume_secret = who_.secret;
  request.resume_revocation = last;
  auto reply = router_->router().attach(request);
  if (reply.ok() && !reply->resumed) {
    listener_->on_caches_lost();
    std::lock_guard lock(mutex_);
    who_ = core::Credentials{reply->session, reply->secret};
    last_revocation_ = 0;
    last = 0;
  }
  (void)router_->router().open_stream(who_, last, fresh);
  changed_.notify_all();
}

void LocalClient::hold_revocations() {
  std::lock_guard lock(mutex_);
  held_ = true;
}

void LocalClient::let_revocations() {
  {
    std::lock_guard lock(mutex_);
    held_ = false;
  }
  changed_.notify_all();
}

void LocalClient::lose_next_reply(const std::string& what) {
  std::lock_guard lock(mutex_);
  lose_reply_.insert(what);
}

void LocalClient::refuse_next(const std::string& what, Error error) {
  std::lock_guard lock(mutex_);
  refuse_[what] = {std::move(error), true};
}

void LocalClient::refuse_all(const std::string& what, Error error) {
  std::lock_guard lock(mutex_);
  refuse_[what] = {std::move(error), false};
}

void LocalClient::refuse_none(const std::string& what) {
  std::lock_guard lock(mutex_);
  refuse_.erase(what);
}

std::optional<Error> LocalClient::refused(const std::string& what) {
  std::lock_guard lock(mutex_);
  const auto it = refuse_.find(what);
  if (it == refuse_.end()) return std::nullopt;
  Error error = it->second.error;
  if (it->second.once) refuse_.erase(it);
  return error;
}

bool LocalClient::lost(const std::string& what) {
  std::lock_guard lock(mutex_);
  return lose_reply_.erase(what) > 0;
}

uint64_t LocalClient::calls(const std::string& what) const {
  std::lock_guard lock(mutex_);
  auto it = calls_.find(what);
  return it == calls_.end() ? 0 : it->second;
}

uint64_t LocalClient::calls() const {
  std::lock_guard lock(mutex_);
  uint64_t sum = 0;
  for (const auto& [what, count] : calls_) sum += count;
  return sum;
}

// -- session -------------------------------------------------------------------------------------

Result<client::SessionInfo> LocalClient::attach(const client::Call& call,
                                                client::SessionListener* listener) {
  listener_ = listener;
  core::AttachRequest request;
  request.token = token_;
  LINKSPAN_TRY(const core::AttachReply reply, router_->router().attach(request));
  who_ = core::Credentials{reply.session, reply.secret};
  sink_ = std::make_shared<Sink>(this);
  LINKSPAN_CHECK(router_->router().open_stream(who_, 0, sink_));
  lease_until_ = std::chrono::steady_clock::now() + router_->lease();
  thread_ = std::thread([this] { stream(); });
  client::SessionInfo info;
  info.id = reply.session;
  info.principal = reply.principal;
  info.routes = reply.routes;
  return info;
}

void LocalClient::detach() {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
  }
  changed_.notify_all();
  if (!thread_.joinable()) return;
  thread_.join();
  sink_->close();
  (void)router_->router().detach(who_);
}

// Delivers revocations in order, acknowledges, renews; declares the caches lost when the lease
// ends.
void LocalClient::stream() {
  std::unique_lock lock(mutex_);
  Steady renew_at = std::chrono::steady_clock::now();
  while (!stopping_) {
    const Steady now = std::chrono::steady_clock::now();
    if (!held_ && !cut_ && !revocations_.empty()) {
      const Revocation revocation = std::move(revocations_.front());
      revocations_.pop_front();
      lock.unlock();
      listener_->on_revoke(revocation);
      lock.lock();
      last_revocation_ = revocation.number;
      if (cut_) continue;
      lock.unlock();
      router_->router().acknowledge(who_.session, revocation.number);
      lock.lock();
      continue;
    }
    if (now >= lease_until_ && !lost_) {
      lost_ = true;
      lock.unlock();
      listener_->on_caches_lost();
      lock.lock();
      continue;
    }
    if (!cut_ && now >= renew_at) {
      renew_at = now + router_->lease() / 3;
      const auto nonce = static_cast<uint64_t>(now.time_since_epoch().count());
      const uint64_t below = unanswered_.empty() ? next_operation_ : *unanswered_.begin();
      lock.unlock();
      router_->router().renew(who_.session, OpNumber{below}, nonce);
      lock.lock();
      continue;
    }
    changed_.wait_until(lock, cut_ ? (lost_ ? now + std::chrono::hours(1) : lease_until_)
                                   : std::min(renew_at, lost_ ? renew_at : lease_until_));
  }
}

bool LocalClient::lease_valid() const {
  if (on_lease_valid) on_lease_valid();
  std::lock_guard lock(mutex_);
  return !lost_ && std::chrono::steady_clock::now() < lease_until_;
}

client::LinkState LocalClient::link() const {
  std::lock_guard lock(mutex_);
  client::LinkState state;
  state.link = cut_ ? client::Link::disconnected : client::Link::connected;
  return state;
}

// -- calls ---------------------------------------------------------------------------------------

Status LocalClient::enter(const client::Call& call, const std::string& what) {
  {
    std::lock_guard lock(mutex_);
    ++calls_[what];
  }
  if (before) before(what);
  if (call.cancel)
    call.cancel->set([this] {
      std::lock_guard lock(mutex_);
      changed_.notify_all();
    });
  Status status = ok();
  for (;;) {
    if (call.cancel && call.cancel->cancelled()) {
      status = fail(Code::interrupted, "cancelled");
      break;
    }
    std::unique_lock lock(mutex_);
    if (!cut_) break;
    if (std::chrono::steady_clock::now() >= call.deadline) {
      status = fail(Code::timed_out, "the router cannot be reached");
      break;
    }
    // A cancellation between the look and the wait is seen within this.
    changed_.wait_until(lock, std::min(call.deadline, std::chrono::steady_clock::now() +
                                                          std::chrono::milliseconds(20)));
  }
  if (call.cancel) call.cancel->set({});
  return status;
}

Status LocalClient::leave(const std::string& what) {
  if (after) after(what);
  return ok();
}

Result<LookupReply> LocalClient::lookup(const client::Call& call, const LookupRequest& request) {
  LINKSPAN_CHECK(enter(call, "lookup"));
  auto reply = router_->router().lookup(who_, request);
  LINKSPAN_CHECK(leave("lookup"));
  return reply;
}

Result<NodeReply> LocalClient::getattr(const client::Call& call, const GetAttrRequest& request) {
  LINKSPAN_CHECK(enter(call, "getattr"));
  auto reply = router_->router().getattr(who_, request);
  LINKSPAN_CHECK(leave("getattr"));
  return reply;
}

Result<ReadDirReply> LocalClient::readdir(const client::Call& call, const ReadDirRequest& request) {
  LINKSPAN_CHECK(enter(call, "readdir"));
  auto reply = router_->router().readdir(who_, request);
  LINKSPAN_CHECK(leave("readdir"));
  return reply;
}

Result<ReadReply> LocalClient::read(const client::Call& call, const ReadRequest& request) {
  LINKSPAN_CHECK(enter(call, "read"));
  auto reply = router_->router().read(who_, request);
  LINKSPAN_CHECK(leave("read"));
  return reply;
}

Result<DataRangesReply> LocalClient::data_ranges(const client::Call& call,
                                                 const DataRangesRequest& request) {
  LINKSPAN_CHECK(enter(call, "data_ranges"));
  auto reply = router_->router().data_ranges(who_, request);
  LINKSPAN_CHECK(leave("data_ranges"));
  return reply;
}

Result<XattrsReply> LocalClient::xattrs(const client::Call& call, Ino ino) {
  LINKSPAN_CHECK(enter(call, "xattrs"));
  return router_->router().xattrs(who_, ino);
}

Result<StatFsReply> LocalClient::statfs(const client::Call& call, Ino ino) {
  LINKSPAN_CHECK(enter(call, "statfs"));
  return router_->router().statfs(who_, ino);
}

Result<std::vector<VersionInfo>> LocalClient::versions(const client::Call& call,
                                                       const VersionsRequest& request) {
  LINKSPAN_CHECK(enter(call, "versions"));
  return router_->router().versions(who_, request);
}

Result<ConflictsReply> LocalClient::conflicts(const client::Call& call,
                                              const ConflictsRequest& request) {
  LINKSPAN_CHECK(enter(call, "conflicts"));
  return router_->router().conflicts(who_, request);
}
Result<ChangesReply> LocalClient::changes(const client::Call& call, const ChangesRequest& request) {
  LINKSPAN_CHECK(enter(call, "changes"));
  return router_->router().changes(who_, request);
}

Status LocalClient::prefetch(const client::Call& call, Ino dir, uint64_t, uint32_t,
                             const std::function<bool(Ino, ReadDirReply)>& page) {
  LINKSPAN_TRY(ReadDirReply reply, readdir(call, ReadDirRequest{dir, {}, 1024, true}));
  (void)page(dir, std::move(reply));
  return ok();
}

// -- mutations -----------------------------------------------------------------------------------

OpHeader LocalClient::begin_operation(OpNumber* operation) {
  std::lock_guard lock(mutex_);
  OpHeader header;
  if (operation && *operation) {
    header.number = *operation;
    header.retry = true;
  } else {
    header.number = OpNumber{next_operation_++};
    unanswered_.insert(header.number.value);
  }
  header.answered_below = OpNumber{*unanswered_.begin()};
  return header;
}

void LocalClient::end_operation(OpNumber number, OpNumber* operation, bool answered) {
  std::lock_guard lock(mutex_);
  if (answered || !operation) unanswered_.erase(number.value);
  if (operation) *operation = answered ? OpNumber{} : number;
}

template <class Reply>
Result<Reply> LocalClient::await(const client::Call& call,
                                 std::function<void(std::function<void(Result<Reply>)>)> send) {
  struct Answer {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<Reply>> reply;
  };
  const auto answer = std::make_shared<Answer>();
  const auto begin = [send = std::move(send), answer] {
    send([answer](Result<Reply> reply) {
      {
        const std::lock_guard lock(answer->mutex);
        if (!answer->reply) answer->reply = std::move(reply);
      }
      answer->changed.notify_all();
    });
  };
  if (call.cancel) {
    {
      const std::lock_guard lock(mutex_);
      ++under_way_;
    }
    std::thread([this, begin] {
      begin();
      const std::lock_guard lock(mutex_);
      --under_way_;
      changed_.notify_all();
    }).detach();
    call.cancel->set([answer] {
      {
        const std::lock_guard lock(answer->mutex);
        if (!answer->reply) answer->reply = Error(fail(Code::interrupted, "cancelled"));
      }
      answer->changed.notify_all();
    });
  } else {
    begin();
  }
  std::optional<Result<Reply>> reply;
  {
    std::unique_lock lock(answer->mutex);
    answer->changed.wait(lock, [&] { return answer->reply.has_value(); });
    reply = answer->reply;
  }
  if (call.cancel) call.cancel->set({});
  return *std::move(reply);
}

void LocalClient::forget_operation(OpNumber operation) {
  std::lock_guard lock(mutex_);
  unanswered_.erase(operation.value);
}

Result<Seq> LocalClient::give_up(const client::Call& call, OpNumber operation) {
  LINKSPAN_CHECK(enter(call, "give_up"));
  return await<Seq>(call, [this, operation](core::GiveUpDone done) {
    router_->router().give_up(who_, operation, std::move(done));
  });
}

template <class Request>
Result<MutationReply> LocalClient::mutate(const client::Call& call, const std::string& what,
                                          Request request, Mutate<Request> method) {
  request.op = begin_operation(call.operation);
  const OpNumber number = request.op.number;
  if (auto entered = enter(call, what); !entered.ok()) {
    end_operation(number, call.operation, false);
    return entered.error();
  }
  if (const auto error = refused(what)) {
    end_operation(number, call.operation, true);
    return *error;
  }
  const auto sent = std::make_shared<Request>(std::move(request));
  auto result = await<MutationReply>(call, [this, sent, method](core::MutationDone done) {
    (router_->router().*method)(who_, std::move(*sent), std::move(done));
  });
  LINKSPAN_CHECK(leave(what));
  if (lost(what)) {
    end_operation(number, call.operation, false);
    return fail(Code::unavailable, "the reply was lost");
  }
  const bool cancelled =
      call.cancel && call.cancel->cancelled() && !result.ok() && result.code() == Code::interrupted;
  if (cancelled) {
    end_operation(number, call.operation, false);
    return result;
  }
  end_operation(number, call.operation, true);
  return result;
}

Result<MutationReply> LocalClient::create(const client::Call& call, CreateRequest request) {
  return mutate(call, "create", std::move(request), &core::Router::create);
}
Result<MutationReply> LocalClient::remove(const client::Call& call, RemoveRequest request) {
  return mutate(call, "remove", std::move(request), &core::Router::remove);
}
Result<MutationReply> LocalClient::rename(const client::Call& call, RenameRequest request) {
  return mutate(call, "rename", std::move(request), &core::Router::rename);
}
Result<MutationReply> LocalClient::link(const client::Call& call, LinkRequest request) {
  return mutate(call, "link", std::move(request), &core::Router::link);
}
Result<MutationReply> LocalClient::set_attributes(const client::Call& call,
                                                  SetAttrRequest request) {
  return mutate(call, "set_attributes", std::move(request), &core::Router::set_attributes);
}
Result<MutationReply> LocalClient::commit(const client::Call& call, CommitRequest request) {
  return mutate(call, "commit", std::move(request), &core::Router::commit);
}
Result<MutationReply> LocalClient::set_xattr(const client::Call& call, SetXattrRequest request) {
  return mutate(call, "set_xattr", std::move(request), &core::Router::set_xattr);
}
Result<MutationReply> LocalClient::settle(const client::Call& call, SettleRequest request) {
  return mutate(call, "settle", std::move(request), &core::Router::settle);
}

// -- locks ---------------------------------------------------------------------------------------

// As with the real client a request has a number when it is sent, not before.
Status LocalClient::set_lock(const client::Call& call, const Lock& lock, LockWait wait) {
  const client::LockBook::UnderWay under_way(&locks_, lock);
  LINKSPAN_CHECK(enter(call, "set_lock"));
  if (!*call.operation) *call.operation = OpNumber{++last_lock_number_};
  const auto promise = std::make_shared<std::promise<Result<SetLockReply>>>();
  auto answered = promise->get_future();
  router_->router().set_lock(
      who_, {*call.operation, {}, lock, wait},
      [promise](Result<SetLockReply> result) { promise->set_value(std::move(result)); });
  while (answered.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
    if (call.cancel && call.cancel->cancelled()) return fail(Code::interrupted, "cancelled");
    if (std::chrono::steady_clock::now() > call.deadline + call.longer)
      return fail(Code::timed_out, "nobody gave the lock up");
  }
  const auto reply = answered.get();
  LINKSPAN_CHECK(leave("set_lock"));
  if (lose_lock_reply_.exchange(false)) return fail(Code::unavailable, "the reply was lost");
  if (reply.ok()) locks_.set(lock, reply->order, 0);
  if (!reply.ok() && lock.kind == LockKind::flock) locks_.gave_up(lock);
  if (reply.ok() || reply.code() != Code::would_block || wait != LockWait::queue)
    *call.operation = {};
  return reply.ok() ? ok() : Status(reply.error());
}

Status LocalClient::cancel_lock(const client::Call& call, const Lock& lock) {
  const client::LockBook::UnderWay under_way(&locks_, lock);
  LINKSPAN_CHECK(enter(call, "cancel_lock"));
  LINKSPAN_TRY(const CancelLockReply reply,
               router_->router().cancel_lock(who_, {*call.operation, {}}));
  LINKSPAN_CHECK(leave("cancel_lock"));
  *call.operation = {};
  if (!reply.granted) return fail(Code::interrupted, "the lock is not waited for any more");
  locks_.set(lock, reply.order, 0);
  return ok();
}

Result<TestLockReply> LocalClient::test_lock(const client::Call& call, const Lock& lock) {
  LINKSPAN_CHECK(enter(call, "test_lock"));
  return router_->router().test_lock(who_, {lock});
}

}  // namespace linkspan::test
