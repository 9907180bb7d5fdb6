// What is done when a commit's or a rename's base is not the head any more.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "routerd/store/store.h"

namespace linkspan::core {

// Applies a mutation that carries a base under a route's policy and patterns: as it is if the base
// is still the head. Else the file's path is asked for, if it is needed, and its policy decides,
// under the same operation number and seq: merged with the head (MutationReply::merged says so), or
// over it, or `conflict`: also when it cannot be merged. A file of several names goes by the
// oldest, a rename by the name that it replaces.
//
// `busy`: others moved the head on at every one of kMergeAttempts.
//
// Threads: one for each object; blocks for the store.
class Merger {
 public:
  Merger(store::Store& store, const store::Mutation& mutation, const Route& rules)
      : store_(store), mutation_(mutation), rules_(rules) {}

  Result<store::Applied> commit(const CommitRequest& request);
  Result<store::Applied> rename(const RenameRequest& asked);
  Result<Policy> policy_of(Ino ino);  // of a commit to the node
  // A commit to a file that another's rename replaced (CommitRequest::follow): so that nothing that
  // was written is lost, it goes to the node that goes on with its history too, under the route's
  // policy. To the old file it goes as it is, for whoever holds that open. `meter` sees each try,
  // and the attributes of what it is about to change. `conflict`: refused, to be kept.
  using Meter = std::function<void(const Attr& head, CommitRequest* there)>;
  Result<store::Applied> commit_to_successor(const CommitRequest& asked, const Meter& meter);

 private:
  using Text = std::optional<std::string>;
  Result<bool> fits_as_part(const CommitRequest& asked, Policy policy);
  Result<store::Applied> commit_alone(CommitRequest old);
  Result<Text> merge_over(const CommitRequest& asked, const Attr& head);
  // What a rename replaces, or goes on with the history of: the file that has the name, or the one
  // that was moved away from it (Mutation::continues).
  Result<std::optional<Node>> head_of(const RenameRequest& asked, const Attr& from);
  Result<bool> base_is_elsewhere(const RenameRequest& asked, const Error& refusal);
  Result<bool> prepare(const RenameRequest& asked, RenameRequest* request);
  Result<store::Applied> finish_rename(store::Applied applied);
  // Text that may be merged, whole. Nothing: too large, binary, or not there any more.
  Result<Text> text(Ino ino, Version version);
  Result<Text> text_of_head(Ino ino, Version head);
  Result<Text> text_of_base(const Base& base, Ino now);
  // Of what was refused so: the answer, too, where it cannot be merged.
  Result<store::Applied> merge(const CommitRequest& request, Result<store::Applied> applied);
  Result<store::Applied> merge(const RenameRequest& asked, const Result<store::Applied>& first);
  Result<Policy> policy_of(const RenameRequest& request);
  Result<std::string> path_of(Ino ino);

  store::Store& store_;
  store::Mutation mutation_;
  const Route& rules_;
};

// Keeps what a refused commit or rename was to write, whatever quotas say. `mutation` is the
// refused one's, with a new_ino of its own. Nothing: there is no content to keep (a rename of what
// is no file). An error is the operation's answer instead of the refusal: nothing was kept.
Result<std::optional<Conflict>> keep_refused(store::Store& store, const store::Mutation& mutation,
                                             const CommitRequest& request, const Error& refusal);
Result<std::optional<Conflict>> keep_refused(store::Store& store, const store::Mutation& mutation,
                                             const RenameRequest& request, const Error& refusal);
// What an earlier try of the operation kept. Nothing: it kept nothing.
Result<std::optional<Conflict>> kept_before(store::Store& store, const store::Mutation& mutation,
                                            OpNumber operation);
// The refusal, with the conflict's number and what can be done about it.
Error tell_kept(const Conflict& conflict);

// The store's refusal of a commit to a file that another's rename replaced.
bool was_replaced(const Error& refusal);

// The content that a commit makes of `old`. Nothing: the extents failed or pass kMergeBytes.
std::optional<std::string> apply_commit(std::string old, const CommitRequest& request);

}  // namespace linkspan::core
