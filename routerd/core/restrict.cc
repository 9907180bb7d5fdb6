// Which rules a call is under, if any: those of the volume that it is about.
#include "routerd/core/router_core.h"

namespace linkspan::core {

void RouterCore::learn_volume(const Call& call, Ino dir, Ino ino) {
  if (call.grant->restrictions.empty()) return;
  if (const auto volume = call.tenant->nodes.find(dir)) call.tenant->nodes.learn(ino, *volume);
}

Result<std::optional<Guard>> RouterCore::guard_of(const Call& call, Ino ino) {
  std::optional<Guard> guard;
  if (call.grant->restrictions.empty()) return guard;
  LINKSPAN_TRY(const VolumeId volume, volume_of(call, ino));
  if (const Rules* rules = call.grant->restriction(volume))
    guard.emplace(*store_, call.grant->scope, *rules);
  return guard;
}

Status RouterCore::may_read(const Call& call, Ino ino) {
  LINKSPAN_TRY(auto guard, guard_of(call, ino));
  return guard ? guard->may_read(ino) : ok();
}

bool RouterCore::may_be_told(const Call& call, const std::string& volume, const std::string& path) {
  const Rules* rules = call.grant->restriction(volume);
  return rules == nullptr || Guard(*store_, call.grant->scope, *rules).may_be_told(path);
}

Status RouterCore::may_settle(const Call& call, const SettleRequest& request) {
  const ConflictsRequest one{Seq{request.number.value - 1}, 1};
  LINKSPAN_TRY(const ConflictsReply found, store_->conflicts(call.grant->scope, one));
  if (found.conflicts.empty() || found.conflicts[0].number != request.number) return ok();
  const Rules* rules = call.grant->restriction(found.conflicts[0].volume);
  if (rules == nullptr) return ok();
  return Guard(*store_, call.grant->scope, *rules).may_settle(found.conflicts[0].path);
}

}  // namespace linkspan::core
