// lookup, creation, removal, rename, link, readlink.
#include <fcntl.h>
#include <stdio.h>

#include "fusefs/vfs/route_vfs.h"
#include "linkspan/backup.h"

namespace linkspan::vfs {
namespace {

Status check_name(const std::string& name) {
  if (name.size() > limits::kNameBytes)
    return fail(Code::name_too_long, "names have at most 255 bytes");
  return ok();
}

// A directory (or a file to link) that another mount removed meanwhile: on a local disk, the name
// in it is not found, and ESTALE is no answer that programs expect there. Not for lookups: a node
// that the grant does not reach any more is stale, too, and must not look like an empty tree.
template <class T>
Result<T> by_name(Result<T> result) {
  if (result.ok() || result.code() != Code::stale_node) return result;
  Error error = result.error();
  error.code = Code::not_found;
  return error;
}

// What had the new name before, where that was not the moved node itself (MutationReply::nodes).
const Node* met_by(const RenameRequest& request, const MutationReply& reply) {
  const size_t before = request.from_parent == request.to_parent ? 2 : 3;
  return reply.nodes.size() > before ? &reply.nodes.back() : nullptr;
}

}  // namespace

Result<Entry> RouteVfs::lookup(const Caller& c, Ino parent, const std::string& name) {
  const Asked asked = now();
  LINKSPAN_CHECK(check_name(name));
  const Doing doing = begin(c);
  LINKSPAN_TRY(const KnownName known, tree_.lookup(doing, cache::Name{parent, name}));
  forget_evicted();
  if (known.node)
    return entry(doing, *known.node, known.name_cached, known.node_cached, asked, c.tid);
  Entry none;
  none.negative = true;
  none.times = CacheTimes{std::min(entry_time(known.name_cached), while_leased()), 0, asked.as_of};
  return none;
}

Result<std::string> RouteVfs::readlink(const Caller& c, Ino ino) {
  LINKSPAN_TRY(KnownNode known, tree_.node(begin(c), ino));
  if (known.node.attr.kind != Kind::symlink) return fail(Code::invalid, "not a symbolic link");
  relatime_.accessed(ino);
  return std::move(known.node.target);
}

// ---- creation -------------------------------------------------------------------------------

Result<MutationReply> RouteVfs::create_node(const Doing& doing, const Caller& c,
                                            CreateRequest request) {
  LINKSPAN_CHECK(check_name(request.name));
  LINKSPAN_CHECK(writable());
  if (options_.ownership == Ownership::identity) {
    request.uid = c.uid;
    request.gid = c.gid;
  }
  const cache::Name name{request.parent, request.name};
  const cache::Ticket ticket = tree_.ticket();
  OpNumber operation;
  auto answer = by_name(client_->create(doing.call(&operation), std::move(request)));
  unless_heard(operation, {}, {name});
  LINKSPAN_TRY(MutationReply reply, std::move(answer));
  if (reply.nodes.empty()) return fail(Code::internal, "the router's answer names no node");
  Tree::OwnChange change;
  change.names = {{name, reply.nodes.front().attr.ino}};
  if (reply.created) {
    change.listings = {name.parent};
    const Process process = processes_.of_thread(c.tid);
    const Attr& made = reply.nodes.front().attr;
    bases_.forget_name(process, name);
    // Born with a later version than the first, it goes on with another's history.
    if (made.version.value > 1) bases_.made_anew(process, name, Base{made.ino, made.version});
  }
  tree_.changed(ticket, reply, change);
  if (reply.created) names_moved({name});
  forget_evicted();
  return reply;
}

Result<Entry> RouteVfs::make(const Caller& c, CreateRequest request) {
  const cache::Name name{request.parent, request.name};
  const Doing doing = begin(c);
  LINKSPAN_TRY(const MutationReply reply, create_node(doing, c, std::move(request)));
  return entry_of(c, doing, name, reply.nodes.front());
}

Result<Entry> RouteVfs::mknod(const Caller& c, Ino parent, const std::string& name, Kind kind,
                              uint32_t mode) {
  if (kind != Kind::file && kind != Kind::fifo && kind != Kind::socket)
    return fail(Code::not_permitted, "device nodes do not exist here");
  CreateRequest request;
  request.parent = parent;
  request.name = name;
  request.kind = kind;
  request.mode = mode & 07777;
  return make(c, std::move(request));
}

Result<Entry> RouteVfs::mkdir(const Caller& c, Ino parent, const std::string& name, uint32_t mode) {
  CreateRequest request;
  request.parent = parent;
  request.name = name;
  request.kind = Kind::directory;
  request.mode = mode & 07777;
  return make(c, std::move(request));
}

Result<Entry> RouteVfs::symlink(const Caller& c, Ino parent, const std::string& name,
                                const std::string& target) {
  if (target.empty()) return fail(Code::not_found, "a symbolic link needs a target");
  if (target.size() > limits::kSymlinkBytes)
    return fail(Code::name_too_long, "symbolic links have at most 4095 bytes");
  CreateRequest request;
  request.parent = parent;
  request.name = name;
  request.kind = Kind::symlink;
  request.mode = 0777;
  request.target = target;
  return make(c, std::move(request));
}

Result<std::pair<Entry, Opened>> RouteVfs::create(const Caller& c, Ino parent,
                                                  const std::string& name, uint32_t mode,
                                                  int flags) {
  const Doing doing = begin(c);
  CreateRequest request;
  request.parent = parent;
  request.name = name;
  request.mode = mode & 07777;
  request.exclusive = (flags & O_EXCL) != 0;
  LINKSPAN_TRY(const MutationReply reply, create_node(doing, c, std::move(request)));
  const Node& node = reply.nodes.front();
  // Another mount was faster. The kernel checked rights of the directory only: with ESTALE it walks
  // the path once more, finds the file and opens it like any that was there.
  if (!reply.created) return fail(Code::stale_node, "another mount created it meanwhile");
  LINKSPAN_TRY(Entry made, entry_of(c, doing, cache::Name{parent, name}, node));
  const auto known = tree_.known_node(node.attr.ino);
  LINKSPAN_TRY(const Opened handle,
               opened(c, doing, known.value_or(KnownNode{node, false}), flags, true));
  return std::make_pair(std::move(made), handle);
}

// ---- removal --------------------------------------------------------------------------------

// What was removed need not be committed: only its own open handles can see it. What was replaced
// is committed all the same: who writes to it may not know, and the router keeps it.
void RouteVfs::without_names(const MutationReply& reply, const std::optional<Process>& replacing) {
  for (const Node& node : reply.nodes) {
    if (node.attr.nlink > 0) continue;
    if (const auto file = files_.find(node.attr.ino)) {
      if (replacing)
        file->replaced_by(*replacing);
      else
        file->set_orphan();
    }
    if (files_.handles_of(node.attr.ino) == 0) content_.drop(node.attr.ino);
  }
}

Status RouteVfs::remove(const Caller& c, Ino parent, const std::string& name, bool directory) {
  LINKSPAN_CHECK(check_name(name));
  LINKSPAN_CHECK(writable());
  RemoveRequest request;
  request.parent = parent;
  request.name = name;
  request.directory = directory;
  const cache::Ticket ticket = tree_.ticket();
  OpNumber operation;
  auto answer = by_name(client_->remove(begin(c).call(&operation), request));
  unless_heard(operation, {cache::Name{parent, name}}, {});
  LINKSPAN_TRY(const MutationReply reply, std::move(answer));
  tree_.changed(ticket, reply, {{{cache::Name{parent, name}, Ino{}}}, {parent}});
  names_moved({{parent, name}});
  without_names(reply, /*replacing=*/std::nullopt);
  const Process process = processes_.of_thread(c.tid);
  bases_.forget_name(process, cache::Name{parent, name});
  if (const auto file = reply.nodes.empty() ? nullptr : files_.find(reply.nodes.front().attr.ino))
    file->name_taken(process, cache::Name{parent, name});
  return ok();
}

Status RouteVfs::unlink(const Caller& c, Ino parent, const std::string& name) {
  return remove(c, parent, name, false);
}

Status RouteVfs::rmdir(const Caller& c, Ino parent, const std::string& name) {
  return remove(c, parent, name, true);
}

// ---- rename and link ------------------------------------------------------------------------

// The unsaved writes of the file of this name, so that others see them no later than the name.
Status RouteVfs::commit_named(const Doing& doing, const cache::Name& name) {
  auto ino = tree_.known_name(name);
  if (!ino && !files_.dirty().empty()) {
    LINKSPAN_TRY(const auto found, tree_.lookup(doing, name));
    ino = found.node ? found.node->attr.ino : Ino{};
  }
  if (!ino || !*ino) return ok();
  const auto file = files_.find(*ino);
  if (!file) return ok();
  // What was only truncated is about to be written to, and nobody wants to see it empty till then.
  return but_for_conflicts(commits_.commit(doing, *file, {{}, false}));
}

Status RouteVfs::rename(const Caller& c, Ino from, const std::string& from_name, Ino to,
                        const std::string& to_name, unsigned flags) {
  LINKSPAN_CHECK(check_name(from_name));
  LINKSPAN_CHECK(check_name(to_name));
  LINKSPAN_CHECK(writable());
  if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0)
    return fail(Code::invalid, "only RENAME_NOREPLACE and RENAME_EXCHANGE are known");
  RenameRequest request;
  request.from_parent = from;
  request.from_name = from_name;
  request.to_parent = to;
  request.to_name = to_name;
  request.no_replace = (flags & RENAME_NOREPLACE) != 0;
  request.exchange = (flags & RENAME_EXCHANGE) != 0;
  if (auto again = second_tries_.take(c.tid, SecondTries::of(request))) return *again;

  const Doing doing = begin(c);
  const cache::Name source{from, from_name}, target{to, to_name};
  LINKSPAN_CHECK(commit_named(doing, source));
  LINKSPAN_CHECK(commit_named(doing, target));
  const Process process = processes_.of_thread(c.tid);
  if (const auto unanswered = bases_.take_unanswered(process, target)) {
    const Status learnt = learn_outcome(doing, process, target, *unanswered);
    if (!learnt.ok()) bases_.may_have_renamed(process, target, *unanswered);
    LINKSPAN_CHECK(learnt);
  }
  const auto target_before = tree_.known_name(target);
  const auto moving = tree_.known_name(source);
  const auto moved_before = moving && *moving ? tree_.known_node(*moving) : std::nullopt;
  const Ino moved = moving.value_or(Ino{});
  // A backup replaces the one before it: that is no edit of it, but by who has read it.
  if (flags == 0 && (!makes_backup(request) || bases_.has_read(process, target))) {
    const bool file = !moved_before || moved_before->node.attr.kind == Kind::file;
    auto base = bases_.of_name(process, target, target_before.value_or(Ino{}), moved);
    if (!base && file) base = bases_.of_moved_away(process, target, moved);
    request.base_ino = base ? base->ino : Ino{};
    request.base_version = base ? base->version : Version{};
  }
  const cache::Ticket ticket = tree_.ticket();
  OpNumber operation;
  const auto reply = by_name(client_->rename(doing.call(&operation), request));
  unless_heard(operation, {source, target}, {});
  if (!reply.ok() && reply.code() == Code::conflict) refused(c, request, reply.error());
  if (!reply.ok() && (transient(reply.code()) || reply.code() == Code::io) && moved && flags == 0)
    bases_.may_have_renamed(process, target, {moved, request.base_version});
  if (!reply.ok()) return reply.error();
  if (reply->nodes.empty()) return fail(Code::internal, "the router's answer names no node");
  renamed(process, request, *reply, ticket, target_before, moved_before);
  return ok();
}

// Before a process saves again over a name for which its last save got no answer: if that was done
// after all, it is what the process knows, and no change of another's. Asked past the caches, which
// do not know either.
Status RouteVfs::learn_outcome(const Doing& doing, const Process& process,
                               const cache::Name& target, const BaseVersions::Unanswered& rename) {
  LINKSPAN_TRY(const auto now,
               client_->lookup(doing.call(), LookupRequest{target.parent, target.name, false}));
  if (!now.node || now.node->attr.kind != Kind::file) return ok();
  LINKSPAN_TRY(const auto versions,
               client_->versions(doing.call(), VersionsRequest{now.node->attr.ino, {}, 100}));
  for (auto at = versions.begin(); at != versions.end(); ++at) {
    if (at->ino != rename.by || at->what != "rename") continue;
    // On another version than that which it was based on it was a merge, which nobody has read.
    auto before = at + 1;  // but for what it took along of its own
    while (before != versions.end() && before->ino == rename.by) ++before;
    const bool merged = rename.base && before != versions.end() && before->version != rename.base;
    if (!merged) bases_.wrote(process, Base{rename.by, at->version}, {{target}, {}});
    break;
  }
  return ok();
}

// The router keeps what it refuses so; its error says where.
void RouteVfs::refused(const Caller& c, const RenameRequest& request, const Error& error) {
  refused_.fetch_add(1, std::memory_order_relaxed);
  second_tries_.refused(c.tid, SecondTries::of(request), error);
  // A link or directory has no versions to read: whoever saves again, once told, replaces it.
  const cache::Name target{request.to_parent, request.to_name};
  const auto there = tree_.known_name(target);
  const auto node = there && *there ? tree_.known_node(*there) : std::nullopt;
  if (node && node->node.attr.kind != Kind::file)
    bases_.forget_name(processes_.of_thread(c.tid), target);
  if (options_.on_conflict)
    options_.on_conflict(options_.route.path + "/: '" + request.from_name +
                         "' was not renamed to '" + request.to_name + "', " + error.message);
}

void RouteVfs::renamed(const Process& process, const RenameRequest& request,
                       const MutationReply& reply, cache::Ticket ticket,
                       const std::optional<Ino>& target_before,
                       const std::optional<KnownNode>& moved_before) {
  const cache::Name source{request.from_parent, request.from_name};
  const cache::Name target{request.to_parent, request.to_name};
  const Attr& moved = reply.nodes.front().attr;
  // Two names of one node both stay; so the old name is known to be gone only if the new one led
  // elsewhere.
  const bool gone = !request.exchange && target_before && *target_before != moved.ino;
  auto source_after = gone ? std::optional<Ino>(Ino{}) : std::nullopt;
  if (const auto file = files_.find(moved.ino)) file->set_renamed();
  if (const Node* met = met_by(request, reply)) {
    const auto file = files_.find(met->attr.ino);
    if (request.exchange) source_after = met->attr.ino;
    if (file) request.exchange ? file->set_renamed() : file->name_taken(process, target);
  }
  tree_.changed(ticket, reply,
                {{{target, moved.ino}, {source, source_after}}, {source.parent, target.parent}});
  names_moved({source, target});
  without_names(reply, process);
  const auto read = bases_.of_name(process, source, moved.ino);
  bases_.forget_name(process, source);

  if (reply.version) kernel_.sizes().untell(moved.ino);
  const Version before = moved_before ? moved_before->node.attr.version : Version{};
  if (reply.merged) {
    content_.drop(moved.ino, moved.version);
    kernel_.drop_content(moved.ino);
    // Nobody here has read the merge.
    if (!reply.unmerged) return;
    if (before) {
      bases_.renumbered(moved.ino, before, reply.unmerged);
      if (const auto file = files_.find(moved.ino)) file->renumbered(before, reply.unmerged);
    }
    bases_.wrote(process, {moved.ino, reply.unmerged}, {{target}, {}});
    return;
  }
  if (kernel_.own(moved.ino, before)) kernel_.is_own(moved.ino, moved.version);
  if (before && before != moved.version) {
    kernel_.pages_become(moved.ino, before, moved.version);
    content_.renumbered(moved.ino, before, moved.version);
    bases_.renumbered(moved.ino, before, moved.version);
    if (const auto file = files_.find(moved.ino)) file->renumbered(before, moved.version);
  }
  // Where it took another's name, only its head's number is known.
  if (read && moved.kind == Kind::file && makes_backup(request)) {
    if (!reply.version)
      bases_.moved_away(process, source, moved.ino, *read);
    else if (*read == Base{moved.ino, before})
      bases_.moved_away(process, source, moved.ino, Base{moved.ino, moved.version});
  }
  const bool replaced = reply.version && !request.exchange;
  bases_.took_place(process, target);
  if (!replaced || moved.kind != Kind::file) return bases_.forget_name(process, target);
  const Base made{moved.ino, moved.version};
  bases_.wrote(process, made, {{target}, {}});
  if (request.base_version) bases_.changed_here({request.base_ino, request.base_version}, made);
}

Result<Entry> RouteVfs::link(const Caller& c, Ino ino, Ino parent, const std::string& name) {
  LINKSPAN_CHECK(check_name(name));
  LINKSPAN_CHECK(writable());
  const Doing doing = begin(c);
  if (const auto file = files_.find(ino))
    LINKSPAN_CHECK(but_for_conflicts(commits_.commit(doing, *file)));
  LinkRequest request;
  request.ino = ino;
  request.parent = parent;
  request.name = name;
  const cache::Ticket ticket = tree_.ticket();
  OpNumber operation;
  auto answer = by_name(client_->link(doing.call(&operation), request));
  unless_heard(operation, {}, {cache::Name{parent, name}}, {{ino, false, false}});
  LINKSPAN_TRY(const MutationReply reply, std::move(answer));
  if (reply.nodes.empty()) return fail(Code::internal, "the router's answer names no node");
  tree_.changed(ticket, reply, {{{cache::Name{parent, name}, ino}}, {parent}});
  return entry_of(c, doing, cache::Name{parent, name}, reply.nodes.front());
}

}  // namespace linkspan::vfs
