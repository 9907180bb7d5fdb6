// Mutations of which the store has not said whether it applied them: its COMMIT got no answer, say.
// It may do so yet, or a server process that stands still with it may do so much later. Until it is
// known they are under way: nothing that they may have changed is told as if it contained them, the
// locks that they were made under are not given on, and who tries again, or has given up, waits.
#include <utility>

#include "routerd/core/router_core.h"

namespace linkspan::core {
namespace {

constexpr std::chrono::milliseconds kAskAgain{200};

}  // namespace

void RouterCore::settle_later(Unsettled mutation) {
  {
    const std::lock_guard lock(unsettled_mutex_);
    unsettled_.push_back(std::move(mutation));
  }
  settling_->post([this] { settle_outcomes(); });
}

void RouterCore::look_after_outcomes(Boot now) {
  {
    const std::lock_guard lock(unsettled_mutex_);
    if (unsettled_.empty()) return;
  }
  if (outcome_questions_.begin(now, kAskAgain))
    settling_->post([this] {
      settle_outcomes();
      outcome_questions_.under_way = false;
    });
}

// Each once; after a failure, which may have taken the whole of the store's patience, the one that
// met it is the last next time.
void RouterCore::settle_outcomes() {
  std::list<Unsettled> open;
  {
    const std::lock_guard lock(unsettled_mutex_);
    open.swap(unsettled_);
  }
  while (!open.empty()) {
    if (!settle_outcome(open.front())) {
      open.splice(open.end(), open, open.begin());
      break;
    }
    open.pop_front();
  }
  const std::lock_guard lock(unsettled_mutex_);
  unsettled_.splice(unsettled_.begin(), open);
}

// False: nobody says. The caller has its error in any case: a retry is answered by the store.
bool RouterCore::settle_outcome(Unsettled& mutation) {
  Tenant& tenant = *mutation.call.tenant;
  Plan plan;
  Ino beside;
  bool made = false;
  if (gate_.closed() || !mutation.number) {  // it has to end without
    MutationReply unknown;
    unknown.created = true;
    plan = mutation.plan(unknown);
    made = true;
  } else if (!tenant.fenced) {
    const auto found = store_->recall(mutation.terms, mutation.number);
    if (!found.ok() && found.code() != Code::fenced) return false;
    if (!found.ok()) fence(mutation.call.tenant);
    if (found.ok() && *found) {
      plan = mutation.plan(**found);
      for (const Node& node : (*found)->nodes) {
        made |= node.attr.ino == mutation.terms.new_ino;
        if (mutation.file && node.attr.ino != mutation.file) beside = node.attr.ino;
      }
    }
  }
  if (mutation.terms.new_ino && mutation.self && !made)
    tenant.interests.withdraw(mutation.terms.new_ino, *mutation.self);
  auto revoked = take_holders(tenant, plan, mutation.terms.seq, mutation.self, beside);
  tenant.sequencer.finish(mutation.terms.seq);
  answer(mutation.call, mutation.operation, std::move(mutation.error), std::move(revoked));
  return true;
}

}  // namespace linkspan::core
