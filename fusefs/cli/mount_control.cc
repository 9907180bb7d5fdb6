// The control files of a mount, and the report that they are made of.
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "fusefs/cli/conflict_folders.h"
#include "fusefs/cli/json_text.h"
#include "fusefs/cli/mount_session.h"
#include "linkspan/clock.h"
#include "linkspan/limits.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kChangesTimeout = 1s;  // a `cat .linkspan/changes` waits no longer
// How many conflicts are open is asked for `status` so often at most, and for so long.
constexpr auto kConflictsEvery = 2s;
constexpr auto kConflictsWait = 250ms;
constexpr const char* kQueryHelp =
    "Programs ask the mount here; for people there is `linkspan log`, `cat`, `diff`, `restore`,\n"
    "`resolve` and `resume`. Opened for reading and writing, one write of JSON is a request and\n"
    "the reads after it are its answer.\n";

client::Call call_within(std::chrono::milliseconds time) {
  client::Call call;
  call.deadline = std::chrono::steady_clock::now() + time;
  return call;
}

}  // namespace

fuse::ControlTree MountSession::control_tree() {
  fuse::ControlTree tree;
  const auto place = [&](const std::string& name, const std::string& elsewhere) {
    if (mounting_)
      tree.add_directory(name);
    else
      tree.add_symlink(name, elsewhere);
  };
  for (const auto& part : *routes()) place(part.route.path, route_directory(part.route.path));
  if (!options_.workspace.empty()) place(kWorkspace, route_directory(kWorkspace));
  const std::string at = std::string(kControl) + "/";
  tree.add_file(at + "status", [this] { return status_text(report()); });
  tree.add_file(at + "status.json", [this] { return status_json(report()); });
  tree.add_file(at + "whoami", [this] { return whoami_text(report()); });
  tree.add_file(at + "routes", [this] { return routes_text(report()); });
  tree.add_file(at + "stats", [this] { return stats_text(report()); });
  tree.add_file(at + "changes", [this] { return changes(false); });
  tree.add_file(at + "changes.json", [this] { return changes(true); });
  tree.add_query(
      at + "query",
      [queries = queries()](const vfs::Caller& caller, const std::string& request) {
        return queries.answer(caller, request);
      },
      [] { return std::string(kQueryHelp); });
  tree.add_live(at + "conflicts",
                std::make_shared<ConflictFolders>(client_.get(), info_.routes,
                                                  options_.ownership == vfs::Ownership::identity));
  return tree;
}

std::string MountSession::changes(bool json) {
  std::string stale;
  ChangesRequest request;
  request.limit = kChangesShown;
  request.newest = true;
  const auto link = client_->link();
  // One asks, whoever comes meanwhile is shown what is known: a slow router gets one thread, not
  // all.
  if (link.link == client::Link::connected && !asking_changes_.exchange(true)) {
    auto reply = client_->changes(call_within(kChangesTimeout), request);
    asking_changes_ = false;
    if (reply.ok()) {
      const std::lock_guard lock(mutex_);
      changes_ = std::move(reply->changes);
    } else {
      stale = "the router did not answer (" + reply.error().message + "): the log as last seen";
    }
  } else if (link.link != client::Link::connected) {
    stale = "the router is away since " + format_time(link.since) + ": the log as last seen";
  }
  std::vector<Change> shown;
  {
    const std::lock_guard lock(mutex_);
    shown = changes_;
  }
  return json ? changes_json(shown) : changes_text(shown, stale);
}

MountQueries MountSession::queries() {
  return {.client = client_.get(),
          .routes = info_.routes,
          .ownership = options_.ownership,
          .owner = ::getuid(),
          .read_only = options_.read_only,
          .drop_everything = [this] { drop_everything(); },
          .settled = [this] { count_conflicts_anew(); }};
}

void MountSession::count_conflicts_anew() {
  const std::lock_guard lock(mutex_);
  conflicts_asked_ = {};
}

// Cheap enough for `status`: the last number seen, asked anew after what this mount did, and now
// and then, while the router is there, and not for long.
std::optional<uint64_t> MountSession::conflicts() const {
  const auto now = std::chrono::steady_clock::now();
  const bool connected = client_->link().link == client::Link::connected;
  {
    const std::lock_guard lock(mutex_);
    if (!connected ||
        (conflicts_asked_ != decltype(now){} && now - conflicts_asked_ < kConflictsEvery))
      return conflicts_;
    conflicts_asked_ = now;
  }
  const auto reply = client_->conflicts(call_within(kConflictsWait), {Seq{}, limits::kHistoryPage});
  const std::lock_guard lock(mutex_);
  if (reply.ok()) conflicts_ = reply->conflicts.size();
  return conflicts_;
}

MountReport MountSession::report() const {
  MountReport report;
  report.dir = options_.shown_at.empty() ? options_.dir : options_.shown_at;
  report.of_run = !options_.shown_at.empty();
  report.read_only = options_.read_only;
  report.pid = ::getpid();
  report.started = started_;
  report.now = Clock::system().now();
  report.workspace = options_.workspace;
  report.workspace_form = workspace_form_;
  report.exposed = exposed_;
  report.session = info_;
  report.link = client_->link();
  report.lease_valid = client_->lease_valid();
  report.client = client_->stats();
  report.conflicts = conflicts();
  for (const auto& part : *routes()) report.routes.push_back({part.route, part.vfs->stats()});
  for (const auto& state : mounts_.status())
    report.connections.push_back(
        {state.mountpoint, state.ended, state.requests, state.unexpected_errors, state.cancelled});
  report.missing = missing();
  if (report.of_run)
    for (auto& path : report.missing)
      if (path.rfind(options_.dir, 0) == 0)
        path = (report.dir == "/" ? "" : report.dir) + path.substr(options_.dir.size());
  const auto watchers = watchers_.stats();
  report.watchers = {watchers.watched, watchers.scans, watchers.nudges, watchers.failed};
  return report;
}

std::string MountSession::ready_line() const {
  nlohmann::json routes = nlohmann::json::array();
  for (const auto& route : info_.routes) routes.push_back(route.path);
  return dump_line({{"dir", options_.dir},
                    {"pid", ::getpid()},
                    {"router", options_.router},
                    {"routes", std::move(routes)},
                    {"exposed", exposed_}});
}

}  // namespace linkspan::cli
