// Callers that want the same thing at the same time share one fetch. A caller that joined a fetch
// begun before its own call accepts the result only when it was current at a moment that is not
// before the call: moments count the changes, and the fetch says at which one its result still
// stood. Otherwise it fetches for itself, so that what a call answers is never older than the call.
//
// Threads: any. The fetch runs on the thread of the caller that came first, without a lock.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "fusefs/cache/patience.h"
#include "linkspan/error.h"

namespace linkspan::cache {

inline constexpr unsigned kFlightWaiters =
    1024;  // of one fetch; the next ones fetch for themselves

template <class Value>
struct Fetched {
  Result<Value> result;
  bool current = false;  // no revocation overtook it
  uint64_t moment = 0;   // how many changes there had been, read before `current` was decided
};

template <class Key, class Value, class Hash = std::hash<Key>>
class SingleFlight {
 public:
  using Fetch = std::function<Fetched<Value>()>;

  // `patience` bounds the wait for another's fetch. Errors of that fetch are never taken over: they
  // may be the other caller's own (its deadline, its cancellation). `since`: the moment when the
  // call began; 0 for what never changes.
  Result<Value> run(const Key& key, const Patience& patience, const Fetch& fetch,
                    uint64_t since = 0) {
    std::shared_ptr<Flight> flight;
    bool leader = false;
    {
      std::lock_guard lock(mutex_);
      auto& slot = flights_[key];
      if (!slot) {
        slot = std::make_shared<Flight>();
        leader = true;
      }
      flight = slot;
      if (!leader && flight->waiters >= kFlightWaiters) flight = nullptr;
      if (!leader && flight) ++flight->waiters;
    }
    if (leader) return lead(key, flight, fetch);
    if (!flight) return fetch().result;
    return follow(*flight, patience, fetch, since);
  }

  size_t size() const {
    std::lock_guard lock(mutex_);
    return flights_.size();
  }

 private:
  struct Flight {
    std::mutex mutex;  // leaf
    std::condition_variable landed;
    bool done = false;
    bool usable = false;
    uint64_t moment = 0;
    std::shared_ptr<const Value> value;
    unsigned waiters = 0;  // under SingleFlight::mutex_
  };

  Result<Value> lead(const Key& key, const std::shared_ptr<Flight>& flight, const Fetch& fetch) {
    Fetched<Value> fetched = fetch();
    {
      std::lock_guard lock(mutex_);
      flights_.erase(key);
    }
    {
      std::lock_guard lock(flight->mutex);
      flight->done = true;
      flight->usable = fetched.current && fetched.result.ok();
      flight->moment = fetched.moment;
      if (flight->usable) flight->value = std::make_shared<const Value>(fetched.result.value());
    }
    flight->landed.notify_all();
    return std::move(fetched.result);
  }

  Result<Value> follow(Flight& flight, const Patience& patience, const Fetch& fetch,
                       uint64_t since) {
    LINKSPAN_CHECK(patience.wait(flight.mutex, flight.landed, [&] { return flight.done; }));
    // Not written any more.
    if (flight.usable && flight.moment >= since) return *flight.value;
    return fetch().result;
  }

  mutable std::mutex mutex_;  // before nothing
  std::unordered_map<Key, std::shared_ptr<Flight>, Hash> flights_;
};

}  // namespace linkspan::cache
