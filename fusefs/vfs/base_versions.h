// Which version of a file each process read last, so that a commit or a replacing rename can say
// what it is based on (DESIGN 4, "No lost update"). What a process did not read counts as read by
// it if anyone on this mount did.
//
// Kept by node, and by each name under which the node was found: an editor's save replaces the
// node, and another sandbox's save must not go unseen because the name leads to a new node by now.
// A file's versions go on when another replaces it, so a version learned by name fits the new node.
//
// Who only ever wrote a file edits nothing that it read: what others on this mount did to it since,
// one change after the other, it overwrites as on a local disk (`echo a >f; sed -i ... f; echo b
// >f`). What another mount changed meanwhile, it does not.
//
// Threads: any. Bounded: what is forgotten counts as never read, and a file that was moved away for
// more than half a minute as moved for good (the router remembers it for longer).
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "fusefs/cache/lru.h"
#include "fusefs/cache/names.h"
#include "fusefs/vfs/processes.h"
#include "linkspan/clock.h"
#include "linkspan/types.h"

namespace linkspan::vfs {

// What a change rests on.
struct Basis {
  // None: nobody on this mount has read the file. Version 0: no version, but another's rewrite of
  // it that was not finished, so that nothing can be merged.
  std::optional<Base> base;
  bool read = false;  // by the process itself
};

class BaseVersions {
 public:
  explicit BaseVersions(const Clock* clock) : clock_(clock) {}

  // `names`: the file's. Who found it by a former one, before another file took that, saves under
  // it what is based on this.
  void read(const Process& process, const Base& what, const cache::FoundNames& names);
  // A commit whose outcome the process knows: it wrote all of it, or a part of what it had read.
  void wrote(const Process& process, const Base& what, const cache::FoundNames& names);
  // What another process of this mount is making of this version, in place in the file `ino`. It
  // may not have what the process had read, or written, since that version: a commit comes of both.
  // Version 0: nothing came of it.
  void read_rewrite(const Process& process, Ino ino, const Base& of,
                    const cache::FoundNames& names);
  // The process had read a part of what another process of this mount made into this version.
  void read_half(const Process& process, const Base& what, const cache::FoundNames& names);
  // A change of this mount's, whoever made it, by which `before` became `now` and nothing else did.
  void changed_here(const Base& before, const Base& now);

  // What a commit by this process to the node is based on. (What others know by a former name is of
  // the other file.)
  Basis basis(const Process& process, Ino ino, const cache::FoundNames& names);
  std::optional<Base> of_node(const Process& process, Ino ino, const cache::FoundNames& names) {
    return basis(process, ino, {names.now, {}}).base;
  }
  // Which version the process itself has read last (Basis); none: it never has.
  std::optional<Base> read_by(const Process& process, Ino ino, const cache::FoundNames& names);
  // What a rename over this name is based on; `target` is the node there now, as far as known.
  // `moving`: the file that gets the name. One that the process had moved away from it, and moves
  // back, replaces only what the process has made since.
  std::optional<Base> of_name(const Process& process, const cache::Name& name, Ino target,
                              Ino moving = {});

  // Whoever read `from` has read `to`: a rename gave the same content another version number, or
  // what became `to` was written through a shared mapping, which every process here may have seen.
  void renumbered(Ino ino, Version from, Version to);
  // Nobody knows whether `by` took the name: this process's rename, which was based on this version
  // (0: on none), ended without an answer.
  struct Unanswered {
    Ino by;
    Version base;
  };
  void may_have_renamed(const Process& process, const cache::Name& name, const Unanswered& rename);
  // The same, once.
  std::optional<Unanswered> take_unanswered(const Process& process, const cache::Name& name);
  // The name was made anew or is gone: what was read under it is of another file.
  void forget_name(const Process& process, const cache::Name& name);
  // But when the process moved the file away and makes a new one in its place, or renames one to
  // it, which goes on with the file's history, it saves what it had read.
  void moved_away(const Process& process, const cache::Name& name, Ino moved, const Base& read);
  // The process itself has read the file under this name.
  bool has_read(const Process& process, const cache::Name& name);
  // What a rename of `moving` to this name is based on, where nothing is there, or nothing that was
  // read: the file that was moved away from it a moment ago.
  std::optional<Base> of_moved_away(const Process& process, const cache::Name& name, Ino moving);
  // A rename has put a file there.
  void took_place(const Process& process, const cache::Name& name);
  // `made`: the new file, as it was born; the version before is the other's last.
  void made_anew(const Process& process, const cache::Name& name, const Base& made);

 private:
  struct NodeKey {
    Process process;
    Ino ino;
    bool operator==(const NodeKey&) const = default;
  };
  struct NodeHash {
    size_t operator()(const NodeKey& k) const noexcept {
      return std::hash<Process>{}(k.process) ^ std::hash<Ino>{}(k.ino);
    }
  };
  struct NameKey {
    Process process;
    cache::Name name;
    bool operator==(const NameKey&) const = default;
  };
  struct NameKeyHash {
    size_t operator()(const NameKey& k) const noexcept {
      return std::hash<Process>{}(k.process) ^ cache::NameHash{}(k.name);
    }
  };
  struct Known {
    Base base;
    bool read = false;  // else only written
    bool half = false;
  };
  Version today(Ino ino, Version version);
  Known newest(const Process& process, const Known& known);
  Base last_of(Ino ino, const Known& known);
  using NameList = std::vector<cache::Name>;
  void note(const Process& process, const Known& known, const NameList& names);
  void note_former(const Process& process, const Known& known, const NameList& names);
  const Known* by_names(const Process& process, const NameList& names);

  const Clock* const clock_;
  std::mutex mutex_;  // leaf
  cache::LruMap<NodeKey, Known, NodeHash> by_node_{65536};
  cache::LruMap<NameKey, Known, NameKeyHash> by_name_{65536};
  struct Run {
    Version from, to;
    std::vector<Ino> files;  // that were it, one after the other; at most kFiles, the newest
  };
  static constexpr size_t kFiles = 16;
  cache::LruMap<Ino, Run> own_{4096};  // changes of this mount's, one after the other: the last run
  cache::LruMap<NameKey, Unanswered, NameKeyHash> unanswered_{4096};
  struct Away {
    Ino moved;
    Base read;  // of it, or of the one that had the name before
    Base made;  // in its place since, as it was born
    Clock::Steady at;
  };
  cache::LruMap<NameKey, Away, NameKeyHash> away_{4096};
  struct Renumbered {
    std::vector<Version> from;  // at most kRenumbered, the oldest first
    Version to;
  };
  static constexpr size_t kRenumbered = 64;
  cache::LruMap<Ino, Renumbered> renumbered_{4096};  // the last run of each
};

}  // namespace linkspan::vfs
