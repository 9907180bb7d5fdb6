#include "fusefs/cli/mount_session.h"

#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <nlohmann/json.hpp>

#include "fusefs/cli/conflict_folders.h"
#include "fusefs/cli/mountinfo.h"
#include "fusefs/client/grpc_client.h"
#include "fusefs/fuse/log.h"
#include "linkspan/clock.h"
#include "linkspan/fault_points.h"
#include "linkspan/limits.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kAttachTimeout = 10s;  // then the router counts as unreachable
constexpr auto kChangesTimeout = 1s;  // a `cat .linkspan/changes` waits no longer
// How many conflicts are open is asked for `status` so often at most, and for so long.
constexpr auto kConflictsEvery = 2s;
constexpr auto kConflictsWait = 250ms;
constexpr const char* kQueryHelp =
    "Programs ask the mount here; for people there is `linkspan log`, `cat`, `diff`, `restore`,\n"
    "`resolve` and `resume`. Opened for reading and writing, one write of JSON is a request and\n"
    "the reads after it are its answer.\n";
constexpr const char* kWorkspace = "workspace";
constexpr const char* kControl = ".linkspan";

client::Call call_within(std::chrono::milliseconds time) {
  client::Call call;
  call.deadline = std::chrono::steady_clock::now() + time;
  return call;
}

bool is_link_to(const std::string& path, const std::string& target) {
  char text[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  return n > 0 && std::string_view(text, static_cast<size_t>(n)) == target;
}

Result<bool> is_empty_directory(const std::string& path) {
  DIR* stream = ::opendir(path.c_str());
  if (!stream) return system_error(path, errno);
  bool empty = true;
  while (const dirent* entry = ::readdir(stream))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0)
      empty = false;
  ::closedir(stream);
  return empty;
}

// A later try may find it better, so the bytes are still there.
bool may_pass(Code code) {
  switch (code) {
    case Code::busy:
    case Code::timed_out:
    case Code::unavailable:
    case Code::interrupted:
    case Code::session_lost:
    case Code::would_block:
      return true;
    default:
      return false;
  }
}

// A route inside of another would need a directory that the other's volume need not have, and hide
// what that has there.
Status check_routes(const std::vector<Route>& routes) {
  for (const auto& route : routes) {
    const std::string first = route.path.substr(0, route.path.find('/'));
    if (first == kWorkspace || first == kControl)
      return fail(Code::invalid, "the router's grant has a route named " + route.path +
                                     ", which Linkspan uses itself; ask its operator");
    for (const auto& other : routes)
      if (other.path.rfind(route.path + "/", 0) == 0)
        return fail(Code::unsupported, "the router's grant has the route " + other.path +
                                           " inside of the route " + route.path +
                                           ", which cannot be mounted; ask its operator to "
                                           "give one of them another path");
  }
  return ok();
}

// Not another mount's place: what is mounted on that would be hidden.
Status check_free(const std::string& place) {
  LINKSPAN_TRY(const auto mounts, read_mountinfo());
  const auto top = mount_at(mounts, place);
  if (!top || top->type != kFuseType) return ok();
  return fail(Code::busy, "cannot expose " + place +
                              ": another Linkspan mount has its place there (linkspan status); "
                              "unmount that, or choose another --expose");
}

bool named(const std::vector<Error>& failures, const Error& error) {
  return std::any_of(failures.begin(), failures.end(),
                     [&](const auto& other) { return other.message == error.message; });
}

}  // namespace

MountSession::MountSession(SessionOptions options)
    : options_(std::move(options)),
      mounting_(can_mount()),
      started_(Clock::system().now()),
      stack_([this](const auto& steps) { save(steps); }, options_.inherited) {}

Result<std::unique_ptr<MountSession>> MountSession::open(SessionOptions options,
                                                         client::CancelToken* cancel) {
  if (const auto faults = planted_faults(); !faults.empty())
    fuse::log(fuse::LogLevel::error, faults);
  std::string token = std::move(options.token);
  options.token.clear();
  std::unique_ptr<MountSession> session(new MountSession(std::move(options)));
  client::GrpcClientOptions client_options;
  client_options.address = session->options_.router;
  client_options.token = std::move(token);
  session->client_ = client::make_grpc_client(std::move(client_options));
  Status opened = session->attach(cancel);
  if (opened.ok()) {
    session->plan();
    opened = session->mount_all();
  }
  if (opened.ok()) return session;
  for (const auto& error : session->close(nullptr)) fuse::log(fuse::LogLevel::error, error.message);
  if (!session->stack_.inherits()) return opened.error();
  const std::string& dir = session->options_.dir;
  return fail(opened.code(), opened.error().message + "; until it is mounted again, " + dir +
                                 " can be neither read nor written (clean up with: linkspan "
                                 "umount " +
                                 dir + ")");
}

MountSession::~MountSession() {
  close(nullptr);
}

Status MountSession::attach(client::CancelToken* cancel) {
  client::Call call = call_within(kAttachTimeout);
  call.cancel = cancel;
  auto attached = client_->attach(call, this);
  if (!attached.ok() && attached.code() == Code::unauthenticated)
    return fail(Code::unauthenticated, "the router at " + options_.router +
                                           " refused the token: " + attached.error().message);
  LINKSPAN_TRY(info_, std::move(attached));
  LINKSPAN_CHECK(check_routes(info_.routes));
  auto routes = std::make_shared<Routes>();
  for (const auto& route : info_.routes) {
    RoutePart part{route, nullptr, nullptr, nullptr};
    part.notifier = std::make_unique<fuse::Notifier>(
        fuse::NotifierOptions{.root = route.root, .read_only = !route.writable});
    vfs::VfsOptions vfs;
    vfs.route = route;
    vfs.ownership = options_.ownership;
    vfs.uid = ::getuid();
    vfs.gid = ::getgid();
    vfs.spool_dir = options_.spool_dir;
    vfs.on_loss = [](const std::string& text) { fuse::log(fuse::LogLevel::error, text); };
    vfs.on_conflict = [](const std::string& text) { fuse::log(fuse::LogLevel::warning, text); };
    part.vfs = vfs::make_vfs(client_.get(), part.notifier.get(), vfs);
    part.own = std::make_unique<fuse::OwnCalls>(part.vfs.get(), part.notifier.get());
    routes->push_back(std::move(part));
  }
  std::sort(routes->begin(), routes->end(),
            [](const auto& a, const auto& b) { return a.route.path < b.route.path; });
  const std::lock_guard lock(mutex_);
  routes_ = std::move(routes);
  return ok();
}

// Decided before anything is mounted: from then on the control files read it.
void MountSession::plan() {
  if (!options_.workspace.empty())
    workspace_form_ = mounting_ ? "bind mount" : "served through the mount";
  if (options_.expose.empty()) return;
  const std::string prefix = (options_.expose == "/" ? "" : options_.expose) + "/";
  for (const auto& part : *routes()) exposed_.push_back(prefix + part.route.path);
  if (!options_.workspace.empty()) exposed_.push_back(prefix + kWorkspace);
  exposed_.push_back(prefix + kControl);
}

Status MountSession::mount_all() {
  LINKSPAN_CHECK(stack_.uncover(options_.dir));
  LINKSPAN_CHECK(stack_.cover(options_.dir));
  stack_.fuse(options_.dir);
  LINKSPAN_CHECK(
      mounts_.add_control(options_.dir, control_tree(), {.uid = ::getuid(), .gid = ::getgid()}));
  LINKSPAN_CHECK(stack_.seal());
  LINKSPAN_CHECK(mount_routes());
  LINKSPAN_CHECK(mount_workspace());
  LINKSPAN_CHECK(expose_all());
  LINKSPAN_CHECK(check_all());
  start_watchers();
  for (const auto& error : stack_.settle()) fuse::log(fuse::LogLevel::error, error.message);
  return ok();
}

Status MountSession::mount_routes() {
  if (!mounting_) LINKSPAN_CHECK(stack_.make_directory(aside()));
  for (const auto& part : *routes()) LINKSPAN_CHECK(mount_route(part));
  return ok();
}

Status MountSession::mount_route(const RoutePart& part) {
  const std::string path = route_directory(part.route.path);
  if (!mounting_) {
    LINKSPAN_CHECK(stack_.make_directory(path));
    LINKSPAN_CHECK(stack_.cover(path));
  }
  stack_.fuse(path);
  LINKSPAN_CHECK(mounts_.add_route(
      path, part.vfs.get(), part.notifier.get(),
      {.read_only = options_.read_only || !part.route.writable, .own = part.own.get()}));
  return stack_.seal();
}

void MountSession::start_watchers() {
  for (const auto& part : *routes())
    watchers_.add_route(route_directory(part.route.path), part.vfs->observer(), part.own.get(),
                        part.notifier.get());
  watchers_.start([this] {
    uint64_t requests = 0;
    for (const auto& state : mounts_.status()) requests += state.requests;
    return requests;
  });
}

std::string MountSession::aside() const {
  return options_.mounts_dir + "/" + hex(hash_text(options_.dir)) + ".d";
}

std::string MountSession::route_directory(const std::string& path) const {
  if (mounting_) return options_.dir + "/" + path;
  std::string name = path;
  std::replace(name.begin(), name.end(), '/', '_');
  if (name != path) name += "." + hex(hash_text(path));  // not that of a route named with a "_"
  return aside() + "/" + name;
}

Status MountSession::mount_workspace() {
  if (options_.workspace.empty()) return ok();
  const std::string path = options_.dir + "/" + kWorkspace;
  if (!mounting_) return serve_workspace();
  LINKSPAN_CHECK(bind(options_.workspace, path));
  if (options_.read_only &&
      ::mount(nullptr, path.c_str(), nullptr,
              MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) != 0)
    return system_error("cannot make " + path + " read-only", errno);
  return ok();
}

Status MountSession::serve_workspace() {
  LINKSPAN_TRY(auto tree, local::LocalTree::open(options_.workspace));
  const std::string path = route_directory(kWorkspace);
  LINKSPAN_CHECK(stack_.make_directory(path));
  LINKSPAN_CHECK(stack_.cover(path));
  stack_.fuse(path);
  LINKSPAN_CHECK(mounts_.add_local(path, std::move(tree)));
  return stack_.seal();
}

Status MountSession::expose_all() {
  for (const auto& to : exposed_)
    LINKSPAN_CHECK(
        expose(options_.dir + to.substr(options_.expose == "/" ? 0 : options_.expose.size()), to));
  return ok();
}

Status MountSession::expose(const std::string& from, const std::string& to) {
  struct stat st;
  LINKSPAN_CHECK(check_free(to));
  const bool there = ::lstat(to.c_str(), &st) == 0;
  if (!there && errno != ENOENT) return system_error("cannot expose " + to, errno);
  if (is_link_to(to, from)) {
    stack_.take_over(MountStep::Kind::symlink, to);
    return ok();
  }
  if (there && !S_ISDIR(st.st_mode))
    return fail(Code::not_directory, "cannot expose " + to + ": it is there and no directory");
  if (there) {
    LINKSPAN_TRY(const bool empty, is_empty_directory(to));
    if (!empty)
      return fail(Code::not_empty, "cannot expose " + to +
                                       ": the directory is not empty, and it would be hidden; "
                                       "move it away or choose another --expose");
  }
  LINKSPAN_CHECK(stack_.make_parents(to));
  if (!mounting_) {
    if (there)
      return fail(Code::exists, "cannot expose " + to +
                                    " without the right to mount: a symlink "
                                    "has to take its place; remove it with: rmdir " +
                                    to);
    return stack_.symlink(from, to);
  }
  if (there)
    stack_.take_over(MountStep::Kind::directory, to);
  else
    LINKSPAN_CHECK(stack_.make_directory(to));
  LINKSPAN_CHECK(stack_.cover(to));
  return bind(from, to);
}

Status MountSession::bind(const std::string& from, const std::string& to) {
  LINKSPAN_CHECK(stack_.bind(from, to));
  const std::lock_guard lock(mutex_);
  binds_.emplace_back(to, fuse::mounted_device(to));
  return ok();
}

bool MountSession::is_abandoned() const {
  const auto states = mounts_.status();
  return !states.empty() && !states.front().in_place;
}

// What is not (any more) at its place, or hidden there by a mount of somebody else.
std::vector<std::string> MountSession::missing() const {
  std::vector<std::string> paths;
  for (const auto& state : mounts_.status())
    if (state.ended || !state.in_place) paths.push_back(state.mountpoint);
  const std::lock_guard lock(mutex_);
  for (const auto& [path, device] : binds_)
    if (!fuse::is_mounted(path, device)) paths.push_back(path);
  return paths;
}

// Every mount answers, and with what we put there.
Status MountSession::check_all() const {
  std::vector<std::string> paths{options_.dir};
  for (const auto& part : *routes()) paths.push_back(options_.dir + "/" + part.route.path);
  if (!options_.workspace.empty()) paths.push_back(options_.dir + "/" + kWorkspace);
  paths.insert(paths.end(), exposed_.begin(), exposed_.end());
  for (const auto& path : paths) {
    struct statfs fs;
    struct stat st;
    if (::stat(path.c_str(), &st) != 0 || ::statfs(path.c_str(), &fs) != 0)
      return system_error("the mount at " + path + " does not answer", errno);
  }
  return ok();
}

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
  if (link.link == client::Link::connected) {
    auto reply = client_->changes(call_within(kChangesTimeout), request);
    if (reply.ok()) {
      const std::lock_guard lock(mutex_);
      changes_ = std::move(reply->changes);
    } else {
      stale = "the router did not answer (" + reply.error().message + "): the log as last seen";
    }
  } else {
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
          .drop_everything = [this] { drop_everything(); }};
}

void MountSession::drop_everything() {
  on_caches_lost();
  for (const auto& part : *routes()) part.notifier->drop_everything();
}

// Cheap enough for `status`: the last number seen, asked anew now and then while the router is
// there, and not for long.
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

std::shared_ptr<const MountSession::Routes> MountSession::routes() const {
  const std::lock_guard lock(mutex_);
  return routes_ ? routes_ : std::make_shared<const Routes>();
}

void MountSession::sync(client::CancelToken* cancel, std::vector<Error>* failures) {
  for (const auto& part : *routes()) {
    if (part.vfs->stats().dirty_files == 0) continue;
    vfs::Caller caller{.uid = ::getuid(), .gid = ::getgid(), .tid = 0, .cancel = cancel};
    if (auto synced = part.vfs->sync_all(caller); !synced.ok())
      failures->push_back(
          fail(synced.code(), "unsaved changes in " + part.route.path +
                                  " could not be written: " + synced.error().message));
  }
}

std::vector<Error> MountSession::close(client::CancelToken* cancel) {
  std::vector<Error> failures;
  if (std::exchange(closed_, true)) return failures;
  const auto add = [&](std::vector<Error> more) {
    failures.insert(failures.end(), more.begin(), more.end());
  };
  std::vector<Error> first_try;  // what is still open may be written by the second
  sync(cancel, &first_try);
  watchers_.stop();
  add(stack_.undo_above_fuse());
  if (auto closed = mounts_.close(); !closed.ok()) failures.push_back(closed.error());
  watchers_.join();
  sync(cancel, &failures);
  // What was refused for good is dropped: the second try has nothing to say of it.
  for (auto& error : first_try)
    if (!may_pass(error.code) && !named(failures, error)) failures.push_back(std::move(error));
  add(stack_.undo());
  if (client_) client_->detach();
  if (options_.mounts_dir.empty()) return failures;
  std::string text;
  for (const auto& failure : failures) text += (text.empty() ? "" : "; ") + failure.message;
  if (!text.empty()) leave_failure(options_.mounts_dir, options_.dir, text);
  if (!stack_.inherits()) forget_state(options_.mounts_dir, options_.dir);
  return failures;
}

void MountSession::save(const std::vector<MountStep>& steps) const {
  if (options_.mounts_dir.empty()) return;
  MountState state{options_.dir,       this_process(),        options_.router,
                   options_.workspace, format_time(started_), steps};
  if (auto saved = save_state(options_.mounts_dir, state); !saved.ok())
    fuse::log(fuse::LogLevel::warning, saved.error().message);
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
  return nlohmann::json{{"dir", options_.dir},
                        {"pid", ::getpid()},
                        {"router", options_.router},
                        {"routes", std::move(routes)},
                        {"exposed", exposed_}}
             .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
         "\n";
}

void MountSession::on_revoke(const Revocation& revocation) {
  auto note = watchers_.note(revocation);
  for (const auto& part : *routes()) part.vfs->on_revoke(revocation);
  watchers_.changed(std::move(note));
}

void MountSession::on_caches_lost() {
  for (const auto& part : *routes()) part.vfs->on_caches_lost();
  watchers_.caches_lost();
}

void MountSession::on_locks_lost(const std::vector<Lock>& locks) {
  fuse::log(fuse::LogLevel::error,
            std::to_string(locks.size()) +
                " locks were lost while the router was away: what goes on to write under them "
                "gets EIO and must open its files again");
  for (const auto& part : *routes()) part.vfs->on_locks_lost(locks);
}

void MountSession::on_link(const client::LinkState& state) {
  const bool up = state.link == client::Link::connected;
  fuse::log(up ? fuse::LogLevel::info : fuse::LogLevel::warning,
            up ? "connected to " + state.address : "the router is away: " + state.reason);
}

}  // namespace linkspan::cli
