#include "tests/support/world.h"

#include <random>

namespace linkspan::test {
namespace {

constexpr uint32_t kInoBatch = 256;
constexpr int64_t kStepNs = 1000003;  // odd, so that rounded times show

SessionId random_session() {
  static std::atomic<uint64_t> counter{0};
  static const uint64_t base = std::random_device{}();
  return SessionId{(base << 32) + ++counter};
}

}  // namespace

std::shared_ptr<ExtentSource> extents(std::vector<Extent> list) {
  return std::make_shared<ExtentList>(std::move(list));
}

std::shared_ptr<ExtentSource> extent(uint64_t offset, std::string data) {
  Extent one{offset, data.size(), std::move(data)};
  return extents({std::move(one)});
}

Extent hole(uint64_t offset, uint64_t length) {
  return Extent{offset, length, {}};
}

World::World(std::shared_ptr<store::Store> store, const std::string& tenant)
    : store_(std::move(store)), shared_(std::make_shared<Shared>()) {
  store::TenantSpec spec;
  spec.name = tenant;
  spec.volumes.resize(2);
  spec.volumes[0].name = "memory";
  spec.volumes[1].name = "other";
  must(store_->provision(spec, now()));
  open(tenant);
}

World World::reopen(std::shared_ptr<store::Store> store, const std::string& tenant) {
  World world;
  world.store_ = std::move(store);
  world.shared_ = std::make_shared<Shared>();
  world.shared_->now += 1000000000000;
  world.open(tenant);
  return world;
}

World World::fork() const {
  World world(*this);
  world.last_op_ = world.next_ino_ = world.end_ino_ = 0;
  world.start_session();
  return world;
}

void World::open(const std::string& tenant) {
  state_ = must(store_->open_tenant(tenant, limits::kLease));
  if (state_.volumes.size() > 1 && state_.volumes[0].name != "memory")
    std::swap(state_.volumes[0], state_.volumes[1]);
  shared_->seq = state_.last_seq.value;
  scope.tenant = state_.id;
  for (const store::Volume& volume : state_.volumes) {
    scope.readable.push_back(volume.id);
    scope.writable.push_back(volume.id);
  }
  start_session();
}

void World::start_session() {
  author = {"alice", "box-1", random_session()};
  store::SessionRecord record;
  record.id = author.session;
  record.tenant = state_.id;
  record.principal = author.principal;
  record.sandbox = author.sandbox;
  record.attached = now();
  must(store_->put_session(record, state_.epoch));
}

store::Mutation World::next() {
  store::Mutation m;
  m.scope = scope;
  m.epoch = state_.epoch;
  m.seq = Seq{++shared_->seq};
  m.author = author;
  m.now = Time{shared_->now += kStepNs};
  return m;
}

OpHeader World::op() {
  return OpHeader{OpNumber{++last_op_}, {}, false};
}

Ino World::unused_ino() {
  if (next_ino_ == end_ino_) {
    next_ino_ = must(store_->reserve_inodes(state_.id, kInoBatch)).value;
    end_ino_ = next_ino_ + kInoBatch;
  }
  return Ino{next_ino_++};
}

Result<store::Applied> World::create(Ino parent, const std::string& name, Kind kind,
                                     uint32_t mode) {
  CreateRequest request;
  request.op = op();
  request.parent = parent;
  request.name = name;
  request.kind = kind;
  request.mode = mode;
  request.uid = 1000;
  request.gid = 1001;
  store::Mutation m = next();
  m.new_ino = unused_ino();
  return store_->create(m, request);
}

Result<store::Applied> World::symlink(Ino parent, const std::string& name,
                                      const std::string& target) {
  CreateRequest request;
  request.op = op();
  request.parent = parent;
  request.name = name;
  request.kind = Kind::symlink;
  request.mode = 0777;
  request.target = target;
  store::Mutation m = next();
  m.new_ino = unused_ino();
  return store_->create(m, request);
}

Result<store::Applied> World::unlink(Ino parent, const std::string& name) {
  return store_->remove(next(), {op(), parent, name, false});
}

Result<store::Applied> World::rmdir(Ino parent, const std::string& name) {
  return store_->remove(next(), {op(), parent, name, true});
}

Result<store::Applied> World::rename(Ino from, const std::string& from_name, Ino to,
                                     const std::string& to_name) {
  RenameRequest request;
  request.from_parent = from;
  request.from_name = from_name;
  request.to_parent = to;
  request.to_name = to_name;
  return rename(std::move(request));
}

Result<store::Applied> World::rename(RenameRequest request) {
  request.op = op();
  return store_->rename(next(), request);
}

Result<store::Applied> World::exchange(Ino from, const std::string& from_name, Ino to,
                                       const std::string& to_name) {
  RenameRequest request;
  request.from_parent = from;
  request.from_name = from_name;
  request.to_parent = to;
  request.to_name = to_name;
  request.exchange = true;
  return rename(std::move(request));
}

Result<store::Applied> World::link(Ino ino, Ino parent, const std::string& name) {
  return store_->link(next(), {op(), ino, parent, name});
}

Result<store::Applied> World::set(SetAttrRequest request) {
  request.op = op();
  return store_->set_attributes(next(), request);
}

Result<store::Applied> World::truncate(Ino ino, uint64_t size) {
  SetAttrRequest request;
  request.ino = ino;
  request.size = size;
  return set(std::move(request));
}

Result<store::Applied> World::commit(CommitRequest request) {
  request.op = op();
  const store::Mutation m = next();
  if (request.mtime.ns == 0) request.mtime = Time{m.now.ns - 7};
  return store_->commit(m, request);
}

Result<store::Applied> World::rewrite(Ino ino, const std::string& data) {
  CommitRequest request;
  request.ino = ino;
  request.keep_below = 0;
  request.size = data.size();
  std::vector<Extent> list;
  for (size_t at = 0; at < data.size(); at += limits::kExtentBytes) {
    std::string piece = data.substr(at, limits::kExtentBytes);
    list.push_back({at, piece.size(), std::move(piece)});
  }
  request.extents = extents(std::move(list));
  return commit(std::move(request));
}

Result<store::Applied> World::overwrite(Ino ino, uint64_t offset, const std::string& data) {
  CommitRequest request;
  request.ino = ino;
  request.size = std::max<uint64_t>(attr(ino).size, offset + data.size());
  request.extents = extent(offset, data);
  return commit(std::move(request));
}

Result<store::Applied> World::append(Ino ino, const std::string& data) {
  CommitRequest request;
  request.ino = ino;
  request.append = true;
  request.extents = extent(0, data);
  return commit(std::move(request));
}

Result<store::Applied> World::set_xattr(Ino ino, const std::string& name,
                                        const std::string& value) {
  return store_->set_xattr(next(), {op(), ino, name, value, false, false});
}

Result<store::Applied> World::remove_xattr(Ino ino, const std::string& name) {
  return store_->set_xattr(next(), {op(), ino, name, std::nullopt, false, false});
}

Ino World::make_file(Ino parent, const std::string& name, const std::string& content) {
  const Ino ino = attr_of(must(create(parent, name))).ino;
  if (!content.empty()) must(rewrite(ino, content));
  return ino;
}

Ino World::make_dir(Ino parent, const std::string& name) {
  return attr_of(must(create(parent, name, Kind::directory, 0755))).ino;
}

Attr World::attr(Ino ino) {
  return must(store_->getattr(scope, {ino, false})).node.attr;
}

std::optional<Node> World::find(Ino parent, const std::string& name, bool want_content) {
  return must(store_->lookup(scope, {parent, name, want_content})).node;
}

std::string World::content(Ino ino, Version version) {
  std::string out;
  for (;;) {
    ReadReply reply = must(
        store_->read(scope, {ino, version, out.size(), static_cast<uint32_t>(limits::kReadBytes)}));
    out += reply.data;
    if (out.size() >= reply.size || reply.data.empty()) return out;
  }
}

std::vector<DataRange> World::data_ranges(Ino ino, Version version, uint64_t from) {
  std::vector<DataRange> out;
  for (;;) {
    const DataRangesReply reply = must(store_->data_ranges(scope, {ino, version, from}));
    for (const DataRange& range : reply.ranges) {
      if (!out.empty() && out.back().end == range.begin && range.begin == from)
        out.back().end = range.end;
      else
        out.push_back(range);
    }
    if (reply.until >= reply.size) return out;
    if (reply.until <= from) throw std::runtime_error("a page of data ranges that tells nothing");
    from = reply.until;
  }
}

std::vector<VersionInfo> World::versions(Ino ino, Version before, uint32_t limit) {
  return must(store_->versions(scope, {ino, before, limit}));
}

std::vector<Change> World::changes(Seq after, uint32_t limit) {
  ChangesRequest request;
  request.after = after;
  request.limit = limit;
  return must(store_->changes(scope, request)).changes;
}

std::vector<DirEntry> World::list(Ino dir, uint32_t page, bool want_content) {
  std::vector<DirEntry> out;
  Cookie after;
  for (;;) {
    ReadDirReply reply = must(store_->readdir(scope, {dir, after, page, want_content}));
    for (DirEntry& entry : reply.entries) out.push_back(std::move(entry));
    if (reply.end) return out;
    if (out.empty() || out.back().cookie == after)
      throw std::runtime_error("a page without entries does not say that it is the last");
    after = out.back().cookie;
  }
}

std::vector<std::string> World::names(Ino dir) {
  std::vector<std::string> out;
  for (DirEntry& entry : list(dir)) out.push_back(std::move(entry.name));
  return out;
}

}  // namespace linkspan::test
