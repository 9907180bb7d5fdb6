// The making of one reply that its caller may cache: enters what it tells into Interests and says
// how fresh it is.
//
// Order, on which all rests: the snapshot, will_tell(), the store, told(), as_of(). Why the
// snapshot first: a mutation takes the holders before it finishes, so one that the snapshot says is
// finished cannot take an entry that will_tell() makes afterwards.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "routerd/core/session.h"
#include "routerd/core/tenant.h"

namespace linkspan::core {

// Used by one thread.
class View {
 public:
  View(Tenant& tenant, const Session& session)
      : View(tenant, session, tenant.sequencer.snapshot()) {}
  // Of a mutation's reply: with the snapshot of its beginning.
  View(Tenant& tenant, const Session& session, Sequencer::Snapshot snapshot)
      : tenant_(tenant), holder_(session.holder()), snapshot_(std::move(snapshot)) {}

  // Before the store is asked.
  void will_tell(Ino ino, uint8_t held) {
    nodes_.push_back(ino);
    if (holder_) tenant_.interests.add(ino, *holder_, held);
  }
  // The store answered that there is no such node (any more): what will_tell() entered goes again,
  // or made-up numbers would fill the memory for as long as the lease lives. Numbers are never used
  // twice, so nothing can be cached of it.
  void is_gone(Ino ino) {
    if (holder_) tenant_.interests.withdraw(ino, *holder_);
  }
  // After it answered, of nodes that were not known before.
  void told(Ino ino) {
    nodes_.push_back(ino);
    if (holder_ && !tenant_.interests.add_after(ino, *holder_, kHeldNode, snapshot_.as_of(ino)))
      overtaken_ = true;
  }
  // As whom the caller remembers what it is told; its slot may be another session's by now.
  const std::optional<Holder>& holder() const { return holder_; }
  // A mutation overtook what told() told: read once more.
  bool overtaken() const { return overtaken_; }
  // 0: the reply must not be cached.
  Seq as_of() const {
    if (!holder_ || overtaken_ || !tenant_.slots.current(*holder_)) return Seq{0};
    return snapshot_.as_of(nodes_);
  }

 private:
  Tenant& tenant_;
  const std::optional<Holder> holder_;
  const Sequencer::Snapshot snapshot_;
  std::vector<Ino> nodes_;
  bool overtaken_ = false;
};

}  // namespace linkspan::core
