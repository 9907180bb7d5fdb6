#include "tests/model/store_subject.h"

#include <sstream>

namespace linkspan::test {

using store::Applied;
using store::Mutation;

std::string describe_change(const std::string& what, const std::string& path,
                            const std::string& old_path, uint64_t version, uint64_t size) {
  return what + " '" + path + "' '" + old_path + "' version " + std::to_string(version) + " size " +
         std::to_string(size);
}

StoreSubject::StoreSubject(std::shared_ptr<store::Store> store, const std::string& tenant,
                           bool verbose)
    : world_(std::move(store), tenant), verbose_(verbose), tenant_(tenant) {
  store::TenantSpec spec{tenant, {{"memory", 0, 0, kKeepVersions, kKeepDays}}};
  must(world_.store().provision(spec, kProvisioned));
  labels_[world_.root()] = "root";
}

std::string StoreSubject::apply(const Op& op, Time now) {
  now_ = now;
  if (op.what == What::open) {
    const Result<Ino> ino = find(op.a);
    if (!ino.ok()) return ino.error().message;
    slots_[op.x] = *ino;
    return "ok";
  }
  if (op.what == What::prune) return prune(op);
  if (op.what != What::retry) {
    last_ = nullptr;
    last_reply_.reset();
    return last_outcome_ = mutate(op);
  }
  if (last_outcome_.empty()) return "nothing to retry";
  if (!last_reply_) return last_outcome_;
  const Outcome again = last_();
  if (!again.ok()) return "a retry fails: " + std::string(to_string(again.code()));
  if (!again->replayed) return "a retry is applied again";
  if (again->reply != *last_reply_) return "a retry is answered otherwise";
  return last_outcome_;
}

// Calls the store, keeps the call for a retry, and tells the outcome.
std::string StoreSubject::run(std::function<Outcome(const Mutation&)> call, bool by_number,
                              std::function<std::string(const Applied&)> tell) {
  Mutation m = world_.next();
  m.now = now_;
  m.new_ino = world_.unused_ino();
  const Outcome outcome = call(m);
  if (!outcome.ok()) return std::string(to_string(outcome.code()));
  if (by_number && outcome->reply.nodes[0].attr.nlink > 1 &&
      outcome->reply.nodes[0].attr.kind != Kind::directory)
    ambiguous_.insert(m.seq);
  last_reply_ = outcome->reply;
  last_ = [call = std::move(call), m] { return call(m); };
  used_bytes_ += outcome->usage.bytes;
  used_files_ += outcome->usage.files;
  return "ok" + tell(*outcome) + tell_reply(*outcome);
}

std::string StoreSubject::tell_reply(const Applied& applied) {
  if (applied.reply.nodes[0].attr.ino && labels_.count(applied.reply.nodes[0].attr.ino) == 0)
    labels_[applied.reply.nodes[0].attr.ino] = "n" + std::to_string(labels_.size());
  if (!verbose_) return {};
  std::ostringstream out;
  const MutationReply& reply = applied.reply;
  out << " seq " << reply.seq.value << " offset " << reply.offset << " created " << reply.created
      << " version " << reply.version.value << " files " << applied.usage.files;
  for (const Node& node : reply.nodes) {
    const Attr& a = node.attr;
    out << " [" << name_of(a.ino) << " mode " << a.mode << " links " << a.nlink << " size "
        << a.size << " " << a.atime.ns << " " << a.mtime.ns << " " << a.ctime.ns << " version "
        << a.version.value << " seq " << a.seq.value << " xattrs " << a.has_xattrs << " parent "
        << name_of(a.parent) << " " << node.target << "]";
  }
  return out.str();
}

std::string StoreSubject::name_of(Ino ino) {
  const auto at = labels_.find(ino);
  return at == labels_.end() ? std::to_string(ino.value) : at->second;
}

// ---- finding -----------------------------------------------------------------------------------
// Errors of resolution carry the text that the model says.

Result<Ino> StoreSubject::find(const std::string& designator) {
  if (designator.size() == 2 && designator[0] == '@') {
    const Ino ino = slots_[static_cast<size_t>(designator[1] - '0')];
    if (!ino) return fail(Code::not_found, "empty slot");
    return ino;
  }
  if (designator.empty()) return world_.root();
  LINKSPAN_TRY(const Place place, find_place(designator));
  const LookupReply reply =
      must(world_.store().lookup(world_.scope, {place.dir, place.name, false}));
  if (!reply.node) return fail(Code::not_found, "not-found");
  return reply.node->attr.ino;
}

Result<StoreSubject::Place> StoreSubject::find_place(const std::string& designator) {
  Ino dir = world_.root();
  std::string rest = designator;
  if (rest[0] == '@') {
    LINKSPAN_TRY(dir, find(rest.substr(0, 2)));
    rest = rest.substr(2);
  }
  for (;;) {
    if (world_.attr(dir).kind != Kind::directory) return fail(Code::not_directory, "not-directory");
    const size_t slash = rest.find('/', 1);
    const std::string name = rest.substr(1, slash == std::string::npos ? slash : slash - 1);
    if (slash == std::string::npos) return Place{dir, name};
    const LookupReply reply = must(world_.store().lookup(world_.scope, {dir, name, false}));
    if (!reply.node) return fail(Code::not_found, "not-found");
    dir = reply.node->attr.ino;
    rest = rest.substr(slash);
  }
}

// ---- mutations ---------------------------------------------------------------------------------

std::string StoreSubject::mutate(const Op& op) {
  const auto nothing = [](const Applied&) { return std::string(); };
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
    case What::rmdir: {
      const Result<Place> place = find_place(op.a);
      if (!place.ok()) return place.error().message;
      const RemoveRequest request{world_.op(), place->dir, place->name, op.what == What::rmdir};
      return run([=, this](const Mutation& m) { return world_.store().remove(m, request); }, false,
                 nothing);
    }
    case What::link: {
      const Result<Ino> ino = find(op.a);
      if (!ino.ok()) return ino.error().message;
      const Result<Place> place = find_place(op.b);
      if (!place.ok()) return place.error().message;
      const LinkRequest request{world_.op(), *ino, place->dir, place->name};
      return run([=, this](const Mutation& m) { return world_.store().link(m, request); }, false,
                 nothing);
    }
    case What::rename:
    case What::exchange:
      return rename(op);
    case What::chmod:
    case What::chown:
    case What::utimes:
    case What::relax:
    case What::truncate:
      return set(op);
    case What::set_xattr:
    case What::remove_xattr:
      return xattr(op);
    default:
      return commit(op);
  }
}

std::string StoreSubject::create(const Op& op, Kind kind) {
  const Result<Place> place = find_place(op.a);
  if (!place.ok()) return place.error().message;
  CreateRequest request;
  request.op = world_.op();
  request.parent = place->dir;
  request.name = place->name;
  request.kind = kind;
  request.mode = kind == Kind::symlink ? 0777 : static_cast<uint32_t>(op.x);
  request.uid = kCreatorUid;
  request.gid = kCreatorGid;
  request.target = op.b;
  request.exclusive = op.flag || kind != Kind::file;
  return run([=, this](const Mutation& m) { return world_.store().create(m, request); }, false,
             [](const Applied& applied) {
               return std::string(applied.reply.created ? " created" : " found");
             });
}

namespace {
std::string tell_version(const Applied& applied) {
  return " version " + std::to_string(applied.reply.version.value);
}
}  // namespace

std::string StoreSubject::rename(const Op& op) {
  const Result<Place> from = find_place(op.a);
  if (!from.ok()) return from.error().message;
  const Result<Place> to = find_place(op.b);
  if (!to.ok()) return to.error().message;
  RenameRequest request;
  request.op = world_.op();
  request.from_parent = from->dir;
  request.from_name = from->name;
  request.to_parent = to->dir;
  request.to_name = to->name;
  request.exchange = op.what == What::exchange;
  request.no_replace = !request.exchange && op.flag;
  const auto base = request.exchange ? Base::none : static_cast<Base>(op.x);
  if (base != Base::none) {
    const auto target = must(world_.store().lookup(world_.scope, {to->dir, to->name, false})).node;
    request.base_ino = target ? target->attr.ino : world_.root();
    request.base_version = target ? target->attr.version : Version{};
    if (base == Base::stale) request.base_version.value += 1000;
  }
  return run([=, this](const Mutation& m) { return world_.store().rename(m, request); }, false,
             tell_version);
}

std::string StoreSubject::set(const Op& op) {
  const Result<Ino> ino = find(op.a);
  if (!ino.ok()) return ino.error().message;
  SetAttrRequest request;
  request.op = world_.op();
  request.ino = *ino;
  request.relaxed = op.what == What::relax;
  if (op.what == What::chmod) request.mode = static_cast<uint32_t>(op.x);
  if (op.what == What::truncate) request.size = op.x;
  if (op.what == What::relax) request.atime = Time{static_cast<int64_t>(op.x)};
  if (op.what == What::chown) {
    request.uid = static_cast<uint32_t>(op.x);
    request.gid = static_cast<uint32_t>(op.y);
  }
  if (op.what == What::utimes) {
    request.atime = Time{static_cast<int64_t>(op.x)};
    request.mtime = Time{static_cast<int64_t>(op.y)};
    request.atime_now = request.mtime_now = op.flag;
  }
  std::string outcome =
      run([=, this](const Mutation& m) { return world_.store().set_attributes(m, request); }, true,
          tell_version);
  if (request.relaxed) last_reply_.reset();  // has no result to be replayed
  return outcome;
}

std::string StoreSubject::commit(const Op& op) {
  const Result<Ino> ino = find(op.a);
  if (!ino.ok()) return ino.error().message;
  CommitRequest request;
  request.op = world_.op();
  request.ino = *ino;
  request.mtime = commit_mtime(now_);
  request.append = op.what == What::append;
  std::vector<Extent> list;
  if (op.what == What::rewrite) {
    request.keep_below = 0;
    request.size = op.x;
    list.push_back({0, op.x, bytes_of(op.y, op.x)});
  } else if (op.what == What::append) {
    list.push_back({0, op.x, bytes_of(op.y, op.x)});
  } else if (op.what == What::keep_below) {
    request.keep_below = op.x;
    request.size = op.y;
  } else {
    request.size = op.x + op.y;
    list.push_back({op.x, op.y, op.what == What::punch ? std::string() : bytes_of(op.x, op.y)});
    if (op.what == What::overwrite && static_cast<Base>(op.z) != Base::none) {
      request.base = world_.attr(*ino).version;
      if (static_cast<Base>(op.z) == Base::stale) request.base->value += 1000;
    }
  }
  request.extents = extents(std::move(list));
  const std::string kept = verbose_ && !request.append ? keep(request) : std::string();
  return kept +
         run(
             [=, this](const Mutation& m) {
               request.extents->rewind();
               return world_.store().commit(m, request);
             },
             true,
             [append = request.append](const Applied& applied) {
               return tell_version(applied) +
                      (append ? " at " + std::to_string(applied.reply.offset) : std::string());
             });
}

// The same write, refused and kept, over one of the file's versions. Stores are compared by it, not
// the model.
std::string StoreSubject::keep(const CommitRequest& commit) {
  store::KeepRequest request;
  request.operation = commit.op.number;
  request.what = "write";
  request.ino = request.base_ino = request.from = commit.ino;
  request.keep_below = commit.keep_below;
  request.size = commit.size;
  request.extents = commit.extents;
  const Attr attr = world_.attr(commit.ino);
  if (attr.kind == Kind::file && attr.nlink > 0) {
    const auto infos = world_.versions(commit.ino, {}, limits::kHistoryPage);
    request.base = request.from_version = infos[commit.size % infos.size()].version;
  }
  Mutation m = world_.next();
  m.now = now_;
  m.new_ino = world_.unused_ino();
  const auto kept = world_.store().keep(m, request);
  commit.extents->rewind();
  if (!kept.ok()) return "keep " + std::string(to_string(kept.code())) + " ";
  if (attr.nlink > 1) ambiguous_.insert(m.seq);
  std::string line = "kept " + std::to_string(kept->size) + " " +
                     digest(world_.content(kept->theirs)) + " " +
                     std::to_string(world_.attr(kept->theirs).allocated);
  for (const DataRange& range : world_.data_ranges(kept->theirs))
    line += " " + std::to_string(range.begin) + "-" + std::to_string(range.end);
  return line + (attr.nlink > 1 ? "" : " '" + kept->path + "'") + " ";
}

std::string StoreSubject::xattr(const Op& op) {
  const Result<Ino> ino = find(op.a);
  if (!ino.ok()) return ino.error().message;
  SetXattrRequest request{world_.op(), *ino, op.b, std::nullopt, op.y == 1, op.y == 2};
  if (op.what == What::set_xattr) request.value = bytes_of(op.x, op.x);
  return run([=, this](const Mutation& m) { return world_.store().set_xattr(m, request); }, true,
             tell_version);
}

std::string StoreSubject::prune(const Op& op) {
  constexpr int kRounds = 100;
  pruned_ = true;
  uint64_t removed = 1;
  for (int round = 0; round < kRounds && removed > 0; ++round)
    removed = must(world_.store().prune(world_.state().id, prune_now(op, now_)));
  if (removed > 0) return "prune never ends";
  for (Ino& slot : slots_) {
    if (!slot) continue;
    const auto node = world_.store().getattr(world_.scope, {slot, false});
    if (node.ok()) continue;
    if (node.code() != Code::stale_node) must(node);
    slot = {};
  }
  return "ok";
}

// ---- what can be seen --------------------------------------------------------------------------

NodeFacts StoreSubject::facts(const Node& node) {
  const Attr& attr = node.attr;
  NodeFacts out;
  out.kind = attr.kind;
  out.mode = attr.mode;
  out.uid = attr.uid;
  out.gid = attr.gid;
  out.nlink = attr.nlink;
  out.size = attr.size;
  out.atime = attr.atime;
  out.mtime = attr.mtime;
  out.ctime = attr.ctime;
  out.btime = attr.btime;
  out.version = attr.version.value;
  out.target = node.target;
  if (attr.has_xattrs)
    for (const Xattr& x : must(world_.store().xattrs(world_.scope, attr.ino)).xattrs)
      out.xattrs[x.name] = x.value;
  if (attr.kind != Kind::file) return out;
  out.content = node.content ? *node.content : world_.content(attr.ino);
  if (pruned_ && attr.nlink == 0) return out;
  for (const VersionInfo& info : world_.versions(attr.ino, {}, limits::kHistoryPage))
    out.versions += std::to_string(info.version.value) + ":" + info.what + ":" +
                    std::to_string(info.size) + " ";
  return out;
}

void StoreSubject::walk(Ino dir, const std::string& path, Snapshot* out) {
  const std::vector<DirEntry> entries = world_.list(dir, 3, true);
  std::string line = describe(facts(must(world_.store().getattr(world_.scope, {dir, false})).node));
  for (const DirEntry& entry : entries) line += " /" + entry.name;
  (*out)[path] = line;
  for (const DirEntry& entry : entries) {
    const Attr& attr = entry.node.attr;
    const std::string at = path + "/" + entry.name;
    live_[attr.ino] = attr.allocated;
    if (attr.allocated > attr.size) (*out)[at + " "] = "more is stored than its size";
    if (attr.kind != Kind::directory) {
      (*out)[at] = describe(facts(entry.node));
    } else if (attr.parent != dir) {
      (*out)[at] = "its parent is " + name_of(attr.parent);
    } else {
      walk(attr.ino, at, out);
    }
  }
}

std::string StoreSubject::check_usage() {
  int64_t bytes = 0;
  for (const auto& [ino, allocated] : live_) bytes += static_cast<int64_t>(allocated);
  const auto files = static_cast<int64_t>(live_.size());
  if (bytes == used_bytes_ && files == used_files_) return {};
  return "usage is " + std::to_string(used_bytes_) + " bytes, " + std::to_string(used_files_) +
         " files by the replies, " + std::to_string(bytes) + ", " + std::to_string(files) +
         " by the tree";
}

Snapshot StoreSubject::snapshot() {
  Snapshot out;
  live_.clear();
  walk(world_.root(), "", &out);
  if (const std::string wrong = check_usage(); !wrong.empty()) out["usage"] = wrong;
  for (size_t i = 0; i < kSlots; ++i) {
    if (!slots_[i]) continue;
    const NodeReply reply = must(world_.store().getattr(world_.scope, {slots_[i], true}));
    out["@" + std::to_string(i)] = describe(facts(reply.node));
  }
  return out;
}

// What no data range covers reads as zeros, and the stores agree on the ranges.
void StoreSubject::tell_holes(const std::string& path, Ino ino, const VersionInfo& info,
                              std::vector<std::string>* out) {
  std::string content = world_.content(ino, info.version);
  std::string line = path + " " + std::to_string(info.version.value) + " data";
  for (const DataRange& range : world_.data_ranges(ino, info.version)) {
    content.replace(range.begin, range.end - range.begin, range.end - range.begin, '\0');
    line += " " + std::to_string(range.begin) + "-" + std::to_string(range.end);
  }
  if (content != std::string(content.size(), '\0')) out->push_back(line + " hide bytes");
  if (verbose_) out->push_back(line);
}

std::vector<std::string> StoreSubject::epilogue() {
  std::vector<std::string> out;
  for (const Change& change : world_.changes()) {
    const bool vague = ambiguous_.count(change.seq) > 0;
    out.push_back(describe_change(change.what, vague ? "*" : change.path, change.old_path,
                                  change.version.value, change.size));
    if (verbose_) out.back() += " " + name_of(change.ino) + " " + std::to_string(change.at.ns);
  }
  for (const auto& [path, line] : snapshot()) {
    if (path.empty() || path[0] != '/') continue;
    const Result<Ino> ino = find(path);
    if (!ino.ok() || world_.attr(*ino).kind != Kind::file) continue;
    const auto infos = world_.versions(*ino, {}, limits::kHistoryPage);
    for (auto at = infos.rbegin(); at != infos.rend(); ++at)
      out.push_back(path + " " + std::to_string(at->version.value) + " " +
                    digest(world_.content(*ino, at->version)));
    for (auto at = infos.rbegin(); at != infos.rend(); ++at) tell_holes(path, *ino, *at, &out);
  }
  const store::TenantState state = must(world_.store().open_tenant(tenant_, limits::kLease));
  for (const store::Volume& volume : state.volumes) {
    const bool used = volume.id == world_.volume();
    if (volume.used_bytes != static_cast<uint64_t>(used ? used_bytes_ : 0) ||
        volume.used_files != static_cast<uint64_t>(used ? used_files_ : 0))
      out.push_back("usage of " + volume.name + " is " + std::to_string(volume.used_bytes) +
                    " bytes, " + std::to_string(volume.used_files) + " files when opened again");
  }
  return out;
}

}  // namespace linkspan::test
