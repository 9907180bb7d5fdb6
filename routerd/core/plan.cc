#include "routerd/core/plan.h"

#include <algorithm>
#include <utility>

namespace linkspan::core {
namespace {

bool contains(const std::vector<Ino>& inos, Ino ino) {
  return std::find(inos.begin(), inos.end(), ino) != inos.end();
}

// Every node that the reply tells of changed; the named directories in their listing too. Those
// that the reply leaves out (it came from a store call whose outcome is not known) count as well.
Plan changed(const Named& named, const MutationReply& reply, bool content) {
  Plan plan;
  std::vector<Ino> seen;
  const auto add = [&](Ino ino, bool is_content) {
    if (!ino || contains(seen, ino)) return;
    seen.push_back(ino);
    const bool listing = contains(named.dirs, ino);
    plan.nodes.push_back({ino, is_content && !listing, listing});
  };
  for (const Ino ino : named.nodes) add(ino, content);
  for (const Node& node : reply.nodes) add(node.attr.ino, content);
  for (const Ino ino : named.dirs) add(ino, false);
  return plan;
}

}  // namespace

Named named(const CreateRequest& request) {
  return {{request.parent}, {}, false};
}
Named named(const RemoveRequest& request) {
  return {{request.parent}, {}, true};
}
Named named(const RenameRequest& request) {
  Named named{{request.from_parent}, {}, true};
  if (request.to_parent != request.from_parent) named.dirs.push_back(request.to_parent);
  return named;
}
Named named(const LinkRequest& request) {
  return {{request.parent}, {request.ino}, false};
}
Named named(const SetAttrRequest& request) {
  return {{}, {request.ino}, false};
}
Named named(const CommitRequest& request) {
  return {{}, {request.ino}, false};
}
Named named(const SetXattrRequest& request) {
  return {{}, {request.ino}, false};
}
Named named(const SettleRequest&) {
  return {{}, {}, false};
}

Plan plan(const CreateRequest& request, const MutationReply& reply) {
  if (!reply.created) return {};
  Plan plan = changed(named(request), reply, false);
  plan.names.push_back({request.parent, request.name});
  return plan;
}

Plan plan(const RemoveRequest& request, const MutationReply& reply) {
  Plan plan = changed(named(request), reply, false);
  plan.names.push_back({request.parent, request.name});
  return plan;
}

Plan plan(const RenameRequest& request, const MutationReply& reply) {
  Plan plan = changed(named(request), reply, false);
  // A file that replaces another goes on with its versions: what is cached under its old version
  // numbers is void. What it replaced keeps its own.
  if (reply.version && !reply.nodes.empty()) {
    const Ino moved = reply.nodes.front().attr.ino;
    for (RevokedNode& node : plan.nodes)
      if (node.ino == moved) node.content = true;
  }
  plan.names.push_back({request.from_parent, request.from_name});
  plan.names.push_back({request.to_parent, request.to_name});
  return plan;
}

Plan plan(const LinkRequest& request, const MutationReply& reply) {
  Plan plan = changed(named(request), reply, false);
  plan.names.push_back({request.parent, request.name});
  return plan;
}

Plan plan(const SetAttrRequest& request, const MutationReply& reply) {
  if (request.relaxed) return {};
  return changed(named(request), reply, request.size.has_value());
}

Plan plan(const CommitRequest& request, const MutationReply& reply) {
  return changed(named(request), reply, true);
}

Plan plan(const SetXattrRequest& request, const MutationReply& reply) {
  return changed(named(request), reply, false);
}

Plan plan(const SettleRequest&, const MutationReply&) {
  return {};
}

}  // namespace linkspan::core
