// What is done when a commit's or a rename's base is not the head any more.
#pragma once

#include <optional>
#include <string>

#include "routerd/store/store.h"

namespace linkspan::core {

// Applies a mutation that carries a base under the policy `merge`: as it is if the base is still
// the head, else merged with the head, under the same operation number and seq.
// MutationReply::merged says which. `conflict` when it cannot be merged.
//
// Threads: one for each object; blocks for the store.
class Merger {
 public:
  Merger(store::Store& store, const store::Mutation& mutation)
      : store_(store), mutation_(mutation) {}

  Result<store::Applied> commit(const CommitRequest& request);
  Result<store::Applied> rename(const RenameRequest& asked);

 private:
  bool prepare(const RenameRequest& asked, RenameRequest* request);
  Result<store::Applied> finish_rename(store::Applied applied);
  // Text that may be merged, whole. Nothing: too large, binary, or not there any more.
  std::optional<std::string> text(Ino ino, Version version);
  std::optional<std::string> base_of_name(const RenameRequest& request, Ino head);
  std::string path_of(Ino ino);

  store::Store& store_;
  store::Mutation mutation_;
};

// Of a replayed result: was it a merge? Each commit makes the version after the head's.
bool was_merged(Version base, const MutationReply& reply);

// The content that a commit makes of `old`. Nothing: the extents failed or pass kMergeBytes.
std::optional<std::string> apply_commit(std::string old, const CommitRequest& request);

}  // namespace linkspan::core
