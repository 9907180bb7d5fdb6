#include "fusefs/cli/mount_session.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "fusefs/cli/mount_report.h"
#include "fusefs/client/grpc_client.h"
#include "fusefs/fuse/log.h"
#include "linkspan/clock.h"
#include "linkspan/fault_points.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kAttachTimeout = 10s;  // then the router counts as unreachable

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
  std::string instance = std::exchange(options.instance, {});
  std::unique_ptr<MountSession> session(new MountSession(std::move(options)));
  client::GrpcClientOptions client_options;
  client_options.address = session->options_.router;
  client_options.tls = session->options_.tls;
  client_options.token = std::move(token);
  client_options.instance = std::move(instance);
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
  client::Call call;
  call.deadline = std::chrono::steady_clock::now() + kAttachTimeout;
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
        fuse::NotifierOptions{.root = route.root,
                              .read_only = !route.writable(),
                              .allow_epoch = !planted(Fault::no_epoch)});
    vfs::VfsOptions vfs;
    vfs.route = route;
    vfs.ownership = options_.ownership;
    vfs.uid = ::getuid();
    vfs.gid = ::getgid();
    vfs.spool_dir = options_.spool_dir;
    // Names of files are in it, which may forge a line.
    vfs.on_loss = [](const std::string& text) {
      fuse::log(fuse::LogLevel::error, printable(text));
    };
    vfs.on_wal_refused = [](const std::string& text) {
      fuse::log(fuse::LogLevel::warning, printable(text));
    };
    vfs.on_conflict = [this](const std::string& text) {
      count_conflicts_anew();
      fuse::log(fuse::LogLevel::warning, printable(text));
    };
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

void MountSession::drop_everything() {
  on_caches_lost();
  for (const auto& part : *routes()) part.notifier->drop_everything();
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
