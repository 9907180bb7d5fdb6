// Which version of a file each process read last, so that a commit or a replacing rename can say
// what it is based on (DESIGN 4, "No lost update"). What a process did not read counts as read by
// it if anyone on this mount did.
//
// Kept by node, and by the name under which the node was found: an editor's save replaces the node,
// and another sandbox's save must not go unseen because the name leads to a new node by now. A
// file's versions go on when another replaces it, so a version learned by name fits the new node.
//
// Threads: any. Bounded: what is forgotten counts as never read.
#pragma once

#include <mutex>
#include <optional>
#include <vector>

#include "fusefs/cache/lru.h"
#include "fusefs/cache/names.h"
#include "fusefs/vfs/processes.h"
#include "linkspan/types.h"

namespace linkspan::vfs {

struct Base {
  Ino ino;
  Version version;
  bool operator==(const Base&) const = default;
};

class BaseVersions {
 public:
  // Also after a commit whose outcome the process knows: it wrote all of it, or a part of what it
  // had read.
  // `former`: the name that it had, where `name` is none because another file took it just now. Who
  // found the file by it, before, saves under it what is based on this.
  void read(const Process& process, const Base& what, const std::optional<cache::Name>& name,
            const std::optional<cache::Name>& former = std::nullopt);

  // What a commit by this process to the node is based on; none: it never read it.
  std::optional<Version> of_node(const Process& process, Ino ino,
                                 const std::optional<cache::Name>& name);
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
  // But when the process moved the file away (to a version of that number) and makes a new one in
  // its place, which goes on with the file's history, it saves what it had read.
  void moved_away(const Process& process, const cache::Name& name, const Base& read);
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
  Version today(Ino ino, Version version);
  Base newest(const Process& process, const Base& base);
  void note(const Process& process, const Base& what, const std::optional<cache::Name>& name);

  std::mutex mutex_;  // leaf
  cache::LruMap<NodeKey, Version, NodeHash> by_node_{65536};
  cache::LruMap<NameKey, Base, NameKeyHash> by_name_{65536};
  cache::LruMap<NameKey, Unanswered, NameKeyHash> unanswered_{4096};
  struct Away {
    Base read;  // of the file that was moved away
    Base made;  // in its place since, as it was born
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
