// Letting calls in, leases, and the streams of revocations.
#include <algorithm>
#include <utility>

#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

// How often the clock is looked at, at least: a twentieth of the lease, within these bounds.
constexpr std::chrono::milliseconds kShortestPeriod{1};
constexpr std::chrono::milliseconds kLongestPeriod{100};
constexpr size_t kRelievedAtOnce = 1024;  // nodes in one revocation

Error expired() {
  return fail(Code::unauthenticated, "the token has expired; ask the operator for a new one");
}

}  // namespace

RouterCore::RouterCore(std::unique_ptr<store::Store> store, RouterOptions options)
    : store_(std::move(store)),
      options_(std::move(options)),
      clock_(*options_.clock),
      started_(clock_.now()),
      started_boot_(clock_.boot()) {
  background_.emplace();
  ownership_.emplace();
  upkeep_.emplace();
  retention_.emplace();
  settling_.emplace();
  timer_.emplace(options_.clock, std::clamp(options_.lease / 20, kShortestPeriod, kLongestPeriod),
                 [this](Boot now) { return tick(now); });
}

RouterCore::~RouterCore() {
  stop();
  timer_.reset();
  ownership_.reset();
  upkeep_.reset();
  retention_.reset();
  settling_.reset();
  background_.reset();
}

void RouterCore::stop() {
  gate_.close();
  // What was held back was not begun: run() answers it with `unavailable`.
  for (const TenantPtr& tenant : all_tenants()) background_->post_all(tenant->hold.release());
  end_waits();
  gate_.wait_until_empty();
}

std::vector<RouterCore::SessionPtr> RouterCore::all_sessions() const {
  std::vector<SessionPtr> sessions;
  const std::shared_lock lock(mutex_);
  sessions.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) sessions.push_back(session);
  return sessions;
}

std::vector<RouterCore::TenantPtr> RouterCore::all_tenants() const {
  std::vector<TenantPtr> tenants;
  const std::shared_lock lock(mutex_);
  for (const auto& [name, future] : tenants_) {
    if (future.wait_for(std::chrono::seconds(0)) != std::future_status::ready) continue;
    if (const auto& tenant = future.get(); tenant.ok()) tenants.push_back(*tenant);
  }
  return tenants;
}

// ---- calls ----

Result<RouterCore::Call> RouterCore::authenticate(const Credentials& who) {
  const SessionPtr session = find_session(who.session);
  if (!session)
    return fail(Code::session_lost, "the router does not know this session; attach again");
  if (!session->proves(who.secret))
    return fail(Code::unauthenticated, "the session's secret is wrong");
  Call call{nullptr, session, session->tenant(), session->grant()};
  if (const auto refused = session->refused()) return *refused;
  if (session->token_over(clock_.now())) {
    refuse_session(session, expired());
    return expired();
  }
  LINKSPAN_CHECK(check_source(call.grant->sources, call.grant->principal, who.peer));
  session->seen(clock_.boot());
  return call;
}

Result<TenantId> RouterCore::check(const Credentials& who) {
  const SessionPtr session = find_session(who.session);
  if (!session)
    return fail(Code::session_lost, "the router does not know this session; attach again");
  if (!session->proves(who.secret))
    return fail(Code::unauthenticated, "the session's secret is wrong");
  if (const auto refused = session->refused()) return *refused;
  if (session->token_over(clock_.now())) return expired();
  const auto grant = session->grant();
  LINKSPAN_CHECK(check_source(grant->sources, grant->principal, who.peer));
  return session->tenant()->id;
}

Result<RouterCore::Call> RouterCore::enter(const Credentials& who) {
  auto pass = gate_.enter();
  if (!pass) return fail(Code::unavailable, "the router is stopping");
  LINKSPAN_TRY(Call call, authenticate(who));
  call.pass = std::move(pass);
  return call;
}

// ---- streams ----

void RouterCore::settle(Session& session, const Acknowledged& acknowledged) {
  if (acknowledged.holder)
    for (const RevokedNode& node : acknowledged.nodes)
      session.tenant()->interests.settle(node.ino, *acknowledged.holder);
  release_all(acknowledged.releases);
}

Status RouterCore::open_stream(const Credentials& who, uint64_t last_revocation,
                               std::shared_ptr<StreamSink> sink) {
  LINKSPAN_TRY(const Call call, enter(who));
  Acknowledged acknowledged;
  LINKSPAN_CHECK(
      call.session->open_stream(last_revocation, std::move(sink), clock_.boot(), &acknowledged));
  // The mount has what attach() told it, that its caches are lost if they are, and has dropped
  // them. Not so before: the reply may have been lost, or come when it had given that try up.
  background_->post_all(call.tenant->hold.heard_of(call.session->id()));
  settle(*call.session, acknowledged);
  call.session->pump();
  return ok();
}

void RouterCore::renew(SessionId id, OpNumber answered_below, uint64_t nonce) {
  const SessionPtr session = find_session(id);
  if (!session) return;
  session->renew(answered_below, nonce, clock_.boot());
  session->pump();
}

void RouterCore::acknowledge(SessionId id, uint64_t revocation) {
  const SessionPtr session = find_session(id);
  if (!session) return;
  const Acknowledged acknowledged = session->acknowledge(revocation);
  settle(*session, acknowledged);
  if (acknowledged.over) end_session(session, *session->refused(), false);
}

void RouterCore::stream_closed(SessionId id, const StreamSink* sink) {
  if (const SessionPtr session = find_session(id)) session->close_stream(sink);
}

// ---- the timer ----

Boot RouterCore::tick(Boot now) {
  const Boot next = look_after_sessions(now);
  look_after_ownership(now);
  look_after_tokens(now);
  look_after_outcomes(now);
  for (const TenantPtr& tenant : all_tenants()) {
    background_->post_all(tenant->hold.tick(now));
    background_->post_all(tenant->lock_hold.tick(now));
    look_after(tenant, now);
    const bool grown =
        tenant->interests.entries() > tenant->swept + options_.interests_per_session / 2;
    if (tenant->unswept.exchange(false) || grown) {
      tenant->swept = SIZE_MAX / 2;  // not again before this sweep is done
      background_->post([this, tenant] { sweep(tenant); });
    }
  }
  end_awaited(now);
  return next;
}

// Leases that ran out, and sessions that are over. When to look again at the latest.
Boot RouterCore::look_after_sessions(Boot now) {
  Boot next = now + options_.lease;
  const Time wall = clock_.now();
  for (const SessionPtr& session : all_sessions()) {
    const Session::Tick tick = session->tick(now, options_.session_grace);
    if (tick.lost_now) session->tenant()->unswept = true;
    release_all(tick.releases);
    if (tick.lost_now) {
      LockAnswers answers;
      session->tenant()->locks.lease_lost(session->id(), &answers);
    }
    next = std::min(next, tick.next);
    if (tick.over) {
      const auto refused = session->refused();
      end_session(
          session,
          refused ? *refused
                  : fail(Code::session_lost, "the mount did not come back in time; attach again"),
          false);
    } else if (session->token_over(wall)) {
      refuse_session(session, expired());
    }
  }
  return next;
}

// Sessions of an earlier router whose time to come back is over.
void RouterCore::end_awaited(Boot now) {
  std::vector<std::pair<SessionId, Awaited>> gone;
  {
    const std::unique_lock lock(mutex_);
    for (auto at = awaited_.begin(); at != awaited_.end();) {
      if (now < at->second.until) {
        ++at;
        continue;
      }
      gone.emplace_back(*at);
      at = awaited_.erase(at);
    }
  }
  for (const auto& entry : gone)
    background_->post([this, id = entry.first, awaited = entry.second] {
      forget_in_store(awaited.tenant, awaited.epoch, id);
    });
}

// ---- bounded memory ----

void RouterCore::sweep(const TenantPtr& tenant) {
  const size_t most = options_.interests_per_session;
  const auto counts = tenant->interests.sweep();
  size_t total = 0;
  for (const auto& [slot, count] : counts) {
    total += std::min(count.all, most);
    if (count.held > most || count.all > 2 * most)
      relieve(tenant, tenant->slots.holder(slot), count);
  }
  tenant->swept = total;
}

// Half of what a session may have is taken from it; when that is not enough, since directories stay
// with their names, or when it does not acknowledge, it loses all that it has.
//
// A revocation that nobody waits for. It has a number of its own, as a change to everything would:
// then all that makes replies and revocations of changes meet holds for it too.
void RouterCore::relieve(const TenantPtr& tenant, Holder holder, Interests::Count count) {
  const SessionPtr session = tenant->slots.session(holder);
  if (!session) return;
  const size_t most = options_.interests_per_session;
  const auto begun = tenant->sequencer.begin({{}, true});
  const std::vector<Ino> inos =
      tenant->interests.take_some(holder, begun.seq, count.held - std::min(count.held, most / 2));
  tenant->sequencer.finish(begun.seq);
  if (count.held - inos.size() > most || count.all > 2 * most) session->give_up_caches(holder);
  const Boot now = clock_.boot();
  for (size_t at = 0; at < inos.size(); at += kRelievedAtOnce) {
    Revocation revocation;
    revocation.seq = begun.seq;
    const size_t end = std::min(at + kRelievedAtOnce, inos.size());
    for (size_t i = at; i < end; ++i) revocation.nodes.push_back({inos[i], true, false});
    session->enqueue(std::move(revocation), holder, nullptr, now);
  }
  session->pump();
}

std::unique_ptr<Router> make_router(std::unique_ptr<store::Store> store, RouterOptions options) {
  return std::make_unique<RouterCore>(std::move(store), std::move(options));
}

}  // namespace linkspan::core
