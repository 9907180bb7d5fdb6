// getattr, setattr, and how attributes look to callers.
#include <algorithm>

#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {

// ---- how callers see it ---------------------------------------------------------------------

namespace {

constexpr std::chrono::seconds kLooks{1};  // after it was changed, if it does at all

void lay_over(Attr* attr, const OpenFile& file, const OpenFile::View& view) {
  attr->size = view.size;
  // Nobody shall take an unsaved file for one hole.
  attr->allocated = std::min(view.size, attr->allocated + file.dirty_bytes());
  if (view.mtime) attr->mtime = *view.mtime;
  attr->ctime = std::max(attr->ctime, view.last_write);
}

}  // namespace

// Only as long as the lease lasts that is known now: the kernel outlives a mount that is killed or
// stopped, and would go on with what nobody revokes any more. Each read asks for attributes that
// ran out, so this holds for content, too. On a read-only route what is stale is served, and said.
double RouteVfs::while_leased() const {
  if (!options_.route.writable()) return kUntilPush;
  return std::chrono::duration<double>(client_->lease_left()).count();
}

double RouteVfs::entry_time(bool cached) const {
  return cached && (!options_.route.writable() || kernel_.can_drop_names()) ? kUntilPush : 0;
}

Result<Entry> RouteVfs::entry(const Doing& doing, const Node& node, bool name_cached,
                              bool node_cached, const Asked& asked, int32_t tid) {
  LINKSPAN_TRY(const AttrReply attr,
               attr_reply(doing, KnownNode{node, node_cached}, asked, ToldSizes::Asker{tid}));
  return Entry{attr.attr, CacheTimes{entry_time(name_cached), attr.timeout, asked.as_of}, false};
}

Result<Entry> RouteVfs::entry_of(const Caller& c, const Doing& doing, const cache::Name& name,
                                 const Node& node) {
  const Asked asked = now();
  const bool lease = tree_.use() == cache::Use::current;
  const auto named = tree_.known_name(name);
  const auto known = tree_.known_node(node.attr.ino);
  return entry(doing, known ? known->node : node, lease && named && *named == node.attr.ino,
               known && known->cached, asked, c.tid);
}

// While a file is dirty the kernel keeps nothing: its times and blocks move with the commit.
Result<AttrReply> RouteVfs::attr_reply(const Doing& doing, KnownNode known, const Asked& asked,
                                       const std::optional<ToldSizes::Asker>& by) {
  const Ino ino = known.node.attr.ino;
  const uint64_t as_of = asked.as_of;
  const bool is_file = known.node.attr.kind == Kind::file;
  std::shared_ptr<OpenFile> file;
  std::optional<OpenFile::View> view;
  // Clean, maybe since just now: then `known` can be of before the commit, and shorter. The kernel
  // would cut off what a process has mapped (SIGBUS). A file is clean only after the cache has what
  // the commit made; where another's change took that out again, the router is asked.
  uint64_t commits = asked.commits;
  for (unsigned attempt = 0; is_file; ++attempt) {
    file = files_.find(ino);
    view = file ? file->view() : std::nullopt;
    if (view) break;
    const uint64_t latest = commits_.count();
    if (auto newest = tree_.known_node(ino); newest && newest->cached) {
      known = std::move(*newest);
      break;
    }
    if (!by || latest == commits || attempt == kEditTries) break;  // they may be of other files
    commits = latest;
    LINKSPAN_TRY(known, tree_.node(doing, ino));
  }
  Attr attr = shown(options_, known.node.attr);
  if (is_file && by && kernel_.sizes().resizing(ino)) kernel_.drop_attributes(ino);
  const bool sure =
      !is_file || !by || kernel_.sizes().told(ino, {attr.version, attr.size}, as_of, *by);
  if (view) lay_over(&attr, *file, *view);
  return AttrReply{attr, known.cached && !view && sure ? while_leased() : 0, as_of};
}

// ---- getattr --------------------------------------------------------------------------------

Result<AttrReply> RouteVfs::getattr(const Caller& c, Ino ino, std::optional<Handle> handle) {
  const Asked asked = now();
  const Doing doing = begin(c);
  std::optional<ToldSizes::Asking> asking;
  if (handle) asking.emplace(&kernel_.sizes(), ino, c.tid);
  const auto file = options_.route.writable() ? files_.find(ino) : nullptr;
  const Sight before = file ? file->sight({}, 0) : Sight{};
  LINKSPAN_TRY(KnownNode known, tree_.node(doing, ino));
  forget_evicted();
  LINKSPAN_TRY(AttrReply reply, attr_reply(doing, std::move(known), asked,
                                           ToldSizes::Asker{c.tid, asking ? &*asking : nullptr}));
  if (file) tells_size(c, *file, handle, before, &reply);
  return reply;
}

// Who has the file open hears its size, as it was at `seen` or later.
void RouteVfs::tells_size(const Caller& c, OpenFile& file, std::optional<Handle> handle, Sight seen,
                          AttrReply* reply) {
  const auto view = file.view();
  const bool kernel_takes_it = view || reply->timeout > 0;  // else it may ignore it
  seen.version = view ? view->base : reply->attr.version;
  seen.size = reply->attr.size;
  const Process process = processes_.of_thread(c.tid);
  // With a handle read(2) asks, or lseek(2), and its process may not hear the size: an fstat(2)
  // that follows shall come here, too.
  if (const auto open = handle ? files_.handle(*handle) : nullptr) {
    if (!file.knows_size(process, seen.version, open->read_state) &&
        kernel_.sizes().changed_within(file.ino, kLooks))
      reply->timeout = 0;
  } else if (kernel_takes_it) {
    files_.told_size(file, process, seen);
  }
}

// ---- setattr --------------------------------------------------------------------------------

Result<AttrReply> RouteVfs::setattr(const Caller& c, Ino ino, const SetAttr& set,
                                    std::optional<Handle> handle) {
  const Doing doing = begin(c);
  LINKSPAN_CHECK(writable());
  LINKSPAN_TRY(const bool owner, owner_change(set));
  if (set.size && handle)
    if (const auto open = files_.handle(*handle)) LINKSPAN_CHECK(Locks::intact(*open));
  if (set.size) {
    const ToldSizes::Resizing resizing(&kernel_.sizes(), ino);
    LINKSPAN_CHECK(set_size(c, doing, ino, *set.size, handle));
  }
  SetAttr rest = set;
  rest.size.reset();
  if (rest.mode || owner || rest.atime || rest.mtime || rest.atime_now || rest.mtime_now)
    LINKSPAN_CHECK(send_attributes(c, doing, ino, rest));
  const Asked asked = now();
  LINKSPAN_TRY(KnownNode known, tree_.node(doing, ino));
  LINKSPAN_TRY(AttrReply reply,
               attr_reply(doing, std::move(known), asked, ToldSizes::Asker{c.tid}));
  // The kernel takes this answer in even if a notice overtook it (fuse_do_setattr).
  reply.timeout = 0;
  return reply;
}

// Whether an owner is to be sent at all. Squashed, every node is the mount user's already.
Result<bool> RouteVfs::owner_change(const SetAttr& set) const {
  if (!set.uid && !set.gid) return false;
  if (options_.ownership == Ownership::identity) return true;
  if (set.uid.value_or(options_.uid) == options_.uid &&
      set.gid.value_or(options_.gid) == options_.gid)
    return false;
  return fail(Code::not_permitted,
              "owners are squashed on this mount; mount with --owner identity to keep them");
}

// Through a handle a truncation is a write like others; by path it is committed at once.
Status RouteVfs::set_size(const Caller& c, const Doing& doing, Ino ino, uint64_t size,
                          std::optional<Handle> handle) {
  const auto open = handle ? files_.handle(*handle) : nullptr;
  if (open && open->writes) {
    LINKSPAN_CHECK(
        edit(c, doing, *handle, *open->file, [&](const Beneath& beneath, const Editor& by) {
          return open->file->truncate(beneath, by, size);
        }));
    LINKSPAN_CHECK(under_its_locks(*open));
    if (size == 0) emptied(*open->file, processes_.of_thread(c.tid));
    commits_.schedule(ino, limits::kCommitDelay);
    return ok();
  }
  if (size > limits::kFileBytes) return fail(Code::too_large, "files end at 16 GiB");
  if (auto again = second_tries_.take(c.tid, SecondTries::of(ino, size))) return *again;
  // What others here have not saved comes before: it may be what the process has not seen.
  Doing left = doing;
  if (const auto file = files_.find(ino); file && file->dirty()) {
    LINKSPAN_CHECK(but_for_conflicts(commits_.commit(doing, *file)));
    left = doing.renewed(options_);
  }
  LINKSPAN_TRY(const bool behind, is_behind(c, left, ino));
  if (behind) return truncate_as_writer(c, left, ino, size);
  SetAttr only;
  only.size = size;
  return send_attributes(c, left, ino, only);
}

// Whether what the process knows of the file is not what is there.
Result<bool> RouteVfs::is_behind(const Caller& c, const Doing& doing, Ino ino) {
  LINKSPAN_TRY(const KnownNode known, tree_.node(doing, ino));
  if (!matters(known.node.attr)) return false;
  const auto base = bases_.of_node(processes_.of_thread(c.tid), ino, tree_.found_names(ino));
  return base && *base != Base{ino, known.node.attr.version};
}

// As by open, ftruncate and close: held against what others have changed.
Status RouteVfs::truncate_as_writer(const Caller& c, const Doing& doing, Ino ino, uint64_t size) {
  const Handle h = files_.open(ino, processes_.of_thread(c.tid), /*reads=*/false, /*writes=*/true);
  const auto handle = files_.handle(h);
  Status done = edit(c, doing, h, *handle->file, [&](const Beneath& beneath, const Editor& by) {
    return handle->file->truncate(beneath, by, size);
  });
  if (done.ok()) done = commit_and_report(c, doing, h, *handle);
  release(ino, h);
  if (!done.ok() && done.code() == Code::conflict)
    second_tries_.refused(c.tid, SecondTries::of(ino, size), done.error());
  return done;
}

Status RouteVfs::send_attributes(const Caller& c, const Doing& doing, Ino ino, const SetAttr& set) {
  SetAttrRequest request;
  request.ino = ino;
  request.mode = set.mode;
  if (options_.ownership == Ownership::identity) {
    request.uid = set.uid;
    request.gid = set.gid;
  }
  request.size = set.size;
  request.atime = set.atime;
  request.mtime = set.mtime;
  request.atime_now = set.atime_now;
  request.mtime_now = set.mtime_now;

  // Unsaved writes come before a new size; times set now are later than their mtime.
  const auto file = files_.find(ino);
  const bool sizes = set.size.has_value();
  const bool times = set.mtime || set.mtime_now;
  std::optional<Turn> turn;
  Doing left = doing;
  if (file && (sizes || times)) {
    LINKSPAN_TRY(left, commits_.take_turn(doing, *file));
    turn.emplace(file.get());
    if (sizes) {
      LINKSPAN_CHECK(but_for_conflicts(commits_.commit_with_turn(left, *file)));
      left = doing.renewed(options_);
    }
  }
  if (set.atime || set.atime_now) LINKSPAN_CHECK(relatime_.settle(ino, left.patience()));
  const auto before = tree_.known_node(ino);
  const cache::Ticket ticket = tree_.ticket();
  OpNumber operation;
  auto answer = client_->set_attributes(left.call(&operation), request);
  unless_heard(operation, {}, {}, {{ino, sizes, false}});
  LINKSPAN_TRY(const MutationReply reply, std::move(answer));
  tree_.changed(ticket, reply);
  if (file && times) file->times_were_set();
  if (!sizes) return ok();
  // A truncation to the size that it has makes no version: nobody's base moves.
  const bool made = !reply.nodes.empty() && reply.version.value != 0;
  const Version now = made ? reply.nodes.front().attr.version : Version{};
  const Version was = before ? before->node.attr.version : Version{now.value - 1};
  if (file) file->base_changed(processes_.of_thread(c.tid), made ? was : Version{}, now);
  if (made) resized(c, ino, was, now);
  return ok();
}

// The content was cut or extended at once: an own change like a commit.
void RouteVfs::resized(const Caller& c, Ino ino, Version before, Version now) {
  content_.drop(ino, now);
  if (now.value > before.value + 1) {
    kernel_.drop_content(ino);
    return;
  }
  kernel_.pages_become(ino, before, now);
  const Process process = processes_.of_thread(c.tid);
  const auto names = tree_.found_names(ino);
  if (bases_.of_node(process, ino, names) == Base{ino, before})
    bases_.wrote(process, Base{ino, now}, {names.now, {}});
  bases_.changed_here({ino, before}, {ino, now});
}

}  // namespace linkspan::vfs
