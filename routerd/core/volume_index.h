// Which volume a node is in. That never changes (a rename stays in its volume, numbers are not used
// again), so what was learned once is true for ever; the index forgets only to stay small.
#pragma once

#include <array>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "linkspan/types.h"

namespace linkspan::core {

// Threads: any. The shards' mutexes are leaves.
class VolumeIndex {
 public:
  static constexpr size_t kNodesPerShard = 4096;  // then the shard starts anew

  std::optional<VolumeId> find(Ino ino) const {
    const Shard& s = shards_[ino.value % kShards];
    const std::lock_guard lock(s.mutex);
    const auto at = s.volumes.find(ino);
    return at == s.volumes.end() ? std::nullopt : std::optional(at->second);
  }
  void learn(Ino ino, VolumeId volume) {
    Shard& s = shards_[ino.value % kShards];
    const std::lock_guard lock(s.mutex);
    if (s.volumes.size() >= kNodesPerShard) s.volumes.clear();
    s.volumes[ino] = volume;
  }

 private:
  static constexpr size_t kShards = 16;
  struct Shard {
    mutable std::mutex mutex;  // leaf
    std::unordered_map<Ino, VolumeId> volumes;
  };
  std::array<Shard, kShards> shards_;
};

}  // namespace linkspan::core
