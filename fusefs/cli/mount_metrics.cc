// .linkspan/stats, for Prometheus.
#include <cstdio>

#include "fusefs/cli/mount_report.h"

namespace linkspan::cli {
namespace {

std::string number(uint64_t value) {
  return std::to_string(value);
}

std::string escape_label(const std::string& text) {
  std::string escaped;
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// One metric family: its type line and a sample for each labelled value.
class Metrics {
 public:
  void family(const std::string& name, const char* type, const char* help) {
    text_ +=
        "# HELP linkspan_" + name + " " + help + "\n# TYPE linkspan_" + name + " " + type + "\n";
    name_ = name;
  }
  void sample(const std::string& labels, const std::string& value) {
    text_ += "linkspan_" + name_ + (labels.empty() ? "" : "{" + labels + "}") + " " + value + "\n";
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_, name_;
};

std::string label(const char* name, const std::string& value) {
  return std::string(name) + "=\"" + escape_label(value) + "\"";
}

void add_route_metrics(Metrics& metrics, const MountReport& report) {
  using Stats = vfs::Vfs::Stats;
  const struct {
    const char* name;
    const char* type;
    const char* help;
    uint64_t Stats::*field;
  } families[] = {
      {"cached_nodes", "gauge", "Nodes in the cache.", &Stats::nodes},
      {"cached_names", "gauge", "Names in the cache.", &Stats::names},
      {"cached_bytes", "gauge", "Content in the cache.", &Stats::content_bytes},
      {"dirty_files", "gauge", "Files with bytes that are not committed yet.", &Stats::dirty_files},
      {"dirty_bytes", "gauge", "Bytes that are not committed yet.", &Stats::dirty_bytes},
      {"lost_commits_total", "counter", "Commits refused for good, their bytes dropped.",
       &Stats::lost_commits},
      {"conflicts_total", "counter", "Commits and renames refused as conflicts, their bytes kept.",
       &Stats::conflicts},
      {"lock_waits", "gauge", "Processes that wait for a lock of another mount.",
       &Stats::lock_waits},
      {"locks_lost_total", "counter", "Locks that were lost with the link to the router.",
       &Stats::locks_lost},
      {"wal_refused_total", "counter",
       "Locks of SQLite databases in WAL mode refused because another mount uses them.",
       &Stats::wal_refused},
      {"attr_hits_total", "counter", "Attributes answered from the cache.", &Stats::attr_hits},
      {"attr_misses_total", "counter", "Attributes asked of the router.", &Stats::attr_misses},
      {"name_hits_total", "counter", "Names answered from the cache.", &Stats::name_hits},
      {"name_misses_total", "counter", "Names asked of the router.", &Stats::name_misses},
      {"content_hits_total", "counter", "Reads answered from the cache.", &Stats::content_hits},
      {"content_misses_total", "counter", "Reads asked of the router.", &Stats::content_misses},
      {"revocations_total", "counter", "Revocations applied.", &Stats::revocations},
      {"commits_total", "counter", "Commits sent.", &Stats::commits},
  };
  for (const auto& family : families) {
    metrics.family(family.name, family.type, family.help);
    for (const auto& route : report.routes)
      metrics.sample(label("route", route.route.path), number(route.stats.*family.field));
  }
}

void add_client_metrics(Metrics& metrics, const MountReport& report) {
  using Method = client::MethodStats;
  const struct {
    const char* name;
    const char* help;
    uint64_t Method::*field;
  } families[] = {
      {"rpc_calls_total", "Calls to the router that ended.", &Method::calls},
      {"rpc_failures_total", "Calls that ended without its answer.", &Method::failures},
      {"rpc_retries_total", "Tries beyond the first.", &Method::retries},
  };
  for (const auto& family : families) {
    metrics.family(family.name, "counter", family.help);
    for (const auto& method : report.client.methods)
      metrics.sample(label("method", std::string(method.name)), number(method.*family.field));
  }
  metrics.family("rpc_seconds_total", "counter", "Time spent in calls, waits included.");
  for (const auto& method : report.client.methods) {
    char seconds[32];
    std::snprintf(seconds, sizeof seconds, "%.9f", static_cast<double>(method.nanoseconds) / 1e9);
    metrics.sample(label("method", std::string(method.name)), seconds);
  }
  metrics.family("reconnects_total", "counter", "Streams opened after the first.");
  metrics.sample("", number(report.client.reconnects));
  metrics.family("sessions_total", "counter", "Sessions attached, the first included.");
  metrics.sample("", number(report.client.sessions));
  metrics.family("client_revocations_total", "counter", "Revocations processed and acknowledged.");
  metrics.sample("", number(report.client.revocations));
  metrics.family("caches_lost_total", "counter", "Times that every cache was dropped.");
  metrics.sample("", number(report.client.caches_lost));
}

void add_connection_metrics(Metrics& metrics, const MountReport& report) {
  const struct {
    const char* name;
    const char* help;
    uint64_t ConnectionReport::*field;
  } families[] = {
      {"fuse_requests_total", "Requests of the kernel.", &ConnectionReport::requests},
      {"fuse_unexpected_errors_total", "EIO for an unknown reason.",
       &ConnectionReport::unexpected_errors},
      {"fuse_cancelled_total", "Requests ended by a signal of their caller.",
       &ConnectionReport::cancelled},
  };
  for (const auto& family : families) {
    metrics.family(family.name, "counter", family.help);
    for (const auto& connection : report.connections)
      metrics.sample(label("mountpoint", connection.mountpoint), number(connection.*family.field));
  }
}

void add_watcher_metrics(Metrics& metrics, const MountReport& report) {
  metrics.family("watched", "gauge", "Files and directories that programs here watch (inotify).");
  metrics.sample("", number(report.watchers.watched));
  const struct {
    const char* name;
    const char* help;
    uint64_t WatchersReport::*field;
  } families[] = {
      {"watch_scans_total", "Looks at /proc for who watches.", &WatchersReport::scans},
      {"nudges_total", "Changes by others that were told to who watches.", &WatchersReport::nudges},
      {"nudges_failed_total", "Changes by others that could not be told.", &WatchersReport::failed},
  };
  for (const auto& family : families) {
    metrics.family(family.name, "counter", family.help);
    metrics.sample("", number(report.watchers.*family.field));
  }
}

}  // namespace

std::string stats_text(const MountReport& report) {
  Metrics metrics;
  metrics.family("info", "gauge", "Which mount this is.");
  metrics.sample(label("version", LINKSPAN_VERSION) + "," + label("dir", report.dir) + "," +
                     label("sandbox", report.session.sandbox),
                 "1");
  metrics.family("connected", "gauge", "1 while the router answers.");
  metrics.sample("", report.link.link == client::Link::connected ? "1" : "0");
  metrics.family("lease_valid", "gauge", "1 while caches may be used.");
  metrics.sample("", report.lease_valid ? "1" : "0");
  add_route_metrics(metrics, report);
  add_client_metrics(metrics, report);
  add_connection_metrics(metrics, report);
  add_watcher_metrics(metrics, report);
  return metrics.take();
}

}  // namespace linkspan::cli
