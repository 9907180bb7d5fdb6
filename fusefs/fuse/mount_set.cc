#include "fusefs/fuse/mount_set.h"

#include <chrono>
#include <utility>

#include "fusefs/fuse/log.h"

namespace linkspan::fuse {

namespace {

constexpr std::chrono::milliseconds kQuiet{300};  // from one mount's end to the next's
constexpr std::chrono::seconds kSettle{5};        // in all

}  // namespace

MountSet::~MountSet() {
  (void)close().ok();
}

Status MountSet::add(MountOptions mount, Part part, Notifier* notifier) {
  ConnectionOptions options;
  options.mount = std::move(mount);
  {
    std::lock_guard lock(mutex_);
    if (parts_.empty()) top_ = options.mount.mountpoint;
  }
  options.on_ended = [this, mountpoint = options.mount.mountpoint] {
    bool closing = false;
    {
      std::lock_guard lock(mutex_);
      if (mountpoint == top_) ended_ = mountpoint;
      ++ended_count_;
      closing = interrupted_;
      changed_.notify_all();
    }
    if (!closing) log(LogLevel::warning, mountpoint + " was unmounted by somebody");
  };
  LINKSPAN_TRY(part.connection, Connection::open(options, part.operations.get(), notifier));
  std::lock_guard lock(mutex_);
  parts_.push_back(std::move(part));
  return ok();
}

Status MountSet::add_control(const std::string& dir, ControlTree tree, ControlOptions options) {
  MountOptions mount;
  mount.mountpoint = dir;
  // Not mounted "ro": fusermount3 would then refuse to mount the routes over its directories. Every
  // change is answered with EROFS all the same.
  return add(std::move(mount),
             {nullptr, make_control_operations(std::move(tree), options), nullptr}, nullptr);
}

Status MountSet::add_route(const std::string& dir, vfs::Vfs* vfs, Notifier* notifier,
                           RouteMountOptions options) {
  MountOptions mount;
  mount.mountpoint = dir;
  mount.fsname = options.fsname;
  mount.read_only = options.read_only;
  return add(
      std::move(mount),
      {nullptr, make_vfs_operations(vfs, notifier, {options.read_only, options.own}), nullptr},
      notifier);
}

Status MountSet::add_local(const std::string& dir, std::unique_ptr<local::LocalTree> tree) {
  MountOptions mount;
  mount.mountpoint = dir;
  auto operations = make_local_operations(tree.get());
  return add(std::move(mount), {std::move(tree), std::move(operations), nullptr}, nullptr);
}

std::string MountSet::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return interrupted_ || !ended_.empty(); });
  return interrupted_ ? std::string() : ended_;
}

void MountSet::settle() {
  const auto limit = std::chrono::steady_clock::now() + kSettle;
  std::unique_lock lock(mutex_);
  while (ended_count_ < parts_.size() && std::chrono::steady_clock::now() < limit) {
    const size_t before = ended_count_;
    if (!changed_.wait_for(lock, kQuiet, [&] { return ended_count_ != before; })) return;
  }
}

void MountSet::interrupt() {
  std::lock_guard lock(mutex_);
  interrupted_ = true;
  changed_.notify_all();
}

Status MountSet::close() {
  std::vector<Part> parts;
  {
    std::lock_guard lock(mutex_);
    parts.swap(parts_);
    interrupted_ = true;
    changed_.notify_all();
  }
  Status first = ok();
  for (; !parts.empty(); parts.pop_back()) {
    Status closed = parts.back().connection->close();
    if (first.ok() && !closed.ok()) first = closed;
  }
  return first;
}

std::vector<MountSet::State> MountSet::status() const {
  std::lock_guard lock(mutex_);
  std::vector<State> states;
  for (const Part& part : parts_) {
    const Connection& c = *part.connection;
    const Counters& n = c.counters();
    states.push_back({c.mountpoint(), c.ended(), c.in_place(), c.allow_other(), n.requests.load(),
                      n.unexpected_errors.load(), n.unanswered.load(), n.failed_replies.load(),
                      n.cancelled.load()});
  }
  return states;
}

}  // namespace linkspan::fuse
