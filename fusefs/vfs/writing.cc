// write, fallocate, flush, fsync, release: unsaved writes and when they are committed.
#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>

#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {
namespace {

// SQLite's processes of one mount agree through a mapping and through locks on another file, so
// what one knows of these all of them know; other mounts are kept out (locking.cc).
bool known_to_all(const std::vector<cache::Name>& names) {
  return std::any_of(names.begin(), names.end(), [](const cache::Name& name) {
    return name.name.ends_with("-wal") || name.name.ends_with("-shm");
  });
}

}  // namespace

// ---- edits ----------------------------------------------------------------------------------

Editor RouteVfs::editor(const Caller& c, Ino ino, Handle h) {
  Editor by;
  auto names = tree_.found_names(ino);
  // Another file has the name by now: what the process has read under it before counts all the
  // same.
  const auto handle = names.now.empty() ? files_.handle(h) : nullptr;
  const bool shared = known_to_all(handle ? handle->names : names.now);
  by.party = {shared ? Process{} : processes_.of_thread(c.tid), h};
  names.former.clear();
  if (handle) names = known_under(by.party.process, ino, handle.get());
  by.base = [this, ino, process = by.party.process, names = std::move(names)] {
    return bases_.basis(process, ino, names);
  };
  by.now = options_.clock->now();
  return by;
}

// On a file with unsaved writes an edit asks nobody. On a clean one it first learns what lies
// beneath: at most a read, never a mutation, for the kernel may hold page locks (DESIGN 4a).
Status RouteVfs::edit(const Caller& c, const Doing& doing, Handle h, OpenFile& file,
                      const Edit& edit) {
  const Editor by = editor(c, file.ino, h);
  Beneath beneath;
  for (unsigned attempt = 0; attempt < kEditTries; ++attempt) {
    LINKSPAN_TRY(const Edited edited, edit(beneath, by));
    if (edited == Edited::done) return ok();
    beneath.moment = file.moment();
    const ToldSizes::Resizing resizing(&kernel_.sizes(), file.ino);
    LINKSPAN_TRY(const KnownNode known, tree_.node(doing, file.ino));
    beneath.version = known.node.attr.version;
    beneath.size = known.node.attr.size;
  }
  return fail(Code::busy, "commits overtook this write again and again");
}

// After an edit that may have waited for the link: a lock that was lost with it was still there
// before. Locks::lost says so before it dooms what is unsaved, so one of the two finds this edit.
Status RouteVfs::under_its_locks(const FileHandle& handle) {
  Status intact = Locks::intact(handle);
  if (!intact.ok()) {
    handle.file->doom();
    commits_.schedule(handle.file->ino, std::chrono::milliseconds(0));
  }
  return intact;
}

Result<size_t> RouteVfs::write(const Caller& c, Ino ino, Handle h, uint64_t offset,
                               std::string_view data, bool append) {
  const auto handle = files_.handle(h);
  if (!handle) return no_such_handle();
  LINKSPAN_CHECK(writable());
  LINKSPAN_CHECK(Locks::intact(*handle));
  if (data.empty()) return size_t{0};
  OpenFile& file = *handle->file;
  const Doing doing = begin(c);
  LINKSPAN_CHECK(when_there_is_room(doing, ino, [&] {
    return edit(c, doing, h, file, [&](const Beneath& beneath, const Editor& by) {
      return file.write(beneath, by, offset, data, append);
    });
  }));
  LINKSPAN_CHECK(under_its_locks(*handle));
  commits_.schedule(ino, limits::kCommitDelay);
  make_room(doing, ino);
  return data.size();
}

// ---- room for unsaved bytes -----------------------------------------------------------------

// A write must not wait for a commit: the kernel holds page locks, for which another mount's commit
// may wait, and ours for that one (DESIGN 4a). So it waits for moments that are short beside a
// lease, whatever becomes of the commit, and only while commits make room at all.
bool RouteVfs::commits_go() const {
  return client_->link().link == client::Link::connected && commits_.refusal().text.empty();
}

Status RouteVfs::when_there_is_room(const Doing& doing, Ino ino,
                                    const std::function<Status()>& write) {
  Status done = write();
  const auto until = std::chrono::steady_clock::now() + kRoomWait;
  while (!done.ok() && done.code() == Code::no_space && commits_go()) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= until) break;
    commits_.schedule(ino, std::chrono::milliseconds(0));
    cache::Patience patience = doing.patience();
    patience.deadline = std::min(until, now + kRoomStep);
    const Status waited = spool_.await_room(patience);
    if (!waited.ok() && waited.code() != Code::timed_out) return waited;
    done = write();
  }
  return done;
}

// Before the disk is full, so that it does not get so.
void RouteVfs::make_room(const Doing& doing, Ino ino) {
  const auto pause = spool_.pause();
  if (pause.count() == 0 || !commits_go()) return;
  commits_.schedule(ino, std::chrono::milliseconds(0));
  cache::Patience patience = doing.patience();
  patience.deadline = std::chrono::steady_clock::now() + pause;
  (void)spool_.await_room(patience).ok();
}

Status RouteVfs::fallocate(const Caller& c, Ino ino, Handle h, int mode, uint64_t offset,
                           uint64_t length) {
  const auto handle = files_.handle(h);
  if (!handle) return no_such_handle();
  LINKSPAN_CHECK(writable());
  LINKSPAN_CHECK(Locks::intact(*handle));
  const uint64_t end = offset + length;
  if (length == 0 || end < offset) return fail(Code::invalid, "nothing to allocate");
  if (end > limits::kFileBytes) return fail(Code::too_large, "files end at 16 GiB");
  OpenFile& file = *handle->file;
  const bool keep_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  const int kind = mode & ~FALLOC_FL_KEEP_SIZE;
  if (kind != 0 && kind != FALLOC_FL_ZERO_RANGE && !(kind == FALLOC_FL_PUNCH_HOLE && keep_size))
    return fail(Code::unsupported, "this kind of allocation is not supported");
  const Doing doing = begin(c);
  // Space is not set aside: the quota decides at the commit.
  if (kind == 0 && keep_size) return ok();
  if (kind != FALLOC_FL_PUNCH_HOLE && !keep_size)
    LINKSPAN_CHECK(edit(c, doing, h, file, [&](const Beneath& beneath, const Editor& by) {
      return file.extend(beneath, by, end);
    }));
  if (kind != 0)
    LINKSPAN_CHECK(edit(c, doing, h, file, [&](const Beneath& beneath, const Editor& by) {
      return file.punch(beneath, by, offset, end);
    }));
  LINKSPAN_CHECK(under_its_locks(*handle));
  commits_.schedule(ino, limits::kCommitDelay);
  return ok();
}

// ---- commits --------------------------------------------------------------------------------

// What could not be committed now, or since this handle was told last, whoever's call that was.
Status RouteVfs::commit_and_report(const Caller& c, const Doing& doing, Handle h,
                                   const FileHandle& handle) {
  OpenFile& file = *handle.file;
  const Party party{processes_.of_thread(c.tid), h};
  const auto done = commits_.commit(doing, file, {party});
  if (!done.ok() && transient(done.code())) commits_.schedule(file.ino, kCommitRetryDelay);
  const auto missed = file.errors.since(handle.errors_seen, {handle.opener, h});
  if (!done.ok()) return done;
  return missed ? Status(*missed) : ok();
}

// A shell's `cmd > file` opens with O_TRUNC, duplicates the descriptor and closes the first one,
// all before anything is written: a reader elsewhere would see an empty file. So a bare truncation
// waits while the closing process, or the one that opened the file, has another descriptor of this
// open: more of them than it has opened besides.
bool RouteVfs::truncation_may_wait(const Caller& c, Handle h, const FileHandle& handle) {
  const Process closing = processes_.of_thread(c.tid);
  if (!handle.file->truncated_last({closing, h})) return false;
  const Ino ino = handle.file->ino;
  const auto has_another = [&](const Process& process) {
    return Processes::writers(process, ino) > files_.writing_handles_of(ino, process, &handle);
  };
  return has_another(closing) || (closing != handle.opener && has_another(handle.opener));
}

Status RouteVfs::flush(const Caller& c, Ino ino, Handle h) {
  const auto handle = files_.handle(h);
  if (!handle) return no_such_handle();
  accessed_by_pages(*handle);
  if (!handle->writes || truncation_may_wait(c, h, *handle)) return ok();
  // A child that was forked with it closes it, too, and nobody hears what it is told: only fsync
  // counts as told.
  return commit_and_report(c, begin(c), h, *handle);
}

Status RouteVfs::fsync(const Caller& c, Ino ino, Handle h) {
  const auto handle = files_.handle(h);
  if (!handle) return no_such_handle();
  const uint64_t errors = handle->file->errors.count();
  const Status saved = commit_and_report(c, begin(c), h, *handle);
  // Those of this commit are in its answer; but if that is of what may yet be saved, there can be
  // others, of before, that it does not tell.
  if (saved.ok()) handle->errors_seen = errors;
  if (!saved.ok() && !transient(saved.code())) handle->errors_seen = handle->file->errors.count();
  LINKSPAN_CHECK(saved);
  // Another descriptor may have been told already what was dropped with a lock.
  return Locks::intact(*handle);
}

void RouteVfs::release(Ino ino, Handle h) {
  if (const auto handle = files_.handle(h)) accessed_by_pages(*handle);
  // What nobody can read any more goes there, too: a commit of it may be under way.
  if (files_.close(h)) commits_.schedule(ino, std::chrono::milliseconds(0));
}

// Reads that the kernel served from the pages it kept were not seen here. They count when the file
// is closed.
void RouteVfs::accessed_by_pages(FileHandle& handle) {
  if (!handle.may_have_read.exchange(false)) return;
  if (relatime_.accessed(handle.file->ino)) kernel_.drop_attributes(handle.file->ino);
}

}  // namespace linkspan::vfs
