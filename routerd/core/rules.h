// What a token lets a path be used for: the rights of its routes to the volume, and what their
// patterns say. Pure functions; guard.h asks them about each call.
//
// This table is the whole of it (SEMANTICS.md has it for users). "place": a name, there or to be
// made. "all its names": of a node with hard links the strictest; of one that lost its last name,
// that one. What a directory may be used for, all below it may be at most.
//
//   call                              needs at least
//   lookup, readdir, getattr          above the node: read_only (an entry may be `none`: it is
//                                     told with its attributes, without content and target)
//   read, data_ranges, xattrs,        all its names: read_only
//   versions, relaxed access time
//   changes, conflicts                their paths: read_only (others are left out)
//   locks                             all its names: append_only
//   create, also symlink and link     the new place: append_only, and an `allowed` name;
//                                     link: all its names so far: append_only
//   commit of an append; a commit     all its names: append_only
//   or a size beyond what is there
//   any other commit, truncation      all its names: no_delete
//   mode, owner, times                all its names: append_only
//   xattrs                            all its names: no_delete
//   settle                            the conflict's path: no_delete
//   remove                            the place: read_write
//   rename                            the old place: read_write; the new one: append_only and an
//                                     `allowed` name, or, where it replaces, read_write
//   rename that exchanges             both places: read_write and `allowed` names
//   rename of a directory             no rule may tell apart what lies below the two places
//
// Of a token that was narrowed to paths: there and below as its rights and patterns say; the
// directories above on the way: read_only; all else: none.
//
// `no_exec`: mode, create, link and rename of a file with execute bits (all its names, or the new
// place). `max_bytes`: commit, truncation (all its names), link, rename (the new place).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "linkspan/error.h"
#include "linkspan/limits.h"
#include "linkspan/types.h"

namespace linkspan::core {

// Of a path; or of several: the stricter.
struct Ruling {
  Access access = Access::read_write;
  Access above = Access::read_write;  // of the directories above
  bool no_exec = false;
  uint64_t max_bytes = limits::kFileBytes;
  // What says so, for people; empty: nothing.
  std::string access_by, no_exec_by, max_bytes_by;

  void and_also(const Ruling& other);
};

// Threads: any, once it is made.
class Rules {
 public:
  // A route to the volume. Rights: the widest of all routes; patterns and reaches: the strictest.
  void add(const Route& route);

  // Is there anything that the store's scope does not see to?
  bool restrict() const {
    return by_path() || (rights_ > Access::read_only && rights_ < Access::read_write);
  }
  // Must it be known where a node is?
  bool by_path() const { return !lists_.empty() || !reaches_.empty(); }
  Access rights() const { return rights_; }
  Ino root() const { return root_; }

  // From the volume's root on; empty: the root.
  Ruling at(std::string_view path) const;
  // Of what nothing is known of.
  Ruling strictest() const;
  // `not_permitted`: names of what is made here are to match other globs.
  Status allows_name(std::string_view path) const;
  // `cross_volume`: a directory that moves would take what is below it under other rules. (So does
  // rename(2) say that it must be copied; then each file is looked at.)
  Status allows_move(std::string_view directory, std::string_view other) const;

 private:
  Ruling of_itself(std::string_view path) const;
  Access reach(std::string_view path) const;

  Access rights_ = Access::none;
  std::string rights_by_;
  Ino root_;
  std::vector<std::vector<PolicyPattern>> lists_;  // what restricts, of each route
  std::vector<std::vector<std::string>> reaches_;  // of each route that has some
};

// `access_denied` where not even reading or only that is allowed, else `not_permitted`.
Status check_access(const Ruling& ruling, Access needed, std::string_view what);
// Execute bits of a file.
Status check_exec(const Ruling& ruling, Kind kind, uint32_t mode, std::string_view what);

}  // namespace linkspan::core
