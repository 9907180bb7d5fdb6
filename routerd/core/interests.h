// Who may have cached what of one tenant: for each node the sessions that were told of it.
//
// The rule that makes every stale copy findable: a session is entered here BEFORE the store is read
// for it; a mutation takes the entries AFTER the store applied it. So a reader whose read missed
// the mutation is found by it. (Nodes that a reader learns of only from the reply are entered after
// the read, and checked: add_after.)
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "linkspan/types.h"
#include "routerd/core/slots.h"

namespace linkspan::core {

// What of a node a session may have.
enum Held : uint8_t {
  kHeldNode = 1,     // attributes, content, xattrs, symlink's target
  kHeldListing = 2,  // a directory's entries
  kHeldNames = 4,    // some names in a directory, also that there is none
};

// Threads: any. One mutex for each shard, all leaves.
class Interests {
 public:
  explicit Interests(const SlotTable* slots) : slots_(slots) {}

  // Before the store is read. `held`: of enum Held.
  void add(Ino ino, Holder holder, uint8_t held);
  // After the store was read, for a node that the reply told of. False: a mutation later than
  // `as_of` took this node's entries meanwhile, so the reply may be old. The entry is made anyway:
  // the same read, done once more, can be trusted as far as this node goes.
  [[nodiscard]] bool add_after(Ino ino, Holder holder, uint8_t held, Seq as_of);

  // Mutation `seq` changed the node: finds the holders of `held` (kHeldNode, or with kHeldListing),
  // other than `self`, and those who have not yet acknowledged an older revocation of it; they
  // hold it no more, but count as holders until settle().
  void take(Ino ino, Seq seq, uint8_t held, std::optional<Holder> self, std::vector<Holder>* out);
  // Who may have cached names in the directory, other than `self`. They remain.
  void holders_of_names(Ino dir, std::optional<Holder> self, std::vector<Holder>* out);
  // There is no such node for the holder: it has nothing of it.
  void withdraw(Ino ino, Holder holder);
  // A revocation of this node was acknowledged by the holder.
  void settle(Ino ino, Holder holder);

  struct Count {
    size_t held = 0;
    size_t all = 0;  // with what was revoked and not yet acknowledged
  };
  // Frees the memory of holders that lost their caches, and counts what the others have, by slot.
  // Locks one shard after the other.
  std::unordered_map<uint32_t, Count> sweep();
  // Takes up to `count` nodes that are no directories from one holder, as mutation `seq` would;
  // they have to be revoked.
  std::vector<Ino> take_some(Holder holder, Seq seq, size_t count);
  size_t nodes() const;    // for tests
  size_t entries() const;  // (node, holder) pairs, dead ones included

 private:
  static constexpr size_t kShards = 64;
  static constexpr size_t kTakenMarks = 256;  // per shard

  struct Entry {
    Holder holder;
    uint32_t unsettled = 0;  // revocations that were queued and not acknowledged
    uint8_t held = 0;
  };
  using Entries = std::vector<Entry>;
  struct Shard {
    mutable std::mutex mutex;  // leaf
    std::unordered_map<Ino, Entries> nodes;
    size_t entries = 0;
    // The latest mutation that took a node of this hash. Nodes share marks: a wrong hit only costs
    // a second read.
    std::array<Seq, kTakenMarks> taken{};
  };

  static uint64_t hash(Ino ino) { return ino.value * 0x9E3779B97F4A7C15ull; }
  Shard& shard(Ino ino) { return shards_[hash(ino) >> 58]; }
  static size_t mark(Ino ino) { return hash(ino) >> 40 & (kTakenMarks - 1); }
  void insert(Shard& shard, Ino ino, Holder holder, uint8_t held);
  // Removes dead holders and those that hold nothing.
  void tidy(Shard& shard, std::unordered_map<Ino, Entries>::iterator at);

  const SlotTable* slots_;
  std::array<Shard, kShards> shards_;
};

}  // namespace linkspan::core
