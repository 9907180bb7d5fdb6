#include "routerd/core/interests.h"

#include <algorithm>

namespace linkspan::core {

void Interests::insert(Shard& shard, Ino ino, Holder holder, uint8_t held) {
  Entries& entries = shard.nodes[ino];
  Entry* reusable = nullptr;
  for (Entry& entry : entries) {
    if (entry.holder == holder) {
      entry.held |= held;
      return;
    }
    if (!slots_->current(entry.holder)) reusable = &entry;
  }
  const Entry fresh{holder, 0, held};
  if (reusable != nullptr) {
    *reusable = fresh;
  } else {
    entries.push_back(fresh);
    ++shard.entries;
  }
}

void Interests::tidy(Shard& shard, std::unordered_map<Ino, Entries>::iterator at) {
  Entries& entries = at->second;
  const auto idle = [this](const Entry& entry) {
    return !slots_->current(entry.holder) || (entry.held == 0 && entry.unsettled == 0);
  };
  shard.entries -= std::erase_if(entries, idle);
  if (entries.empty()) shard.nodes.erase(at);
}

void Interests::add(Ino ino, Holder holder, uint8_t held) {
  Shard& s = shard(ino);
  const std::lock_guard lock(s.mutex);
  insert(s, ino, holder, held);
}

bool Interests::add_after(Ino ino, Holder holder, uint8_t held, Seq as_of) {
  Shard& s = shard(ino);
  const std::lock_guard lock(s.mutex);
  insert(s, ino, holder, held);
  return s.taken[mark(ino)] <= as_of;
}

void Interests::take(Ino ino, Seq seq, uint8_t held, std::optional<Holder> self,
                     std::vector<Holder>* out) {
  Shard& s = shard(ino);
  const std::lock_guard lock(s.mutex);
  Seq& taken = s.taken[mark(ino)];
  taken = std::max(taken, seq);
  const auto at = s.nodes.find(ino);
  if (at == s.nodes.end()) return;
  for (Entry& entry : at->second) {
    if (entry.holder == self || !slots_->current(entry.holder)) continue;
    if ((entry.held & held) == 0 && entry.unsettled == 0) continue;
    entry.held &= static_cast<uint8_t>(~held);
    ++entry.unsettled;
    out->push_back(entry.holder);
  }
  tidy(s, at);
}

void Interests::holders_of_names(Ino dir, std::optional<Holder> self, std::vector<Holder>* out) {
  Shard& s = shard(dir);
  const std::lock_guard lock(s.mutex);
  const auto at = s.nodes.find(dir);
  if (at == s.nodes.end()) return;
  for (const Entry& entry : at->second)
    if (entry.holder != self && (entry.held & kHeldNames) != 0) out->push_back(entry.holder);
}

void Interests::withdraw(Ino ino, Holder holder) {
  Shard& s = shard(ino);
  const std::lock_guard lock(s.mutex);
  const auto at = s.nodes.find(ino);
  if (at == s.nodes.end()) return;
  for (Entry& entry : at->second)
    if (entry.holder == holder) entry.held = 0;
  tidy(s, at);
}

void Interests::settle(Ino ino, Holder holder) {
  Shard& s = shard(ino);
  const std::lock_guard lock(s.mutex);
  const auto at = s.nodes.find(ino);
  if (at == s.nodes.end()) return;
  for (Entry& entry : at->second)
    if (entry.holder == holder && entry.unsettled > 0) --entry.unsettled;
  tidy(s, at);
}

std::unordered_map<uint32_t, Interests::Count> Interests::sweep() {
  std::unordered_map<uint32_t, Count> counts;
  for (Shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    for (auto at = s.nodes.begin(); at != s.nodes.end();) {
      const auto here = at++;
      for (const Entry& entry : here->second) {
        if (!slots_->current(entry.holder)) continue;
        Count& count = counts[entry.holder.slot];
        ++count.all;
        count.held += entry.held != 0;
      }
      tidy(s, here);
    }
  }
  return counts;
}

std::vector<Ino> Interests::take_some(Holder holder, Seq seq, size_t count) {
  std::vector<Ino> taken;
  for (Shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    for (auto& [ino, entries] : s.nodes) {
      if (taken.size() == count) return taken;
      for (Entry& entry : entries) {
        if (entry.holder != holder || entry.held != kHeldNode) continue;
        entry.held = 0;
        ++entry.unsettled;
        Seq& mark_of = s.taken[mark(ino)];
        mark_of = std::max(mark_of, seq);
        taken.push_back(ino);
      }
    }
  }
  return taken;
}

size_t Interests::entries() const {
  size_t count = 0;
  for (const Shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    count += s.entries;
  }
  return count;
}

size_t Interests::nodes() const {
  size_t count = 0;
  for (const Shard& s : shards_) {
    const std::lock_guard lock(s.mutex);
    count += s.nodes.size();
  }
  return count;
}

}  // namespace linkspan::core
