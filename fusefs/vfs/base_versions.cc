#include "fusefs/vfs/base_versions.h"

#include <algorithm>

#include "linkspan/forked.h"

namespace linkspan::vfs {
namespace {

constexpr std::chrono::seconds kMoment{30};

}  // namespace

void BaseVersions::note(const Process& process, const Known& what, const NameList& names) {
  // Never back: a read that a commit overtook tells of an older version than its process knows.
  Known known = newest(process, what);
  for (const cache::Name& name : names)
    if (const Known* before = by_name_.find(NameKey{process, name})) known.read |= before->read;
  by_node_.put(NodeKey{process, what.base.ino}, known);
  for (const cache::Name& name : names) by_name_.put(NameKey{process, name}, known);
}

// The numbers go on from one save to the next, so a later one is of a later file of that name;
// those of a file that was replaced are counted apart from then on.
void BaseVersions::note_former(const Process& process, const Known& what, const NameList& names) {
  if (!process) return;
  const auto later = [](Version a, Version b) { return a.value % kForked > b.value % kForked; };
  for (const cache::Name& name : names) {
    const Known* last = by_name_.find(NameKey{process, name});
    Known known = what;
    known.read |= last && last->read;
    if (!last || last->base.ino == known.base.ino ||
        later(known.base.version, newest(process, *last).base.version))
      by_name_.put(NameKey{process, name}, known);
  }
}

const BaseVersions::Known* BaseVersions::by_names(const Process& process, const NameList& names) {
  for (const cache::Name& name : names)
    if (const Known* known = by_name_.find(NameKey{process, name})) return known;
  return nullptr;
}

void BaseVersions::read(const Process& process, const Base& what, const cache::FoundNames& names) {
  std::lock_guard lock(mutex_);
  if (process) note(process, {what, true}, names.now);
  note(Process{}, {what}, names.now);
  note_former(process, newest(process, {what, true}), names.former);
}

void BaseVersions::wrote(const Process& process, const Base& what, const cache::FoundNames& names) {
  std::lock_guard lock(mutex_);
  // A file that was replaced has the name no more, though that may not be known here.
  const bool replaced = what.version.value >= kForked;
  const NameList now = replaced ? NameList{} : names.now;
  if (process) note(process, {what}, now);
  note(Process{}, {what}, now);
  note_former(process, {what}, names.former);
}

void BaseVersions::read_rewrite(const Process& process, Ino ino, const Base& of,
                                const cache::FoundNames& names) {
  std::lock_guard lock(mutex_);
  if (!process) return;
  const Known known{of, true, !of.version};
  by_node_.put(NodeKey{process, ino}, known);
  for (const cache::Name& name : names.now) by_name_.put(NameKey{process, name}, known);
  note_former(process, known, names.former);
}

void BaseVersions::read_half(const Process& process, const Base& what,
                             const cache::FoundNames& names) {
  std::lock_guard lock(mutex_);
  if (!process) return;
  note(process, {what, true, true}, names.now);
  note_former(process, {what, true, true}, names.former);
}

void BaseVersions::changed_here(const Base& before, const Base& now) {
  std::lock_guard lock(mutex_);
  const Run* last = own_.find(before.ino);
  const bool goes_on = last && last->to == before.version;
  Run run{before.version, now.version, {before.ino}};
  if (goes_on) run.from = last->from;
  if (goes_on) run.files = last->files;
  if (run.files.back() != now.ino) run.files.push_back(now.ino);
  if (run.files.size() > kFiles) run.files.erase(run.files.begin());
  own_.put(now.ino, std::move(run));
}

Basis BaseVersions::basis(const Process& process, Ino ino, const cache::FoundNames& names) {
  std::lock_guard lock(mutex_);
  for (const Process& who : {process, Process{}}) {
    const Known* known = by_node_.find(NodeKey{who, ino});
    if (!known) known = by_names(who, names.now);
    if (!known && who) known = by_names(who, names.former);
    if (known) return {last_of(ino, newest(who, *known)), known->read};
  }
  return {};
}

std::optional<Base> BaseVersions::read_by(const Process& process, Ino ino,
                                          const cache::FoundNames& names) {
  std::lock_guard lock(mutex_);
  if (!process) return std::nullopt;
  const Known* found = by_node_.find(NodeKey{process, ino});
  if (!found) found = by_names(process, names.now);
  if (!found) return std::nullopt;
  const Known known = newest(process, *found);
  if (!known.read) return std::nullopt;
  return known.half ? Base{ino, Version{}} : known.base;
}

std::optional<Base> BaseVersions::of_name(const Process& process, const cache::Name& name,
                                          Ino target, Ino moving) {
  std::lock_guard lock(mutex_);
  if (const Away* away = moving ? away_.find(NameKey{process, name}) : nullptr;
      away && away->moved == moving && away->made.ino == target)
    return away->made;
  for (const Process& who : {process, Process{}}) {
    const Known* found = by_name_.find(NameKey{who, name});
    if (!found && target) found = by_node_.find(NodeKey{who, target});
    if (!found) continue;
    return last_of(target, newest(who, *found));
  }
  return std::nullopt;
}

// What is known by name may be known better by node: it was read again by another name.
BaseVersions::Known BaseVersions::newest(const Process& process, const Known& known) {
  const Known* by_node = by_node_.find(NodeKey{process, known.base.ino});
  if (!by_node) return known;
  Known newer = known;
  newer.read |= by_node->read;
  if (by_node->base.ino != known.base.ino) return newer;  // what it was made of, no version of it
  const Version version = today(known.base.ino, by_node->base.version);
  if (version >= known.base.version)
    newer.half = by_node->half && (known.half || version > known.base.version);
  newer.base.version = std::max(known.base.version, version);
  return newer;
}

// Who never read the file writes over what this mount has done to it since.
Base BaseVersions::last_of(Ino ino, const Known& known) {
  if (known.half) return Base{ino, Version{}};
  const Run* run = known.read ? nullptr : own_.find(ino);
  const auto& [file, version] = known.base;
  const bool within = run && run->from <= version && version <= run->to &&
                      std::find(run->files.begin(), run->files.end(), file) != run->files.end();
  return within ? Base{ino, run->to} : known.base;
}

Version BaseVersions::today(Ino ino, Version version) {
  const Renumbered* change = renumbered_.find(ino);
  if (!change) return version;
  const auto& from = change->from;
  return std::find(from.begin(), from.end(), version) != from.end() ? change->to : version;
}

void BaseVersions::renumbered(Ino ino, Version from, Version to) {
  std::lock_guard lock(mutex_);
  Renumbered next{{}, to};
  if (const Renumbered* last = renumbered_.find(ino); last && last->to == from)
    next.from = last->from;
  if (next.from.size() == kRenumbered) next.from.erase(next.from.begin());
  next.from.push_back(from);
  renumbered_.put(ino, std::move(next));
}

void BaseVersions::may_have_renamed(const Process& process, const cache::Name& name,
                                    const Unanswered& rename) {
  std::lock_guard lock(mutex_);
  unanswered_.put(NameKey{process, name}, rename);
}

std::optional<BaseVersions::Unanswered> BaseVersions::take_unanswered(const Process& process,
                                                                      const cache::Name& name) {
  std::lock_guard lock(mutex_);
  const NameKey key{process, name};
  const Unanswered* found = unanswered_.find(key);
  if (!found) return std::nullopt;
  const Unanswered rename = *found;
  unanswered_.erase(key);
  return rename;
}

void BaseVersions::moved_away(const Process& process, const cache::Name& name, Ino moved,
                              const Base& read) {
  const Clock::Steady now = clock_->steady();
  std::lock_guard lock(mutex_);
  for (const Process& who : {process, Process{}})
    away_.put(NameKey{who, name}, Away{moved, read, {}, now});
}

bool BaseVersions::has_read(const Process& process, const cache::Name& name) {
  std::lock_guard lock(mutex_);
  const Known* known = by_name_.find(NameKey{process, name});
  return known && known->read;
}

std::optional<Base> BaseVersions::of_moved_away(const Process& process, const cache::Name& name,
                                                Ino moving) {
  const Clock::Steady now = clock_->steady();
  std::lock_guard lock(mutex_);
  for (const Process& who : {process, Process{}})
    if (const Away* away = away_.find(NameKey{who, name});
        away && !away->made.ino && away->moved != moving && now - away->at < kMoment)
      return away->read;
  return std::nullopt;
}

void BaseVersions::took_place(const Process& process, const cache::Name& name) {
  std::lock_guard lock(mutex_);
  for (const Process& who : {process, Process{}}) away_.erase(NameKey{who, name});
}

void BaseVersions::made_anew(const Process& process, const cache::Name& name, const Base& made) {
  std::lock_guard lock(mutex_);
  if (process) away_.erase(NameKey{Process{}, name});
  const NameKey key{process, name};
  Away* away = away_.find(key);
  if (!away || away->made.ino) return;
  away->made = made;
  const Base& read = away->read;
  const bool next = read.ino == away->moved && read.version.value + 1 == made.version.value;
  const Known known{next ? made : read, true};
  by_node_.put(NodeKey{process, made.ino}, known);
  by_name_.put(key, known);
}

void BaseVersions::forget_name(const Process& process, const cache::Name& name) {
  std::lock_guard lock(mutex_);
  by_name_.erase(NameKey{process, name});
  by_name_.erase(NameKey{Process{}, name});
}

}  // namespace linkspan::vfs
