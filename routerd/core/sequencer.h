// Numbers the changes of one tenant and knows which of them are finished, so that each reply can
// say how fresh it is.
#pragma once

#include <deque>
#include <mutex>
#include <vector>

#include "linkspan/types.h"

namespace linkspan::core {

// Which nodes a mutation may change, as far as its request tells.
struct Footprint {
  std::vector<Ino> nodes;
  bool others = false;  // and nodes that only the store knows (what a name leads to)

  bool may_touch(Ino ino) const;
};

// Threads: any. mutex_ is a leaf.
class Sequencer {
 public:
  // What was finished at one moment. Taken before a read of the store begins: every change up to
  // as_of(nodes) that concerns these nodes, or names in them, is in what the read finds.
  class Snapshot {
   public:
    Seq as_of(const std::vector<Ino>& nodes) const;
    Seq as_of(Ino node) const;

   private:
    friend class Sequencer;
    struct Running {
      Seq seq;
      Footprint footprint;
    };
    Seq last_;
    std::vector<Running> running_;  // ascending
  };

  // `last`: the highest number in the tenant's log. Numbers start well behind it: the last owner
  // gave out more, for changes that failed, and mounts that heard of those must not take what we
  // tell them for older. In a fresh tenant they start at 2, since as_of 0 means "not to be cached".
  static constexpr uint64_t kOwnerGap = 1 << 20;
  explicit Sequencer(Seq last);

  struct Begun {
    Seq seq;
    // As snapshot(), and this change counts as finished: its own reply contains it.
    Snapshot snapshot;
  };
  Begun begin(Footprint footprint);
  // The change is in the store or never will be, and those who have to forget what it changed have
  // been found (Interests::take): from now on replies may claim to contain it.
  void finish(Seq seq);

  Snapshot snapshot() const;
  Seq last() const;    // the highest that was given out
  Seq stable() const;  // every change up to it is finished

 private:
  mutable std::mutex mutex_;  // leaf
  Seq last_;
  // Ascending; as many as workers are in the store, and those whose COMMIT nobody answered.
  std::vector<Snapshot::Running> running_;
};

}  // namespace linkspan::core
