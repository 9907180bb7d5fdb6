// Mutations whose COMMIT was sent and got no answer: the store may have applied them, or do so yet,
// a server process that stands still with it much later. Until it is known they are under way:
// nothing that they may have changed is told as if it contained them, the locks that they were made
// under are not given on, and who tries again, or has given up, waits.
#include <algorithm>
#include <set>
#include <utility>

#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

constexpr std::chrono::milliseconds kAskAgain{200};

}  // namespace

// Under no number no store can say; a router that ends asks none.
void RouterCore::settle_later(Unsettled mutation) {
  {
    const std::lock_guard lock(unsettled_mutex_);
    if (mutation.number && !outcome_waits_ended_) {
      unsettled_.push_back(std::move(mutation));
      return;
    }
  }
  conclude(std::move(mutation), fail(Code::unavailable));
}

void RouterCore::look_after_outcomes(Boot now) {
  if (outcome_questions_.begin(now, kAskAgain)) settling_->post([this] { settle_outcomes(); });
}

void RouterCore::ask_for_outcomes() {
  if (!outcome_questions_.under_way.exchange(true)) settling_->post([this] { settle_outcomes(); });
}

// Asks for each once. Where one gets no answer, which takes time, the others of its tenant are left
// for the next round, in which it comes last: so no tenant waits for long for another's.
void RouterCore::settle_outcomes() {
  struct Question {
    TenantPtr tenant;
    store::Mutation terms;
    OpNumber number;
  };
  std::vector<Question> questions;
  {
    const std::lock_guard lock(unsettled_mutex_);
    for (const Unsettled& m : unsettled_) questions.push_back({m.call.tenant, m.terms, m.number});
  }
  std::set<TenantPtr> silent;
  for (const Question& asked : questions) {
    const TenantPtr& tenant = asked.tenant;
    if (silent.count(tenant)) continue;
    Found found = fail(Code::fenced);
    if (!tenant->fenced) found = store_->recall(asked.terms, asked.number);
    if (!found.ok() && found.code() == Code::fenced) fence(tenant);
    std::list<Unsettled> known;
    {
      const std::lock_guard lock(unsettled_mutex_);
      const auto at = std::find_if(unsettled_.begin(), unsettled_.end(), [&](const auto& m) {
        return m.call.tenant == tenant && m.terms.seq == asked.terms.seq;
      });
      if (at == unsettled_.end()) return;  // the router ends
      if (found.ok() || found.code() == Code::fenced) {
        known.splice(known.end(), unsettled_, at);
      } else {
        unsettled_.splice(unsettled_.end(), unsettled_, at);
        silent.insert(tenant);
      }
    }
    if (!known.empty()) conclude(std::move(known.front()), found);
  }
  outcome_questions_.under_way = false;
}

// Tells the others of it, then its caller, which has its error in any case: a retry is answered by
// the store. Nothing was found where another router owns the tenant now: that one has told all.
void RouterCore::conclude(Unsettled mutation, const Found& found) {
  Tenant& tenant = *mutation.call.tenant;
  Plan plan;
  Ino beside;
  bool made = false;
  if (found.ok() && *found) {
    plan = mutation.plan(**found);
    for (const Node& node : (*found)->nodes) {
      made |= node.attr.ino == mutation.terms.new_ino;
      if (mutation.file && node.attr.ino != mutation.file) beside = node.attr.ino;
    }
  } else if (!found.ok() && found.code() != Code::fenced) {  // it has to end without
    plan = mutation.plan(MutationReply{});
    made = true;
  }
  if (mutation.terms.new_ino && mutation.self && !made)
    tenant.interests.withdraw(mutation.terms.new_ino, *mutation.self);
  auto revoked = take_holders(tenant, plan, mutation.terms.seq, mutation.self, beside);
  tenant.sequencer.finish(mutation.terms.seq);
  answer(mutation.call, mutation.operation, std::move(mutation.error), std::move(revoked));
}

// Whatever the store is doing meanwhile, and the thread that asks it.
void RouterCore::end_outcome_waits() {
  std::list<Unsettled> open;
  {
    const std::lock_guard lock(unsettled_mutex_);
    outcome_waits_ended_ = true;
    open.swap(unsettled_);
  }
  for (Unsettled& mutation : open) conclude(std::move(mutation), fail(Code::unavailable));
}

}  // namespace linkspan::core
