#include "fusefs/vfs/base_versions.h"

#include <algorithm>

namespace linkspan::vfs {

void BaseVersions::note(const Process& process, const Base& what,
                        const std::optional<cache::Name>& name) {
  // Never back: a read that a commit overtook tells of an older version than its process knows.
  const Base known = newest(process, what);
  by_node_.put(NodeKey{process, what.ino}, known.version);
  if (name) by_name_.put(NameKey{process, *name}, known);
}

void BaseVersions::read(const Process& process, const Base& what,
                        const std::optional<cache::Name>& name,
                        const std::optional<cache::Name>& former) {
  std::lock_guard lock(mutex_);
  if (process) note(process, what, name);
  note(Process{}, what, name);
  if (process && !name && former && !by_name_.find(NameKey{process, *former}))
    by_name_.put(NameKey{process, *former}, newest(process, what));
}

std::optional<Version> BaseVersions::of_node(const Process& process, Ino ino,
                                             const std::optional<cache::Name>& name) {
  std::lock_guard lock(mutex_);
  for (const Process& who : {process, Process{}}) {
    if (const Version* version = by_node_.find(NodeKey{who, ino})) return today(ino, *version);
    if (!name) continue;
    if (const Base* base = by_name_.find(NameKey{who, *name})) return newest(who, *base).version;
  }
  return std::nullopt;
}

std::optional<Base> BaseVersions::of_name(const Process& process, const cache::Name& name,
                                          Ino target, Ino moving) {
  std::lock_guard lock(mutex_);
  if (const Away* away = moving ? away_.find(NameKey{process, name}) : nullptr;
      away && away->read.ino == moving && away->made.ino == target)
    return away->made;
  for (const Process& who : {process, Process{}}) {
    if (const Base* base = by_name_.find(NameKey{who, name})) return newest(who, *base);
    if (!target) continue;
    if (const Version* version = by_node_.find(NodeKey{who, target}))
      return Base{target, today(target, *version)};
  }
  return std::nullopt;
}

// What is known by name may be known better by node: it was read again by another name.
Base BaseVersions::newest(const Process& process, const Base& base) {
  const Version* known = by_node_.find(NodeKey{process, base.ino});
  return known ? Base{base.ino, std::max(base.version, today(base.ino, *known))} : base;
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

void BaseVersions::moved_away(const Process& process, const cache::Name& name, const Base& read) {
  std::lock_guard lock(mutex_);
  away_.put(NameKey{process, name}, Away{read, {}});
}

void BaseVersions::made_anew(const Process& process, const cache::Name& name, const Base& made) {
  std::lock_guard lock(mutex_);
  const NameKey key{process, name};
  Away* away = away_.find(key);
  if (!away || away->made.ino) return;
  away->made = made;
  const Version read = away->read.version;
  const Base base{made.ino, read.value + 1 == made.version.value ? made.version : read};
  by_node_.put(NodeKey{process, base.ino}, base.version);
  by_name_.put(key, base);
}

void BaseVersions::forget_name(const Process& process, const cache::Name& name) {
  std::lock_guard lock(mutex_);
  by_name_.erase(NameKey{process, name});
  by_name_.erase(NameKey{Process{}, name});
}

}  // namespace linkspan::vfs
