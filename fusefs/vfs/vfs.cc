#include "fusefs/vfs/vfs.h"

#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {

RouteVfs::RouteVfs(client::RouterClient* client, KernelCache* kernel, VfsOptions options)
    : options_(std::move(options)),
      client_(client),
      tree_(client, &content_, &gate_, &options_),
      contents_(client, &content_),
      bases_(options_.clock),
      kernel_(kernel, &gate_, !options_.route.writable()),
      relatime_(&tree_, &options_),
      commits_(Commits::Parts{&tree_, &files_, &kernel_, &bases_, &content_, &options_}),
      locks_(Locks::Parts{client_, &files_, &commits_, &options_}),
      unsettled_(client_, &options_, [this](const Revocation& touched, const Revocation& drop) {
        forget(drop);
        tree_.let_in(touched);
      }) {
  spool_.dir = options_.spool_dir;
}

RouteVfs::~RouteVfs() {
  unsettled_.stop();
  locks_.stop();
  commits_.stop();
  relatime_.stop();
}

Status RouteVfs::writable() const {
  if (options_.route.writable()) return ok();
  return fail(Code::read_only, options_.route.path + "/ is read-only here");
}

// The last before an unmount: what it cannot commit is lost.
Status RouteVfs::sync_all(const Caller& c) {
  Doing doing = Doing::last_chance(options_, c.cancel);
  Status first = ok();
  for (const auto& file : files_.dirty()) {
    const auto done = commits_.commit(doing, *file);
    if (done.ok()) doing = doing.renewed(options_);
    if (!done.ok() && first.ok()) first = done;
  }
  return first;
}

// First our own caches, so that a reply from now on is not of before; then the replies that are on
// their way; then the kernel. A dirty file keeps its local view, pages and all: what others did
// shows when it is committed.
void RouteVfs::on_revoke(const Revocation& revocation) {
  revocations_.fetch_add(1, std::memory_order_relaxed);
  unsettled_.names_moved(revocation.everything ? nullptr : &revocation.names);
  forget(revocation);
}

void RouteVfs::forget(const Revocation& revocation) {
  tree_.revoke(revocation);
  if (revocation.everything) {
    on_caches_lost();
    return;
  }
  gate_.advance();
  const auto lease = [this] { return client_->lease_valid(); };
  kernel_.drop_names(revocation.names, lease);
  kernel_.sizes().notices_begin(revocation.nodes);
  std::vector<Ino> attributes, contents;
  for (const RevokedNode& node : revocation.nodes) {
    // With names it is a rename over another file, which renumbers the versions of the moved one.
    if (node.content && !revocation.names.empty()) kernel_.sizes().untell(node.ino);
    const auto file = files_.find(node.ino);
    const auto view = file ? file->view() : std::nullopt;
    // The router counts us out from now on. Who asks again counts, and a mapping asks only for
    // pages that are not there.
    if (view || (!node.content && !file)) {
      attributes.push_back(node.ino);
      continue;
    }
    if (node.content) content_.drop(node.ino);
    contents.push_back(node.ino);
  }
  kernel_.drop_revoked(attributes, std::move(contents), lease);
  gate_.advance();
  kernel_.sizes().notices_ended(revocation.nodes, gate_.now());
}

void RouteVfs::on_caches_lost() {
  unsettled_.names_moved(nullptr);
  drop_caches([this] { return client_->lease_valid(); });
}

void RouteVfs::drop_caches(const std::function<bool()>& lease) {
  const cache::Evicted known = tree_.lose(/*keep_stale=*/!options_.route.writable());
  gate_.advance();
  kernel_.sizes().all_notices_begin();
  kernel_.drop_all(
      known,
      [this](Ino ino) {
        const auto file = files_.find(ino);
        return file && file->dirty();
      },
      lease);
  gate_.advance();
  kernel_.sizes().all_notices_ended(gate_.now());
}

void RouteVfs::names_moved(std::initializer_list<cache::Name> names) {
  std::vector<RevokedName> moved;
  for (const cache::Name& name : names) moved.push_back({name.parent, name.name});
  unsettled_.names_moved(&moved);
}

// The kernel holds locks of the caller's request, so only notices that take none. Which node a name
// led to is told by no answer: where the caches do not know it either, it may be any.
void RouteVfs::unless_heard(OpNumber operation, const std::vector<cache::Name>& taken,
                            const std::vector<cache::Name>& made, std::vector<RevokedNode> nodes) {
  if (!operation) return;
  Revocation touched;
  touched.nodes = std::move(nodes);
  const auto touch = [&touched](const cache::Name& name) {
    touched.names.push_back({name.parent, name.name});
    touched.nodes.push_back({name.parent, false, true});
  };
  for (const cache::Name& name : made) touch(name);
  const uint64_t moves = unsettled_.moves();
  for (const cache::Name& name : taken) {
    touch(name);
    const auto ino = tree_.sure_name(name);
    if (!ino) touched.everything = true;
    if (ino && *ino) touched.nodes.push_back({*ino, true, false});
  }
  tree_.hold_off(touched);
  // Nobody was acknowledged anything: the pages may go later, the dying caller must not wait.
  if (touched.everything) drop_caches([] { return false; });
  gate_.advance();
  kernel_.drop_names(touched.names, [] { return false; });
  for (const RevokedNode& node : touched.nodes) {
    kernel_.drop_attributes(node.ino);
    const auto file = files_.find(node.ino);
    if (!node.content || (file && file->view())) continue;
    content_.drop(node.ino);
    kernel_.drop_content_later(node.ino);
  }
  unsettled_.add(operation, std::move(touched), moves);
}

// Called now and then from operations that fill the caches.
void RouteVfs::forget_evicted() {
  kernel_.evicted(tree_.take_evicted(), !options_.route.writable());
}

Vfs::Stats RouteVfs::stats() const {
  Stats stats;
  const auto sizes = tree_.sizes();
  stats.nodes = sizes.nodes;
  stats.names = sizes.names;
  stats.content_bytes = content_.bytes();
  for (const auto& file : files_.dirty()) {
    ++stats.dirty_files;
    stats.dirty_bytes += file->dirty_bytes();
  }
  const TreeCounters& counters = tree_.counters();
  stats.attr_hits = counters.attr_hits;
  stats.attr_misses = counters.attr_misses;
  stats.name_hits = counters.name_hits;
  stats.name_misses = counters.name_misses;
  stats.content_hits = contents_.hits();
  stats.content_misses = contents_.misses();
  stats.revocations = revocations_;
  stats.commits = commits_.count();
  stats.lost_commits = commits_.lost_count();
  const auto refusal = commits_.refusal();
  stats.refused = refusal.text;
  stats.refused_since = refusal.since;
  stats.refused_last = refusal.last;
  stats.conflicts = commits_.conflict_count() + refused_;
  stats.lock_waits = locks_.waits();
  stats.locks_lost = locks_.lost_count();
  stats.wal_refusals = wal_refusals_.recent(options_.clock->now());
  stats.wal_refused = wal_refusals_.total();
  return stats;
}

std::unique_ptr<Vfs> make_vfs(client::RouterClient* client, KernelCache* kernel,
                              VfsOptions options) {
  return std::make_unique<RouteVfs>(client, kernel, std::move(options));
}

}  // namespace linkspan::vfs
