// A SessionListener that writes down what it was told, in order.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "fusefs/client/router_client.h"
#include "tests/support/slowdown.h"

namespace linkspan::client {

class Recorder final : public SessionListener {
 public:
  void on_revoke(const Revocation& revocation) override {
    if (revoking) revoking(revocation);
    add("revoke " + std::to_string(revocation.number));
  }
  void on_caches_lost() override {
    if (losing) losing();
    add("lost");
  }
  void on_locks_lost(const std::vector<Lock>& locks) override {
    add("locks lost " + std::to_string(locks.size()));
  }
  void on_link(const LinkState& state) override {
    add(state.link == Link::connected      ? "connected"
        : state.link == Link::disconnected ? "disconnected"
                                           : "ended: " + state.reason);
  }

  // How often `event` was told, waiting for `count`.
  bool wait(const std::string& event, size_t count = 1) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10) * test::kSlowdown, [&] {
      size_t seen = 0;
      for (const std::string& e : events_) seen += e.rfind(event, 0) == 0;
      return seen >= count;
    });
  }
  std::vector<std::string> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  size_t count(const std::string& event) {
    const std::lock_guard lock(mutex_);
    size_t seen = 0;
    for (const std::string& e : events_) seen += e.rfind(event, 0) == 0;
    return seen;
  }

  std::function<void(const Revocation&)> revoking;  // set before attach
  std::function<void()> losing;

 private:
  void add(std::string event) {
    {
      const std::lock_guard lock(mutex_);
      events_.push_back(std::move(event));
    }
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> events_;
};

}  // namespace linkspan::client
