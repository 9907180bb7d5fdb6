#include "routerd/core/guard.h"

#include <algorithm>
#include <utility>

#include "linkspan/limits.h"

namespace linkspan::core {
namespace {

constexpr uint32_t kEntriesLooked = 10;  // in the log, of a node without a name

std::string below(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

std::string node_text(Ino ino) {
  return "node " + std::to_string(ino.value);
}

// Of the log's paths, too, which begin with ".../" where they were cut.
bool is_whole(const std::string& path) {
  return path.size() <= limits::kPathBytes && !path.starts_with(".../");
}

void mark_node(const Ruling& ruling, Node* node) {
  node->attr.access = ruling.access;
  if (ruling.access >= Access::read_only) return;
  node->content.reset();
  node->target.clear();
}

Error no_such(const std::string& path) {
  return fail(Code::not_found, "there is no '" + path + "'");
}

}  // namespace

Error name_rule(const Permit& terms, Error refusal) {
  const bool bounded = refusal.code == Code::not_permitted || refusal.code == Code::too_large;
  if (bounded && !terms.bounded_by.empty()) refusal.message += " " + terms.bounded_by;
  return refusal;
}

// ---- where nodes are ----

// A conflict's bytes are in a node of their own, which never had a name: under the rules of the
// file that they were meant for.
Result<std::string> Guard::last_path(Ino ino) {
  ChangesRequest request;
  request.under = ino;
  request.newest = true;
  request.limit = kEntriesLooked;
  for (const char* what : {"", "unlink"}) {  // whoever has it open may have filled the log since
    request.what = what;
    LINKSPAN_TRY(const ChangesReply log, store_.changes(scope_, request));
    for (auto at = log.changes.rbegin(); at != log.changes.rend(); ++at)
      if (at->ino == ino && !at->path.empty()) return at->path;
  }
  ConflictsRequest page{{}, limits::kHistoryPage};
  for (;;) {
    LINKSPAN_TRY(const ConflictsReply reply, store_.conflicts(scope_, page));
    for (const Conflict& conflict : reply.conflicts)
      if (conflict.theirs == ino) return conflict.path;
    if (reply.conflicts.size() < page.limit) return std::string();
    page.after = reply.conflicts.back().number;
  }
}

Result<Ruling> Guard::of(Ino ino) {
  if (!rules_.by_path() || ino == rules_.root()) return rules_.at({});
  LINKSPAN_TRY(auto paths, store_.paths_of(scope_, ino, limits::kNamesJudged + 1));
  if (paths.empty()) {
    LINKSPAN_TRY(std::string last, last_path(ino));
    if (last.empty()) return rules_.strictest();
    paths.push_back(std::move(last));
  }
  if (paths.size() > limits::kNamesJudged || !std::all_of(paths.begin(), paths.end(), is_whole))
    return rules_.strictest();
  Ruling ruling;
  for (const std::string& path : paths) ruling.and_also(rules_.at(path));
  return ruling;
}

Result<std::string> Guard::path_of_directory(Ino dir) {
  if (!rules_.by_path() || dir == rules_.root()) return std::string();
  LINKSPAN_TRY(std::string path, store_.path_of(scope_, dir));
  if (path.empty()) return fail(Code::not_found, "the directory was removed");
  if (is_whole(path)) return path;
  return fail(Code::name_too_long, "the path is longer than the token's patterns can tell");
}

Result<Guard::Place> Guard::place(Ino dir, const std::string& name) {
  LINKSPAN_TRY(const std::string directory, path_of_directory(dir));
  Place place{below(directory, name), {}};
  place.ruling = rules_.at(place.path);
  Ruling above = place.ruling;  // not even which names are there is told
  above.access = above.above;
  LINKSPAN_CHECK(check_access(above, Access::read_only, directory));
  return place;
}

Result<std::optional<Attr>> Guard::entry(Ino dir, const std::string& name) {
  LINKSPAN_TRY(const LookupReply found, store_.lookup(scope_, {dir, name, false}));
  return found.node ? std::optional(found.node->attr) : std::nullopt;
}

// ---- reads ----

Status Guard::may_read(Ino ino) {
  LINKSPAN_TRY(const Ruling ruling, of(ino));
  return check_access(ruling, Access::read_only, node_text(ino));
}

Status Guard::may_lock(Ino ino) {
  LINKSPAN_TRY(const Ruling ruling, of(ino));
  return check_access(ruling, Access::append_only, node_text(ino));
}

bool Guard::may_be_told(const std::string& path) const {
  const Ruling ruling = path.empty() || !is_whole(path) ? rules_.strictest() : rules_.at(path);
  return ruling.access >= Access::read_only;
}

Status Guard::may_look_into(Ino dir, std::string* path) {
  const auto found = path_of_directory(dir);
  if (!found.ok() && found.code() != Code::not_found) return found.error();
  const Ruling ruling =
      found.ok() ? rules_.at(*found) : rules_.strictest();  // removed: it is empty
  if (found.ok()) *path = *found;
  return check_access(ruling, Access::read_only, found.ok() ? *found : node_text(dir));
}

// By its place, or, where it may have others, by all its names.
Status Guard::tell_entry(const std::string& path, Node* node) {
  Ruling ruling = rules_.at(path);
  if (rules_.by_path() && node->attr.kind != Kind::directory && node->attr.nlink > 1) {
    LINKSPAN_TRY(const Ruling all, of(node->attr.ino));
    ruling.and_also(all);
  }
  mark_node(ruling, node);
  return ok();
}

Status Guard::tell(Ino dir, const std::string& name, Node* node) {
  std::string path;
  LINKSPAN_CHECK(may_look_into(dir, &path));
  return node == nullptr ? ok() : tell_entry(below(path, name), node);
}

Status Guard::tell(Ino dir, ReadDirReply* reply) {
  std::string path;
  LINKSPAN_CHECK(may_look_into(dir, &path));
  for (DirEntry& entry : reply->entries)
    LINKSPAN_CHECK(tell_entry(below(path, entry.name), &entry.node));
  return ok();
}

Status Guard::tell(Node* node) {
  LINKSPAN_TRY(Ruling ruling, of(node->attr.ino));
  mark_node(ruling, node);
  ruling.access = ruling.above;
  return check_access(ruling, Access::read_only, node_text(node->attr.ino));
}

// Of a file that nobody finds any more the mount learns it with its next question.
void Guard::mark(MutationReply* reply) {
  for (Node& node : reply->nodes) {
    if (node.attr.kind == Kind::directory || node.attr.nlink == 0) continue;
    const auto ruling = of(node.attr.ino);
    mark_node(ruling.ok() ? *ruling : rules_.strictest(), &node);
  }
}

// ---- mutations ----

Permit Guard::bounded(const Ruling& ruling) const {
  Permit permit;
  permit.bounds.keeps_bytes = ruling.access == Access::append_only;
  permit.bounds.max_bytes = ruling.max_bytes;
  permit.bounded_by = permit.bounds.keeps_bytes ? ruling.access_by : "";
  if (!ruling.max_bytes_by.empty())
    permit.bounded_by += (permit.bounded_by.empty() ? "" : ", ") + ruling.max_bytes_by;
  return permit;
}

// The router reads the base for whoever names it, and what it merges is theirs to read. (One that
// is gone may still be in the file's own history.)
Result<bool> Guard::is_denied(Ino base_ino, Ino file) {
  if (!base_ino || base_ino == file || !rules_.by_path()) return false;
  const Status may = may_read(base_ino);
  if (may.ok() || may.code() == Code::not_found || may.code() == Code::stale_node) return false;
  if (may.code() == Code::access_denied) return true;
  return may.error();
}

// Who creates a file that is there opens it.
Result<Permit> Guard::permit(const CreateRequest& request) {
  LINKSPAN_TRY(const Place at, place(request.parent, request.name));
  Status may = check_access(at.ruling, Access::append_only, at.path);
  if (may.ok()) may = rules_.allows_name(at.path);
  if (may.ok()) may = check_exec(at.ruling, request.kind, request.mode, at.path);
  if (may.ok()) return Permit{};
  if (request.exclusive) return may.error();
  LINKSPAN_TRY(const auto there, entry(request.parent, request.name));
  if (!there) return may.error();
  Permit permit;
  permit.only_existing = true;
  return permit;
}

Result<Permit> Guard::permit(const RemoveRequest& request) {
  LINKSPAN_TRY(const Place at, place(request.parent, request.name));
  const Status may = check_access(at.ruling, Access::read_write, at.path);
  if (may.ok()) return Permit{};
  LINKSPAN_TRY(const auto there, entry(request.parent, request.name));
  return there ? may.error() : no_such(at.path);
}

Result<Permit> Guard::permit(const RenameRequest& request) {
  LINKSPAN_TRY(const Place from, place(request.from_parent, request.from_name));
  LINKSPAN_TRY(const Place to, place(request.to_parent, request.to_name));
  LINKSPAN_TRY(const auto moved, entry(request.from_parent, request.from_name));
  LINKSPAN_TRY(const auto there, entry(request.to_parent, request.to_name));
  if (!moved) return no_such(from.path);
  LINKSPAN_CHECK(check_access(from.ruling, Access::read_write, from.path));
  LINKSPAN_CHECK(
      check_access(to.ruling, there ? Access::read_write : Access::append_only, to.path));
  LINKSPAN_CHECK(rules_.allows_name(to.path));
  LINKSPAN_CHECK(check_exec(to.ruling, moved->kind, moved->mode, to.path));
  // What takes a file's name goes on with its history, which may be denied by another name of it.
  if (there && there->kind == Kind::file && there->nlink > 1 && rules_.by_path()) {
    LINKSPAN_TRY(const Ruling replaced, of(there->ino));
    LINKSPAN_CHECK(check_access(replaced, Access::read_only, to.path));
  }
  if (moved->kind == Kind::directory) LINKSPAN_CHECK(rules_.allows_move(from.path, to.path));
  if (request.exchange && there) {
    LINKSPAN_CHECK(rules_.allows_name(from.path));
    LINKSPAN_CHECK(check_exec(from.ruling, there->kind, there->mode, from.path));
    if (there->kind == Kind::directory) LINKSPAN_CHECK(rules_.allows_move(to.path, from.path));
    if (there->kind == Kind::file && there->size > from.ruling.max_bytes)
      return fail(Code::too_large, "'" + from.path + "' may have at most " +
                                       std::to_string(from.ruling.max_bytes) + " bytes " +
                                       from.ruling.max_bytes_by);
  }
  Permit permit;
  permit.bounds.max_bytes = to.ruling.max_bytes;
  permit.bounded_by = to.ruling.max_bytes_by;
  permit.must_not_replace = !request.exchange && to.ruling.access < Access::read_write;
  LINKSPAN_TRY(permit.base_is_denied, is_denied(request.base_ino, there ? there->ino : Ino{}));
  return permit;
}

Result<Permit> Guard::permit(const LinkRequest& request) {
  LINKSPAN_TRY(const Place to, place(request.parent, request.name));
  LINKSPAN_TRY(const Ruling node, of(request.ino));
  LINKSPAN_CHECK(check_access(node, Access::append_only, node_text(request.ino)));
  LINKSPAN_CHECK(check_access(to.ruling, Access::append_only, to.path));
  LINKSPAN_CHECK(rules_.allows_name(to.path));
  LINKSPAN_TRY(const NodeReply now, store_.getattr(scope_, {request.ino, false}));
  LINKSPAN_CHECK(check_exec(to.ruling, now.node.attr.kind, now.node.attr.mode, to.path));
  if (rules_.by_path() && now.node.attr.nlink >= limits::kNamesJudged)
    return fail(Code::too_many_links, "under a token's patterns a file has at most " +
                                          std::to_string(limits::kNamesJudged) + " names");
  Permit permit;
  permit.bounds.max_bytes = to.ruling.max_bytes;
  permit.bounded_by = to.ruling.max_bytes_by;
  return permit;
}

Result<Permit> Guard::permit(const SetAttrRequest& request) {
  LINKSPAN_TRY(const Ruling ruling, of(request.ino));
  const std::string what = node_text(request.ino);
  LINKSPAN_CHECK(
      check_access(ruling, request.relaxed ? Access::read_only : Access::append_only, what));
  if (request.mode && ruling.no_exec) {
    LINKSPAN_TRY(const NodeReply now, store_.getattr(scope_, {request.ino, false}));
    LINKSPAN_CHECK(check_exec(ruling, now.node.attr.kind, *request.mode, what));
  }
  return bounded(ruling);
}

// A file that was replaced hands what is written on to its successor.
Result<Permit> Guard::permit(const CommitRequest& request) {
  LINKSPAN_TRY(Ruling ruling, of(request.ino));
  if (rules_.by_path()) {
    const auto successor = store_.successor(scope_, request.ino);
    if (successor.ok() && *successor) {
      LINKSPAN_TRY(const Ruling also, of(*successor));
      ruling.and_also(also);
    }
  }
  LINKSPAN_CHECK(check_access(ruling, Access::append_only, node_text(request.ino)));
  Permit permit = bounded(ruling);
  LINKSPAN_TRY(permit.base_is_denied, is_denied(request.base_ino, request.ino));
  return permit;
}

Result<Permit> Guard::permit(const SetXattrRequest& request) {
  LINKSPAN_TRY(const Ruling ruling, of(request.ino));
  LINKSPAN_CHECK(check_access(ruling, Access::no_delete, node_text(request.ino)));
  return Permit{};
}

Status Guard::may_settle(const std::string& path) const {
  const Ruling ruling = is_whole(path) ? rules_.at(path) : rules_.strictest();
  return check_access(ruling, Access::no_delete, path);
}

}  // namespace linkspan::core
