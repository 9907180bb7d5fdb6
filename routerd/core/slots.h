// Small numbers for the sessions of one tenant, so that what each may have cached is remembered in
// few bytes, and forgotten at once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace linkspan::core {

class Session;

// A session's caches between two losses of them. When the session loses them the slot's generation
// moves on, and every Holder of the old one stands for nothing.
struct Holder {
  uint32_t slot = 0;
  uint32_t generation = 0;
  bool operator==(const Holder&) const = default;
};

// Threads: any. mutex_ is a leaf; generations are read without it.
class SlotTable {
 public:
  static constexpr uint32_t kSlots = 16384;  // live sessions of a tenant

  SlotTable();
  // Nothing: all are in use.
  std::optional<uint32_t> take();
  void assign(uint32_t slot, std::weak_ptr<Session> session);
  // Advances the generation too.
  void give_back(uint32_t slot);

  Holder holder(uint32_t slot) const { return {slot, generation(slot)}; }
  uint32_t generation(uint32_t slot) const {
    return generations_[slot].load(std::memory_order_acquire);
  }
  void advance(uint32_t slot) { generations_[slot].fetch_add(1, std::memory_order_acq_rel); }
  bool current(Holder h) const { return generation(h.slot) == h.generation; }
  // Null: the session is gone, or lost its caches since.
  std::shared_ptr<Session> session(Holder h) const;

 private:
  std::vector<std::atomic<uint32_t>> generations_;
  mutable std::mutex mutex_;                      // leaf
  std::vector<std::weak_ptr<Session>> sessions_;  // by slot
  std::vector<uint32_t> free_;
};

}  // namespace linkspan::core
