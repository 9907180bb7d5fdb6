#include "tests/model/plain_model.h"

#include <algorithm>

#include "linkspan/forked.h"
#include "tests/model/store_subject.h"

namespace linkspan::test {
namespace {

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

bool is_below(const std::string& path, const std::string& dir) {
  return path.size() > dir.size() && path.compare(0, dir.size() + 1, dir + "/") == 0;
}

std::string strip(const std::string& path) {
  return path.empty() ? path : path.substr(1);
}

}  // namespace

PlainModel::PlainModel() {
  auto root = std::make_shared<Node>();
  root->kind = Kind::directory;
  root->mode = 0755;
  root->atime = root->mtime = root->ctime = root->btime = kProvisioned;
  names_[""] = {root, 0};
}

std::string PlainModel::apply(const Op& op, Time now) {
  now_ = now;
  if (op.what == What::open) return open(op);
  if (op.what == What::prune) return prune(prune_horizon(op, now));
  if (op.what == What::retry) return last_.empty() ? "nothing to retry" : last_;
  return last_ = mutate(op);
}

std::string PlainModel::mutate(const Op& op) {
  switch (op.what) {
    case What::create:
      return create(op, Kind::file);
    case What::mkdir:
      return create(op, Kind::directory);
    case What::symlink:
      return create(op, Kind::symlink);
    case What::fifo:
      return create(op, Kind::fifo);
    case What::unlink:
      return remove(op, false);
    case What::rmdir:
      return remove(op, true);
    case What::rename:
      return rename(op);
    case What::exchange:
      return exchange(op);
    case What::link:
      return link(op);
    case What::chmod:
    case What::chown:
    case What::utimes:
    case What::relax:
      return set(op);
    case What::truncate:
      return truncate(op);
    case What::set_xattr:
    case What::remove_xattr:
      return xattr(op);
    default:
      return commit(op);
  }
}

// ---- finding -----------------------------------------------------------------------------------

PlainModel::NodePtr PlainModel::find(const std::string& designator, std::string* error) {
  if (designator.size() == 2 && designator[0] == '@') {
    NodePtr node = slots_[static_cast<size_t>(designator[1] - '0')];
    if (!node) *error = "empty slot";
    return node;
  }
  if (designator.empty()) return names_.at("").node;
  Place place;
  if (!find_place(designator, &place, error)) return nullptr;
  if (!place.node) *error = "not-found";
  return place.node;
}

bool PlainModel::find_place(const std::string& designator, Place* out, std::string* error) {
  std::string base;
  std::string rest = designator;
  if (rest[0] == '@') {
    std::string why;
    const NodePtr held = find(rest.substr(0, 2), &why);
    if (!held) return *error = why, false;
    if (!held->directory()) return *error = "not-directory", false;
    base = path_of(held);
    rest = rest.substr(2);
    if (base == "?" && rest.rfind('/') > 0) return *error = "not-found", false;
    if (base == "?") {  // a removed directory: it has no entries and takes none
      *out = {"?", "?" + rest, held, nullptr};
      return true;
    }
  }
  for (size_t slash = rest.find('/', 1); slash != std::string::npos;
       slash = rest.find('/', slash + 1)) {
    const auto at = names_.find(base + rest.substr(0, slash));
    if (at == names_.end()) return *error = "not-found", false;
    if (!at->second.node->directory()) return *error = "not-directory", false;
  }
  const std::string path = base + rest;
  const auto at = names_.find(path);
  *out = {parent_of(path), path, names_.at(parent_of(path)).node,
          at == names_.end() ? nullptr : at->second.node};
  return true;
}

std::string PlainModel::path_of(const NodePtr& node) const {
  for (const auto& [path, name] : names_)
    if (name.node == node) return path;
  return "?";
}

size_t PlainModel::names_of(const NodePtr& node) const {
  return static_cast<size_t>(std::count_if(
      names_.begin(), names_.end(), [&](const auto& name) { return name.second.node == node; }));
}

bool PlainModel::has_entries(const std::string& path) const {
  return std::any_of(names_.begin(), names_.end(),
                     [&](const auto& name) { return is_below(name.first, path); });
}

std::vector<std::string> PlainModel::entries(const std::string& path) const {
  std::vector<std::pair<uint64_t, std::string>> found;
  for (const auto& [at, name] : names_)
    if (!at.empty() && parent_of(at) == path) found.emplace_back(name.place, at);
  std::sort(found.begin(), found.end());
  std::vector<std::string> out;
  for (auto& [place, at] : found) out.push_back(std::move(at));
  return out;
}

uint32_t PlainModel::links_of(const NodePtr& node) const {
  const auto names = static_cast<uint32_t>(names_of(node));
  if (!node->directory() || names == 0) return names;
  uint32_t links = 2;
  for (const std::string& path : entries(path_of(node)))
    links += names_.at(path).node->directory() ? 1 : 0;
  return links;
}

// ---- names -------------------------------------------------------------------------------------

std::string PlainModel::create(const Op& op, Kind kind) {
  Place place;
  std::string error;
  if (!find_place(op.a, &place, &error)) return error;
  if (place.parent == "?") return "not-found";
  if (place.node) {
    const bool found = kind == Kind::file && !op.flag && place.node->file();
    return found ? "ok found" : "exists";
  }
  auto node = std::make_shared<Node>();
  node->kind = kind;
  node->mode = kind == Kind::symlink ? 0777 : static_cast<uint32_t>(op.x);
  node->uid = kCreatorUid;
  node->gid = kCreatorGid;
  node->target = op.b;
  if ((place.dir->mode & 02000) != 0) {
    node->gid = place.dir->gid;
    if (kind == Kind::directory) node->mode |= 02000;
  }
  node->atime = node->btime = now_;
  modify(node);
  modify(place.dir);
  if (node->file()) add_version(node, "create", "");
  names_[place.path] = {node, next_place_++};
  log(kind == Kind::file        ? "create"
      : kind == Kind::directory ? "mkdir"
      : kind == Kind::symlink   ? "symlink"
                                : "mknod",
      node, place.path);
  return "ok created";
}

std::string PlainModel::remove(const Op& op, bool directory) {
  Place place;
  std::string error;
  if (!find_place(op.a, &place, &error)) return error;
  if (!place.node) return "not-found";
  if (directory && !place.node->directory()) return "not-directory";
  if (!directory && place.node->directory()) return "is-directory";
  if (directory && has_entries(place.path)) return "not-empty";
  names_.erase(place.path);
  touch(place.node);
  modify(place.dir);
  log(directory ? "rmdir" : "unlink", place.node, place.path);
  return "ok";
}

std::string PlainModel::link(const Op& op) {
  std::string error;
  const NodePtr node = find(op.a, &error);
  if (!node) return error;
  Place place;
  if (!find_place(op.b, &place, &error)) return error;
  if (place.parent == "?") return "not-found";
  if (place.node) return "exists";
  if (node->directory()) return "not-permitted";
  if (names_of(node) == 0) return "not-found";
  names_[place.path] = {node, next_place_++};
  touch(node);
  modify(place.dir);
  log("link", node, place.path);
  return "ok";
}

void PlainModel::move_tree(const std::string& from, const std::string& to) {
  std::map<std::string, Name> moved;
  for (auto at = names_.begin(); at != names_.end();) {
    const std::string& path = at->first;
    if (path != from && !is_below(path, from)) {
      ++at;
      continue;
    }
    moved[to + path.substr(from.size())] = at->second;
    at = names_.erase(at);
  }
  names_.insert(moved.begin(), moved.end());
}

std::string PlainModel::rename(const Op& op) {
  Place from, to;
  std::string error;
  if (!find_place(op.a, &from, &error)) return error;
  if (!find_place(op.b, &to, &error)) return error;
  if (!from.node || to.parent == "?") return "not-found";
  if (to.node && op.flag) return "exists";
  if (from.node == to.node) return "ok version 0";
  const bool directory = from.node->directory();
  if (directory && (to.parent == from.path || is_below(to.path, from.path))) return "loop";
  if (to.node && is_below(from.path, to.path)) return "not-empty";
  if (to.node && directory && !to.node->directory()) return "not-directory";
  if (to.node && !directory && to.node->directory()) return "is-directory";
  if (to.node && has_entries(to.path)) return "not-empty";
  const auto base = static_cast<Base>(op.x);
  if (base == Base::stale || (base == Base::head && !to.node)) return "conflict";

  const uint64_t place = to.node ? names_.at(to.path).place : next_place_++;
  names_.erase(to.path);
  move_tree(from.path, to.path);
  names_.at(to.path).place = place;
  uint64_t version = 0;
  if (to.node && from.node->file() && to.node->file()) {
    const std::vector<Version> own = from.node->versions;
    const uint64_t last = to.node->versions.back().number;
    uint64_t above = std::max(own.back().number, last);
    from.node->versions = to.node->versions;
    from.node->versions.back().replaced = now_;
    for (size_t i = 0; own.back().number > 2 && i + 1 < own.size(); ++i) {
      const Version &mine = own[i], &next = own[i + 1];
      const bool grows = next.content.size() > mine.content.size();
      const bool born = mine.what == "create" && mine.content.empty();
      const bool known =
          std::any_of(to.node->versions.begin(), to.node->versions.end(),
                      [&](const Version& there) { return there.content_id == mine.content_id; });
      if (known || born || (grows && next.at.ns - mine.at.ns < 2'000'000'000)) continue;
      from.node->versions.push_back(mine);
      from.node->versions.back().number = ++above;
      from.node->versions.back().replaced = now_;
    }
    to.node->replaced = names_of(to.node) == 0;
    if (!to.node->replaced)
      for (Version& old : to.node->versions) old.replaced = now_;
    add_version(from.node, "rename", own.back().content);
    from.node->versions.back().number = above + 1;
    from.node->versions.back().content_id = own.back().content_id;
    version = from.node->versions.back().number;
  }
  touch(from.node);
  if (to.node) touch(to.node);
  modify(from.dir);
  modify(to.dir);
  log("rename", from.node, to.path, from.path);
  return "ok version " + std::to_string(version);
}

std::string PlainModel::exchange(const Op& op) {
  Place from, to;
  std::string error;
  if (!find_place(op.a, &from, &error)) return error;
  if (!find_place(op.b, &to, &error)) return error;
  if (!from.node || !to.node) return "not-found";
  if (from.node == to.node) return "ok version 0";
  if (is_below(to.path, from.path) || is_below(from.path, to.path)) return "loop";
  const std::string aside = "/exchange";
  const uint64_t from_place = names_.at(from.path).place, to_place = names_.at(to.path).place;
  move_tree(from.path, aside);
  move_tree(to.path, from.path);
  move_tree(aside, to.path);
  names_.at(from.path).place = from_place;
  names_.at(to.path).place = to_place;
  touch(from.node);
  touch(to.node);
  modify(from.dir);
  modify(to.dir);
  log("rename", from.node, to.path, from.path);
  return "ok version 0";
}

// ---- attributes and content --------------------------------------------------------------------

std::string PlainModel::set(const Op& op) {
  std::string error;
  const NodePtr node = find(op.a, &error);
  if (!node) return error;
  if (op.what == What::relax) {
    node->atime = Time{static_cast<int64_t>(op.x)};
    return "ok version 0";
  }
  touch(node);
  if (op.what == What::chmod) node->mode = static_cast<uint32_t>(op.x);
  if (op.what == What::chown) {
    node->uid = static_cast<uint32_t>(op.x);
    node->gid = static_cast<uint32_t>(op.y);
  }
  if (op.what == What::utimes) {
    node->atime = op.flag ? now_ : Time{static_cast<int64_t>(op.x)};
    node->mtime = op.flag ? now_ : Time{static_cast<int64_t>(op.y)};
  }
  log("setattr", node);
  return "ok version 0";
}

void PlainModel::add_version(const NodePtr& node, const std::string& what, std::string content) {
  uint64_t number = node->versions.empty() ? 1 : node->versions.back().number + 1;
  if (node->replaced && number < kForked) number += kForked;
  if (!node->versions.empty()) node->versions.back().replaced = now_;
  node->versions.push_back({number, what, std::move(content), {}, now_, next_content_++});
}

std::string PlainModel::truncate(const Op& op) {
  std::string error;
  const NodePtr node = find(op.a, &error);
  if (!node) return error;
  if (node->directory()) return "is-directory";
  if (!node->file()) return "invalid";
  modify(node);
  std::string content = node->content();
  const bool changes = content.size() != op.x;
  content.resize(op.x, '\0');
  if (changes) add_version(node, "truncate", std::move(content));
  log("truncate", node);
  return "ok version " + std::to_string(changes ? node->versions.back().number : 0);
}

std::string PlainModel::commit(const Op& op) {
  std::string error;
  const NodePtr node = find(op.a, &error);
  if (!node) return error;
  if (node->directory()) return "is-directory";
  if (!node->file()) return "invalid";
  if (op.what == What::overwrite && static_cast<Base>(op.z) == Base::stale) return "conflict";
  std::string content = node->content();
  std::string answer;
  if (op.what == What::rewrite) {
    content = bytes_of(op.y, op.x);
  } else if (op.what == What::append) {
    answer = " at " + std::to_string(content.size());
    content += bytes_of(op.y, op.x);
  } else if (op.what == What::keep_below) {
    content.resize(std::min<uint64_t>(content.size(), op.x));
    content.resize(std::max<uint64_t>(content.size(), op.y), '\0');
  } else {
    content.resize(std::max<uint64_t>(content.size(), op.x + op.y), '\0');
    content.replace(op.x, op.y,
                    op.what == What::punch ? std::string(op.y, '\0') : bytes_of(op.x, op.y));
  }
  add_version(node, op.what == What::append ? "append" : "write", std::move(content));
  touch(node);
  node->mtime = commit_mtime(now_);
  log(op.what == What::append ? "append" : "write", node);
  return "ok version " + std::to_string(node->versions.back().number) + answer;
}

std::string PlainModel::xattr(const Op& op) {
  std::string error;
  const NodePtr node = find(op.a, &error);
  if (!node) return error;
  const bool exists = node->xattrs.count(op.b) > 0;
  if (op.what == What::remove_xattr) {
    if (!exists) return "no-attribute";
    node->xattrs.erase(op.b);
  } else {
    if (exists && op.y == 1) return "exists";
    if (!exists && op.y == 2) return "no-attribute";
    node->xattrs[op.b] = bytes_of(op.x, op.x);
  }
  touch(node);
  log("setxattr", node);
  return "ok version 0";
}

std::string PlainModel::open(const Op& op) {
  std::string error;
  const NodePtr node = find(op.a, &error);
  if (!node) return error;
  slots_[op.x] = node;
  return "ok";
}

std::string PlainModel::prune(Time horizon) {
  pruned_ = true;
  const auto thin = [&](const NodePtr& node) {
    auto& versions = node->versions;
    while (versions.size() > 1 &&
           (versions.size() > kKeepVersions || versions[0].replaced < horizon))
      versions.erase(versions.begin());
  };
  for (const auto& [path, name] : names_) thin(name.node);
  for (NodePtr& slot : slots_) {
    if (!slot) continue;
    if (names_of(slot) == 0 && slot->ctime < horizon) slot.reset();
  }
  std::erase_if(log_, [&](const auto& logged) { return logged.first < horizon; });
  return "ok";
}

// ---- what can be seen --------------------------------------------------------------------------

void PlainModel::log(const std::string& what, const NodePtr& node, const std::string& path,
                     const std::string& old_path) {
  const uint64_t version = node->file() ? node->versions.back().number : 0;
  const uint64_t size = node->file() ? node->content().size() : node->target.size();
  log_.emplace_back(now_, describe_change(what, strip(path), strip(old_path), version, size));
}

void PlainModel::log(const std::string& what, const NodePtr& node) {
  const size_t names = names_of(node);
  log(what, node, names == 0 ? "" : names == 1 ? path_of(node) : "/*");
}

NodeFacts PlainModel::facts(const NodePtr& node) const {
  NodeFacts out;
  out.kind = node->kind;
  out.mode = node->mode;
  out.uid = node->uid;
  out.gid = node->gid;
  out.nlink = links_of(node);
  out.atime = node->atime;
  out.mtime = node->mtime;
  out.ctime = node->ctime;
  out.btime = node->btime;
  out.target = node->target;
  out.size = node->target.size();
  out.xattrs = node->xattrs;
  if (!node->file()) return out;
  out.content = node->content();
  out.size = out.content.size();
  out.version = node->versions.back().number;
  if (pruned_ && out.nlink == 0) return out;  // who shares with whom is the store's affair
  for (auto at = node->versions.rbegin(); at != node->versions.rend(); ++at)
    out.versions += std::to_string(at->number) + ":" + at->what + ":" +
                    std::to_string(at->content.size()) + " ";
  return out;
}

std::vector<std::string> PlainModel::paths(std::optional<Kind> kind) const {
  std::vector<std::string> out;
  for (const auto& [path, name] : names_)
    if (!path.empty() && (!kind || name.node->kind == *kind)) out.push_back(path);
  return out;
}

bool PlainModel::holds(uint64_t slot, std::optional<Kind> kind) const {
  return slots_[slot] && (!kind || slots_[slot]->kind == *kind);
}

Snapshot PlainModel::snapshot() {
  Snapshot out;
  for (const auto& [path, name] : names_) {
    std::string line = describe(facts(name.node));
    if (name.node->directory())
      for (const std::string& entry : entries(path)) line += " " + entry.substr(entry.rfind('/'));
    out[path] = line;
  }
  for (size_t i = 0; i < kSlots; ++i)
    if (slots_[i]) out["@" + std::to_string(i)] = describe(facts(slots_[i]));
  return out;
}

std::vector<std::string> PlainModel::epilogue() {
  std::vector<std::string> out;
  for (const auto& [at, line] : log_) out.push_back(line);
  for (const auto& [path, name] : names_)
    for (const Version& version : name.node->versions)
      out.push_back(path + " " + std::to_string(version.number) + " " + digest(version.content));
  return out;
}

}  // namespace linkspan::test
