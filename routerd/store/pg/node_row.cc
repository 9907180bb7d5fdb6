#include "routerd/store/pg/node_row.h"

#include <algorithm>

#include "linkspan/limits.h"

namespace linkspan::store::pg {
namespace {

bool contains(const std::vector<VolumeId>& volumes, VolumeId id) {
  return std::find(volumes.begin(), volumes.end(), id) != volumes.end();
}

std::string named(Ino ino) {
  return "node " + std::to_string(ino.value);
}

}  // namespace

void NodeRow::touch(const Mutation& m) {
  attr.ctime = m.now;
  attr.seq = std::max(attr.seq, m.seq);
}

void NodeRow::modify(const Mutation& m) {
  touch(m);
  attr.mtime = m.now;
}

NodeRow node_at(const Rows& rows, int row, int column) {
  NodeRow node;
  Attr& attr = node.attr;
  int c = column;
  attr.ino = Ino{rows.u64(row, c++)};
  node.volume = VolumeId{static_cast<uint64_t>(rows.i32(row, c++))};
  attr.kind = static_cast<Kind>(rows.i16(row, c++));
  node.owns_history = rows.boolean(row, c++);
  attr.has_xattrs = rows.boolean(row, c++);
  attr.mode = static_cast<uint32_t>(rows.i32(row, c++));
  attr.nlink = static_cast<uint32_t>(rows.i32(row, c++));
  attr.uid = static_cast<uint32_t>(rows.i64(row, c++));
  attr.gid = static_cast<uint32_t>(rows.i64(row, c++));
  attr.size = rows.u64(row, c++);
  attr.allocated = rows.u64(row, c++);
  attr.atime = rows.time(row, c++);
  attr.mtime = rows.time(row, c++);
  attr.ctime = rows.time(row, c++);
  attr.btime = rows.time(row, c++);
  attr.seq = Seq{rows.u64(row, c++)};
  attr.version = Version{rows.u64(row, c++)};
  node.history = rows.u64(row, c++);
  node.dver = rows.u64(row, c++);
  node.floor = rows.u64(row, c++);
  attr.parent = Ino{rows.u64(row, c++)};
  node.last_cookie = Cookie{rows.u64(row, c++)};
  node.target = rows.text(row, c++);
  return node;
}

std::vector<NodeRow> nodes_of(const Rows& rows) {
  std::vector<NodeRow> nodes;
  nodes.reserve(static_cast<size_t>(rows.count()));
  for (int row = 0; row < rows.count(); ++row) nodes.push_back(node_at(rows, row));
  return nodes;
}

NodeRow* find(std::vector<NodeRow>& nodes, Ino ino) {
  for (NodeRow& node : nodes)
    if (node.attr.ino == ino) return &node;
  return nullptr;
}

const NodeRow* find(const std::vector<NodeRow>& nodes, Ino ino) {
  for (const NodeRow& node : nodes)
    if (node.attr.ino == ino) return &node;
  return nullptr;
}

Params add_node(TenantId tenant, const NodeRow& node) {
  const Attr& attr = node.attr;
  Params params;
  params.i32(static_cast<int32_t>(tenant.value)).id(attr.ino);
  params.i32(static_cast<int32_t>(node.volume.value)).i16(static_cast<int16_t>(attr.kind));
  params.boolean(node.owns_history).boolean(attr.has_xattrs);
  params.i32(static_cast<int32_t>(attr.mode)).i32(static_cast<int32_t>(attr.nlink));
  params.i64(attr.uid).i64(attr.gid).u64(attr.size).u64(attr.allocated);
  params.time(attr.atime).time(attr.mtime).time(attr.ctime).time(attr.btime);
  params.id(attr.seq).id(attr.version).u64(node.history).u64(node.dver).u64(node.floor);
  params.id(attr.parent).id(node.last_cookie);
  if (node.target.empty()) return std::move(params.null());
  return std::move(params.bytes(node.target));
}

Params set_node(TenantId tenant, const NodeRow& node) {
  const Attr& attr = node.attr;
  Params params;
  params.i32(static_cast<int32_t>(tenant.value)).id(attr.ino);
  params.boolean(node.owns_history).boolean(attr.has_xattrs);
  params.i32(static_cast<int32_t>(attr.mode)).i32(static_cast<int32_t>(attr.nlink));
  params.i64(attr.uid).i64(attr.gid).u64(attr.size).u64(attr.allocated);
  params.time(attr.atime).time(attr.mtime).time(attr.ctime);
  params.id(attr.seq).id(attr.version).u64(node.history).u64(node.dver).u64(node.floor);
  params.id(attr.parent).id(node.last_cookie);
  return params;
}

bool visible(const Scope& scope, VolumeId volume) {
  return contains(scope.readable, volume) || contains(scope.writable, volume);
}

Error no_node(Ino ino) {
  return fail(Code::stale_node, "there is no " + named(ino));
}

Status check_visible(const Scope& scope, Ino ino, VolumeId volume) {
  if (visible(scope, volume)) return ok();
  return no_node(ino);
}

Status check_writable(const Scope& scope, const NodeRow& node) {
  if (contains(scope.writable, node.volume)) return ok();
  return fail(Code::read_only,
              "the volume of " + named(node.attr.ino) + " is read-only for this session");
}

Status check_directory(Ino ino, Kind kind) {
  if (kind == Kind::directory) return ok();
  return fail(Code::not_directory, named(ino) + " is no directory");
}

Status check_has_content(Ino ino, Kind kind) {
  if (kind == Kind::file) return ok();
  if (kind == Kind::directory) return fail(Code::is_directory, named(ino) + " is a directory");
  return fail(Code::invalid, named(ino) + " has no content");
}

Status check_takes_entries(const NodeRow& dir) {
  if (dir.attr.nlink > 0) return ok();
  return fail(Code::not_found, "the directory was removed");
}

Status check_links(const NodeRow& node) {
  if (node.attr.nlink < limits::kLinks) return ok();
  return fail(Code::too_many_links,
              named(node.attr.ino) + " has " + std::to_string(limits::kLinks) + " links");
}

}  // namespace linkspan::store::pg
