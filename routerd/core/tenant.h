// All that one router keeps in memory of a tenant it owns.
#pragma once

#include <atomic>
#include <set>
#include <string>
#include <vector>

#include "routerd/core/hold.h"
#include "routerd/core/inode_pool.h"
#include "routerd/core/interests.h"
#include "routerd/core/locks.h"
#include "routerd/core/sequencer.h"
#include "routerd/core/slots.h"
#include "routerd/core/usage.h"
#include "routerd/core/volume_index.h"
#include "routerd/store/store.h"

namespace linkspan::core {

// Parts that lock for themselves; the tenant adds no lock of its own, and no part calls another.
class Tenant {
 public:
  struct Takeover {
    std::chrono::milliseconds earlier_lease{};  // the longest of earlier owners
    Boot earlier_until, hold_locks_until, owned_until;
  };
  Tenant(store::TenantState state, std::set<SessionId> earlier_sessions, const Takeover& takeover)
      : id(state.id),
        name(std::move(state.name)),
        epoch(state.epoch),
        earlier_lease(takeover.earlier_lease),
        earlier_until(takeover.earlier_until),
        volumes(std::move(state.volumes)),
        sequencer(state.last_seq),
        interests(&slots),
        usage(volumes),
        locks(state.epoch.value << kEpochShift),
        lock_hold(earlier_sessions, takeover.hold_locks_until),
        hold(std::move(earlier_sessions), takeover.earlier_until),
        owned_until_(takeover.owned_until.time_since_epoch().count()) {
    for (const store::Volume& volume : volumes) nodes.learn(volume.root, volume.id);
  }
  Tenant(const Tenant&) = delete;
  Tenant& operator=(const Tenant&) = delete;

  const TenantId id;
  const std::string name;
  const Epoch epoch;
  const std::chrono::milliseconds earlier_lease;
  const Boot earlier_until;                  // then no lease of an earlier owner runs any more
  const std::vector<store::Volume> volumes;  // usage in them is that of the start; see `usage`

  Sequencer sequencer;
  SlotTable slots;
  Interests interests;
  Usage usage;
  InodePool inodes;
  VolumeIndex nodes;
  LockTable locks;
  Hold lock_hold;  // new locks, until the sessions of the earlier router have said what they hold
  Hold hold;
  std::atomic<bool> fenced{false};   // another router owns it now
  std::atomic<bool> unswept{false};  // Interests hold entries of lost sessions
  std::atomic<size_t> swept{0};      // entries that Interests had after the last sweep

  // Up to then no other router that took the tenant over lets anything change, or gives out a lock:
  // it waits for the longest lease that we said to grant. So no lease that is granted here ends
  // later, and no lock is granted then.
  Boot owned_until() const {
    return Boot(Boot::duration(owned_until_.load(std::memory_order_acquire)));
  }
  // The store was asked and nobody else owned it yet; a lease from when the asking began.
  void owned_until(Boot until) {
    const auto ticks = until.time_since_epoch().count();
    auto before = owned_until_.load(std::memory_order_relaxed);
    while (before < ticks && !owned_until_.compare_exchange_weak(before, ticks)) {
    }
  }

  // Orders of locks ascend over routers, each of which has an epoch of its own.
  static constexpr int kEpochShift = 40;

  // When the timer looks after it next (upkeep.cc), and whether the last time is over.
  struct Chore {
    Boot due{};  // the timer thread's
    std::atomic<bool> under_way{false};
    // It is due, and not still under way from the last time. The first time is one period after the
    // first call.
    bool begin(Boot now, std::chrono::milliseconds period) {
      if (due == Boot{}) due = now + period;
      if (now < due || under_way.exchange(true)) return false;
      due = now + period;
      return true;
    }
  };
  Chore retention;

 private:
  std::atomic<Boot::rep> owned_until_;
};

}  // namespace linkspan::core
