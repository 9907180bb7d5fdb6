// open, read, and the reading half of copy_range.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {
namespace {

constexpr uint64_t kDirectBytes = 1 << 20;  // as much as the router merges

// What the token's rules for the path say of an open, as the router told them.
Status check_access(const Attr& attr, int flags) {
  const bool truncates = (flags & O_TRUNC) != 0;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || truncates;
  if (attr.access == Access::none) return fail(Code::access_denied, "the token denies the file");
  if (writes && attr.access == Access::read_only)
    return fail(Code::access_denied, "the token lets the file be read only");
  const bool adds = (flags & O_APPEND) != 0 && !truncates;
  if (writes && attr.access == Access::append_only && !adds && attr.size > 0)
    return fail(Code::not_permitted,
                "the token lets the file only be added to; open it with O_APPEND");
  return ok();
}

}  // namespace

// ---- open -----------------------------------------------------------------------------------

Result<Opened> RouteVfs::open(const Caller& c, Ino ino, int flags) {
  const Doing doing = begin(c);
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0) LINKSPAN_CHECK(writable());
  LINKSPAN_TRY(const KnownNode known, tree_.node(doing, ino, /*want_content=*/true));
  LINKSPAN_CHECK(may_open(doing, known.node.attr, flags));
  return opened(c, doing, known, flags, false);
}

// The router refuses what its rules forbid whatever is opened; but programs look at what open says
// rather than at close. Where another has moved a directory, what is known of the rules for files
// in it may be old: who is to be refused is asked for.
Status RouteVfs::may_open(const Doing& doing, const Attr& attr, int flags) {
  if (check_access(attr, flags).ok()) return ok();
  LINKSPAN_TRY(const NodeReply now, client_->getattr(doing.call(), {attr.ino, false}));
  return check_access(now.node.attr, flags);
}

// `fresh`: just created, so there is nothing to truncate.
Result<Opened> RouteVfs::opened(const Caller& c, const Doing& doing, const KnownNode& known,
                                int flags, bool fresh) {
  const Ino ino = known.node.attr.ino;
  if (known.node.attr.kind == Kind::directory)
    return fail(Code::is_directory, "a directory cannot be opened as a file");
  const bool truncates = (flags & O_TRUNC) != 0 && !fresh;
  const bool reads = (flags & O_ACCMODE) != O_WRONLY;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  const Process process = options_.route.writable() ? processes_.of_thread(c.tid) : Process{};
  Opened result;
  second_tries_.forget(c.tid);
  result.handle = files_.open(ino, process, reads, writes);
  const auto handle = files_.handle(result.handle);
  handle->names = tree_.found_names(ino).all();
  OpenFile& file = *handle->file;
  if (truncates) {
    if (const auto done = strip_set_id(c, doing, known.node.attr); !done.ok()) {
      release(ino, result.handle);
      return done.error();
    }
    const auto done = edit(
        c, doing, result.handle, file,
        [&](const Beneath& beneath, const Editor& by) { return file.truncate(beneath, by, 0); });
    if (!done.ok()) {
      release(ino, result.handle);
      return done.error();
    }
    emptied(file, process);
    commits_.schedule(ino, kBareTruncation);  // whoever opened it may write nothing for long
  }
  Sight told = file.sight({}, 0);
  const auto view = file.view();
  const Version version = told.version = view ? view->base : known.node.attr.version;
  told.size = view ? view->size : known.node.attr.size;
  file.told_size(told, &handle->read_state);
  // What is in the kernel's pages may be read unseen, or not be read at all. A process that had
  // read another version is to be seen reading this one, or its next save would rest on the wrong
  // one.
  const auto last = reads && !truncates ? bases_.read_by(process, ino, tree_.found_names(ino))
                                        : std::optional<Base>();
  const bool behind = last && *last != Base{ino, version} && matters(known.node.attr);
  result.keep_cache = kernel_.pages_of(ino, version) && !behind && !file.mixed();
  // The kernel reads with the size that it knew when read(2) began; while others rewrite the file,
  // the bytes may be of a newer content by then, cut off at the older's size. Without its pages it
  // asks for bytes and takes what it gets. Not for large files, which nobody saves so often, and
  // not for long: such a descriptor takes no shared mapping.
  result.direct = handle->direct =
      !writes && (view ? matters(known.node.attr) && file.others_write(process)
                       : behind || changed_lately(known.node.attr));
  if (!result.direct)
    kernel_.pages_are(ino, version);
  else if (!result.keep_cache)
    kernel_.pages_are_unknown(ino);
  // It may be read unseen that there is nothing, too, and what others read meanwhile. All else is
  // noted when it is read: that may be an older version than this.
  const bool empty = told.size == 0;
  if (reads && !truncates && !result.direct && (result.keep_cache || empty)) {
    if ((writes && view) || !file.view_for(reader(c, ino))) note_read(c, ino, version);
  } else if (reads && !writes && !result.direct && !last) {
    note_read(c, ino, version);
  }
  handle->may_have_read = reads && !result.direct && result.keep_cache;
  return result;
}

// Others who have read the file, and have it open, may read now, by the kernel's word, that it is
// empty.
void RouteVfs::emptied(OpenFile& file, const Process& by) {
  auto others = files_.readers(file.ino, by);
  const auto names = tree_.found_names(file.ino);
  std::erase_if(others, [&](const Process& p) { return !bases_.read_by(p, file.ino, names); });
  file.may_have_read(others);
}

// The kernel takes set-id bits from a file that is written or truncated, but not for an open that
// truncates: that one comes here in one piece. The same rule as its own; root keeps them.
Status RouteVfs::strip_set_id(const Caller& c, const Doing& doing, const Attr& attr) {
  uint32_t stripped = attr.mode & ~static_cast<uint32_t>(S_ISUID);
  if ((stripped & S_IXGRP) != 0) stripped &= ~static_cast<uint32_t>(S_ISGID);
  if (c.uid == 0 || stripped == attr.mode) return ok();
  SetAttr only;
  only.mode = stripped;
  return send_attributes(c, doing, attr.ino, only);
}

// Which version a save of this file rests on: large ones are not merged, nor mapped for nothing.
bool RouteVfs::matters(const Attr& attr) const {
  return options_.route.writable() && options_.route.policy != Policy::last_writer_wins &&
         attr.size <= kDirectBytes;
}

bool RouteVfs::changed_lately(const Attr& attr) {
  if (!options_.route.writable() || attr.size > kDirectBytes) return false;
  if (kernel_.sizes().changed_within(attr.ino, options_.direct_for)) return true;
  // (Apart by more than an int64_t counts, perhaps: the router may say any time.)
  const int64_t now = options_.clock->now().ns, changed = attr.ctime.ns;
  const int64_t late = std::max(now, changed), early = std::min(now, changed);
  const auto age = static_cast<uint64_t>(late) - static_cast<uint64_t>(early);
  const auto most = static_cast<uint64_t>(std::chrono::nanoseconds(options_.direct_for).count());
  return age < most && !kernel_.own(attr.ino, attr.version);
}

// The process has read this version now, or the local view over it.
void RouteVfs::note_read(const Caller& c, Ino ino, Version version) {
  if (!options_.route.writable()) return;
  const Process process = processes_.of_thread(c.tid);
  bases_.read(process, Base{ino, version}, known_under(process, ino, nullptr));
}

// The names under which what the process reads of the file counts, though former ones lead to
// others by now. Who put those there knows them: what it reads of the old file is none of that. Nor
// is what was removed.
cache::FoundNames RouteVfs::known_under(const Process& process, Ino ino, const FileHandle* handle) {
  cache::FoundNames names = tree_.found_names(ino);
  const auto file = handle ? handle->file : files_.find(ino);
  if (handle && !file->renamed()) names.former = handle->names;
  std::erase_if(names.former, [&](const cache::Name& name) {
    const bool has = std::find(names.now.begin(), names.now.end(), name) != names.now.end();
    return has || (file && (file->orphan() || file->was_taken(process, name)));
  });
  return names;
}

Reader RouteVfs::reader(const Caller& c, Ino ino, const FileHandle* handle) {
  if (!options_.route.writable()) return Reader{{}, {}, [](const Base&, ReadOf) {}};
  const Process process = processes_.of_thread(c.tid);
  auto names = known_under(process, ino, handle);
  Sights::How how{handle && handle->direct, false};
  how.exact = how.direct && bases_.read_by(process, ino, names);
  return Reader{process, how,
                [this, process, ino, names = std::move(names)](const Base& base, ReadOf what) {
                  switch (what) {
                    case ReadOf::it:
                      return bases_.read(process, base, names);
                    case ReadOf::rewrite:
                      return bases_.read_rewrite(process, ino, base, names);
                    case ReadOf::half:
                      return bases_.read_half(process, base, names);
                  }
                }};
}

// ---- read -----------------------------------------------------------------------------------

Result<std::string> RouteVfs::read(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                   size_t size) {
  const auto handle = files_.handle(h);
  if (!handle) return no_such_handle();
  const KernelView::Reading reading(&kernel_, ino);
  const Doing doing = begin(c, ino);
  std::string out(size, '\0');
  LINKSPAN_TRY(const size_t got, read_view(c, doing, *handle, offset, out.data(), size));
  out.resize(got);
  relatime_.accessed(ino);
  return out;
}

// One version for the whole answer: the base under unsaved writes, or the head.
Result<size_t> RouteVfs::read_view(const Caller& c, const Doing& doing, FileHandle& handle,
                                   uint64_t offset, char* out, size_t size) {
  OpenFile& file = *handle.file;
  LINKSPAN_TRY(const auto unsaved,
               file.read(reader(c, file.ino, &handle), offset, out, size, &handle.read_state));
  if (!unsaved) return read_committed(c, doing, handle, offset, out, size);
  LINKSPAN_CHECK(read_gaps(doing, file.ino, *unsaved, offset, out));
  return unsaved->bytes;
}

Status RouteVfs::read_gaps(const Doing& doing, Ino ino, const OpenFile::Reading& reading,
                           uint64_t offset, char* out) {
  const cache::ContentId base{ino, reading.base};
  for (const Range& gap : reading.gaps)
    LINKSPAN_CHECK(contents_.read(doing, base, std::nullopt, gap.begin, out + (gap.begin - offset),
                                  gap.end - gap.begin, 0));
  return ok();
}

Result<size_t> RouteVfs::read_committed(const Caller& c, const Doing& doing, FileHandle& handle,
                                        uint64_t offset, char* out, size_t size) {
  OpenFile& file = *handle.file;
  const uint64_t expected = handle.next_offset.load(std::memory_order_relaxed);
  const uint32_t run = offset == expected && offset > 0
                           ? handle.sequential.fetch_add(1, std::memory_order_relaxed) + 1
                           : 0;
  if (run == 0) handle.sequential.store(0, std::memory_order_relaxed);
  for (unsigned attempt = 0; attempt < kReadTries; ++attempt) {
    if (!handle.direct) kernel_.sizes().await_others(file.ino, c.tid);
    LINKSPAN_TRY(const KnownNode known, tree_.node(doing, file.ino, /*want_content=*/true));
    // What goes on where the last read ended is of the same version until that one's end is seen.
    const auto told = handle.direct ? handle.going_on(run > 0) : kernel_.sizes().to_read(file.ino);
    const auto seen = told.value_or(SizedVersion{known.node.attr.version, known.node.attr.size});
    const size_t part = offset < seen.size ? std::min<uint64_t>(size, seen.size - offset) : 0;
    // First: our own commits go on from there meanwhile.
    file.read_committed(reader(c, file.ino, &handle), {offset, part}, seen.version, seen.size,
                        &handle.read_state);
    if (part == 0) {
      handle.ended();
      return size_t{0};
    }
    const auto done = contents_.read(doing, cache::ContentId{file.ino, seen.version}, seen.size,
                                     offset, out, part, run);
    if (done.ok()) {
      kernel_.pages_got(file.ino, seen.version);
      if (handle.direct)
        handle.goes_on(seen);
      else if (seen.version != known.node.attr.version)
        kernel_.drop_content_later(file.ino);  // or a mapping would keep these for ever
      handle.next_offset.store(offset + part, std::memory_order_relaxed);
      return part;
    }
    if (done.code() != Code::not_found) return done.error();
    kernel_.sizes().untell(file.ino);
    handle.ended();
    // The version went while we read: others commit faster than we read. The next one, then.
  }
  return fail(Code::busy, "the file changes faster than it can be read");
}

// ---- copy_range -----------------------------------------------------------------------------

// At most one read a call: the caller goes on with the rest, as copy_file_range(2) allows.
Result<size_t> RouteVfs::copy_range(const Caller& c, Ino from, Handle from_h, uint64_t from_offset,
                                    Ino to, Handle to_h, uint64_t to_offset, size_t size) {
  const auto source = files_.handle(from_h);
  const auto target = files_.handle(to_h);
  if (!source || !target) return no_such_handle();
  LINKSPAN_CHECK(writable());
  const Doing doing = begin(c);
  std::string bytes(std::min<size_t>(size, limits::kReadBytes), '\0');
  LINKSPAN_TRY(const size_t got,
               read_view(c, doing, *source, from_offset, bytes.data(), bytes.size()));
  if (got == 0) return size_t{0};
  bytes.resize(got);
  relatime_.accessed(from);
  return write(c, to, to_h, to_offset, bytes, false);
}

}  // namespace linkspan::vfs
