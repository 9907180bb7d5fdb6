#include "routerd/daemon/serve.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <thread>

#include "linkspan/clock.h"
#include "linkspan/fault_points.h"
#include "routerd/core/router.h"
#include "routerd/daemon/notify.h"
#include "routerd/rpc/server.h"
#include "routerd/store/pg/pg_store.h"

namespace linkspan::daemon {
namespace {

using namespace std::chrono_literals;

// Of the store's pool, beside one for each worker: the core's background, upkeep, retention and
// outcomes, the health check.
constexpr unsigned kOtherConnections = 5;
constexpr std::chrono::seconds kMetricsPeriod = 60s;  // of the debug line
constexpr std::chrono::seconds kStoreRetry = 1s;
// After the grace: answers and ended streams on their way, the store's own end.
constexpr std::chrono::seconds kStopSlack = 10s;

sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

// A listening socket was given up. The router would look alive and take no mount any more, not even
// one that it knows: it ends, so that its supervisor starts it again, or another router takes over.
std::atomic<bool> deaf{false};

void hear_no_more(const std::string& why) {
  if (deaf.exchange(true)) return;
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  spdlog::error(
      "a socket accepts no connections any more ({}): ending, to be started again; if there were "
      "too many open files ({} are allowed), raise that: LimitNOFILE= of the unit, ulimit -n",
      why, limit.rlim_cur);
  kill(getpid(), SIGHUP);  // wakes attend()
}

// The next SIGTERM or SIGINT, or 0 after `most`, or when `deaf`.
int wait_signal(std::chrono::seconds most) {
  const sigset_t set = stop_signals();
  const timespec timeout{most.count(), 0};
  while (true) {
    const int number = sigtimedwait(&set, nullptr, &timeout);
    if (number == SIGTERM || number == SIGINT) return number;
    if (deaf) return 0;
    if (number == SIGHUP)
      spdlog::info(
          "SIGHUP: nothing is reloaded; restart to read the configuration (certificates are "
          "read anew by themselves)");
    if (number < 0 && errno == EAGAIN) return 0;
  }
}

// Ends the process at the second signal, or when stopping takes too long.
class StopGuard {
 public:
  StopGuard() : thread_([this] { run(); }) {}
  ~StopGuard() {
    ended_.set_value();
    // Wakes the thread, which is the only one that takes the signal.
    pthread_kill(thread_.native_handle(), SIGHUP);
    thread_.join();
  }
  StopGuard(const StopGuard&) = delete;
  StopGuard& operator=(const StopGuard&) = delete;

 private:
  void run() {
    const auto ended = ended_.get_future();
    const auto over = std::chrono::steady_clock::now() + rpc::bounds::kStopGrace + kStopSlack;
    const sigset_t set = stop_signals();
    while (ended.wait_for(0s) != std::future_status::ready) {
      const timespec timeout{1, 0};
      const int number = sigtimedwait(&set, nullptr, &timeout);
      if (number == SIGTERM || number == SIGINT) leave("a second signal: ending at once");
      if (std::chrono::steady_clock::now() > over) leave("stopping took too long: ending");
    }
  }
  [[noreturn]] static void leave(const char* why) {
    spdlog::error("{}", why);
    _exit(1);
  }

  std::promise<void> ended_;
  std::thread thread_;
};

// Every mount is a connection or two; a soft limit of 1024 would be reached by a large fleet.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<std::unique_ptr<store::Store>> open_store(const config::Config& config) {
  if (config.store.text == "mem:") return store::make_mem_store();
  return store::make_pg_store({config.store.text, config.workers + kOtherConnections});
}

// A store that is away is tried again for `patience`: at boot the router may be up first.
// `interrupted` when a signal ended the wait.
Result<std::unique_ptr<store::Store>> await_store(const config::Config& config,
                                                  std::chrono::seconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  std::string said;
  for (;;) {
    auto store = open_store(config);
    if (store.ok() || store.code() != Code::unavailable) return store;
    if (std::chrono::steady_clock::now() + kStoreRetry > until) return store;
    if (store.error().message != said)
      spdlog::warn("the store is away, trying again for {} s (--wait-store): {}", patience.count(),
                   store.error().message);
    said = store.error().message;
    if (wait_signal(kStoreRetry) != 0) return fail(Code::interrupted, "stopped while waiting");
  }
}

// The file is the whole list of a tenant's tokens: who was taken out of it is out.
Status revoke_others(store::Store* store, const config::Config& config, const std::string& tenant) {
  std::vector<store::TokenHash> kept;
  for (const store::TokenRecord& token : config.tokens)
    if (token.tenant == tenant) kept.push_back(token.hash);
  const auto revoked = store->revoke_other_tokens(tenant, kept);
  if (!revoked.ok())
    return fail(revoked.code(), "tokens of tenant " + tenant + ": " + revoked.error().message);
  if (*revoked > 0)
    spdlog::info("tenant {}: {} token(s) that the configuration does not list are revoked", tenant,
                 *revoked);
  return ok();
}

Status provision(store::Store* store, const config::Config& config) {
  for (const store::TenantSpec& tenant : config.tenants) {
    const auto made = store->provision(tenant, Clock::system().now());
    if (!made.ok()) return fail(made.code(), "tenant " + tenant.name + ": " + made.error().message);
  }
  for (const store::TokenRecord& token : config.tokens)
    if (const auto put = store->put_token(token); !put.ok())
      return fail(put.code(), "token of " + token.principal + ": " + put.error().message);
  for (const store::TenantSpec& tenant : config.tenants)
    LINKSPAN_CHECK(revoke_others(store, config, tenant.name));
  if (config.tenants.empty())
    spdlog::warn(
        "no [[tenant]] is configured: only tenants and tokens that the store has already can be "
        "used; add [[tenant]], [[tenant.volume]] and [[tenant.token]] to the configuration");
  if (config.store.text == "mem:")
    spdlog::warn(
        "store mem: keeps nothing when the router ends; for data that lasts use "
        "--store postgres://...");
  return ok();
}

rpc::ServerOptions server_options(const config::Config& config, store::Store* store) {
  rpc::ServerOptions options;
  for (const config::Sourced& listen : config.listen) options.listen.push_back(listen.text);
  options.socket_mode = config.socket_mode;
  options.socket_peers = {config.socket_peers.users, config.socket_peers.groups};
  options.tls = config.tls.files();
  options.workers = config.workers;
  options.spool_dir = config.spool_dir.text;
  options.ping = [store] { return store->ping(); };
  return options;
}

std::string instance_name() {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return "linkspan-routerd " LINKSPAN_VERSION " " + std::string(host) + " " +
         std::to_string(getpid());
}

int failed(const std::string& text) {
  spdlog::error("{}", text);
  return 1;
}

std::string join(const std::vector<std::string>& all) {
  std::string out;
  for (const std::string& one : all) out += (out.empty() ? "" : ", ") + one;
  return out;
}

// Until a signal comes, or mounts cannot any more.
void attend(const rpc::Server& server) {
  while (!deaf) {
    if (const int number = wait_signal(kMetricsPeriod)) {
      spdlog::info("{}: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
      return;
    }
    if (spdlog::should_log(spdlog::level::debug))
      spdlog::debug("metrics: {}", rpc::brief(server.metrics()));
  }
}

}  // namespace

void block_signals() {
  const sigset_t set = stop_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

int serve(const config::Config& config, int ready_fd, std::chrono::seconds wait_store) {
  raise_descriptor_limit();
  if (const std::string faults = planted_faults(); !faults.empty()) spdlog::critical("{}", faults);
  rpc::adopt_grpc_log(hear_no_more);
  auto store = await_store(config, wait_store);
  if (!store.ok() && store.code() == Code::interrupted) return 0;
  if (!store.ok())
    return failed("store " + config::without_password(config.store.text) + ": " +
                  store.error().message);
  store::Store* const raw_store = store->get();  // the core owns it from here on
  if (const auto done = provision(raw_store, config); !done.ok())
    return failed(done.error().message);
  core::RouterOptions options;
  options.lease = config.lease;
  options.name = instance_name();
  options.sole = config.store.text == "mem:";  // it is in this process
  const auto router = core::make_router(*std::move(store), options);
  auto server = rpc::Server::start(router.get(), server_options(config, raw_store));
  if (!server.ok()) return failed(server.error().message);
  spdlog::info("{} listens on {}; store {}", options.name, join((*server)->listening()),
               config::without_password(config.store.text));
  if (ready_fd >= 0)
    if (const auto told = write_ready(ready_fd, (*server)->listening()); !told.ok())
      return failed(told.error().message);
  notify_supervisor("READY=1");
  attend(**server);
  notify_supervisor("STOPPING=1");
  const StopGuard guard;
  const bool drained = (*server)->stop(rpc::bounds::kStopGrace);
  router->stop();
  spdlog::info(drained ? "stopped; everything that was accepted was answered"
                       : "stopped; some calls were broken off");
  return drained && !deaf ? 0 : 1;
}

}  // namespace linkspan::daemon
