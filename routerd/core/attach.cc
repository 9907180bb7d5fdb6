// Attaching and ending sessions, and taking tenants over.
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <algorithm>
#include <set>
#include <utility>

#include "linkspan/reconnect.h"
#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

// How long after a takeover the last mount that lives has attached: it may just have begun to try
// the router that is gone, and before that have been refused here.
constexpr std::chrono::milliseconds kComeBackTime =
    limits::kAttachAttempt + limits::kReconnectPause;
// For it to say then what it held.
constexpr std::chrono::milliseconds kReclaimTime{1000};

uint64_t random_number() {
  uint64_t number = 0;
  while (number == 0) RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof number);
  return number;
}

Error replaced() {
  return fail(Code::unavailable, "another router serves this tenant now");
}

std::string secret_text(const store::SessionRecord& record) {
  return {reinterpret_cast<const char*>(record.secret.data()), record.secret.size()};
}

}  // namespace

std::string RouterCore::made_up_label() {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string label = "sandbox-";
  uint64_t number = random_number();
  for (int i = 0; i < 8; ++i, number >>= 4) label += kDigits[number & 15];
  return label;
}

// ---- tenants ----

// Not from a router that lives: of several on one database the one that mounts came to first serves
// the tenant, until it ends or is silent for a lease.
Result<RouterCore::TenantPtr> RouterCore::open_tenant(const std::string& name) {
  LINKSPAN_TRY(const bool served, store_->is_served(name, options_.lease));
  if (served)
    return fail(Code::unavailable, "another router serves tenant '" + name +
                                       "' now; this one takes over when that one is gone");
  const Boot asked = clock_.boot();
  LINKSPAN_TRY(auto state, store_->open_tenant(name, options_.lease));
  const auto earlier_lease = state.earlier_lease.count() > 0 ? state.earlier_lease : options_.lease;
  LINKSPAN_TRY(const auto records, store_->live_sessions(state.id));
  // Of two that open it at once the later one has it; whoever asked this one asks the next address.
  LINKSPAN_TRY(const auto mine,
               store_->beat({{state.id, state.epoch, std::max(earlier_lease, options_.lease)}}));
  if (!mine[0].ok())
    return mine[0].code() == Code::fenced
               ? fail(Code::unavailable, "another router has just taken over tenant '" + name + "'")
               : mine[0].error();
  const Boot now = clock_.boot();
  std::set<SessionId> earlier;
  {
    const std::unique_lock lock(mutex_);
    for (const auto& record : records) {
      earlier.insert(record.id);
      awaited_[record.id] = {now + earlier_lease + options_.session_grace, state.id, state.epoch};
    }
  }
  Tenant::Takeover takeover;
  takeover.earlier_lease = earlier_lease;
  takeover.earlier_until = now + earlier_lease;
  takeover.hold_locks_until = now + std::max(earlier_lease, kComeBackTime) + kReclaimTime;
  takeover.owned_until = options_.sole ? Boot::max() : asked + options_.lease;
  return std::make_shared<Tenant>(std::move(state), std::move(earlier), takeover);
}

// The first to ask opens it; others wait for the same answer.
Result<RouterCore::TenantPtr> RouterCore::tenant(const std::string& name) {
  std::promise<Result<TenantPtr>> opening;
  TenantFuture future;
  bool first = false;
  {
    const std::unique_lock lock(mutex_);
    const auto [at, inserted] = tenants_.try_emplace(name);
    if (inserted) at->second = opening.get_future().share();
    future = at->second;
    first = inserted;
  }
  if (!first) return future.get();
  auto opened = open_tenant(name);
  if (!opened.ok()) {
    const std::unique_lock lock(mutex_);
    tenants_.erase(name);  // the next to ask tries again
  }
  opening.set_value(opened);
  return opened;
}

// Another router owns the tenant: nothing of it may be answered here any more.
void RouterCore::fence(const TenantPtr& tenant) {
  if (tenant->fenced.exchange(true)) return;
  std::vector<SessionPtr> lost;
  {
    const std::unique_lock lock(mutex_);
    tenants_.erase(tenant->name);
    for (auto at = sessions_.begin(); at != sessions_.end();) {
      if (at->second->tenant() == tenant) {
        lost.push_back(std::move(at->second));
        at = sessions_.erase(at);
      } else {
        ++at;
      }
    }
    std::erase_if(awaited_, [&](const auto& awaited) {
      return awaited.second.tenant == tenant->id && awaited.second.epoch == tenant->epoch;
    });
  }
  const Error why = fail(Code::session_lost, "another router serves this tenant now; attach again");
  for (const SessionPtr& session : lost) {
    LockAnswers answers;
    tenant->locks.end(session->id(), &answers);
    release_all(session->end(why));
    session->pump();
  }
  background_->post_all(tenant->hold.release());
  background_->post_all(tenant->lock_hold.release());
  // However we found out: the store gives our claim up, so that the next router sees its owner's.
  ownership_->post([this, id = tenant->id, epoch = tenant->epoch] {
    (void)store_->beat({{id, epoch, options_.lease}}).ok();
  });
}

// ---- sessions ----

RouterCore::SessionPtr RouterCore::find_session(SessionId id) const {
  const std::shared_lock lock(mutex_);
  const auto at = sessions_.find(id);
  return at == sessions_.end() ? nullptr : at->second;
}

bool RouterCore::is_ending(SessionId id) const {
  const std::shared_lock lock(mutex_);
  return ending_.count(id) != 0;
}

// The sessions of a configured token, and of all that were narrowed from it, are bounded; the one
// that lost its lease the longest ago makes room.
Status RouterCore::make_room(const store::TokenHash& root) {
  SessionPtr longest;  // lost
  Boot since{};
  size_t count = 0;
  for (const SessionPtr& session : all_sessions()) {
    if (session->grant()->root != root) continue;
    ++count;
    const auto lost = session->lost_since();
    if (!lost || (longest && *lost >= since)) continue;
    longest = session;
    since = *lost;
  }
  if (count < limits::kSessionsPerToken) return ok();
  if (!longest)
    return fail(Code::busy, "the token has " + std::to_string(count) +
                                " mounts attached; unmount some or use another token");
  end_session(longest, fail(Code::session_lost, "another mount of this token took its place"),
              false);
  return ok();
}

Result<RouterCore::SessionPtr> RouterCore::add_session(store::SessionRecord record,
                                                       const TenantPtr& tenant,
                                                       std::shared_ptr<const Grant> grant,
                                                       std::optional<uint64_t> last_revocation) {
  const auto slot = tenant->slots.take();
  if (!slot)
    return fail(Code::busy, "tenant '" + tenant->name + "' has " +
                                std::to_string(SlotTable::kSlots) + " mounts attached");
  Session::Options options{std::move(record), tenant,        std::move(grant), *slot,
                           last_revocation,   options_.lease};
  auto session = std::make_shared<Session>(std::move(options), clock_.boot());
  tenant->slots.assign(*slot, session);
  bool inserted = false, fenced = false;
  {
    // fence() ends what is in the table after it has said so: nothing may come in behind it. The
    // session goes on at the tenant's new owner, which may be this router.
    const std::unique_lock lock(mutex_);
    fenced = tenant->fenced;
    if (!fenced) {
      inserted = sessions_.try_emplace(session->id(), session).second;
      awaited_.erase(session->id());
    }
  }
  if (fenced) {
    session->end(replaced());
    return replaced();
  }
  if (!inserted) {  // the same session was resumed twice at once: the first stays
    session->end(fail(Code::session_lost));
    session = find_session(session->id());
    if (!session) return fail(Code::busy, "the session is being resumed; try again");
    return session;
  }
  const std::weak_ptr<Session> weak = session;
  tenant->locks.open(session->id(), {[weak] {
                                       const auto alive = weak.lock();
                                       return !alive || alive->lost();
                                     },
                                     [weak] {
                                       const auto alive = weak.lock();
                                       return !alive || alive->operations().hold_back();
                                     },
                                     [weak] {
                                       if (const auto alive = weak.lock())
                                         alive->operations().go_on();
                                     }});
  return session;
}

Result<RouterCore::SessionPtr> RouterCore::new_session(const TenantPtr& tenant, const Token& from,
                                                       std::shared_ptr<const Grant> grant) {
  LINKSPAN_CHECK(make_room(from.root));
  const store::TokenRecord& token = from.record;
  store::SessionRecord record;
  record.id = SessionId{random_number()};
  record.tenant = tenant->id;
  record.token = token.hash;
  RAND_bytes(record.secret.data(), static_cast<int>(record.secret.size()));
  record.principal = token.principal;
  record.sandbox = token.sandbox.empty() ? made_up_label() : token.sandbox;
  record.attached = clock_.now();
  const Status put = store_->put_session(record, tenant->epoch);
  if (!put.ok() && put.code() == Code::fenced) {
    fence(tenant);
    return replaced();
  }
  LINKSPAN_CHECK(put);
  return add_session(std::move(record), tenant, std::move(grant), std::nullopt);
}

// Takes a session up again, for its owner only: whoever has its secret and a token of the same
// principal. With a session of an earlier router its caches are lost, its operation results not.
Result<RouterCore::Resumed> RouterCore::resume_session(const AttachRequest& request,
                                                       const TenantPtr& tenant, const Token& token,
                                                       std::shared_ptr<const Grant> grant) {
  if (const SessionPtr session = find_session(request.resume)) {
    if (session->refused()) return Resumed{};
    if (tenant->fenced) return replaced();  // it may be our own new ownership's
    if (session->tenant() != tenant || !session->proves(request.resume_secret) ||
        session->record().principal != token.record.principal)
      return Resumed{};
    session->set_grant(std::move(grant));
    Acknowledged acknowledged;
    const bool kept = session->resume(request.resume_revocation, clock_.boot(), &acknowledged);
    settle(*session, acknowledged);
    session->pump();
    return session->ended() ? Resumed{} : Resumed{session, kept};
  }
  if (is_ending(request.resume)) return Resumed{};
  auto record = store_->find_session(request.resume);
  if (!record.ok() && record.code() == Code::not_found) return Resumed{};
  if (!record.ok()) return record.error();
  const std::string secret = secret_text(*record);
  if (record->tenant != tenant->id || record->principal != token.record.principal ||
      request.resume_secret.size() != secret.size() ||
      CRYPTO_memcmp(secret.data(), request.resume_secret.data(), secret.size()) != 0)
    return Resumed{};
  LINKSPAN_TRY(auto session, add_session(std::move(*record), tenant, std::move(grant),
                                         request.resume_revocation));
  // It may have been forgotten meanwhile, for nobody came back with it; see forget_in_store().
  record = store_->find_session(request.resume);
  if (record.ok()) return Resumed{std::move(session), false};
  end_session(session, fail(Code::session_lost, "the session has ended; attach again"), false);
  if (record.code() == Code::not_found) return Resumed{};
  return record.error();
}

Result<AttachReply> RouterCore::attach(const AttachRequest& request) {
  const auto pass = gate_.enter();
  if (!pass) return fail(Code::unavailable, "the router is stopping");
  LINKSPAN_TRY(auto token, find_token(store::hash_token(request.token)));
  LINKSPAN_TRY(const TenantPtr tenant, this->tenant(token.record.tenant));
  check_owner_if_due(tenant);
  if (tenant->fenced) return replaced();
  LINKSPAN_CHECK(admit(token, request.peer, request.instance));
  LINKSPAN_CHECK(begin_use(&token));
  LINKSPAN_TRY(const auto grant, make_grant(token, tenant->id, tenant->volumes));
  Resumed resumed;
  if (request.resume) {
    LINKSPAN_TRY(resumed, resume_session(request, tenant, token, grant));
  }
  if (!resumed.session) {
    LINKSPAN_TRY(resumed.session, new_session(tenant, token, grant));
  }

  const store::SessionRecord& record = resumed.session->record();
  AttachReply reply;
  reply.session = record.id;
  reply.secret = secret_text(record);
  reply.lease = options_.lease;
  reply.routes = grant->routes;
  reply.tenant = tenant->name;
  reply.principal = record.principal;
  reply.sandbox = record.sandbox;
  reply.router = options_.name;
  reply.seq = tenant->sequencer.stable();
  reply.resumed = resumed.caches_kept;
  reply.token_expires = grant->expires;
  reply.token_renew = grant->renew;
  return reply;
}

Status RouterCore::detach(const Credentials& who) {
  const SessionPtr session = find_session(who.session);
  if (session && session->proves(who.secret) && session->refused()) {
    end_session(session, *session->refused(), false);
    return ok();
  }
  LINKSPAN_TRY(const Call call, enter(who));
  end_session(call.session, fail(Code::session_lost, "the mount detached"), true);
  return ok();
}

void RouterCore::refuse_session(const SessionPtr& session, const Error& why) {
  if (session->refuse(why, clock_.boot())) return session->pump();
  if (session->lost()) end_session(session, why, false);
}

void RouterCore::forget_in_store(TenantId tenant, Epoch epoch, SessionId id) {
  if (find_session(id)) return;  // taken up again from there meanwhile
  // On failure the next router finds it among the live ones and ends it when its grace is over.
  const Status ended = store_->end_session(tenant, id, epoch);
  (void)ended.ok();
}

void RouterCore::end_locks(Session& session) {
  const SessionPtr now = find_session(session.id());
  if (now && now.get() != &session) return;  // taken up again from the store: they are that one's
  {
    LockAnswers answers;
    session.tenant()->locks.end(session.id(), &answers);
  }
  background_->post_all(session.tenant()->lock_hold.heard_of(session.id()));
}

void RouterCore::end_session(const SessionPtr& session, const Error& why, bool wait_for_store) {
  bool idle = false;
  {
    const std::unique_lock lock(mutex_);
    const auto at = sessions_.find(session->id());
    if (at == sessions_.end() || at->second != session) return;  // somebody else does it
    sessions_.erase(at);
    // With a mutation under way its result must still find the session, and it may rest on the
    // session's locks: answer() does the rest then. Until then nobody takes the session up again:
    // its results would be forgotten as the new one's are answered.
    idle = session->operations().close();
    if (!idle) ending_.insert(session->id());
  }
  if (idle) {
    end_locks(*session);
  } else {
    LockAnswers answers;
    session->tenant()->locks.end_waits(session->id(), &answers);
  }
  release_all(session->end(why));
  session->pump();
  session->tenant()->unswept = true;
  if (!idle) return;
  const auto forget = [this, id = session->id(), tenant = session->tenant()] {
    forget_in_store(tenant->id, tenant->epoch, id);
  };
  if (wait_for_store) {
    forget();
  } else {
    background_->post(forget);
  }
}

}  // namespace linkspan::core
