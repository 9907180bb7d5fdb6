// Folders that come and go on the top connection. The router is asked each time: no name or
// attribute of theirs is kept.
#include <fcntl.h>

#include <cerrno>

#include "fusefs/fuse/control_operations.h"
#include "fusefs/fuse/dir_buffer.h"
#include "fusefs/fuse/stat.h"

namespace linkspan::fuse {
namespace {

constexpr fuse_ino_t kLiveInodes = 1ull << 48;  // from here on: number * kSlots + slot
constexpr uint64_t kSlots = LiveFolders::kFiles + 1;
constexpr uint64_t kDots = 2;  // offsets of "." and ".."; those of folders and files come after
constexpr size_t kFoldersAsked = 64;

fuse_entry_param entry_with(struct stat st, Time changed) {
  fuse_entry_param entry = {};
  st.st_mtim = st.st_ctim = st.st_atim = to_timespec(changed);
  entry.ino = st.st_ino;
  entry.attr = st;
  return entry;  // timeouts of 0
}

}  // namespace

std::optional<ControlOperations::LiveIno> ControlOperations::live_of(fuse_ino_t ino) {
  if (ino < kLiveInodes) return std::nullopt;
  return LiveIno{(ino - kLiveInodes) / kSlots, (ino - kLiveInodes) % kSlots};
}

fuse_ino_t ControlOperations::ino_of(const LiveIno& live) {
  return kLiveInodes + live.number * kSlots + live.slot;
}

bool ControlOperations::is_live(fuse_ino_t ino) const {
  return tree_.live_ != 0 && (ino >= kLiveInodes || ino == ino_of(tree_.live_));
}

fuse_entry_param ControlOperations::entry_of(const LiveFolders::Folder& folder) const {
  return entry_with(plain_stat(ino_of(LiveIno{folder.number, 0}), S_IFDIR | 0555, 0),
                    folder.changed);
}

fuse_entry_param ControlOperations::entry_of(const LiveFolders::File& file, uint64_t number) const {
  const mode_t mode = S_IFREG | (file.owner_only ? 0400 : 0444);
  return entry_with(plain_stat(ino_of(LiveIno{number, file.slot}), mode, file.size), file.changed);
}

Result<LiveFolders::File> ControlOperations::file_of(const vfs::Caller& caller,
                                                     const LiveIno& live) {
  LINKSPAN_TRY(auto files, folders().files(caller, live.number));
  for (auto& file : files)
    if (file.slot == live.slot) return std::move(file);
  return fail(Code::not_found, "there is no such file");
}

void ControlOperations::live_lookup(Request& r, fuse_ino_t parent, const std::string& name) {
  const auto in = live_of(parent);
  if (!in) {
    const auto folder = folders().find(r.caller(), name);
    folder.ok() ? r.entry(entry_of(*folder)) : r.error(folder.error());
    return;
  }
  const auto files = folders().files(r.caller(), in->number);
  if (!files.ok()) {
    r.error(files.error());
    return;
  }
  for (const auto& file : *files)
    if (file.name == name) {
      r.entry(entry_of(file, in->number));
      return;
    }
  r.error(ENOENT);
}

void ControlOperations::live_getattr(Request& r, fuse_ino_t ino) {
  const auto live = live_of(ino);
  if (live->slot == 0) {
    const auto folder = folders().folder(r.caller(), live->number);
    folder.ok() ? r.attributes(entry_of(*folder).attr, 0) : r.error(folder.error());
    return;
  }
  const auto file = file_of(r.caller(), *live);
  file.ok() ? r.attributes(entry_of(*file, live->number).attr, 0) : r.error(file.error());
}

void ControlOperations::live_open(Request& r, fuse_ino_t ino, int flags) {
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) {
    r.error(EROFS);
    return;
  }
  auto file = file_of(r.caller(), *live_of(ino));
  if (file.ok())
    give(r, std::make_unique<LiveHandle>(std::move(*file), &slow_));
  else
    r.error(file.error());
}

// True: all of them fitted.
Result<bool> ControlOperations::list_folders(const vfs::Caller& caller, uint64_t after,
                                             DirBuffer* buffer) {
  for (;;) {
    LINKSPAN_TRY(const auto found, folders().list(caller, after, kFoldersAsked));
    if (found.empty()) return true;
    for (const auto& folder : found) {
      if (!buffer->add(folder.name, entry_of(folder), kDots + folder.number)) return false;
      after = folder.number;
    }
  }
}

void ControlOperations::live_list(Request& r, fuse_ino_t ino, size_t size, uint64_t offset,
                                  bool plus) {
  const auto in = live_of(ino);
  DirBuffer buffer(r.raw(), size, plus);
  const fuse_ino_t above = ino_of(in ? tree_.live_ : node(ino).parent);
  for (uint64_t dot = offset; dot < kDots; ++dot) {
    fuse_entry_param entry = {};  // inode 0: no LOOKUP is counted
    entry.attr.st_ino = dot == 0 ? ino : above;
    entry.attr.st_mode = S_IFDIR;
    buffer.add(dot == 0 ? "." : "..", entry, dot + 1);
  }
  const uint64_t after = offset > kDots ? offset - kDots : 0;
  Status listed = ok();
  if (!in) {
    const auto all = list_folders(r.caller(), after, &buffer);
    if (!all.ok()) listed = all.error();
  } else {
    const auto files = folders().files(r.caller(), in->number);
    if (!files.ok()) listed = files.error();
    for (size_t i = 0; files.ok() && i < files->size(); ++i) {
      const auto& file = (*files)[i];
      if (file.slot <= after) continue;
      if (!buffer.add(file.name, entry_of(file, in->number), kDots + file.slot)) break;
    }
  }
  // An error in the middle would lose what was listed: the next READDIR meets it again. But "." and
  // ".." alone are no answer.
  const bool only_dots = offset < kDots;
  if (listed.ok() || (!only_dots && !buffer.empty()))
    r.bytes(buffer.data());
  else
    r.error(listed.error());
}

}  // namespace linkspan::fuse
