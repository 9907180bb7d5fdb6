// Mutations: number, apply, revoke, answer. See attempt() for the order, on which coherence rests.
#include <algorithm>
#include <cassert>
#include <utility>

#include "linkspan/backup.h"
#include "linkspan/fault_points.h"
#include "routerd/core/conflict.h"
#include "routerd/core/router_core.h"
#include "routerd/core/view.h"
#include "routerd/store/checks.h"

namespace linkspan::core {
namespace {

Footprint footprint(const Named& named, Ino new_ino) {
  Footprint footprint{named.dirs, named.others};
  footprint.nodes.insert(footprint.nodes.end(), named.nodes.begin(), named.nodes.end());
  if (new_ino) footprint.nodes.push_back(new_ino);
  return footprint;
}

bool names_it(const Named& named, Ino ino) {
  const auto in = [ino](const std::vector<Ino>& inos) {
    return std::find(inos.begin(), inos.end(), ino) != inos.end();
  };
  return in(named.dirs) || in(named.nodes);
}

bool tells(const MutationReply& reply, Ino ino) {
  return std::any_of(reply.nodes.begin(), reply.nodes.end(),
                     [ino](const Node& node) { return node.attr.ino == ino; });
}

template <class Request>
constexpr bool kCreates = std::is_same_v<Request, CreateRequest>;
// May be refused, and what it was to write kept: for what its caller had read, or since another's
// file has taken the name.
template <class Request>
constexpr bool kMayConflict =
    std::is_same_v<Request, CommitRequest> || std::is_same_v<Request, RenameRequest>;
bool may_be_kept(const CommitRequest&) {
  return true;
}
bool may_be_kept(const RenameRequest& request) {
  return static_cast<bool>(request.base_ino);
}

// The store refused to commit to the file alone.
template <class Request>
bool needs_successor(const Request&, const Result<store::Applied>& applied) {
  if constexpr (std::is_same_v<Request, CommitRequest>)
    return !applied.ok() && was_replaced(applied.error());
  return false;
}

// Then it rests on no version, and is none's.
template <class Request>
void forget_base(Request& request) {
  if constexpr (std::is_same_v<Request, RenameRequest>) request.base_version = Version{};
  if constexpr (std::is_same_v<Request, CommitRequest>) request.base = Version{};
  if constexpr (std::is_same_v<Request, CommitRequest>) request.base_ino = Ino{};
}

// What others must forget if it was applied, without what it wrote.
template <class Request>
auto plan_of(Request request) {
  if constexpr (std::is_same_v<Request, CommitRequest>) request.extents = nullptr;
  return [request = std::move(request)](const MutationReply& reply) {
    return core::plan(request, reply);
  };
}

template <class Request>
Ino file_of(const Request& request) {
  if constexpr (std::is_same_v<Request, CommitRequest>) return request.ino;
  return {};
}

// What a commit changed beside its file: to its caller's caches that is another's change.
template <class Request>
Ino changed_beside(const Request& request, const Result<store::Applied>& applied) {
  if constexpr (std::is_same_v<Request, CommitRequest>) {
    if (applied.ok())
      for (const Node& node : applied->reply.nodes)
        if (node.attr.ino != request.ino) return node.attr.ino;
  }
  return {};
}

// What later creates and renames of the session go by: NAME~, NAME.bak. (The new file of a save,
// which makes way for the next one of its name, goes to another.)
void note_moves(Session& session, const RenameRequest& request, const MutationReply& reply,
                Boot now) {
  session.moved_away().forget(request.to_parent, request.to_name);
  const Attr& moved = reply.nodes.front().attr;
  if (moved.kind != Kind::file || !makes_backup(request)) return;
  session.moved_away().note(request.from_parent, request.from_name, {moved.ino, moved.version},
                            now);
}
void note_moves(Session& session, const CreateRequest& request, const MutationReply&, Boot) {
  session.moved_away().forget(request.parent, request.name);
}
template <class Request>
void note_moves(Session&, const Request&, const MutationReply&, Boot) {}

// At the first try, when it was refused as a conflict.
bool was_kept(const Result<store::Applied>& applied) {
  return !applied.ok() && applied.code() == Code::conflict;
}

}  // namespace

// ---- by the token's rules ----

// Where nothing is writable the store says so.
template <class Request>
Result<Permit> RouterCore::permit(const Call& call, const Request& request,
                                  std::optional<Guard>* guard) {
  if (call.grant->restrictions.empty()) return Permit{};
  if constexpr (std::is_same_v<Request, SettleRequest>) {
    LINKSPAN_CHECK(may_settle(call, request));
    return Permit{};
  } else {
    const Named names = named(request);
    const Ino ino = names.dirs.empty() ? names.nodes.front() : names.dirs.front();
    LINKSPAN_TRY(const auto found, guard_of(call, ino));
    if (!found || found->read_only()) return Permit{};
    guard->emplace(*found);
    return (*guard)->permit(request);
  }
}

// ---- one mutation ----

template <class Request>
Result<store::Applied> RouterCore::apply(const Call& call, Request& request,
                                         store::Mutation& mutation, Reserved& reserved) {
  Usage& usage = call.tenant->usage;
  bool metered = usage.any_quota();
  if (metered && request.op.retry) {  // what is applied already grows nothing
    LINKSPAN_TRY(const bool applied, store_->is_applied(mutation, request.op.number));
    metered = !applied;
  }
  if constexpr (std::is_same_v<Request, CreateRequest>) {
    if (!metered) return store_->create(mutation, request);
    LINKSPAN_TRY(const VolumeId volume, volume_of(call, request.parent));
    reserved.emplace(&usage, volume);
    LINKSPAN_CHECK(reserved->grow(0, 1));
    return store_->create(mutation, request);
  } else if constexpr (std::is_same_v<Request, RemoveRequest>) {
    return store_->remove(mutation, request);
  } else if constexpr (std::is_same_v<Request, RenameRequest>) {
    return rename_by_policy(call, request, mutation);
  } else if constexpr (std::is_same_v<Request, LinkRequest>) {
    return store_->link(mutation, request);
  } else if constexpr (std::is_same_v<Request, SetAttrRequest>) {
    return store_->set_attributes(mutation, request);
  } else if constexpr (std::is_same_v<Request, CommitRequest>) {
    if (metered) return commit_metered(call, request, mutation, reserved);
    return commit_by_policy(call, request, mutation);
  } else if constexpr (std::is_same_v<Request, SetXattrRequest>) {
    return store_->set_xattr(mutation, request);
  } else {
    return store_->settle(mutation, request);
  }
}

// ---- refused, and kept ----

// A refusal is answered when what was refused is kept. A retry of it is answered the same, though
// it could be merged by now.
template <class Request>
Result<store::Applied> RouterCore::apply_or_keep(const Call& call, Request& request,
                                                 store::Mutation& mutation, Reserved& reserved,
                                                 bool also_successor) {
  if (request.op.retry && may_be_kept(request)) {
    LINKSPAN_TRY(const auto before, kept_before(*store_, mutation, request.op.number));
    if (before) return tell_kept(*before);
  }
  auto applied = [&] {
    if constexpr (std::is_same_v<Request, CommitRequest>)
      if (also_successor) return commit_to_successor(call, request, mutation, reserved);
    return apply(call, request, mutation, reserved);
  }();
  if (applied.ok() || applied.code() != Code::conflict || !may_be_kept(request)) return applied;
  if (!also_successor && needs_successor(request, applied)) return applied;  // not yet
  if (planted(Fault::no_theirs)) return applied;
  store::Mutation keeping = mutation;
  LINKSPAN_TRY(keeping.new_ino, call.tenant->inodes.next(*store_, call.tenant->id));
  LINKSPAN_TRY(const auto kept, keep_refused(*store_, keeping, request, applied.error()));
  return kept ? tell_kept(*kept) : applied.error();
}

RouterCore::RevokedBySlot RouterCore::take_holders(Tenant& tenant, const Plan& plan, Seq seq,
                                                   std::optional<Holder> self, Ino not_own) {
  RevokedBySlot revoked;
  if (planted(Fault::no_revocation)) return revoked;
  std::vector<Holder> holders;
  const auto revocation_for = [&](Holder holder) -> Revocation& {
    Revoked& entry = revoked.try_emplace(holder.slot, Revoked{holder, {}}).first->second;
    entry.revocation.seq = seq;
    return entry.revocation;
  };
  for (const RevokedNode& node : plan.nodes) {
    holders.clear();
    const uint8_t held = node.listing ? kHeldNode | kHeldListing : kHeldNode;
    tenant.interests.take(node.ino, seq, held, node.ino == not_own ? std::nullopt : self, &holders);
    for (const Holder holder : holders) revocation_for(holder).nodes.push_back(node);
  }
  for (const RevokedName& name : plan.names) {
    holders.clear();
    tenant.interests.holders_of_names(name.parent, self, &holders);
    for (const Holder holder : holders) revocation_for(holder).names.push_back(name);
  }
  return revoked;
}

// Queues the revocations and gives the answer out when the last of them was acknowledged, or its
// holder's lease has run out. That may be now.
void RouterCore::answer(const Call& call, OpNumber number, Result<MutationReply> result,
                        RevokedBySlot revoked) {
  auto completion =
      std::make_shared<Completion>([this, call = call, number, result = std::move(result)] {
        Operations& operations = call.session->operations();
        for (const MutationDone& done : operations.finish(number)) done(result);
        if (call.session->lost() && operations.idle()) {  // who waited for this, too
          LockAnswers answers;
          call.tenant->locks.lease_lost(call.session->id(), &answers);
        }
        if (!operations.closed_and_idle()) return;
        end_locks(*call.session);
        {
          const std::unique_lock lock(mutex_);
          ending_.erase(call.session->id());
        }
        background_->post([this, id = call.session->id(), tenant = call.tenant] {
          forget_in_store(tenant->id, tenant->epoch, id);
        });
      });
  const auto waiting = planted(Fault::early_acknowledgement) ? nullptr : completion;
  const Boot now = clock_.boot();
  for (auto& [slot, entry] : revoked) {
    const SessionPtr holder = call.tenant->slots.session(entry.holder);
    if (!holder) continue;  // its caches are gone
    holder->enqueue(std::move(entry.revocation), entry.holder, waiting, now);
    holder->pump();
  }
  completion->release();
}

// Which of a mutation's nodes it was that does not exist, its error does not say.
void RouterCore::forget_if_gone(const Call& call, View& view, Ino ino) {
  const auto node = store_->getattr(call.grant->scope, {ino, false});
  if (!node.ok() && node.code() == Code::stale_node) view.is_gone(ino);
}

template <class Request>
Plan RouterCore::plan_for(const Call& call, const Request& request, Ino new_ino,
                          const Result<store::Applied>& applied, View& view) {
  const Named names = named(request);
  Plan plan;
  if (applied.ok()) {
    const Ino beside = changed_beside(request, applied);
    for (const Node& node : applied->reply.nodes)
      if (!names_it(names, node.attr.ino) && node.attr.ino != new_ino && node.attr.ino != beside)
        view.told(node.attr.ino);
    plan = core::plan(request, applied->reply);
  } else if (applied.code() == Code::stale_node) {
    for (const Ino ino : names.dirs) forget_if_gone(call, view, ino);
    for (const Ino ino : names.nodes) forget_if_gone(call, view, ino);
  }
  if (new_ino && !(applied.ok() && tells(applied->reply, new_ino))) view.is_gone(new_ino);
  return plan;
}

// What throws is answered all the same, to all who wait for the number: else they, and those who
// read, would do so for ever. Whether the store has applied it nobody knows.
template <class Request>
void RouterCore::run(const Call& call, Request& request) {
  const OpNumber number = request.op.number;
  Seq under;
  try {
    attempt(call, request, false, &under);
  } catch (...) {
    RevokedBySlot revoked;
    if (under) {
      const Plan plan = core::plan(request, MutationReply{});
      revoked = take_holders(*call.tenant, plan, under, call.session->holder(), {});
      call.tenant->sequencer.finish(under);
    }
    answer(call, number, fail(Code::internal, "the router failed inside; its log says why"),
           std::move(revoked));
    throw;
  }
}

// `also_successor`: of a commit to a file that was replaced, as the store has said.
template <class Request>
void RouterCore::attempt(const Call& call, Request& request, bool also_successor, Seq* under) {
  Tenant& tenant = *call.tenant;
  const OpNumber number = request.op.number;
  if (planted(Fault::no_replay)) request.op.number = OpNumber{};  // which no store keeps
  const auto refuse = [&](Error error) { answer(call, number, std::move(error), {}); };
  if (tenant.fenced)
    return refuse(fail(Code::unavailable, "another router serves this tenant now"));
  if (const auto refused = call.session->refused()) return refuse(*refused);

  Named names = named(request);
  names.others |= also_successor;
  std::optional<Guard> guard;
  const auto permitted = permit(call, request, &guard);
  if (!permitted.ok() && !request.op.retry) return refuse(permitted.error());
  const Permit terms = permitted.ok() ? *permitted : Permit{};
  store::Mutation mutation{call.grant->scope,
                           tenant.epoch,
                           {},
                           {},
                           call.session->author(),
                           clock_.now(),
                           std::nullopt,
                           std::nullopt,
                           std::nullopt,
                           terms.bounds,
                           {}};
  bool unanswered = false;
  mutation.unanswered = &unanswered;
  // By now it may be refused what was done at its first try: the store, which does nothing where
  // nothing is writable, answers that.
  if (!permitted.ok()) mutation.scope.writable.clear();
  if constexpr (std::is_same_v<Request, RenameRequest>)
    request.no_replace |= terms.must_not_replace;
  if (terms.base_is_denied) forget_base(request);
  if constexpr (std::is_same_v<Request, RenameRequest>)
    mutation.continues =
        call.session->moved_away().find(request.to_parent, request.to_name, clock_.boot());
  if constexpr (kCreates<Request>) {
    if (!terms.only_existing) {
      auto ino = tenant.inodes.next(*store_, tenant.id);
      if (!ino.ok()) return refuse(ino.error());
      mutation.new_ino = *ino;
      mutation.continues =
          call.session->moved_away().find(request.parent, request.name, clock_.boot());
    }
  }

  // 1. The number; and the caller is entered as a holder of what the reply will tell, before the
  // store is asked.
  auto begun = tenant.sequencer.begin(footprint(names, mutation.new_ino));
  mutation.seq = *under = begun.seq;
  View view(tenant, *call.session, std::move(begun.snapshot));
  for (const Ino dir : names.dirs) view.will_tell(dir, kHeldNode | kHeldNames);
  for (const Ino ino : names.nodes) view.will_tell(ino, kHeldNode);
  if (mutation.new_ino) view.will_tell(mutation.new_ino, kHeldNode);
  // 2. The store.
  Reserved reserved;
  auto applied = [&] {
    if constexpr (kMayConflict<Request>)
      return apply_or_keep(call, request, mutation, reserved, also_successor);
    return apply(call, request, mutation, reserved);
  }();
  if (!also_successor && needs_successor(request, applied)) {
    // Once more, under a number that readers of all nodes heed: only the store knows which one it
    // changes.
    tenant.sequencer.finish(mutation.seq);
    *under = {};
    request.op.number = number;
    return attempt(call, request, true, under);
  }
  unanswered &= !applied.ok();
  if (!permitted.ok() && !unanswered && !(applied.ok() && applied->replayed) && !was_kept(applied))
    applied = permitted.error();
  if (!applied.ok()) applied = name_rule(terms, applied.error());
  if (applied.ok()) {
    tenant.usage.apply(applied->usage);
    note_moves(*call.session, request, applied->reply, clock_.boot());
  }
  reserved.reset();  // only now: what was used is counted, so nobody else is promised it
  if (unanswered) {
    mutation.merged.reset();
    mutation.successor.reset();
    mutation.unanswered = nullptr;
    settle_later({call, number, request.op.number, std::move(mutation), view.holder(),
                  file_of(request), plan_of(request), applied.error()});
    *under = {};
    return ask_for_outcomes();
  }
  const Plan plan = plan_for(call, request, mutation.new_ino, applied, view);
  // 3. The other holders, before any reply may claim to contain this change. A replay revokes once
  // more, under its own number: the first try may have ended without an answer from the store.
  const Ino beside = changed_beside(request, applied);
  auto revoked = take_holders(tenant, plan, mutation.seq, view.holder(), beside);
  tenant.sequencer.finish(mutation.seq);
  *under = {};

  if (!applied.ok() && applied.code() == Code::fenced) {
    fence(call.tenant);
    return refuse(fail(Code::unavailable, "another router serves this tenant now"));
  }
  if (!applied.ok()) return answer(call, number, applied.error(), std::move(revoked));
  if (guard) guard->mark(&applied->reply);
  applied->reply.as_of = applied->replayed || beside ? Seq{0} : view.as_of();
  answer(call, number, std::move(applied->reply), std::move(revoked));
}

template <class Request>
void RouterCore::mutate(const Credentials& who, Request request, MutationDone done) {
  auto entered = enter(who);
  if (!entered.ok()) return done(entered.error());
  Call& call = *entered;
  if (!request.op.number) return done(fail(Code::invalid, "a mutation needs an operation number"));
  if (const Status valid = store::check(request); !valid.ok()) return done(valid.error());
  if (call.grant->scope.writable.empty())
    return done(fail(Code::read_only, "the token may write to none of its routes"));
  request.op.answered_below = call.session->answered_below(request.op.answered_below);
  if (request.op.number < request.op.answered_below)
    return done(fail(Code::invalid, "this operation was answered before"));

  switch (call.session->operations().begin(request.op.number, done)) {
    case Operations::Begin::joined:
      return;
    case Operations::Begin::full:
      return done(fail(Code::busy, "too many operations of this mount are under way"));
    // Not even what was on its way: it may have been written under a lock that is another's now.
    // The mount attaches again, and is told.
    case Operations::Begin::held_back:
      return done(fail(Code::session_lost, "locks of this mount go to another; attach again"));
    case Operations::Begin::given_up:
      return done(fail(Code::invalid, "the mount has given this operation up"));
    case Operations::Begin::closed:
      return done(fail(Code::session_lost, "this session has ended; attach again"));
    case Operations::Begin::first:
      break;
  }
  // The store keeps the results of what is under way, though the mount may have given it up: they
  // may be what tells others of it.
  request.op.answered_below = call.session->operations().lowest(request.op.answered_below);
  if (!call.tenant->hold.active()) return run(call, request);
  const auto held = std::make_shared<std::pair<Call, Request>>(call, std::move(request));
  Hold::Task task = [this, held] {
    if (gate_.closed())
      return answer(held->first, held->second.op.number,
                    fail(Code::unavailable, "the router is stopping"), {});
    run(held->first, held->second);
  };
  switch (call.tenant->hold.defer(task)) {
    case Hold::Answer::held:
      return;
    case Hold::Answer::run:
      return run(held->first, held->second);
    case Hold::Answer::full:
      return answer(call, held->second.op.number,
                    fail(Code::busy, "the router has just taken the tenant over"), {});
  }
}

void RouterCore::create(const Credentials& who, CreateRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::remove(const Credentials& who, RemoveRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::rename(const Credentials& who, RenameRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::link(const Credentials& who, LinkRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::set_attributes(const Credentials& who, SetAttrRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::commit(const Credentials& who, CommitRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::set_xattr(const Credentials& who, SetXattrRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}
void RouterCore::settle(const Credentials& who, SettleRequest request, MutationDone done) {
  mutate(who, std::move(request), std::move(done));
}

void RouterCore::give_up(const Credentials& who, OpNumber number, GiveUpDone done) {
  auto entered = enter(who);
  if (!entered.ok()) return done(entered.error());
  if (!number) return done(fail(Code::invalid, "a mutation needs an operation number"));
  if (entered->tenant->fenced)
    return done(fail(Code::unavailable, "another router serves this tenant now"));
  MutationDone ended = [tenant = entered->tenant, done](const auto&) {
    done(tenant->sequencer.last());
  };
  switch (entered->session->operations().give_up(number, ended)) {
    case Operations::GivenUp::over:
      return ended(MutationReply{});
    case Operations::GivenUp::joined:
      return;
    case Operations::GivenUp::full:
      return done(fail(Code::busy, "too many calls wait for this operation"));
  }
}

}  // namespace linkspan::core
