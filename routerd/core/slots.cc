#include "routerd/core/slots.h"

#include <utility>

namespace linkspan::core {

SlotTable::SlotTable() : generations_(kSlots) {}

std::optional<uint32_t> SlotTable::take() {
  const std::lock_guard lock(mutex_);
  if (!free_.empty()) {
    const uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  if (sessions_.size() == kSlots) return std::nullopt;
  sessions_.emplace_back();
  return static_cast<uint32_t>(sessions_.size() - 1);
}

void SlotTable::assign(uint32_t slot, std::weak_ptr<Session> session) {
  const std::lock_guard lock(mutex_);
  sessions_[slot] = std::move(session);
}

void SlotTable::give_back(uint32_t slot) {
  advance(slot);
  const std::lock_guard lock(mutex_);
  sessions_[slot].reset();
  free_.push_back(slot);
}

std::shared_ptr<Session> SlotTable::session(Holder h) const {
  if (!current(h)) return nullptr;
  const std::lock_guard lock(mutex_);
  return sessions_[h.slot].lock();
}

}  // namespace linkspan::core
