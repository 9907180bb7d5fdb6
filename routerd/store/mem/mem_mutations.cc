// Names: create, remove, link. And attributes.
#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_mutate.h"

namespace linkspan::store::mem {
namespace {

constexpr uint32_t kSetGid = 02000;
constexpr uint32_t kSymlinkMode = 0777;

const char* created_what(Kind kind) {
  switch (kind) {
    case Kind::file:
      return "create";
    case Kind::directory:
      return "mkdir";
    case Kind::symlink:
      return "symlink";
    case Kind::fifo:
    case Kind::socket:
      return "mknod";
  }
  return "create";
}

Error missing(const std::string& name) {
  return fail(Code::not_found, "there is no '" + name + "'");
}

// A directory that lost its own name takes no entries.
Status check_takes_entries(const MemNode& dir) {
  if (dir.attr.nlink > 0) return ok();
  return fail(Code::not_found, "the directory was removed");
}

Status check_links(const MemNode& node) {
  if (node.attr.nlink < limits::kLinks) return ok();
  return fail(Code::too_many_links, "node " + std::to_string(node.attr.ino.value) + " has " +
                                        std::to_string(limits::kLinks) + " links");
}

Result<Applied> answer_existing(Transaction& tx, const CreateRequest& request, MemNode& dir,
                                const MemNode& there) {
  if (request.exclusive || request.kind != Kind::file || !there.is_file())
    return fail(Code::exists, "'" + request.name + "' is there");
  tx.reply.created = false;
  return tx.finish(dir.volume, {&there, &dir});
}

// The file that the author moved away from the name keeps a list of its own.
void continue_history(Transaction& tx, MemNode& node) {
  const Mutation& m = tx.mutation();
  if (!m.continues) return;
  const auto at = tx.tenant().nodes.find(m.continues->ino);
  if (at == tx.tenant().nodes.end()) return;
  MemNode& other = at->second;
  if (!goes_on(m, other.attr) || other.volume != node.volume) return;
  node.history = other.history;
  node.attr.version = other.attr.version;
  node.line = std::exchange(other.line, m.seq);
  for (Record& record : other.history) record.replaced = m.now;
}

MemNode& make_node(Transaction& tx, const CreateRequest& request, const MemNode& dir) {
  const Mutation& m = tx.mutation();
  const bool directory = request.kind == Kind::directory;
  const bool inherit = (dir.attr.mode & kSetGid) != 0;
  MemNode& node = tx.tenant().nodes[m.new_ino];
  node.volume = dir.volume;
  node.target = request.target;
  node.attr.ino = m.new_ino;
  node.attr.kind = request.kind;
  node.attr.mode = request.kind == Kind::symlink ? kSymlinkMode : request.mode;
  if (inherit && directory) node.attr.mode |= kSetGid;
  node.attr.uid = request.uid;
  node.attr.gid = inherit ? dir.attr.gid : request.gid;
  node.attr.nlink = directory ? 2 : 1;
  node.attr.size = request.target.size();
  node.attr.atime = node.attr.btime = m.now;
  tx.modify(node);
  node.line = m.seq;
  if (node.is_file()) continue_history(tx, node);
  if (node.is_file()) tx.add_version(node, std::make_shared<const Content>(), "create");
  return node;
}

}  // namespace

Result<Applied> MemStore::create(const Mutation& m, const CreateRequest& request) {
  LINKSPAN_CHECK(check(request));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    Tenant& tenant = tx.tenant();
    LINKSPAN_TRY(MemNode * dir, tenant.find_directory(m.scope, request.parent));
    LINKSPAN_CHECK(check_writable(m.scope, *dir));
    LINKSPAN_CHECK(check_takes_entries(*dir));
    if (const MemNode* there = tenant.child(*dir, request.name))
      return answer_existing(tx, request, *dir, *there);
    const bool directory = request.kind == Kind::directory;
    if (directory) LINKSPAN_CHECK(check_links(*dir));
    if (!m.new_ino || tenant.nodes.count(m.new_ino) > 0)
      return fail(Code::internal, "inode number " + std::to_string(m.new_ino.value) + " is in use");

    MemNode& node = make_node(tx, request, *dir);
    tenant.add_name(*dir, request.name, node);
    tx.count_after(node);
    if (directory) ++dir->attr.nlink;
    tx.modify(*dir);
    tx.log(created_what(request.kind), node);
    return tx.finish(dir->volume, {&node, dir});
  });
}

Result<Applied> MemStore::remove(const Mutation& m, const RemoveRequest& request) {
  LINKSPAN_CHECK(check(request));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    Tenant& tenant = tx.tenant();
    LINKSPAN_TRY(MemNode * dir, tenant.find_directory(m.scope, request.parent));
    LINKSPAN_CHECK(check_writable(m.scope, *dir));
    MemNode* node = tenant.child(*dir, request.name);
    if (node == nullptr) return missing(request.name);
    if (request.directory && !node->is_directory())
      return fail(Code::not_directory, "'" + request.name + "' is no directory");
    if (!request.directory && node->is_directory())
      return fail(Code::is_directory, "'" + request.name + "' is a directory");
    if (!node->entries.empty()) return fail(Code::not_empty, "'" + request.name + "' is not empty");

    const std::string path = tenant.path_of(*dir, request.name);
    tx.count_before(*node);
    tenant.remove_name(*dir, request.name, *node);
    node->attr.nlink = request.directory ? 0 : node->attr.nlink - 1;
    tx.count_after(*node);
    tx.touch(*node);
    if (request.directory) --dir->attr.nlink;
    tx.modify(*dir);
    LoggedChange where{{}, dir->volume, dir->attr.ino, {}};
    where.change.path = path;
    tx.log(request.directory ? "rmdir" : "unlink", *node, where);
    return tx.finish(dir->volume, {node, dir});
  });
}

Result<Applied> MemStore::link(const Mutation& m, const LinkRequest& request) {
  LINKSPAN_CHECK(check(request));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    Tenant& tenant = tx.tenant();
    LINKSPAN_TRY(MemNode * node, tenant.find(m.scope, request.ino));
    LINKSPAN_TRY(MemNode * dir, tenant.find_directory(m.scope, request.parent));
    if (node->volume != dir->volume)
      return fail(Code::cross_volume, "a node cannot have names in two volumes");
    LINKSPAN_CHECK(check_writable(m.scope, *dir));
    LINKSPAN_CHECK(check_takes_entries(*dir));
    if (tenant.child(*dir, request.name) != nullptr)
      return fail(Code::exists, "'" + request.name + "' is there");
    if (node->is_directory()) return fail(Code::not_permitted, "a directory has one name only");
    if (node->attr.nlink == 0) return fail(Code::not_found, "the node has no name any more");
    LINKSPAN_CHECK(check_links(*node));
    LINKSPAN_CHECK(check_bounds(m.bounds, 0, node->attr.size, false));

    tenant.add_name(*dir, request.name, *node);
    ++node->attr.nlink;
    tx.touch(*node);
    tx.modify(*dir);
    LoggedChange where{{}, dir->volume, dir->attr.ino, {}};
    where.change.path = tenant.path_of(*dir, request.name);
    tx.log("link", *node, where);
    return tx.finish(dir->volume, {node, dir});
  });
}

namespace {

Status check_xattr(const MemNode& node, const SetXattrRequest& request) {
  const auto there = node.xattrs.find(request.name);
  const bool exists = there != node.xattrs.end();
  if (exists && request.value && request.create)
    return fail(Code::exists, "attribute '" + request.name + "' is there");
  if (!exists && (!request.value || request.replace))
    return fail(Code::no_attribute, "there is no attribute '" + request.name + "'");
  if (!request.value) return ok();
  if (!exists && node.xattrs.size() >= limits::kXattrs) return too_many_xattrs();
  size_t total = request.name.size() + request.value->size();
  size_t listed = request.name.size() + 1;
  for (const auto& [name, value] : node.xattrs) {
    if (name == request.name) continue;
    total += name.size() + value.size();
    listed += name.size() + 1;
  }
  if (listed > kXattrListBytes) return too_many_xattrs();
  if (total <= limits::kXattrTotalBytes) return ok();
  return fail(Code::no_space, "a node's attributes may have at most " +
                                  std::to_string(limits::kXattrTotalBytes) + " bytes");
}

}  // namespace

Result<Applied> MemStore::set_xattr(const Mutation& m, const SetXattrRequest& request) {
  LINKSPAN_CHECK(check(request));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    LINKSPAN_TRY(MemNode * node, tx.tenant().find(m.scope, request.ino));
    LINKSPAN_CHECK(check_writable(m.scope, *node));
    LINKSPAN_CHECK(check_xattr(*node, request));
    if (request.value) {
      node->xattrs[request.name] = *request.value;
    } else {
      node->xattrs.erase(request.name);
    }
    node->attr.has_xattrs = !node->xattrs.empty();
    tx.touch(*node);
    tx.log("setxattr", *node);
    return tx.finish(node->volume, {node});
  });
}

}  // namespace linkspan::store::mem
