// rename(2) and renameat2(2), in the order in which Linux checks.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_mutate.h"

namespace linkspan::store::mem {
namespace {

// Who takes part. `to` is null if there is nothing under the new name; then `aside` is the file
// that the author moved away from it, if the moved one goes on with its history.
struct Move {
  MemNode* from_dir;
  MemNode* to_dir;
  MemNode* from;
  MemNode* to;
  const RenameRequest& request;
  MemNode* aside = nullptr;

  MemNode* before() const { return to != nullptr ? to : aside; }
  bool replaces() const { return to != nullptr && !request.exchange; }
  // How many subdirectories to_dir gains (and from_dir loses, if it is another).
  int gained() const {
    const int in = from->is_directory() ? 1 : 0;
    const int out = to != nullptr && to->is_directory() ? 1 : 0;
    return in - out;
  }
};

MemNode* find_aside(Tenant& tenant, const Mutation& m, const Move& move) {
  if (move.to != nullptr || !move.from->is_file() || !m.continues) return nullptr;
  const auto at = tenant.nodes.find(m.continues->ino);
  if (at == tenant.nodes.end() || &at->second == move.from) return nullptr;
  const bool goes_on =
      store::goes_on(m, at->second.attr) && at->second.volume == move.to_dir->volume;
  return goes_on ? &at->second : nullptr;
}

Result<Move> find_move(Tenant& tenant, const Mutation& m, const RenameRequest& request) {
  const Scope& scope = m.scope;
  LINKSPAN_TRY(MemNode * from_dir, tenant.find_directory(scope, request.from_parent));
  LINKSPAN_TRY(MemNode * to_dir, tenant.find_directory(scope, request.to_parent));
  if (from_dir->volume != to_dir->volume)
    return fail(Code::cross_volume, "a rename stays within its volume");
  LINKSPAN_CHECK(check_writable(scope, *from_dir));
  Move move{from_dir, to_dir, tenant.child(*from_dir, request.from_name),
            tenant.child(*to_dir, request.to_name), request};
  if (move.from == nullptr) return fail(Code::not_found, "there is no '" + request.from_name + "'");
  if (to_dir->attr.nlink == 0) return fail(Code::not_found, "the new directory was removed");
  if (move.to != nullptr && request.no_replace)
    return fail(Code::exists, "'" + request.to_name + "' is there");
  if (move.to == nullptr && request.exchange)
    return fail(Code::not_found, "there is no '" + request.to_name + "' to exchange with");
  move.aside = find_aside(tenant, m, move);
  return move;
}

// What was merged is what is moved.
Status check_merged(const Mutation& m, const Move& move) {
  if (!m.merged) return ok();
  const Attr& from = move.from->attr;
  const bool same = from.ino == m.merged->ino && from.version == m.merged->version;
  return same && move.from != move.to ? ok() : Status(changed_by_another(from.version));
}

Status check_shape(const Tenant& tenant, const Move& move) {
  const RenameRequest& request = move.request;
  if (move.from->is_directory() && tenant.is_within(*move.to_dir, *move.from))
    return fail(Code::loop, "'" + request.from_name + "' cannot be moved into itself");
  if (move.to != nullptr && move.to->is_directory() && tenant.is_within(*move.from_dir, *move.to)) {
    if (request.exchange)
      return fail(Code::loop, "'" + request.to_name + "' cannot be moved into itself");
    return fail(Code::not_empty, "'" + request.to_name + "' is not empty");
  }
  if (!move.replaces()) return ok();
  if (move.from->is_directory() && !move.to->is_directory())
    return fail(Code::not_directory, "'" + request.to_name + "' is no directory");
  if (!move.from->is_directory() && move.to->is_directory())
    return fail(Code::is_directory, "'" + request.to_name + "' is a directory");
  if (!move.to->entries.empty())
    return fail(Code::not_empty, "'" + request.to_name + "' is not empty");
  return ok();
}

Status check_room(const Move& move) {
  if (move.from_dir == move.to_dir) return ok();
  const MemNode& fuller = move.gained() > 0 ? *move.to_dir : *move.from_dir;
  if (move.gained() == 0 || fuller.attr.nlink < limits::kLinks) return ok();
  if (move.gained() < 0 && !move.request.exchange) return ok();
  return fail(Code::too_many_links,
              "the directory has " + std::to_string(limits::kLinks) + " links");
}

bool is_part_of(const VersionInfo& version, const VersionInfo& next) {
  return next.session == version.session && next.size > version.size &&
         next.at.ns - version.at.ns < kOneWritingNs;
}

// The versions of the moved file but its head, numbered one by one above a number; returns the
// last.
uint64_t adopt(std::vector<Record>& history, uint64_t above, const std::vector<Record>& own,
               const Mutation& by) {
  const std::vector<Record> before = history;
  for (size_t i = 0; i < own.size(); ++i) {
    const VersionInfo& info = own[i].info;
    const bool head = i + 1 == own.size();
    if (head && info.session == by.author.session) continue;
    const auto same = [&](const Record& there) { return there.content == own[i].content; };
    if (info.what == "create" && info.size == 0) continue;
    if (!head && is_part_of(info, own[i + 1].info)) continue;
    if (std::any_of(before.begin(), before.end(), same)) continue;
    history.push_back(own[i]);
    history.back().info.version = Version{++above};
    history.back().replaced = by.now;
  }
  return above;
}

// The moved file goes on with the history of the name it takes, and its own older versions with it.
// The node that had the name keeps what it had, for those who hold it open or by another name.
void continue_history(Transaction& tx, MemNode& from, MemNode& to) {
  const auto moved = from.history.back().content;
  uint64_t above = std::max(from.attr.version.value, to.attr.version.value);
  std::vector<Record> history = to.history;
  history.back().replaced = tx.mutation().now;
  if (from.attr.version.value > kWrittenOnce)
    above = adopt(history, above, from.history, tx.mutation());
  from.history = std::move(history);
  from.line = to.line;
  if (to.attr.nlink > 0) {
    to.line = tx.mutation().seq;
    for (Record& record : to.history) record.replaced = tx.mutation().now;
  } else {
    to.replaced_by = tx.mutation().author.session;
  }
  from.attr.version = Version{above};
  const auto& merged = tx.mutation().merged;
  if (merged) tx.add_unmerged(from, moved);
  tx.add_version(from, merged ? content_of(merged->content) : moved, "rename");
  tx.reply.version = from.attr.version;
}

void apply_exchange(Tenant& tenant, const Move& move) {
  const RenameRequest& request = move.request;
  tenant.replace_name(*move.from_dir, request.from_name, *move.from, *move.to);
  tenant.replace_name(*move.to_dir, request.to_name, *move.to, *move.from);
}

void apply_replace(Transaction& tx, const Move& move) {
  const RenameRequest& request = move.request;
  MemNode& to = *move.to;
  tx.count_before(to);
  tx.count_before(*move.from);
  tx.tenant().remove_name(*move.from_dir, request.from_name, *move.from);
  tx.tenant().replace_name(*move.to_dir, request.to_name, to, *move.from);
  to.attr.nlink = to.is_directory() ? 0 : to.attr.nlink - 1;
  tx.count_after(to);
  if (move.from->is_file() && to.is_file()) continue_history(tx, *move.from, to);
  tx.count_after(*move.from);
}

void apply_move(Transaction& tx, const Move& move) {
  if (move.aside != nullptr) tx.count_before(*move.from);
  tx.tenant().remove_name(*move.from_dir, move.request.from_name, *move.from);
  tx.tenant().add_name(*move.to_dir, move.request.to_name, *move.from);
  if (move.aside == nullptr) return;
  continue_history(tx, *move.from, *move.aside);
  tx.count_after(*move.from);
}

void fix_links(const Move& move) {
  const auto add = [](MemNode& dir, int count) {
    dir.attr.nlink = static_cast<uint32_t>(static_cast<int>(dir.attr.nlink) + count);
  };
  if (move.from_dir != move.to_dir) {
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

LoggedChange where_of(const Tenant& tenant, const Move& move) {
  LoggedChange where{{}, move.to_dir->volume, move.to_dir->attr.ino, move.from_dir->attr.ino};
  where.change.path = tenant.path_of(*move.to_dir, move.request.to_name);
  where.change.old_path = tenant.path_of(*move.from_dir, move.request.from_name);
  return where;
}

Applied finish(Transaction& tx, const Move& move) {
  const VolumeId volume = move.to_dir->volume;
  Applied applied = tx.finish(volume, {move.from, move.from_dir});
  if (move.to_dir != move.from_dir) applied.reply.nodes.push_back(to_node(*move.to_dir));
  if (move.to != nullptr && move.to != move.from) applied.reply.nodes.push_back(to_node(*move.to));
  return applied;
}

}  // namespace

Result<Applied> MemStore::rename(const Mutation& m, const RenameRequest& request) {
  LINKSPAN_CHECK(check(request));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    Tenant& tenant = tx.tenant();
    LINKSPAN_TRY(const Move move, find_move(tenant, m, request));
    LINKSPAN_CHECK(check_merged(m, move));
    if (move.from == move.to) return finish(tx, move);
    LINKSPAN_CHECK(check_shape(tenant, move));
    LINKSPAN_CHECK(
        check_rename_base(request, move.before() != nullptr ? &move.before()->attr : nullptr));
    LINKSPAN_CHECK(check_room(move));
    if (move.from->is_file())
      LINKSPAN_CHECK(check_bounds(m.bounds, 0, move.from->attr.size, false));

    const LoggedChange where = where_of(tenant, move);
    if (request.exchange) {
      apply_exchange(tenant, move);
    } else if (move.to != nullptr) {
      apply_replace(tx, move);
    } else {
      apply_move(tx, move);
    }
    fix_links(move);
    tx.touch(*move.from);
    if (move.to != nullptr) tx.touch(*move.to);
    tx.modify(*move.from_dir);
    tx.modify(*move.to_dir);
    tx.log("rename", *move.from, where);
    return finish(tx, move);
  });
}

}  // namespace linkspan::store::mem
