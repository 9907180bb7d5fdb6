#include "fusefs/client/session.h"

#include <algorithm>

#include "linkspan/convert_locks.h"
#include "linkspan/convert_status.h"
#include "linkspan/limits.h"

namespace linkspan::client {

namespace {

// Attaching again cannot mend these: the grant is gone, or the route leads elsewhere.
bool is_final(Code code) {
  return code == Code::unauthenticated || code == Code::access_denied ||
         code == Code::not_permitted || code == Code::unsupported;
}

constexpr std::chrono::seconds kDetachTime{2};
// A stream that lived this long ends the growth of the backoff.
constexpr std::chrono::seconds kStableTime{1};
// A timer that is so late was held up by what holds up everything.
constexpr std::chrono::seconds kStoppedFor{1};

// Who has given up a call knows why, gRPC only that it was cancelled.
Error no_answer() {
  return fail(Code::timed_out, "no answer until the lease was over");
}

}  // namespace

Session::Session(const GrpcClientOptions& options, Gate& gate, OpTracker& operations,
                 LockBook& locks)
    : options_(options),
      gate_(gate),
      operations_(operations),
      locks_(locks),
      lease_(options.boot_clock),
      backoff_(options.reconnect, options.seed),
      addresses_(options.address),
      transport_(options.tls) {
  gate_.on_wanted = [this] { poke(); };
}

Session::~Session() {
  stop();
}

// ---- from outside ------------------------------------------------------------------------------

Result<SessionInfo> Session::attach(const Call& call, SessionListener* listener) {
  const Steady begun = std::chrono::steady_clock::now();
  listener_ = listener;
  LINKSPAN_TRY(lease_watch_, LeaseWatch::start([this] { on_watch(); }));
  run_thread_ = std::thread([this] { run(); });
  renew_thread_ = std::thread([this] { renew_loop(); });
  Result<std::shared_ptr<const Live>> live = fail(Code::internal);
  {
    const CallGuard guard(gate_, call);
    live = gate_.wait(guard, 0, {});
  }
  if (live.ok()) return info_;
  gate_.end(live.error());
  stop();
  return live.code() == Code::timed_out ? nobody_serves(begun) : live.error();
}

Error Session::nobody_serves(Steady begun) const {
  const bool answered = addresses_.any_answered();
  return fail(Code::unavailable,
              "no router at " + options_.address + (answered ? " serves this mount" : "") +
                  ", tried for " + seconds_text(std::chrono::steady_clock::now() - begun) + ": " +
                  addresses_.said() + (answered ? "" : " (does linkspan-routerd run there?)"));
}

void Session::detach() {
  std::call_once(detached_, [this] {
    const std::shared_ptr<const Live> live = gate_.live();
    gate_.end(fail(Code::unavailable, "detached from " + options_.address));
    stop();
    if (!live) return;
    grpc::ClientContext context;
    context.AddMetadata(wire::kSessionKey, live->credential);
    set_deadline(&context, std::chrono::steady_clock::now() + kDetachTime);
    v1::DetachReply reply;
    // A failure changes nothing: the router ends the session with its lease.
    (void)live->connection->session->Detach(&context, v1::DetachRequest(), &reply);
  });
}

void Session::suspect(uint64_t link) {
  const std::shared_ptr<const Live> live = gate_.live();
  if (!live || live->link != link) return;
  std::shared_ptr<SessionStream> stream;
  {
    const std::lock_guard lock(mutex_);
    stream = stream_;
  }
  if (stream) stream->cancel();
}

void Session::start_over() {
  start_over_.store(true);
  silent_since_.store(0);
  lease_.drop();
  give_link_up();
}

void Session::stop() {
  std::shared_ptr<SessionStream> stream;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    stream = stream_;
    if (attaching_ != nullptr) attaching_->TryCancel();
  }
  changed_.notify_all();
  if (stream) stream->cancel();
  if (run_thread_.joinable()) run_thread_.join();
  if (renew_thread_.joinable()) renew_thread_.join();
  lease_watch_.reset();
  lease_.drop();
}

bool Session::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

// ---- the stream thread -------------------------------------------------------------------------

void Session::run() {
  while (!stopping()) {
    if (const Status attached = reconnect(); !attached.ok()) {
      if (!stopping()) give_up(attached.error());
      return;
    }
    const Steady begun = std::chrono::steady_clock::now();
    const Error why = serve();
    if (std::chrono::steady_clock::now() - begun > kStableTime) backoff_.reset();
    if (stopping()) return;
    broken(why);
    if (is_final(why.code)) return give_up(why);
  }
}

void Session::give_up(const Error& why) {
  lease_.drop();
  const LinkState state = gate_.end(why);
  drop_if_lapsed();
  listener_->on_link(state);
}

// The gate closes before caches are dropped: what is asked from now on is answered under the next
// link, and may be cached again.
void Session::broken(const Error& why) {
  const bool was_up = gate_.live() != nullptr;
  const bool given_up = watch_fired_.exchange(false);
  const LinkState state =
      gate_.close(said(given_up ? no_answer() : why, false), given_up, went(given_up));
  if (was_up) listener_->on_link(state);
  drop_if_lapsed();
}

Status Session::reconnect() {
  for (;;) {
    drop_if_lapsed();
    // The other routers are asked at once, each; then comes the wait.
    if (!std::exchange(first_try_, false) && addresses_.round_begins()) wait_backoff();
    drop_if_lapsed();
    if (stopping()) return fail(Code::unavailable, "detached");
    if (lease_.valid()) watch(lease_.until());
    if (start_over_.exchange(false)) credential_ = {};
    if (addresses_.round_begins()) gate_.trying();
    auto attached = try_attach();
    if (attached.ok()) {
      addresses_.succeeded();
      return adopt(std::move(*attached));
    }
    const Error error = attached.error();
    if (stopping() || gives_up(error)) return error;  // who gave up is told what was said before
    // Then the router is there: next time a new session, at once.
    const bool anew = error.code == Code::session_lost && credential_.session;
    if (error.code == Code::session_lost) credential_ = {};
    const bool given_up = watch_fired_.exchange(false);
    const std::string reason = said(given_up ? no_answer() : error, attach_answered_);
    first_try_ = anew;
    if (!anew) addresses_.next();
    if (anew || !addresses_.round_begins())
      gate_.not_yet(reason, given_up);
    else
      gate_.close(reason, given_up, went(false));
  }
}

std::string Session::said(const Error& error, bool answered) {
  addresses_.note(error, answered);
  return addresses_.said();
}

// Before the first attach, only what time can mend is tried again: a person waits for the answer.
bool Session::gives_up(const Error& error) const {
  if (is_final(error.code)) return true;
  if (generation_ != 0) return false;
  return error.code != Code::unavailable && error.code != Code::timed_out &&
         error.code != Code::busy;
}

// Of what is wrong with the connection itself a person who waits hears at once: time does not mend
// it. A mount that was attached goes on trying: its operator does.
Result<wire::Attached> Session::try_attach() {
  attach_answered_ = false;
  LINKSPAN_TRY(connection_, transport_.connect(addresses_.current()));
  auto attached = attach_once(connection_);
  if (attached.ok() || attach_answered_ || stopping()) return attached;
  const std::string why = transport_.why_not(addresses_.current(), attached.error());
  if (why.empty()) return attached;
  if (generation_ != 0 || addresses_.several()) return fail(Code::unavailable, why);
  return fail(Code::invalid, "router " + addresses_.current() + ": " + why);
}

// A call of the stream thread's own, which stop() and give_link_up() end.
template <class Send>
Result<grpc::Status> Session::attaching(grpc::ClientContext* context, const Send& send) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return fail(Code::unavailable, "detached");
    attaching_ = context;
  }
  const grpc::Status status = send();
  const std::lock_guard lock(mutex_);
  attaching_ = nullptr;
  return status;
}

Result<wire::Attached> Session::attach_once(const std::shared_ptr<Connection>& connection) {
  const wire::Attach request{options_.token,
                             options_.client,
                             credential_.session,
                             credential_.secret,
                             credential_.session ? last_revocation_ : 0,
                             options_.instance};
  v1::AttachRequest m;
  wire::to_wire(request, &m);
  v1::AttachReply reply;
  grpc::ClientContext context;
  set_deadline(&context, std::chrono::steady_clock::now() + options_.attach_attempt);
  attach_answered_ = false;
  LINKSPAN_TRY(const grpc::Status status, attaching(&context, [&] {
                 return connection->session->Attach(&context, m, &reply);
               }));
  attach_answered_ = status.ok() || context.GetServerTrailingMetadata().count(wire::kErrorKey) != 0;
  if (!status.ok()) return wire::error_of(context, status);
  auto attached = wire::from_wire(std::move(reply));
  if (attached.ok()) return attached;
  return fail(Code::internal, "the router's answer to Attach: " + attached.error().message);
}

// A session under another id than before has none of its caches, and none of its operations.
Status Session::adopt(wire::Attached attached) {
  const bool first = generation_ == 0;
  const bool same = !first && attached.session == credential_.session;
  if (!first) LINKSPAN_CHECK(check_routes(attached.routes));
  credential_ = {attached.session, std::move(attached.secret)};
  router_ = attached.router;
  if (!same) {
    ++generation_;
    last_revocation_ = 0;
    counters_.sessions.fetch_add(1, std::memory_order_relaxed);
  }
  // Others may have had the locks of a session that is gone. A router that takes the same session
  // up anew waits to hear what it holds.
  if (!same && !first) locks_lost(locks_.lose_all());
  reclaim_due_ = same && (reclaim_due_ || !attached.resumed);
  if (!same || !attached.resumed) {
    gap_allowed_ = true;
    lease_.drop();
    drop_if_lapsed();
  }
  if (!first) return ok();
  info_ = {attached.session,
           std::move(attached.tenant),
           std::move(attached.principal),
           std::move(attached.sandbox),
           std::move(attached.router),
           options_.address,
           std::move(attached.routes),
           attached.token_expires,
           attached.token_renew};
  return ok();
}

// A route that leads to another tree now cannot be served under the inodes that the kernel knows.
Status Session::check_routes(const std::vector<Route>& routes) const {
  for (const Route& route : routes) {
    for (const Route& mounted : info_.routes) {
      if (route.path != mounted.path || route.root == mounted.root) continue;
      return fail(Code::stale_node, "at " + options_.address + ", " + route.path +
                                        " is another tree now than when it was mounted: unmount "
                                        "and mount again");
    }
  }
  return ok();
}

Error Session::serve() {
  auto stream =
      std::make_shared<SessionStream>(connection_, wire::encode_credential(credential_), lease_);
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return fail(Code::unavailable, "detached");
    if (start_over_.load()) return fail(Code::unavailable, "starting over");
    stream_ = stream;
  }
  const BootTime limit = lease_.now() + options_.attach_attempt;
  watch(lease_.valid() ? std::min(lease_.until(), limit) : limit);
  stream->open(last_revocation_);
  Error why;
  for (;;) {
    auto frame = stream->read();
    Status handled = frame.ok() ? handle(*frame, *stream) : frame.error();
    if (handled.ok()) continue;
    why = handled.error();
    break;
  }
  const std::lock_guard lock(mutex_);
  stream_ = nullptr;
  return why;
}

Status Session::handle(const wire::RouterFrame& frame, SessionStream& stream) {
  if (const auto* welcome = std::get_if<wire::Welcome>(&frame)) {
    return on_welcome(*welcome, stream);
  } else if (const auto* renewed = std::get_if<wire::Renewed>(&frame)) {
    return on_renewed(*renewed, stream);
  } else if (const auto* revocation = std::get_if<Revocation>(&frame)) {
    return on_revocation(*revocation, stream);
  } else if (const auto* end = std::get_if<wire::End>(&frame)) {
    return fail(end->why.code, "the router ended the session: " + end->why.message);
  }
  return ok();
}

// A second one on the same stream: by the router's count the lease ran out in between.
Status Session::on_welcome(const wire::Welcome& welcome, SessionStream& stream) {
  const auto sent = stream.sent(0);
  if (!sent) {
    lease_.drop();
    return fail(Code::unavailable, "the router let the lease run out");
  }
  if (!welcome.resumed) {
    gap_allowed_ = true;
    lease_.drop();
  }
  drop_if_lapsed();
  grant(*sent, welcome.lease);
  ++links_;
  if (links_ > 1) counters_.reconnects.fetch_add(1, std::memory_order_relaxed);
  auto live = std::make_shared<Live>();
  live->connection = connection_;
  live->session = credential_.session;
  live->credential = wire::encode_credential(credential_);
  live->generation = generation_;
  live->link = links_;
  live->address = addresses_.current();
  live->router = router_;
  LINKSPAN_CHECK(reclaim_locks(*live));
  addresses_.forget_said();
  listener_->on_link(gate_.open(std::move(live)));
  return ok();
}

// Late: what was cached since must go, and that needs the gate to be closed (broken()).
Status Session::on_renewed(const wire::Renewed& renewed, SessionStream& stream) {
  const auto sent = stream.sent(renewed.nonce);
  if (!sent || renewed.nonce == 0) return ok();
  if (!lease_.valid()) return fail(Code::unavailable, "the lease ran out before it was renewed");
  grant(*sent, renewed.lease);
  return ok();
}

// Numbers that were seen already are sent again after a resume, and acknowledged again. A gap means
// that anything may have been missed: the lease ends, and the resume asks for the missing ones.
Status Session::on_revocation(const Revocation& revocation, SessionStream& stream) {
  if (revocation.number > last_revocation_ + 1 && !gap_allowed_) {
    lease_.drop();
    return fail(Code::unavailable, "revocation " + std::to_string(last_revocation_ + 1) +
                                       " was missed: " + std::to_string(revocation.number) +
                                       " came");
  }
  if (revocation.number > last_revocation_) {
    revoke_since_.store(lease_.now().count(), std::memory_order_relaxed);
    listener_->on_revoke(revocation);
    revoke_since_.store(0, std::memory_order_relaxed);
    counters_.revocations.fetch_add(1, std::memory_order_relaxed);
    // Then it may have returned before all was dropped, and the router sends this one again.
    if (!lease_.valid())
      return fail(Code::unavailable, "the lease ran out while a revocation was carried out");
    last_revocation_ = revocation.number;
    gap_allowed_ = false;
  }
  stream.acknowledge(last_revocation_);
  return ok();
}

// Before the gate opens: no call may rest on a lock that is lost.
Status Session::reclaim_locks(const Live& live) {
  ReclaimLocksRequest request{locks_.told(live.link)};
  if (request.locks.empty() && !reclaim_due_) return ok();
  v1::ReclaimLocksRequest m;
  wire::to_wire(request, &m);
  v1::ReclaimLocksReply reply;
  grpc::ClientContext context;
  context.AddMetadata(wire::kSessionKey, live.credential);
  set_deadline(&context, std::chrono::steady_clock::now() + options_.attach_attempt);
  LINKSPAN_TRY(const grpc::Status status, attaching(&context, [&] {
                 return live.connection->fs->ReclaimLocks(&context, m, &reply);
               }));
  std::vector<Lock> lost;
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) {
    lost = request.locks;  // a router of before there were any
  } else if (!status.ok()) {
    return wire::error_of(context, status);
  } else {
    auto told = wire::from_wire(std::move(reply));
    if (!told.ok())
      return fail(Code::internal, "the router's answer to ReclaimLocks: " + told.error().message);
    for (const uint32_t index : told->lost)
      if (index < request.locks.size()) lost.push_back(request.locks[index]);
  }
  reclaim_due_ = false;
  locks_lost(locks_.lose(lost));
  return ok();
}

void Session::locks_lost(const std::vector<Lock>& locks) {
  if (locks.empty()) return;
  counters_.locks_lost.fetch_add(locks.size(), std::memory_order_relaxed);
  listener_->on_locks_lost(locks);
}

void Session::caches_lost() {
  cached_ = false;
  counters_.caches_lost.fetch_add(1, std::memory_order_relaxed);
  listener_->on_caches_lost();
}

void Session::drop_if_lapsed() {
  if (cached_ && !lease_.valid()) caches_lost();
}

void Session::wait_backoff() {
  const Steady until = std::chrono::steady_clock::now() + backoff_.next();
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, until, [this] { return stopping_ || poked_; });
  poked_ = false;
}

// ---- the lease ---------------------------------------------------------------------------------

void Session::grant(BootTime sent, std::chrono::milliseconds lease) {
  cached_ = true;
  lease_.grant(sent, lease);
  heard_.store(sent.count(), std::memory_order_relaxed);
  if (start_over_.load()) lease_.drop();  // it is of the session that ends
  const auto length = std::max(lease, limits::kLeaseMin);
  lease_length_.store(std::chrono::nanoseconds(length).count(), std::memory_order_relaxed);
  watch(lease_.until());
  {
    const std::lock_guard lock(mutex_);
    renew_at_ = std::chrono::steady_clock::now() + length / 3;
  }
  changed_.notify_all();
}

void Session::watch(BootTime when) {
  watched_.store(when.count(), std::memory_order_release);
  lease_watch_->arm(when);
}

void Session::on_watch() {
  const int64_t late = boot_now().count() - watched_.load(std::memory_order_acquire);
  if (late < 0) return;  // armed anew meanwhile
  // Else we were stopped, or the machine slept: that is no word about the router.
  const bool in_time =
      late < std::chrono::nanoseconds(kStoppedFor).count() &&
      lease_.now().count() - watched_ < std::chrono::nanoseconds(kStoppedFor).count();
  silent_since_.store(in_time ? heard_.load() : 0);
  give_link_up();
}

// When the link was gone that breaks now. One that was given up, since its lease ran out, was so
// since the router was heard last.
Session::Steady Session::went(bool given_up) const {
  const Steady now = std::chrono::steady_clock::now();
  const int64_t since = given_up ? silent_since_.load() : 0;
  return since == 0 ? now : now - std::max(BootTime(0), lease_.now() - BootTime(since));
}

// The stream, and every call with it, ends at once; the stream thread does not wait to try again.
void Session::give_link_up() {
  watch_fired_.store(true);
  std::shared_ptr<SessionStream> stream;
  {
    const std::lock_guard lock(mutex_);
    poked_ = true;
    stream = stream_;
    if (attaching_ != nullptr) attaching_->TryCancel();
  }
  changed_.notify_all();
  if (stream) stream->cancel();
}

// Somebody waits: the stream thread does not, before it tries again.
void Session::poke() {
  {
    const std::lock_guard lock(mutex_);
    poked_ = true;
  }
  changed_.notify_all();
}

bool Session::revocation_hangs() const {
  const int64_t since = revoke_since_.load(std::memory_order_relaxed);
  return since != 0 &&
         lease_.now().count() - since > lease_length_.load(std::memory_order_relaxed) / 3;
}

void Session::renew_loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (renew_at_ == Steady::max()) {
      changed_.wait(lock);
      continue;
    }
    if (std::chrono::steady_clock::now() < renew_at_) {
      changed_.wait_until(lock, renew_at_);
      continue;
    }
    renew_at_ += std::chrono::nanoseconds(lease_length_.load(std::memory_order_relaxed)) / 3;
    const std::shared_ptr<SessionStream> stream = stream_;
    lock.unlock();
    const std::shared_ptr<const Live> live = gate_.live();
    if (stream && live && !revocation_hangs())
      stream->renew(operations_.answered_below(live->generation));
    lock.lock();
  }
}

}  // namespace linkspan::client
