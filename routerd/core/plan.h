// What a mutation is about and what it makes stale, as pure functions of its request and reply.
// One overload for each kind of mutation.
#pragma once

#include <vector>

#include "linkspan/ops.h"
#include "routerd/core/sequencer.h"

namespace linkspan::core {

// What others must forget. Empty: nothing changed.
struct Plan {
  std::vector<RevokedNode> nodes;
  std::vector<RevokedName> names;
};

// Nodes the request names: known before the store is asked. Directories whose entries it concerns
// come as `dirs`, others as `nodes`.
struct Named {
  std::vector<Ino> dirs;
  std::vector<Ino> nodes;
  bool others = false;  // the store may find further nodes by name
};

Named named(const CreateRequest& request);
Named named(const RemoveRequest& request);
Named named(const RenameRequest& request);
Named named(const LinkRequest& request);
Named named(const SetAttrRequest& request);
Named named(const CommitRequest& request);
Named named(const SetXattrRequest& request);
Named named(const SettleRequest& request);

Plan plan(const CreateRequest& request, const MutationReply& reply);
Plan plan(const RemoveRequest& request, const MutationReply& reply);
Plan plan(const RenameRequest& request, const MutationReply& reply);
Plan plan(const LinkRequest& request, const MutationReply& reply);
Plan plan(const SetAttrRequest& request, const MutationReply& reply);
Plan plan(const CommitRequest& request, const MutationReply& reply);
Plan plan(const SetXattrRequest& request, const MutationReply& reply);
Plan plan(const SettleRequest& request, const MutationReply& reply);

}  // namespace linkspan::core
