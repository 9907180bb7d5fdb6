// The life of tokens: whether they hold, for whom, and until when; narrower ones.
#include <utility>

#include "linkspan/limits.h"
#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kTokenPeriod = 500ms;  // one question for all of them
constexpr int kRenewals = 4;                               // while one lasts

Time after(Time now, std::chrono::seconds time) {
  return Time{now.ns + std::chrono::nanoseconds(time).count()};
}

Error elsewhere(const Token& token, const char* why) {
  return fail(Code::unauthenticated,
              "the token of '" + token.record.principal +
                  "' is bound to the sandbox that used it "
                  "first, " +
                  why +
                  "; ask the operator for one for this sandbox, or narrow one there "
                  "(linkspan token narrow)");
}

}  // namespace

Result<Token> RouterCore::find_token(store::TokenHash hash) {
  std::vector<store::TokenRecord> lineage;
  for (bool more = true; more;) {
    auto record = store_->find_token(hash);
    if (!record.ok() && record.code() == Code::not_found)
      return fail(Code::unauthenticated,
                  "this router does not know the token; check that it was copied whole, or ask the "
                  "operator for a new one");
    if (!record.ok()) return record.error();
    if (lineage.size() > limits::kTokenDepth)
      return fail(Code::internal, "a token was narrowed more often than is allowed");
    hash = record->parent;
    more = record->narrowed();
    lineage.push_back(*std::move(record));
  }
  return make_token(lineage, clock_.now());
}

Status RouterCore::admit(const Token& token, const std::string& peer, const std::string& instance) {
  LINKSPAN_TRY(const auto sources, parse_sources(token.record.sources));
  LINKSPAN_CHECK(check_source(sources, token.record.principal, peer));
  const store::TokenRecord& record = token.record;
  if (!record.bind) return ok();
  if (instance.empty())
    return elsewhere(token,
                     "and this one does not say which it is (its state directory must be "
                     "writable, see --state-dir)");
  const store::TokenHash mine = store::hash_token(instance);
  store::TokenHash to = record.bound_to;
  if (to == store::TokenHash{}) {
    LINKSPAN_TRY(to, store_->bind_token(record.hash, mine));
  }
  return to == mine ? ok() : Status(elsewhere(token, "which is another one"));
}

Status RouterCore::begin_use(Token* token) {
  const std::chrono::seconds renew = token->record.renew;
  if (renew.count() == 0) return ok();
  const Time now = clock_.now(), until = after(now, renew);
  LINKSPAN_CHECK(store_->renew_tokens({{token->record.hash, until}}, now));
  token->record.renewed_until = until;
  token->ends = first_end(token->ends_above, until);
  return ok();
}

// ---- narrower ones ----

Result<NarrowReply> RouterCore::narrow(const Credentials& who, const NarrowProof& proof,
                                       const NarrowRequest& request) {
  store::TokenHash hash = store::hash_token(proof.token);
  std::string sandbox;
  std::optional<Call> call;  // keeps the gate
  std::shared_ptr<Gate::Pass> pass;
  if (proof.token.empty()) {
    LINKSPAN_TRY(call, enter(who));
    hash = call->grant->token;
    sandbox = call->session->record().sandbox;
  } else {
    pass = gate_.enter();
    if (!pass) return fail(Code::unavailable, "the router is stopping");
  }
  LINKSPAN_TRY(const Token from, find_token(hash));
  LINKSPAN_TRY(const TenantPtr tenant, this->tenant(from.record.tenant));
  check_owner_if_due(tenant);
  if (tenant->fenced) return fail(Code::unavailable, "another router serves this tenant now");
  // Also by a session, whose secret alone is no proof of the sandbox that the token is bound to.
  if (!call || from.record.bind) LINKSPAN_CHECK(admit(from, who.peer, proof.instance));
  if (sandbox.empty()) sandbox = from.record.sandbox;
  // A name of its own choice must not be another's.
  if (sandbox.empty() && !request.sandbox.empty()) sandbox = made_up_label();
  const Time now = clock_.now();
  LINKSPAN_TRY(store::TokenRecord record, core::narrow(from, request, sandbox, now));
  NarrowReply reply;
  LINKSPAN_TRY(reply.token, store::new_token());
  record.hash = store::hash_token(reply.token);
  Token made = from;
  made.record.routes = record.routes;
  LINKSPAN_TRY(const auto grant, make_grant(made, tenant->id, tenant->volumes));
  LINKSPAN_CHECK(store_->narrow_token(record, from.root, now));
  reply.routes = grant->routes;
  reply.principal = record.principal;
  reply.sandbox = record.sandbox;
  reply.expires = record.expires;
  return reply;
}

// ---- upkeep ----

void RouterCore::look_after_tokens(Boot now) {
  if (token_checks_.begin(now, kTokenPeriod))
    upkeep_->post([this] {
      check_tokens();
      token_checks_.under_way = false;
    });
}

// By those with a session that lives: one that has lost its lease does not count. Not by narrower
// ones: who narrowed them has to be there, too.
void RouterCore::renew_tokens(const TokensInUse& in_use) {
  const Boot boot = clock_.boot();
  const Time now = clock_.now();
  std::vector<store::ValidToken> until;
  std::map<store::TokenHash, Boot> renewed;
  for (const auto& [hash, uses] : in_use) {
    std::chrono::seconds renew{};
    for (const InUse& use : uses)
      if (!use.session->lost() && !use.session->ended()) renew = use.grant->renew;
    if (renew.count() == 0) continue;
    const auto before = renewed_.find(hash);
    if (before != renewed_.end() && boot - before->second < renew / kRenewals)
      renewed.insert(*before);
    else
      until.push_back({hash, after(now, renew)});
  }
  renewed_ = std::move(renewed);
  if (until.empty() || !store_->renew_tokens(until, now).ok()) return;  // the store is away
  for (const store::ValidToken& token : until) renewed_[token.hash] = boot;
}

void RouterCore::check_tokens() {
  TokensInUse in_use;
  for (SessionPtr& session : all_sessions()) {
    if (session->refused()) continue;
    auto grant = session->grant();
    in_use[grant->token].push_back({std::move(session), std::move(grant)});
  }
  if (gate_.closed() || in_use.empty()) return;
  renew_tokens(in_use);
  std::vector<store::TokenHash> asked;
  for (const auto& [hash, uses] : in_use) asked.push_back(hash);
  const auto valid = store_->valid_tokens(asked);
  if (!valid.ok()) return;  // the store is away
  for (const store::ValidToken& token : *valid) {
    for (const InUse& use : in_use[token.hash])
      use.session->token_ends(token.ends, use.grant.get());
    in_use.erase(token.hash);
  }
  const Error why = fail(Code::unauthenticated,
                         "the token was revoked, or the one that it was narrowed from; ask the "
                         "operator for a new one");
  for (const auto& [hash, uses] : in_use)
    for (const InUse& use : uses) refuse_session(use.session, why);
}

}  // namespace linkspan::core
