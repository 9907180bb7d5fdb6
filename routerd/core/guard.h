// Looks at each call with the rules of the caller's token (rules.h has the table) for where its
// nodes are now. A mutation is looked at before the store applies it, what is read after the store
// has told it: a node that is elsewhere by then was let go from where it was. What racing calls
// could make of a mutation in between, the store sees to (store::Mutation::Bounds; Permit).
//
// Threads: one for each object; blocks for the store.
#pragma once

#include <optional>
#include <string>

#include "routerd/core/rules.h"
#include "routerd/store/store.h"

namespace linkspan::core {

// On what terms the store may apply a mutation.
struct Permit {
  store::Mutation::Bounds bounds;
  std::string bounded_by;         // for people
  bool only_existing = false;     // create: nothing new
  bool must_not_replace = false;  // rename
  bool base_is_denied = false;    // commit, rename: what was read may not be read now
};

// The store's refusal, with the rule if it is for these terms.
Error name_rule(const Permit& terms, Error refusal);

class Guard {
 public:
  Guard(store::Store& store, const store::Scope& scope, const Rules& rules)
      : store_(store), scope_(scope), rules_(rules) {}

  bool read_only() const { return rules_.rights() <= Access::read_only; }
  // Of all names of a node.
  Result<Ruling> of(Ino ino);
  Status may_read(Ino ino);
  Status may_lock(Ino ino);
  // Of an entry in the log of changes, or of conflicts.
  bool may_be_told(const std::string& path) const;

  // What is told of nodes: Attr::access; no content and target where they may not be read.
  Status tell(Ino dir, const std::string& name, Node* node);
  Status tell(Ino dir, ReadDirReply* reply);
  Status tell(Node* node);
  void mark(MutationReply* reply);

  Result<Permit> permit(const CreateRequest& request);
  Result<Permit> permit(const RemoveRequest& request);
  Result<Permit> permit(const RenameRequest& request);
  Result<Permit> permit(const LinkRequest& request);
  Result<Permit> permit(const SetAttrRequest& request);
  Result<Permit> permit(const CommitRequest& request);
  Result<Permit> permit(const SetXattrRequest& request);
  Status may_settle(const std::string& path) const;

 private:
  struct Place {
    std::string path;
    Ruling ruling;
  };
  Result<std::string> path_of_directory(Ino dir);
  Result<Place> place(Ino dir, const std::string& name);
  Result<std::string> last_path(Ino ino);
  Result<std::optional<Attr>> entry(Ino dir, const std::string& name);
  Status may_look_into(Ino dir, std::string* path);
  Status tell_entry(const std::string& path, Node* node);
  Permit bounded(const Ruling& ruling) const;
  Result<bool> is_denied(Ino base_ino, Ino file);

  store::Store& store_;
  const store::Scope& scope_;
  const Rules& rules_;
};

}  // namespace linkspan::core
