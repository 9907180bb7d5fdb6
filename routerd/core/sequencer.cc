#include "routerd/core/sequencer.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace linkspan::core {

bool Footprint::may_touch(Ino ino) const {
  return others || std::find(nodes.begin(), nodes.end(), ino) != nodes.end();
}

Seq Sequencer::Snapshot::as_of(Ino node) const {
  for (const Running& running : running_)
    if (running.footprint.may_touch(node)) return Seq{running.seq.value - 1};
  return last_;
}

Seq Sequencer::Snapshot::as_of(const std::vector<Ino>& nodes) const {
  Seq result = last_;
  for (const Ino node : nodes) result = std::min(result, as_of(node));
  return result;
}

Sequencer::Sequencer(Seq last) : last_{last ? last.value + kOwnerGap : 1} {}

Sequencer::Begun Sequencer::begin(Footprint footprint) {
  Begun begun;
  const std::lock_guard lock(mutex_);
  last_ = Seq{last_.value + 1};
  begun.seq = begun.snapshot.last_ = last_;
  begun.snapshot.running_ = running_;
  running_.push_back({last_, std::move(footprint)});
  return begun;
}

void Sequencer::finish(Seq seq) {
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(running_.begin(), running_.end(),
                               [seq](const auto& running) { return running.seq == seq; });
  assert(at != running_.end());
  running_.erase(at);
}

Sequencer::Snapshot Sequencer::snapshot() const {
  Snapshot snapshot;
  const std::lock_guard lock(mutex_);
  snapshot.last_ = last_;
  snapshot.running_ = running_;
  return snapshot;
}

Seq Sequencer::last() const {
  const std::lock_guard lock(mutex_);
  return last_;
}

Seq Sequencer::stable() const {
  const std::lock_guard lock(mutex_);
  return running_.empty() ? last_ : Seq{running_.front().seq.value - 1};
}

}  // namespace linkspan::core
