// rename(2) and renameat2(2), checked in the order in which Linux does.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/pg/commit.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_history.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {
namespace {

// Who takes part. `to` is null if there is nothing under the new name; then `aside` is the file
// that the author moved away from it, if the moved one goes on with its history. Both directories
// may be one.
struct Move {
  const RenameRequest& request;
  NodeRow* from_dir = nullptr;
  NodeRow* to_dir = nullptr;
  NodeRow* from = nullptr;
  NodeRow* to = nullptr;
  NodeRow* aside = nullptr;
  Place from_place, to_place;  // of the directories
  bool to_has_entries = false;

  bool crosses() const { return from_dir != to_dir; }
  NodeRow* before() const { return to != nullptr ? to : aside; }
  bool replaces() const { return to != nullptr && !request.exchange; }
  // How many subdirectories to_dir gains (and from_dir loses, if it is another).
  int gained() const {
    const int in = from->is_directory() ? 1 : 0;
    const int out = to != nullptr && to->is_directory() ? 1 : 0;
    return in - out;
  }
};

// The numbers of the answers.
struct Questions {
  size_t tree = 0, locked = 0, from = 0, to = 0, entries = 0, from_path = 0, to_path = 0;
};

Questions ask_all(Transaction& tx, const RenameRequest& r) {
  const auto from = [&] { return tx.params().id(r.from_parent).bytes(r.from_name); };
  const auto to = [&] { return tx.params().id(r.to_parent).bytes(r.to_name); };
  const auto both = [&] { return from().id(r.to_parent).bytes(r.to_name); };
  Questions q;
  // Directories move one at a time in a tenant, so that no two of them can end up in each other.
  if (r.from_parent != r.to_parent) q.tree = tx.ask(sql::kLockTree, both().i32(kTreeLock));
  const auto& aside = tx.mutation().continues;
  q.locked = tx.ask(sql::kLockMove, both().id(aside ? aside->ino : Ino{}));
  q.from = tx.ask(sql::kEntry, from());
  q.to = tx.ask(sql::kEntry, to());
  q.entries = tx.ask(sql::kChildHasEntries, to());
  q.from_path = tx.ask(sql::kPath, tx.params().id(r.from_parent));
  q.to_path =
      r.from_parent == r.to_parent ? q.from_path : tx.ask(sql::kPath, tx.params().id(r.to_parent));
  return q;
}

Result<NodeRow*> directory(const Mutation& m, std::vector<NodeRow>& nodes, Ino ino) {
  NodeRow* dir = find(nodes, ino);
  if (dir == nullptr) return no_node(ino);
  LINKSPAN_CHECK(check_visible(m.scope, ino, dir->volume));
  LINKSPAN_CHECK(check_directory(ino, dir->attr.kind));
  return dir;
}

// A name may have gone to another node between the look at it and the lock: its parent is locked
// now, so what it names will stay. The missing node is locked if that takes no waiting (the order
// of locks is broken here), else everything begins anew.
Status lock_missing(Transaction& tx, std::vector<NodeRow>& nodes, std::vector<Ino> named) {
  std::vector<size_t> asked;
  for (const Ino ino : named)
    if (ino && find(std::as_const(nodes), ino) == nullptr)
      asked.push_back(tx.ask(sql::kLockNodeNow, tx.params().id(ino)));
  if (asked.empty()) return ok();
  const Status fetched = tx.fetch();
  if (!fetched.ok() && tx.connection().failure().sqlstate == "55P03") return tx.run_again();
  LINKSPAN_CHECK(fetched);
  for (const size_t number : asked) {
    if (tx.answer(number).empty()) return tx.run_again();
    nodes.push_back(node_at(tx.answer(number), 0));
  }
  return ok();
}

NodeRow* find_aside(const Mutation& m, std::vector<NodeRow>& nodes, const Move& move) {
  if (move.to != nullptr || !move.from->is_file() || !m.continues) return nullptr;
  NodeRow* const other = find(nodes, m.continues->ino);
  if (other == nullptr || other == move.from) return nullptr;
  return goes_on(m, other->attr) && other->volume == move.to_dir->volume ? other : nullptr;
}

Status check_names(const Mutation& m, const Move& move, const Rows& from, const Rows& to) {
  const RenameRequest& request = move.request;
  if (move.from_dir->volume != move.to_dir->volume)
    return fail(Code::cross_volume, "a rename stays within its volume");
  LINKSPAN_CHECK(check_writable(m.scope, *move.from_dir));
  if (from.empty()) return fail(Code::not_found, "there is no '" + request.from_name + "'");
  if (move.to_dir->attr.nlink == 0) return fail(Code::not_found, "the new directory was removed");
  if (!to.empty() && request.no_replace)
    return fail(Code::exists, "'" + request.to_name + "' is there");
  if (to.empty() && request.exchange)
    return fail(Code::not_found, "there is no '" + request.to_name + "' to exchange with");
  return ok();
}

// What was merged is what is moved.
Status check_merged(const Mutation& m, const Move& move) {
  if (!m.merged) return ok();
  const Attr& from = move.from->attr;
  const bool same = from.ino == m.merged->ino && from.version == m.merged->version;
  return same && move.from != move.to ? ok() : Status(changed_by_another(from.version));
}

bool is_within(const NodeRow& dir, const Place& place, const NodeRow& node) {
  return dir.attr.ino == node.attr.ino ||
         std::find(place.above.begin(), place.above.end(), node.attr.ino) != place.above.end();
}

Status check_shape(const Move& move) {
  const std::string& name = move.request.to_name;
  if (move.from->is_directory() && is_within(*move.to_dir, move.to_place, *move.from))
    return fail(Code::loop, "'" + move.request.from_name + "' cannot be moved into itself");
  if (move.to != nullptr && move.to->is_directory() &&
      is_within(*move.from_dir, move.from_place, *move.to)) {
    if (move.request.exchange)
      return fail(Code::loop, "'" + name + "' cannot be moved into itself");
    return fail(Code::not_empty, "'" + name + "' is not empty");
  }
  if (!move.replaces()) return ok();
  if (move.from->is_directory() && !move.to->is_directory())
    return fail(Code::not_directory, "'" + name + "' is no directory");
  if (!move.from->is_directory() && move.to->is_directory())
    return fail(Code::is_directory, "'" + name + "' is a directory");
  if (move.to->is_directory() && move.to_has_entries)
    return fail(Code::not_empty, "'" + name + "' is not empty");
  return ok();
}

Status check_room(const Move& move) {
  if (!move.crosses()) return ok();
  const NodeRow& fuller = move.gained() > 0 ? *move.to_dir : *move.from_dir;
  if (move.gained() == 0 || fuller.attr.nlink < limits::kLinks) return ok();
  if (move.gained() < 0 && !move.request.exchange) return ok();
  return check_links(fuller);
}

void set_entry(Transaction& tx, Ino dir, const std::string& name, const NodeRow& node) {
  tx.write(sql::kSetEntry, tx.params().id(dir).bytes(name).id(node.attr.ino).id(tx.mutation().seq));
}

void drop_entry(Transaction& tx, Ino dir, const std::string& name) {
  tx.write(sql::kDropEntry, tx.params().id(dir).bytes(name));
}

void set_parent(NodeRow& node, const NodeRow& dir) {
  if (node.is_directory()) node.attr.parent = dir.attr.ino;
}

// The moved file goes on with the history of the name it takes, and its own older versions with it.
// The node that had the name keeps what it had: it shares the rows up to its last version until it
// makes another, if it lives on at all.
Status continue_history(Transaction& tx, NodeRow& from, NodeRow& to) {
  const auto& merged = tx.mutation().merged;
  uint64_t above = std::max(from.attr.version.value, to.attr.version.value);
  if (from.attr.version.value > kWrittenOnce) {
    Params params = tx.params();
    params.u64(to.history).u64(from.history).u64(above).id(from.attr.version).i64(kOneWritingNs);
    params.id(tx.mutation().author.session);
    const size_t taken = tx.ask(sql::kAdoptHistory, params);
    LINKSPAN_CHECK(tx.fetch());
    above += tx.answer(taken).u64(0, 0);
  }
  // Of a file that was written once, nothing is left over.
  const Ino clean = from.dver <= 1 && !merged ? from.attr.ino : Ino{};
  tx.write(sql::kDropHistory, tx.params().u64(from.history).id(clean).id(tx.mutation().seq));
  from.history = to.history;
  from.attr.version = Version{above};
  to.owns_history = false;
  if (to.attr.nlink > 0) tx.own_history(to);
  if (merged) {
    make_unmerged(tx, from);
    LINKSPAN_CHECK(replace_content(tx, from, merged->content));
  }
  make_version(tx, from, "rename");
  tx.reply.version = from.attr.version;
  return ok();
}

void apply_exchange(Transaction& tx, const Move& move) {
  set_entry(tx, move.from_dir->attr.ino, move.request.from_name, *move.to);
  set_entry(tx, move.to_dir->attr.ino, move.request.to_name, *move.from);
  set_parent(*move.to, *move.from_dir);
  set_parent(*move.from, *move.to_dir);
}

Status apply_replace(Transaction& tx, const Move& move) {
  NodeRow& to = *move.to;
  tx.count_before(to);
  tx.count_before(*move.from);
  drop_entry(tx, move.from_dir->attr.ino, move.request.from_name);
  set_entry(tx, move.to_dir->attr.ino, move.request.to_name, *move.from);
  set_parent(*move.from, *move.to_dir);
  to.attr.nlink = to.is_directory() ? 0 : to.attr.nlink - 1;
  if (to.attr.nlink == 0) tx.lose_name(to, move.from->is_file() && to.is_file());
  tx.count_after(to);
  if (move.from->is_file() && to.is_file()) LINKSPAN_CHECK(continue_history(tx, *move.from, to));
  tx.count_after(*move.from);
  return ok();
}

Status apply_move(Transaction& tx, const Move& move) {
  if (move.aside != nullptr) tx.count_before(*move.from);
  drop_entry(tx, move.from_dir->attr.ino, move.request.from_name);
  move.to_dir->last_cookie = Cookie{move.to_dir->last_cookie.value + 1};
  tx.write(sql::kAddEntry, tx.params()
                               .id(move.to_dir->attr.ino)
                               .bytes(move.request.to_name)
                               .id(move.from->attr.ino)
                               .id(move.to_dir->last_cookie)
                               .id(tx.mutation().seq));
  set_parent(*move.from, *move.to_dir);
  if (move.aside == nullptr) return ok();
  LINKSPAN_CHECK(continue_history(tx, *move.from, *move.aside));
  tx.count_after(*move.from);
  tx.save(*move.aside);
  return ok();
}

void fix_links(const Move& move) {
  const auto add = [](NodeRow& dir, int count) {
    dir.attr.nlink = static_cast<uint32_t>(static_cast<int>(dir.attr.nlink) + count);
  };
  if (move.crosses()) {
    add(*move.to_dir, move.gained());
    if (move.request.exchange) {
      add(*move.from_dir, -move.gained());
    } else if (move.from->is_directory()) {
      add(*move.from_dir, -1);
    }
  } else if (move.replaces() && move.to->is_directory()) {
    add(*move.from_dir, -1);
  }
}

Applied finish(Transaction& tx, const Move& move) {
  Applied applied = tx.finish(move.to_dir->volume, {move.from, move.from_dir});
  std::vector<Node>& nodes = applied.reply.nodes;
  if (move.crosses()) nodes.push_back(move.to_dir->to_node());
  if (move.to != nullptr && move.to != move.from) nodes.push_back(move.to->to_node());
  return applied;
}

Result<Applied> apply(Transaction& tx, Move& move) {
  const Mutation& m = tx.mutation();
  if (move.request.exchange) {
    apply_exchange(tx, move);
  } else if (move.to != nullptr) {
    LINKSPAN_CHECK(apply_replace(tx, move));
  } else {
    LINKSPAN_CHECK(apply_move(tx, move));
  }
  fix_links(move);
  move.from->touch(m);
  if (move.to != nullptr) move.to->touch(m);
  move.from_dir->modify(m);
  move.to_dir->modify(m);
  tx.save(*move.from);
  if (move.to != nullptr) tx.save(*move.to);
  tx.save(*move.from_dir);
  if (move.crosses()) tx.save(*move.to_dir);
  ChangeRecord change{"rename",
                      move.from,
                      move.to_dir->attr.ino,
                      move.from_dir->attr.ino,
                      move.to_place.child(move.request.to_name),
                      move.from_place.child(move.request.from_name)};
  change.made_version = static_cast<bool>(tx.reply.version);
  if (change.made_version && move.before()->attr.nlink > 0) {
    change.fork = move.before()->history;
    change.fork_version = move.before()->attr.version;
  }
  tx.log(change);
  return finish(tx, move);
}

Result<Applied> rename_in(Transaction& tx, const RenameRequest& request) {
  const Mutation& m = tx.mutation();
  const Questions q = ask_all(tx, request);
  LINKSPAN_CHECK(tx.fetch());
  const bool crosses = request.from_parent != request.to_parent;
  const bool tree_locked = crosses && !tx.answer(q.tree).empty();
  const Rows from = tx.answer(q.from), to = tx.answer(q.to);
  std::vector<NodeRow> nodes = nodes_of(tx.answer(q.locked));
  nodes.reserve(nodes.size() + 2);  // pointers into it stay
  Move move{request};
  LINKSPAN_TRY(move.from_dir, directory(m, nodes, request.from_parent));
  LINKSPAN_TRY(move.to_dir, directory(m, nodes, request.to_parent));
  LINKSPAN_CHECK(check_names(m, move, from, to));
  move.from_place = place_of(tx.answer(q.from_path));
  move.to_place = place_of(tx.answer(q.to_path));
  move.to_has_entries = tx.answer(q.entries).boolean(0, 0);
  const Ino from_ino{from.u64(0, 0)};
  const Ino to_ino{to.empty() ? 0 : to.u64(0, 0)};
  LINKSPAN_CHECK(lock_missing(tx, nodes, {from_ino, to_ino}));
  move.from = find(nodes, from_ino);
  move.to = to_ino ? find(nodes, to_ino) : nullptr;
  LINKSPAN_CHECK(check_merged(m, move));
  if (move.from == move.to) return finish(tx, move);
  move.aside = find_aside(m, nodes, move);
  const bool moves_directory =
      move.from->is_directory() || (move.to != nullptr && move.to->is_directory());
  if (crosses && moves_directory && !tree_locked) return tx.run_again();
  LINKSPAN_CHECK(check_shape(move));
  LINKSPAN_CHECK(
      check_rename_base(request, move.before() != nullptr ? &move.before()->attr : nullptr));
  LINKSPAN_CHECK(check_room(move));
  if (move.from->is_file()) LINKSPAN_CHECK(check_bounds(m.bounds, 0, move.from->attr.size, false));
  return apply(tx, move);
}

}  // namespace

Result<Applied> PostgresStore::rename(const Mutation& m, const RenameRequest& request) {
  LINKSPAN_CHECK(check(request));
  return run_mutation(pool_, m, request.op,
                      [&](Transaction& tx) { return rename_in(tx, request); });
}

}  // namespace linkspan::store::pg
