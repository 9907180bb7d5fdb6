#include "fusefs/cache/single_flight.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>
#include <vector>

namespace linkspan::cache {
namespace {

using Flights = SingleFlight<int, int>;

struct Gate {  // lets a fetch be held until the test opens it
  std::promise<void> entered, open;
  std::shared_future<void> opened{open.get_future()};
};

TEST(SingleFlight, ManyCallersShareOneFetch) {
  Flights flights;
  Gate gate;
  std::atomic<int> fetches{0};
  auto leader = std::async(std::launch::async, [&] {
    return flights.run(1, Patience{}, [&]() -> Fetched<int> {
      ++fetches;
      gate.entered.set_value();
      gate.opened.wait();
      return {42, true};
    });
  });
  gate.entered.get_future().wait();
  std::atomic<int> joined{0};
  std::vector<std::future<Result<int>>> followers;
  for (int i = 0; i < 8; ++i)
    followers.push_back(std::async(std::launch::async, [&] {
      Patience patience;
      patience.on_cancel = [&](auto wake) {
        if (wake) ++joined;  // it waits now
      };
      return flights.run(1, patience, [&]() -> Fetched<int> {
        ++fetches;
        return {7, true};
      });
    }));
  while (joined < 8) std::this_thread::yield();
  gate.open.set_value();
  EXPECT_EQ(*leader.get(), 42);
  for (auto& follower : followers) EXPECT_EQ(*follower.get(), 42);
  EXPECT_EQ(fetches, 1);
  EXPECT_EQ(flights.size(), 0u);
}

// A caller that joined a fetch which a revocation overtook must not get the old answer.
TEST(SingleFlight, AnOvertakenFetchIsNotShared) {
  for (const bool fails : {false, true}) {
    Flights flights;
    Gate gate;
    auto leader = std::async(std::launch::async, [&] {
      return flights.run(1, Patience{}, [&]() -> Fetched<int> {
        gate.entered.set_value();
        gate.opened.wait();
        if (fails) return {fail(Code::timed_out), false};
        return {1, false};
      });
    });
    gate.entered.get_future().wait();
    std::promise<void> waits;
    auto follower = std::async(std::launch::async, [&] {
      Patience patience;
      patience.on_cancel = [&](auto wake) {
        if (wake) waits.set_value();
      };
      return flights.run(1, patience, []() -> Fetched<int> { return {2, true}; });
    });
    waits.get_future().wait();
    gate.open.set_value();
    EXPECT_EQ(leader.get().ok(), !fails);
    EXPECT_EQ(*follower.get(), 2);
  }
}

// The leader's thread need not run for a while after its answer was noted.
TEST(SingleFlight, WhatWasCurrentBeforeTheCallBeganIsNotShared) {
  for (const uint64_t since : {4, 5, 6}) {
    Flights flights;
    Gate gate;
    auto leader = std::async(std::launch::async, [&] {
      return flights.run(1, Patience{}, [&]() -> Fetched<int> {
        gate.entered.set_value();
        gate.opened.wait();
        return {1, true, 5};
      });
    });
    gate.entered.get_future().wait();
    std::promise<void> waits;
    auto follower = std::async(std::launch::async, [&] {
      Patience patience;
      patience.on_cancel = [&](auto wake) {
        if (wake) waits.set_value();
      };
      const auto fetch = []() -> Fetched<int> { return {2, true, 6}; };
      return flights.run(1, patience, fetch, since);
    });
    waits.get_future().wait();
    gate.open.set_value();
    EXPECT_EQ(*leader.get(), 1);
    EXPECT_EQ(*follower.get(), since > 5 ? 2 : 1);
  }
}

TEST(SingleFlight, ACancelledWaiterLeavesAndADeadlineEndsAWait) {
  Flights flights;
  Gate gate;
  auto leader = std::async(std::launch::async, [&] {
    return flights.run(1, Patience{}, [&]() -> Fetched<int> {
      gate.entered.set_value();
      gate.opened.wait();
      return {1, true};
    });
  });
  gate.entered.get_future().wait();
  Patience cancelled;
  std::thread canceller;
  cancelled.on_cancel = [&](std::function<void()> wake) {
    if (wake) canceller = std::thread(std::move(wake));
  };
  const auto never = []() -> Fetched<int> { return {9, true}; };
  EXPECT_EQ(flights.run(1, cancelled, never).code(), Code::interrupted);
  canceller.join();
  Patience hasty;
  hasty.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
  EXPECT_EQ(flights.run(1, hasty, never).code(), Code::timed_out);
  gate.open.set_value();
  EXPECT_EQ(*leader.get(), 1);
}

}  // namespace
}  // namespace linkspan::cache
