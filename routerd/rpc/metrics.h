// What the router did, in numbers: calls, errors by code, latency by bucket. Counting is a few
// relaxed atomic additions; any thread.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::rpc {

enum class Rpc : uint8_t {
  attach,
  detach,
  stream,
  lookup,
  getattr,
  readdir,
  read,
  xattrs,
  statfs,
  create,
  remove,
  rename,
  link,
  set_attributes,
  commit,
  set_xattr,
  versions,
  changes,
  prefetch,
  data_ranges,
  conflicts,
  settle,
  set_lock,
  test_lock,
  cancel_lock,
  reclaim_locks,
  narrow,
  give_up,
};
inline constexpr size_t kRpcs = 28;
std::string_view to_string(Rpc rpc);  // "Lookup", as in the .proto

// Upper bounds of the latency buckets, microseconds; one more holds the rest.
inline constexpr std::array<uint64_t, 12> kBucketMicros = {
    50, 100, 250, 500, 1'000, 2'500, 5'000, 10'000, 50'000, 250'000, 1'000'000, 5'000'000};
inline constexpr size_t kCodes = 33;  // 0: no error; else a linkspan::Code

struct RpcSnapshot {
  Rpc rpc{};
  uint64_t calls = 0;
  uint64_t micros = 0;                                       // sum of all latencies
  std::array<uint64_t, kBucketMicros.size() + 1> buckets{};  // not cumulative
  std::array<uint64_t, kCodes> codes{};
};
struct MetricsSnapshot {
  std::vector<RpcSnapshot> rpcs;  // those that were called
  uint64_t exceptions = 0;        // caught at the border: each is a bug
  uint64_t streams = 0;           // open now
  uint64_t uploads = 0;           // under way now
  uint64_t spooled_bytes = 0;     // on disk now
  uint64_t waiting = 0;           // for a worker now
  uint64_t refused_busy = 0;      // a queue was full
};

class Metrics {
 public:
  void finished(Rpc rpc, uint32_t code, std::chrono::steady_clock::duration took);
  void exception() { exceptions_.fetch_add(1, std::memory_order_relaxed); }
  void refused_busy() { refused_busy_.fetch_add(1, std::memory_order_relaxed); }
  void stream_opened() { streams_.fetch_add(1, std::memory_order_relaxed); }
  void stream_closed() { streams_.fetch_sub(1, std::memory_order_relaxed); }
  void upload_opened() { uploads_.fetch_add(1, std::memory_order_relaxed); }
  void upload_closed() { uploads_.fetch_sub(1, std::memory_order_relaxed); }
  uint64_t uploads() const { return uploads_.load(std::memory_order_relaxed); }
  // The gauges that live elsewhere are left at 0; Server::metrics() fills them in.
  MetricsSnapshot snapshot() const;

 private:
  struct Counters {
    std::atomic<uint64_t> calls{0}, micros{0};
    std::array<std::atomic<uint64_t>, kBucketMicros.size() + 1> buckets{};
    std::array<std::atomic<uint64_t>, kCodes> codes{};
  };
  std::array<Counters, kRpcs> rpcs_;
  std::atomic<uint64_t> exceptions_{0}, refused_busy_{0}, streams_{0}, uploads_{0};
};

// One line for the log: "Lookup 12 calls, p50 < 100 us, errors: busy 3; ...".
std::string brief(const MetricsSnapshot& snapshot);
// Prometheus' text format.
std::string prometheus(const MetricsSnapshot& snapshot);

}  // namespace linkspan::rpc
