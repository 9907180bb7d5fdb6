// Names: create, remove, link.
#include "routerd/store/checks.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
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

Result<Applied> answer_existing(Transaction& tx, const CreateRequest& request, const NodeRow& dir,
                                const NodeRow& there) {
  if (request.exclusive || request.kind != Kind::file || !there.is_file())
    return fail(Code::exists, "'" + request.name + "' is there");
  tx.reply.created = false;
  return tx.finish(dir.volume, {&there, &dir});
}

NodeRow make_node(const Mutation& m, const CreateRequest& request, const NodeRow& dir) {
  const bool directory = request.kind == Kind::directory;
  const bool inherit = (dir.attr.mode & kSetGid) != 0;
  NodeRow node;
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
  node.modify(m);
  if (directory) node.attr.parent = dir.attr.ino;
  if (node.is_file()) {
    node.attr.version = Version{1};
    node.history = m.seq.value;
  }
  return node;
}

// The file that the author moved away from the name keeps a list of its own.
NodeRow* continue_history(Transaction& tx, std::vector<NodeRow>& locked, NodeRow& node) {
  const auto& moved_away = tx.mutation().continues;
  NodeRow* other = node.is_file() && moved_away ? find(locked, moved_away->ino) : nullptr;
  if (other == nullptr || !goes_on(tx.mutation(), other->attr) || other->volume != node.volume)
    return nullptr;
  node.history = other->history;
  node.attr.version = Version{other->attr.version.value + 1};
  other->owns_history = false;
  tx.own_history(*other);
  tx.save(*other);
  return other;
}

void add_entry(Transaction& tx, NodeRow& dir, const std::string& name, Ino ino) {
  dir.last_cookie = Cookie{dir.last_cookie.value + 1};
  tx.write(
      sql::kAddEntry,
      tx.params().id(dir.attr.ino).bytes(name).id(ino).id(dir.last_cookie).id(tx.mutation().seq));
}

Result<Applied> create_in(Transaction& tx, const CreateRequest& request) {
  const Mutation& m = tx.mutation();
  const size_t locked =
      m.continues ? tx.ask(sql::kLockPair, tx.params().id(request.parent).id(m.continues->ino))
                  : tx.ask(sql::kLockNode, tx.params().id(request.parent));
  const size_t child = tx.ask(sql::kChild, tx.params().id(request.parent).bytes(request.name));
  const size_t path = tx.ask(sql::kPath, tx.params().id(request.parent));
  LINKSPAN_CHECK(tx.fetch());
  std::vector<NodeRow> nodes = nodes_of(tx.answer(locked));
  NodeRow* const parent = find(nodes, request.parent);
  if (parent == nullptr) return no_node(request.parent);
  NodeRow& dir = *parent;
  LINKSPAN_CHECK(check_visible(m.scope, request.parent, dir.volume));
  LINKSPAN_CHECK(check_directory(request.parent, dir.attr.kind));
  LINKSPAN_CHECK(check_writable(m.scope, dir));
  LINKSPAN_CHECK(check_takes_entries(dir));
  if (!tx.answer(child).empty())
    return answer_existing(tx, request, dir, node_at(tx.answer(child), 0));
  const bool directory = request.kind == Kind::directory;
  if (directory) LINKSPAN_CHECK(check_links(dir));
  if (!m.new_ino) return fail(Code::internal, "create was given no inode number");

  NodeRow node = make_node(m, request, dir);
  const NodeRow* const moved_away = continue_history(tx, nodes, node);
  const std::string where = place_of(tx.answer(path)).child(request.name);
  if (directory) ++dir.attr.nlink;
  dir.modify(m);
  add_entry(tx, dir, request.name, node.attr.ino);
  tx.save(dir);
  tx.write(sql::kAddNode, add_node(tx.tenant(), node));
  if (node.is_file()) tx.add_version(node, "create");
  tx.count_after(node);
  ChangeRecord change{created_what(request.kind), &node, dir.attr.ino, {}, where, {}};
  change.made_version = node.is_file();
  if (moved_away != nullptr) {
    change.fork = moved_away->history;
    change.fork_version = moved_away->attr.version;
  }
  tx.log(change);
  return tx.finish(dir.volume, {&node, &dir});
}

Status check_removable(const RemoveRequest& request, const NodeRow& node, bool has_entries) {
  if (request.directory && !node.is_directory())
    return fail(Code::not_directory, "'" + request.name + "' is no directory");
  if (!request.directory && node.is_directory())
    return fail(Code::is_directory, "'" + request.name + "' is a directory");
  if (has_entries) return fail(Code::not_empty, "'" + request.name + "' is not empty");
  return ok();
}

Result<Applied> remove_in(Transaction& tx, const RemoveRequest& request) {
  const Mutation& m = tx.mutation();
  const auto name = [&] { return tx.params().id(request.parent).bytes(request.name); };
  const size_t locked = tx.ask(sql::kLockEntry, name());
  const size_t entry = tx.ask(sql::kEntry, name());
  const size_t path = tx.ask(sql::kPath, tx.params().id(request.parent));
  const size_t full = request.directory ? tx.ask(sql::kChildHasEntries, name()) : 0;
  LINKSPAN_CHECK(tx.fetch());
  std::vector<NodeRow> nodes = nodes_of(tx.answer(locked));
  NodeRow* dir = find(nodes, request.parent);
  if (dir == nullptr) return no_node(request.parent);
  LINKSPAN_CHECK(check_visible(m.scope, request.parent, dir->volume));
  LINKSPAN_CHECK(check_directory(request.parent, dir->attr.kind));
  LINKSPAN_CHECK(check_writable(m.scope, *dir));
  if (tx.answer(entry).empty()) return fail(Code::not_found, "there is no '" + request.name + "'");
  NodeRow* node = find(nodes, Ino{tx.answer(entry).u64(0, 0)});
  if (node == nullptr) return tx.run_again();  // the name went to another node meanwhile
  LINKSPAN_CHECK(
      check_removable(request, *node, request.directory && tx.answer(full).boolean(0, 0)));

  tx.count_before(*node);
  node->attr.nlink = request.directory ? 0 : node->attr.nlink - 1;
  tx.count_after(*node);
  node->touch(m);
  if (request.directory) --dir->attr.nlink;
  dir->modify(m);
  const std::string where = place_of(tx.answer(path)).child(request.name);
  tx.write(sql::kDropEntry, name());
  tx.save(*node);
  tx.save(*dir);
  if (node->attr.nlink == 0) tx.lose_name(*node);
  tx.log({request.directory ? "rmdir" : "unlink", node, dir->attr.ino, {}, where, {}});
  return tx.finish(dir->volume, {node, dir});
}

Result<Applied> link_in(Transaction& tx, const LinkRequest& request) {
  const Mutation& m = tx.mutation();
  const size_t locked = tx.ask(sql::kLockPair, tx.params().id(request.ino).id(request.parent));
  const size_t entry = tx.ask(sql::kEntry, tx.params().id(request.parent).bytes(request.name));
  const size_t path = tx.ask(sql::kPath, tx.params().id(request.parent));
  LINKSPAN_CHECK(tx.fetch());
  std::vector<NodeRow> nodes = nodes_of(tx.answer(locked));
  NodeRow* node = find(nodes, request.ino);
  NodeRow* dir = find(nodes, request.parent);
  if (node == nullptr) return no_node(request.ino);
  LINKSPAN_CHECK(check_visible(m.scope, request.ino, node->volume));
  if (dir == nullptr) return no_node(request.parent);
  LINKSPAN_CHECK(check_visible(m.scope, request.parent, dir->volume));
  LINKSPAN_CHECK(check_directory(request.parent, dir->attr.kind));
  if (node->volume != dir->volume)
    return fail(Code::cross_volume, "a node cannot have names in two volumes");
  LINKSPAN_CHECK(check_writable(m.scope, *dir));
  LINKSPAN_CHECK(check_takes_entries(*dir));
  if (!tx.answer(entry).empty()) return fail(Code::exists, "'" + request.name + "' is there");
  if (node->is_directory()) return fail(Code::not_permitted, "a directory has one name only");
  if (node->attr.nlink == 0) return fail(Code::not_found, "the node has no name any more");
  LINKSPAN_CHECK(check_links(*node));
  LINKSPAN_CHECK(check_bounds(m.bounds, 0, node->attr.size, false));

  ++node->attr.nlink;
  node->touch(m);
  dir->modify(m);
  const std::string where = place_of(tx.answer(path)).child(request.name);
  add_entry(tx, *dir, request.name, node->attr.ino);
  tx.save(*node);
  tx.save(*dir);
  tx.log({"link", node, dir->attr.ino, {}, where, {}});
  return tx.finish(dir->volume, {node, dir});
}

}  // namespace

Result<Applied> PostgresStore::create(const Mutation& m, const CreateRequest& request) {
  LINKSPAN_CHECK(check(request));
  return run_mutation(pool_, m, request.op,
                      [&](Transaction& tx) { return create_in(tx, request); });
}

Result<Applied> PostgresStore::remove(const Mutation& m, const RemoveRequest& request) {
  LINKSPAN_CHECK(check(request));
  return run_mutation(pool_, m, request.op,
                      [&](Transaction& tx) { return remove_in(tx, request); });
}

Result<Applied> PostgresStore::link(const Mutation& m, const LinkRequest& request) {
  LINKSPAN_CHECK(check(request));
  return run_mutation(pool_, m, request.op, [&](Transaction& tx) { return link_in(tx, request); });
}

}  // namespace linkspan::store::pg
