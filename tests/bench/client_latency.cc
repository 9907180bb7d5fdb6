// Latency and rate of the mount's gRPC client against a running router: what a call costs with
// deadlines, the gate, metadata and conversion on both sides. Compare rpc-latency (raw stubs).
//   client-latency TOKEN ADDRESS [THREADS]     (LINKSPAN_BENCH_ROUNDS, 5000 unless set)
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/client/grpc_client.h"

namespace {

using namespace linkspan;
using Steady = std::chrono::steady_clock;

class Silent final : public client::SessionListener {
 public:
  void on_revoke(const Revocation&) override {}
  void on_caches_lost() override {}
  void on_link(const client::LinkState&) override {}
};

client::Call soon() {
  return {Steady::now() + std::chrono::seconds(30), nullptr};
}

void must(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "client-latency: %s failed\n", what);
  std::exit(1);
}

// One line: p50 and p99 of a call in microseconds, and calls per second over all threads.
void measure(const char* what, int rounds, int threads, const std::function<bool(int)>& call) {
  std::vector<std::vector<double>> samples(threads);
  std::vector<std::thread> workers;
  const auto begun = Steady::now();
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        const auto start = Steady::now();
        must(call(t * rounds + i), what);
        samples[t].push_back(
            std::chrono::duration<double, std::micro>(Steady::now() - start).count());
      }
    });
  }
  for (auto& worker : workers) worker.join();
  const double seconds = std::chrono::duration<double>(Steady::now() - begun).count();
  std::vector<double> all;
  for (auto& part : samples) all.insert(all.end(), part.begin(), part.end());
  std::sort(all.begin(), all.end());
  std::printf("%-10s %2d threads  p50 %7.1f us  p99 %8.1f us  %8.0f/s\n", what, threads,
              all[all.size() / 2], all[all.size() * 99 / 100],
              static_cast<double>(all.size()) / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  must(argc >= 3, "usage: client-latency TOKEN ADDRESS [THREADS]: arguments");
  const char* rounds_text = std::getenv("LINKSPAN_BENCH_ROUNDS");
  const int rounds = rounds_text != nullptr ? std::atoi(rounds_text) : 5000;
  const int most = argc > 3 ? std::atoi(argv[3]) : 8;
  client::GrpcClientOptions options;
  options.token = argv[1];
  options.address = argv[2];
  Silent listener;
  const auto client = client::make_grpc_client(options);
  const auto info = client->attach(soon(), &listener);
  if (!info.ok()) std::fprintf(stderr, "%s\n", info.error().message.c_str());
  must(info.ok(), "attach");
  Ino root;
  for (const Route& route : info->routes)
    if (route.writable()) root = route.root;
  must(root.value != 0, "finding a writable route");
  const std::string prefix = "bench-" + std::to_string(Steady::now().time_since_epoch().count());
  CreateRequest probe;
  probe.parent = root;
  probe.name = prefix;
  const auto made = client->create(soon(), probe);
  must(made.ok(), "create");
  const Ino ino = made->nodes[0].attr.ino;
  for (int threads = 1; threads <= most; threads *= 8) {
    measure("lookup", rounds, threads, [&](int) {
      return client->lookup(soon(), {root, prefix, true}).ok();
    });
    measure("getattr", rounds, threads, [&](int) {
      return client->getattr(soon(), {ino, false}).ok();
    });
    measure("create", rounds / 5, threads, [&](int i) {
      CreateRequest request;
      request.parent = root;
      request.name = prefix + "-" + std::to_string(threads) + "-" + std::to_string(i);
      return client->create(soon(), request).ok();
    });
    measure("commit 4K", rounds / 5, threads, [&](int) {
      CommitRequest request;
      request.ino = ino;
      request.size = 4096;
      request.extents =
          std::make_shared<ExtentList>(std::vector<Extent>{{0, 4096, std::string(4096, 'x')}});
      return client->commit(soon(), request).ok();
    });
  }
  client->detach();
}
