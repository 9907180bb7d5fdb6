#include "routerd/rpc/metrics.h"

#include <algorithm>

namespace linkspan::rpc {
namespace {

constexpr std::array<std::string_view, kRpcs> kNames = {
    "Attach",    "Detach",   "Stream",   "Lookup",     "GetAttr",      "ReadDir",    "Read",
    "GetXattrs", "StatFs",   "Create",   "Remove",     "Rename",       "Link",       "SetAttr",
    "Commit",    "SetXattr", "Versions", "Changes",    "Prefetch",     "DataRanges", "Conflicts",
    "Settle",    "SetLock",  "TestLock", "CancelLock", "ReclaimLocks", "Narrow",     "GiveUp"};

std::string code_name(size_t code) {
  return code == 0 ? "ok" : std::string(linkspan::to_string(static_cast<Code>(code)));
}

// The upper bound of the bucket that holds the q-th part of all calls.
std::string quantile(const RpcSnapshot& rpc, double q) {
  uint64_t seen = 0;
  for (size_t i = 0; i < kBucketMicros.size(); ++i) {
    seen += rpc.buckets[i];
    if (static_cast<double>(seen) >= q * static_cast<double>(rpc.calls))
      return "<= " + std::to_string(kBucketMicros[i]) + " us";
  }
  return "> " + std::to_string(kBucketMicros.back()) + " us";
}

void gauge(std::string* out, const char* name, const char* type, const char* help, uint64_t value) {
  *out += std::string("# HELP ") + name + " " + help + "\n# TYPE " + name + " " + type + "\n" +
          name + " " + std::to_string(value) + "\n";
}

std::string seconds(uint64_t micros) {
  std::string fraction = std::to_string(micros % 1'000'000);
  fraction.insert(0, 6 - fraction.size(), '0');
  while (fraction.size() > 1 && fraction.back() == '0') fraction.pop_back();
  return std::to_string(micros / 1'000'000) + "." + fraction;
}

void histogram(std::string* out, const RpcSnapshot& rpc) {
  const std::string label = "{rpc=\"" + std::string(to_string(rpc.rpc)) + "\"";
  uint64_t below = 0;
  for (size_t i = 0; i < rpc.buckets.size(); ++i) {
    below += rpc.buckets[i];
    const std::string le = i < kBucketMicros.size() ? seconds(kBucketMicros[i]) : "+Inf";
    *out += "linkspan_rpc_seconds_bucket" + label + ",le=\"" + le + "\"} " + std::to_string(below) +
            "\n";
  }
  *out += "linkspan_rpc_seconds_sum" + label + "} " + seconds(rpc.micros) + "\n";
  *out += "linkspan_rpc_seconds_count" + label + "} " + std::to_string(below) + "\n";
}

}  // namespace

std::string_view to_string(Rpc rpc) {
  return kNames[static_cast<size_t>(rpc)];
}

void Metrics::finished(Rpc rpc, uint32_t code, std::chrono::steady_clock::duration took) {
  Counters& counters = rpcs_[static_cast<size_t>(rpc)];
  const auto micros =
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
  const auto bucket = static_cast<size_t>(
      std::lower_bound(kBucketMicros.begin(), kBucketMicros.end(), micros) - kBucketMicros.begin());
  counters.calls.fetch_add(1, std::memory_order_relaxed);
  counters.micros.fetch_add(micros, std::memory_order_relaxed);
  counters.buckets[bucket].fetch_add(1, std::memory_order_relaxed);
  // A code that this build does not know is a bug like any other.
  const size_t index = code < kCodes ? code : static_cast<size_t>(Code::internal);
  counters.codes[index].fetch_add(1, std::memory_order_relaxed);
}

MetricsSnapshot Metrics::snapshot() const {
  MetricsSnapshot out;
  for (size_t i = 0; i < kRpcs; ++i) {
    const Counters& from = rpcs_[i];
    RpcSnapshot rpc;
    rpc.rpc = static_cast<Rpc>(i);
    rpc.calls = from.calls.load(std::memory_order_relaxed);
    if (rpc.calls == 0) continue;
    rpc.micros = from.micros.load(std::memory_order_relaxed);
    for (size_t b = 0; b < rpc.buckets.size(); ++b)
      rpc.buckets[b] = from.buckets[b].load(std::memory_order_relaxed);
    for (size_t c = 0; c < kCodes; ++c)
      rpc.codes[c] = from.codes[c].load(std::memory_order_relaxed);
    out.rpcs.push_back(rpc);
  }
  out.exceptions = exceptions_.load(std::memory_order_relaxed);
  out.refused_busy = refused_busy_.load(std::memory_order_relaxed);
  out.streams = streams_.load(std::memory_order_relaxed);
  out.uploads = uploads();
  return out;
}

std::string brief(const MetricsSnapshot& snapshot) {
  std::string out = std::to_string(snapshot.streams) + " streams, " +
                    std::to_string(snapshot.waiting) + " waiting, " +
                    std::to_string(snapshot.uploads) + " uploads";
  if (snapshot.exceptions) out += ", " + std::to_string(snapshot.exceptions) + " EXCEPTIONS";
  for (const RpcSnapshot& rpc : snapshot.rpcs) {
    out += "; " + std::string(to_string(rpc.rpc)) + " " + std::to_string(rpc.calls) + " (p50 " +
           quantile(rpc, 0.5) + ", p99 " + quantile(rpc, 0.99);
    for (size_t c = 1; c < kCodes; ++c)
      if (rpc.codes[c]) out += ", " + code_name(c) + " " + std::to_string(rpc.codes[c]);
    out += ")";
  }
  return out;
}

std::string prometheus(const MetricsSnapshot& snapshot) {
  std::string out;
  out += "# HELP linkspan_rpc_total Calls by result.\n# TYPE linkspan_rpc_total counter\n";
  for (const RpcSnapshot& rpc : snapshot.rpcs)
    for (size_t c = 0; c < kCodes; ++c)
      if (rpc.codes[c])
        out += "linkspan_rpc_total{rpc=\"" + std::string(to_string(rpc.rpc)) + "\",code=\"" +
               code_name(c) + "\"} " + std::to_string(rpc.codes[c]) + "\n";
  out +=
      "# HELP linkspan_rpc_seconds Time from arrival to answer.\n"
      "# TYPE linkspan_rpc_seconds histogram\n";
  for (const RpcSnapshot& rpc : snapshot.rpcs) histogram(&out, rpc);
  gauge(&out, "linkspan_exceptions_total", "counter", "Caught at the border; each is a bug.",
        snapshot.exceptions);
  gauge(&out, "linkspan_refused_busy_total", "counter", "Calls refused by a full queue.",
        snapshot.refused_busy);
  gauge(&out, "linkspan_streams", "gauge", "Session streams that are open.", snapshot.streams);
  gauge(&out, "linkspan_uploads", "gauge", "Commits that are being received.", snapshot.uploads);
  gauge(&out, "linkspan_spooled_bytes", "gauge", "Uploads on disk.", snapshot.spooled_bytes);
  gauge(&out, "linkspan_waiting", "gauge", "Operations that wait for a worker.", snapshot.waiting);
  return out;
}

}  // namespace linkspan::rpc
