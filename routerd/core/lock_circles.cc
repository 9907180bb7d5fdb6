// Circles of owners that wait for each other's record locks.
//
// An owner that waits cannot get anything else meanwhile (unless it has more threads), so circles
// are only closed by a request that begins to wait: looking then is enough.
#include <set>

#include "routerd/core/locks.h"

namespace linkspan::core {

std::vector<LockTable::Edge> LockTable::edges(Waiter& waiter, bool with_order) {
  std::vector<Edge> edges;
  File& in = file(waiter.file);
  for (const auto& entry : in.held) {
    const Owner& other = entry.first;
    const Held& held = entry.second;
    bool clashes = false;
    held.ranges.each(waiter.lock.range, [&](const LockRange& range, LockType type) {
      clashes = clash(waiter.owner, waiter.lock, other, range, type, held.private_to_session);
      return !clashes;
    });
    if (clashes) edges.push_back({other, nullptr});
  }
  if (!with_order || waiter.may_pass) return edges;
  for (const Waiter& before : in.queue) {
    if (&before == &waiter) break;
    if (clash(waiter, before)) edges.push_back({before.owner, &waiter});
  }
  return edges;
}

// A way from the waiter back to its own owner; `by_order` gets who on it waits by order only.
bool LockTable::find_circle(Waiter& start, bool with_order, std::vector<Waiter*>* by_order) {
  struct Step {
    std::vector<Edge> edges;
    size_t next = 0;
  };
  std::set<Owner> seen;
  std::vector<Step> path;
  path.push_back({edges(start, with_order), 0});
  while (!path.empty()) {
    Step& step = path.back();
    if (step.next == step.edges.size()) {
      path.pop_back();
      continue;
    }
    const Owner to = step.edges[step.next++].to;
    if (to == start.owner) {
      for (const Step& taken : path)
        if (Waiter* waiter = taken.edges[taken.next - 1].by_order) by_order->push_back(waiter);
      return true;
    }
    if (!seen.insert(to).second) continue;
    Step onward;
    const auto [from, end] = waits_.equal_range(to);
    for (auto at = from; at != end; ++at) {
      auto more = edges(*at->second, with_order);
      onward.edges.insert(onward.edges.end(), more.begin(), more.end());
    }
    path.push_back(std::move(onward));
  }
  return false;
}

bool LockTable::may_wait(Waiter& waiter) {
  std::vector<Waiter*> by_order;
  if (find_circle(waiter, false, &by_order)) return false;
  while (find_circle(waiter, true, &by_order)) {
    for (Waiter* each : by_order) each->may_pass = true;
    by_order.clear();
  }
  return true;
}

}  // namespace linkspan::core
