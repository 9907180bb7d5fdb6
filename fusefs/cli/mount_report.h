// What the control files under .linkspan/ say: pure text from a snapshot, for people (status,
// whoami, routes, changes) and for programs (status.json, stats, changes.json).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusefs/client/router_client.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::cli {

struct ConnectionReport {  // of one FUSE connection
  std::string mountpoint;
  bool ended = false;
  uint64_t requests = 0, unexpected_errors = 0, cancelled = 0;
};

struct RouteReport {
  Route route;
  vfs::Vfs::Stats stats;
};

struct WatchersReport {  // of programs here that watch files and directories (inotify)
  uint64_t watched = 0, scans = 0, nudges = 0, failed = 0;
};

struct MountReport {
  std::string dir;         // where its users see it
  bool of_run = false;     // of `linkspan run`, which ends with its command
  bool read_only = false;  // by the mount's own options, whatever the grant allows
  int pid = 0;
  Time started, now;
  std::string workspace;       // empty: none
  std::string workspace_form;  // "bind mount", "passthrough"
  std::vector<std::string> exposed;
  client::SessionInfo session;
  client::LinkState link;
  bool lease_valid = false;
  client::ClientStats client;
  std::vector<RouteReport> routes;
  std::vector<ConnectionReport> connections;
  std::vector<std::string> missing;   // mountpoints where somebody has taken our mount away
  std::optional<uint64_t> conflicts;  // open ones, as last seen
  WatchersReport watchers;
};

// Connected, under a lease, every mount in its place, no commit refused for want of space.
bool is_healthy(const MountReport& report);

std::string status_text(const MountReport& report);
std::string status_json(const MountReport& report);
std::string whoami_text(const MountReport& report);
std::string routes_text(const MountReport& report);
std::string stats_text(const MountReport& report);  // Prometheus

// What .linkspan/changes goes back: the newest changes of everything the session may see.
inline constexpr uint32_t kChangesShown = 200;
// The log as last seen. `stale`: why it may be older than the router's, if it may.
std::string changes_text(const std::vector<Change>& changes, const std::string& stale);
std::string changes_json(const std::vector<Change>& changes);  // one object a line

std::string format_time(Time time);            // "2026-11-21T16:00:01.123Z"
std::string format_age(Time since, Time now);  // "4 min"
// Control characters and bytes that are no UTF-8 as \xNN, so that a name cannot forge a line.
std::string printable(const std::string& bytes);
bool is_utf8(const std::string& bytes);

}  // namespace linkspan::cli
