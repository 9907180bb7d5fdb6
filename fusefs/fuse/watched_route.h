// What is watched of one route: as it was when the watchers were last told. From what is revoked
// and what is there now it finds what to tell them, and tells it by Nudges.
//
// Threads: one; it asks the router (vfs::Observer) and holds no lock.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fusefs/fuse/nudges.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::fuse {

inline constexpr size_t kWatched = 4096;        // nodes of one route; further ones are not nudged
inline constexpr size_t kWatchedNames = 65536;  // remembered of all its directories

struct NameChange {
  Ino dir;
  std::string name;
  std::optional<Ino> before;  // as the caches knew it; Ino 0: known not to be there
  unsigned tries = 0;
};
struct NodeChange {
  Ino ino;
  bool content = false;
  bool listing = false;  // of a directory
  Seq seq;               // the first of what is known of it
  unsigned tries = 0;
};
// What to try once more: it changed while its watchers were told.
struct Unfinished {
  std::vector<NameChange> names;
  std::vector<NodeChange> nodes;
};

// How often something was told, and could not be.
struct Told {
  uint64_t raised = 0, failed = 0;
};

class WatchedRoute {
 public:
  explicit WatchedRoute(vfs::Observer* observer) : observer_(observer) {}  // not owned

  bool empty() const { return dirs_.empty() && nodes_.empty(); }
  size_t size() const { return dirs_.size() + nodes_.size(); }
  size_t names() const { return remembered_; }

  // The marks as scanned: looks at what is new among them, forgets the others. `changing`: what is
  // to be told next happened before this look, so it does not show how things were.
  void set_marks(const vfs::Caller& c, const std::set<Ino>& marks, bool changing);
  void settled();  // that was told
  // Does a change of it concern anybody?
  bool concerns(const NameChange& change) const { return dirs_.count(change.dir) > 0; }
  bool concerns(const NodeChange& change) const;

  // Tells of these changes.
  Told tell(const vfs::Caller& c, const std::vector<NameChange>& names,
            const std::vector<NodeChange>& nodes, Nudges& nudges, Unfinished* again);
  // Of all that differs from what was last told: after the caches were lost. False: not all of it
  // could be looked at.
  bool tell_all(const vfs::Caller& c, Nudges& nudges, Told* told);

  // Of a directory, from the route's root; found in the caches or by listing what is above it.
  std::optional<std::string> path_of(const vfs::Caller& c, Ino dir, Ino root);

 private:
  using Place = std::pair<Ino, std::string>;
  struct Directory {
    Attr self;
    bool complete = false;  // every name was seen
    bool fresh = false;     // after what is being told happened
    std::map<std::string, Attr> names;
  };
  struct Round;

  std::optional<std::string> name_of(const vfs::Caller& c, Ino dir, Ino parent);
  bool list(const vfs::Caller& c, Ino ino, std::map<std::string, Attr>* names);
  void remember(Ino dir, const std::string& name, const std::optional<Attr>& now);
  void forget_directory(Ino dir);
  std::vector<Place> places_of(Ino ino);
  void tell_name(Round& round, const NameChange& change);
  void tell_node(Round& round, const NodeChange& change);
  void tell_place(Round& round, const Place& place, const Attr& now, bool content);
  void tell_watched(Round& round, const NodeChange& change);
  void tell_directory(Round& round, const NodeChange& change);
  void tell_since(Round& round, Ino dir, Seq seq);
  void difference(Round& round, const Place& place, const std::optional<Attr>& before,
                  const std::optional<Attr>& now);
  void warm(const vfs::Caller& c, Ino dir);
  bool is_gone(const vfs::Caller& c, Ino ino);

  vfs::Observer* const observer_;
  std::map<Ino, Directory> dirs_;
  std::map<Ino, Attr> nodes_;                          // watched by themselves, no directories
  std::unordered_map<Ino, std::set<Place>> found_at_;  // where the nodes in dirs_ have names
  size_t remembered_ = 0;
};

}  // namespace linkspan::fuse
