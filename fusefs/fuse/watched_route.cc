#include "fusefs/fuse/watched_route.h"

#include <algorithm>

#include "fusefs/fuse/log.h"

namespace linkspan::fuse {
namespace {

constexpr size_t kPage = 1000;  // entries asked for at once
constexpr size_t kDepth = 64;   // directories above one that are looked at

bool same_attributes(const Attr& a, const Attr& b) {
  return a.mode == b.mode && a.uid == b.uid && a.gid == b.gid;
}

bool same_content(const Attr& a, const Attr& b) {
  return a.kind != Kind::file || (a.version == b.version && a.size == b.size && a.mtime == b.mtime);
}

}  // namespace

// One call of tell(): what was told in it is not told again.
struct WatchedRoute::Round {
  const vfs::Caller& c;
  Nudges& nudges;
  Unfinished* again;
  std::set<Place> told;
  std::set<Ino> told_nodes;
  Told counts;
  unsigned tries = 0;  // of the change that is told now

  // False: to be tried once more.
  bool tried(const Status& status) {
    if (!status.ok() && status.code() == Code::busy) return false;
    ++(status.ok() ? counts.raised : counts.failed);
    if (!status.ok())
      log(LogLevel::debug, "programs that watch are not told: " + status.error().message);
    return true;
  }
};

bool WatchedRoute::concerns(const NodeChange& change) const {
  if (nodes_.count(change.ino) > 0 || dirs_.count(change.ino) > 0) return true;
  if (found_at_.count(change.ino) > 0) return true;
  const auto last = dirs_.empty() ? std::nullopt : observer_->last_name(change.ino);
  return last && dirs_.count(last->parent) > 0;
}

// ---- what is watched ----

bool WatchedRoute::list(const vfs::Caller& c, Ino ino, std::map<std::string, Attr>* names) {
  Cookie after;
  for (size_t seen = 0; seen <= kWatchedNames;) {
    auto page = observer_->page(c, ino, after, kPage);
    if (!page.ok()) return false;
    for (auto& entry : page->entries) {
      after = entry.cookie;
      names->insert_or_assign(std::move(entry.name), entry.attr);
      ++seen;
    }
    if (page->end || page->entries.empty()) return true;
  }
  return false;
}

std::optional<std::string> WatchedRoute::name_of(const vfs::Caller& c, Ino dir, Ino parent) {
  if (auto last = observer_->last_name(dir); last && last->parent == parent) {
    const auto now = observer_->name(c, parent, last->name);
    if (now.ok() && *now && (*now)->ino == dir) return std::move(last->name);
  }
  std::map<std::string, Attr> names;
  if (list(c, parent, &names))
    for (const auto& [name, attr] : names)
      if (attr.ino == dir) return name;
  return std::nullopt;
}

std::optional<std::string> WatchedRoute::path_of(const vfs::Caller& c, Ino dir, Ino root) {
  std::string path;
  for (size_t depth = 0; dir != root; ++depth) {
    const auto now = observer_->node(c, dir);
    if (!now.ok() || !now->parent || depth >= kDepth) return std::nullopt;
    const auto name = name_of(c, dir, now->parent);
    if (!name) return std::nullopt;
    path = path.empty() ? *name : *name + "/" + path;
    dir = now->parent;
  }
  return path;
}

void WatchedRoute::set_marks(const vfs::Caller& c, const std::set<Ino>& marks, bool changing) {
  for (auto at = dirs_.begin(); at != dirs_.end();) {
    const Ino ino = (at++)->first;
    if (marks.count(ino) == 0) forget_directory(ino);
  }
  std::erase_if(nodes_, [&](const auto& node) { return marks.count(node.first) == 0; });
  for (const Ino ino : marks) {
    if (dirs_.count(ino) > 0 || nodes_.count(ino) > 0) continue;
    if (size() >= kWatched) return;
    const auto now = observer_->node(c, ino);
    if (!now.ok()) continue;  // the next scan tries again
    if (now->kind != Kind::directory) {
      nodes_.emplace(ino, *now);
      continue;
    }
    std::map<std::string, Attr> names;
    const bool complete = list(c, ino, &names);
    Directory& dir = dirs_[ino];
    dir.self = *now;
    dir.complete = complete;
    dir.fresh = changing;
    for (const auto& [name, attr] : names) remember(ino, name, attr);
  }
}

void WatchedRoute::settled() {
  for (auto& [ino, dir] : dirs_) dir.fresh = false;
}

void WatchedRoute::remember(Ino dir, const std::string& name, const std::optional<Attr>& now) {
  const auto at = dirs_.find(dir);
  if (at == dirs_.end()) return;
  auto& names = at->second.names;
  if (const auto old = names.find(name); old != names.end()) {
    const auto places = found_at_.find(old->second.ino);
    if (places != found_at_.end()) {
      places->second.erase({dir, name});
      if (places->second.empty()) found_at_.erase(places);
    }
    names.erase(old);
    --remembered_;
  }
  if (!now) return;
  if (const auto node = nodes_.find(now->ino); node != nodes_.end()) node->second = *now;
  if (remembered_ >= kWatchedNames) {
    at->second.complete = false;
    return;
  }
  names.emplace(name, *now);
  found_at_[now->ino].insert({dir, name});
  ++remembered_;
}

void WatchedRoute::forget_directory(Ino dir) {
  const auto at = dirs_.find(dir);
  if (at == dirs_.end()) return;
  std::vector<std::string> names;
  for (const auto& [name, attr] : at->second.names) names.push_back(name);
  for (const auto& name : names) remember(dir, name, std::nullopt);
  dirs_.erase(dir);
}

// What was made or moved on this mount itself is not remembered, but the caches know its name.
std::vector<WatchedRoute::Place> WatchedRoute::places_of(Ino ino) {
  std::vector<Place> places;
  if (const auto at = found_at_.find(ino); at != found_at_.end())
    places.assign(at->second.begin(), at->second.end());
  if (!places.empty() || dirs_.empty()) return places;
  if (auto last = observer_->last_name(ino); last && dirs_.count(last->parent) > 0)
    places.emplace_back(last->parent, std::move(last->name));
  return places;
}

// The kernel will ask for the attributes of a directory and those above it, and what the caches do
// not know is not waited for then.
void WatchedRoute::warm(const vfs::Caller& c, Ino dir) {
  for (size_t depth = 0; dir && depth < kDepth; ++depth) {
    const auto now = observer_->node(c, dir);
    if (!now.ok() || now->parent == dir) return;
    dir = now->parent;
  }
}

bool WatchedRoute::is_gone(const vfs::Caller& c, Ino ino) {
  const auto now = observer_->node(c, ino);
  if (now.ok()) return now->nlink == 0;
  return now.code() == Code::stale_node || now.code() == Code::not_found;
}

// ---- what is told ----

void WatchedRoute::difference(Round& round, const Place& place, const std::optional<Attr>& before,
                              const std::optional<Attr>& now) {
  const auto& [dir, name] = place;
  Status done = ok();
  if (!now && before) {
    const bool gone = before->ino && before->seq && is_gone(round.c, before->ino);
    done = round.nudges.removed(dir, name, *before, gone);
    if (gone) round.told_nodes.insert(before->ino);
  } else if (now && !before) {
    done = round.nudges.created(dir, name, *now);
    round.told_nodes.insert(now->ino);
  } else if (now && before->ino != now->ino) {
    done = round.nudges.replaced(dir, name, *now);
  } else if (now && !same_content(*before, *now)) {
    done = round.nudges.modified(dir, name, *now);
    round.told_nodes.insert(now->ino);
  } else if (now && !same_attributes(*before, *now)) {
    done = round.nudges.attributes(dir, name);
    round.told_nodes.insert(now->ino);
  } else {
    return;
  }
  if (!round.tried(done)) {
    round.again->names.push_back({dir, name, before ? before->ino : Ino(), round.tries});
    return;
  }
  remember(dir, name, now);
}

void WatchedRoute::tell_name(Round& round, const NameChange& change) {
  round.tries = change.tries;
  const auto dir = dirs_.find(change.dir);
  if (dir == dirs_.end()) return;
  const Place place{change.dir, change.name};
  if (!round.told.insert(place).second) return;
  warm(round.c, change.dir);
  const auto now = observer_->name(round.c, change.dir, change.name);
  if (!now.ok()) {
    if (now.code() != Code::stale_node && now.code() != Code::not_found)
      round.again->names.push_back(change);
    return;
  }
  // The caches know of what was done here; the memory of what was there when somebody looked.
  std::optional<Attr> before;
  const auto& names = dir->second.names;
  const bool known = dir->second.complete && !dir->second.fresh;
  if (const auto at = names.find(change.name); at != names.end() && !dir->second.fresh)
    before = at->second;
  if (change.before && !*change.before) before.reset();
  if (change.before && *change.before && (!before || before->ino != *change.before)) {
    before.emplace();
    before->ino = *change.before;
    if (*now && (*now)->ino == before->ino) before = **now;
  }
  // Nobody knows whether it was there: it counts as renamed to its place, or as removed.
  if (!before && !known && !change.before) {
    before.emplace();
    if (*now) before->kind = (*now)->kind;
  }
  difference(round, place, before, *now);
}

void WatchedRoute::tell_place(Round& round, const Place& place, const Attr& now, bool content) {
  if (!round.told.insert(place).second) return;
  warm(round.c, place.first);
  const auto& names = dirs_.at(place.first).names;
  const auto at = names.find(place.second);
  Status done = ok();
  if (content && now.kind == Kind::file)
    done = round.nudges.modified(place.first, place.second, now);
  else if (at != names.end() && !same_attributes(at->second, now))
    done = round.nudges.attributes(place.first, place.second);
  else
    return remember(place.first, place.second, now);
  round.told_nodes.insert(now.ino);
  if (!round.tried(done))
    round.again->nodes.push_back({now.ino, content, false, Seq(), round.tries});
  else
    remember(place.first, place.second, now);
}

void WatchedRoute::tell_node(Round& round, const NodeChange& change) {
  round.tries = change.tries;
  const auto places = places_of(change.ino);
  if (!places.empty()) {
    const auto now = observer_->node(round.c, change.ino);
    if (now.ok()) {
      for (const Place& place : places)
        if (now->nlink > 0) tell_place(round, place, *now, change.content);
    } else if (now.code() != Code::stale_node && now.code() != Code::not_found) {
      round.again->nodes.push_back(change);
      return;
    }
  }
  if (dirs_.count(change.ino) > 0) tell_directory(round, change);
  if (nodes_.count(change.ino) > 0 && round.told_nodes.count(change.ino) == 0)
    tell_watched(round, change);
}

void WatchedRoute::tell_watched(Round& round, const NodeChange& change) {
  Attr& before = nodes_.at(change.ino);
  const auto now = observer_->node(round.c, change.ino);
  const bool gone =
      now.ok() ? now->nlink == 0 : now.code() == Code::stale_node || now.code() == Code::not_found;
  if (!now.ok() && !gone) {
    round.again->nodes.push_back(change);
    return;
  }
  Status done = ok();
  if (gone)
    done = round.nudges.node_lost(now.ok() ? *now : before);
  else if (change.content && now->kind == Kind::file)
    done = round.nudges.node_modified(*now);
  else if (!same_attributes(before, *now) || before.nlink != now->nlink)
    done = round.nudges.node_attributes(*now);
  else
    return;
  if (!round.tried(done)) {
    round.again->nodes.push_back(change);
    return;
  }
  if (gone)
    nodes_.erase(change.ino);
  else
    before = *now;
}

// Names that the router was never asked for: they were not among what was revoked.
void WatchedRoute::tell_since(Round& round, Ino dir, Seq seq) {
  bool found = false;
  for (const auto& [name, now] : std::map<std::string, Attr>(dirs_.at(dir).names)) {
    if (now.seq < seq) continue;
    found = true;
    if (round.told.insert({dir, name}).second)
      (void)round.tried(round.nudges.replaced(dir, name, now));
  }
  // Something is not there any more. Whoever watches looks for himself.
  if (!found) (void)round.tried(round.nudges.directory_attributes(dir));
}

void WatchedRoute::tell_directory(Round& round, const NodeChange& change) {
  Directory& dir = dirs_.at(change.ino);
  if (dir.fresh && change.listing) tell_since(round, change.ino, change.seq);
  const auto now = observer_->node(round.c, change.ino);
  const bool gone =
      now.ok() ? now->nlink == 0 : now.code() == Code::stale_node || now.code() == Code::not_found;
  warm(round.c, dir.self.parent);
  Status done = ok();
  if (gone) {
    if (round.told_nodes.count(change.ino) == 0) done = round.nudges.directory_lost(dir.self);
  } else if (!now.ok()) {
    round.again->nodes.push_back(change);
    return;
  } else if (!same_attributes(dir.self, *now) && round.told_nodes.count(change.ino) == 0) {
    done = round.nudges.directory_attributes(change.ino);
  } else {
    dir.self = *now;
    return;
  }
  if (!round.tried(done)) {
    round.again->nodes.push_back(change);
    return;
  }
  if (gone)
    forget_directory(change.ino);
  else
    dir.self = *now;
}

Told WatchedRoute::tell(const vfs::Caller& c, const std::vector<NameChange>& names,
                        const std::vector<NodeChange>& nodes, Nudges& nudges, Unfinished* again) {
  Round round{c, nudges, again, {}, {}, {}};
  for (const auto& change : names) tell_name(round, change);
  for (const auto& change : nodes) tell_node(round, change);
  return round.counts;
}

bool WatchedRoute::tell_all(const vfs::Caller& c, Nudges& nudges, Told* told) {
  Unfinished again;
  bool all = true;
  Round round{c, nudges, &again, {}, {}, {}};
  std::vector<Ino> dirs;
  for (const auto& [ino, dir] : dirs_) dirs.push_back(ino);
  for (const Ino ino : dirs) {
    std::map<std::string, Attr> now;
    if (const auto self = observer_->node(c, ino); !self.ok() || !list(c, ino, &now)) {
      all = all && !self.ok() && self.code() == Code::stale_node;
      continue;
    }
    dirs_.at(ino).fresh = false;
    const auto before = dirs_.at(ino).names;
    for (const auto& [name, attr] : before)
      if (now.count(name) == 0) difference(round, {ino, name}, attr, std::nullopt);
    for (const auto& [name, attr] : now) {
      const auto at = before.find(name);
      difference(round, {ino, name},
                 at == before.end() ? std::nullopt : std::optional<Attr>(at->second), attr);
    }
  }
  for (const Ino ino : dirs)
    if (dirs_.count(ino) > 0) tell_directory(round, {ino, false, false, Seq(), 0});
  std::vector<NodeChange> nodes;
  for (const auto& [ino, before] : nodes_) {
    const auto now = observer_->node(c, ino);
    nodes.push_back({ino, now.ok() && !same_content(before, *now), false, Seq(), 0});
  }
  for (const auto& change : nodes)
    if (round.told_nodes.count(change.ino) == 0) tell_watched(round, change);
  told->raised += round.counts.raised;
  told->failed += round.counts.failed;
  return all && again.names.empty() && again.nodes.empty();
}

}  // namespace linkspan::fuse
