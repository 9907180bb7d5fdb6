#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "routerd/rpc/admission.h"
#include "routerd/rpc/finish_gate.h"
#include "routerd/rpc/metrics.h"
#include "routerd/rpc/worker_pool.h"
#include "tests/unit/rpc/fake_router.h"

namespace linkspan::rpc {
namespace {

using namespace std::chrono_literals;
using testing::Latch;

TEST(WorkerPool, RefusesWhatItsQueueDoesNotHold) {
  WorkerPool pool("test", 1, 2);
  Latch latch;
  std::atomic<int> ran{0};
  ASSERT_TRUE(pool.submit([&] { latch.pass(); }));
  latch.wait_for(1);  // the worker has it; the queue is empty
  EXPECT_TRUE(pool.submit([&] { ++ran; }));
  EXPECT_TRUE(pool.submit([&] { ++ran; }));
  EXPECT_EQ(pool.waiting(), 2u);
  EXPECT_FALSE(pool.submit([&] { ++ran; }));
  latch.open();
  pool.stop();
  EXPECT_EQ(ran, 2);
}

TEST(WorkerPool, StopRunsWhatWasTakenAndRefusesTheRest) {
  WorkerPool pool("test", 2, 100);
  Latch latch;
  std::atomic<int> ran{0};
  for (int i = 0; i < 50; ++i)
    ASSERT_TRUE(pool.submit([&, i] {
      if (i == 0) latch.pass();
      ++ran;
    }));
  latch.wait_for(1);
  std::thread stopper([&] { pool.stop(); });
  latch.open();
  stopper.join();
  EXPECT_EQ(ran, 50);
  EXPECT_FALSE(pool.submit([] {}));
}

TEST(WorkerPool, RunsOnAllItsThreadsAtOnce) {
  Latch latch;  // before the pool, whose threads may still be in it at the end
  WorkerPool pool("test", 4, 10);
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(pool.submit([&] { latch.pass(); }));
  latch.wait_for(4);  // would never come if one thread ran two of them
  latch.open();
}

TEST(Admission, WaitsForTheLastTicket) {
  Admission admission;
  auto ticket = admission.enter();
  ASSERT_TRUE(ticket);
  admission.close();
  EXPECT_FALSE(admission.enter());
  EXPECT_FALSE(admission.wait_idle(std::chrono::steady_clock::now()));
  std::thread leaver([mine = std::move(ticket)]() mutable { mine = Admission::Ticket(); });
  EXPECT_TRUE(admission.wait_idle(std::chrono::steady_clock::now() + 20s));
  leaver.join();
  EXPECT_EQ(admission.inside(), 0u);
}

TEST(FinishGate, TheFirstWishCountsOnceAllPinsAreGone) {
  std::vector<std::optional<Error>> finished;
  FinishGate gate([&](const std::optional<Error>& error) { finished.push_back(error); });
  auto one = gate.pin();
  auto two = gate.pin();
  ASSERT_TRUE(one && two);
  EXPECT_TRUE(gate.want(fail(Code::busy)));
  EXPECT_FALSE(gate.want(std::nullopt));
  EXPECT_FALSE(gate.pin());
  {
    const auto late = gate.pin_late();
    EXPECT_TRUE(late);
    one = FinishGate::Pin();
    two = FinishGate::Pin();
    EXPECT_TRUE(finished.empty());
  }
  ASSERT_EQ(finished.size(), 1u);
  EXPECT_EQ(finished[0]->code, Code::busy);
  EXPECT_FALSE(gate.pin_late());
}

TEST(FinishGate, FinishesOnceUnderManyThreads) {
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> finished{0};
    std::atomic<int> pinned{0};
    FinishGate gate([&](const std::optional<Error>&) {
      EXPECT_EQ(pinned, 0);
      ++finished;
    });
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        for (int n = 0; n < 20; ++n) {
          if (auto pin = gate.pin()) {
            ++pinned;
            --pinned;
          }
          if (n == 10 && i % 2) gate.want(std::nullopt);
        }
      });
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(finished, 1);
  }
}

TEST(Metrics, CountsByCallCodeAndBucket) {
  Metrics metrics;
  metrics.finished(Rpc::lookup, 0, 50us);
  metrics.finished(Rpc::lookup, 0, 51us);
  metrics.finished(Rpc::lookup, static_cast<uint32_t>(Code::busy), 10s);
  metrics.finished(Rpc::create, 9999, 1us);
  const auto snapshot = metrics.snapshot();
  ASSERT_EQ(snapshot.rpcs.size(), 2u);
  const auto& lookup = snapshot.rpcs[0];
  EXPECT_EQ(lookup.calls, 3u);
  EXPECT_EQ(lookup.buckets[0], 1u);
  EXPECT_EQ(lookup.buckets[1], 1u);
  EXPECT_EQ(lookup.buckets.back(), 1u);
  EXPECT_EQ(lookup.codes[static_cast<size_t>(Code::busy)], 1u);
  EXPECT_EQ(snapshot.rpcs[1].codes[static_cast<size_t>(Code::internal)], 1u);
  EXPECT_EQ(brief(snapshot),
            "0 streams, 0 waiting, 0 uploads; Lookup 3 (p50 <= 100 us, p99 > 5000000 us, busy 1); "
            "Create 1 (p50 <= 50 us, p99 <= 50 us, internal 1)");
  const std::string text = prometheus(snapshot);
  EXPECT_NE(text.find("linkspan_rpc_total{rpc=\"Lookup\",code=\"busy\"} 1\n"), std::string::npos);
  EXPECT_NE(text.find("linkspan_rpc_seconds_bucket{rpc=\"Lookup\",le=\"0.00005\"} 1\n"),
            std::string::npos);
  EXPECT_NE(text.find("linkspan_rpc_seconds_bucket{rpc=\"Lookup\",le=\"+Inf\"} 3\n"),
            std::string::npos);
  EXPECT_NE(text.find("linkspan_rpc_seconds_sum{rpc=\"Lookup\"} 10.000101\n"), std::string::npos);
}

}  // namespace
}  // namespace linkspan::rpc
