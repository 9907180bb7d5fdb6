#include "routerd/store/fault.h"

#include <algorithm>
#include <thread>

namespace linkspan::store {

void FaultStore::add(Fault fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back(std::move(fault));
}

void FaultStore::clear() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

uint64_t FaultStore::calls(StoreCall call) const {
  const std::lock_guard lock(mutex_);
  return calls_[static_cast<size_t>(call)];
}

std::optional<Fault> FaultStore::strike(StoreCall call) {
  const std::lock_guard lock(mutex_);
  ++calls_[static_cast<size_t>(call)];
  ++calls_[static_cast<size_t>(StoreCall::any)];
  for (auto at = faults_.begin(); at != faults_.end(); ++at) {
    if (at->call != call && at->call != StoreCall::any) continue;
    if (at->skip > 0) {
      --at->skip;
      return std::nullopt;
    }
    Fault hit = *at;
    if (at->times > 0 && --at->times == 0) faults_.erase(at);
    return hit;
  }
  return std::nullopt;
}

template <class Make>
auto FaultStore::run(StoreCall call, Make&& make, const Mutation* m) -> decltype(make()) {
  const std::optional<Fault> fault = strike(call);
  if (!fault) return make();
  if (fault->hook) fault->hook();
  if (fault->delay.count() > 0) std::this_thread::sleep_for(fault->delay);
  if (!fault->error) return make();
  if (fault->applied) {
    // The call's own failure is told: there is no reply to lose then.
    if (auto result = make(); !result.ok()) return result;
    if (m && m->unanswered) *m->unanswered = true;
  }
  return *fault->error;
}

Result<TenantId> FaultStore::provision(const TenantSpec& spec, Time now) {
  return run(StoreCall::provision, [&] { return base_->provision(spec, now); });
}
Result<TenantState> FaultStore::open_tenant(const std::string& name,
                                            std::chrono::milliseconds lease) {
  return run(StoreCall::open_tenant, [&] { return base_->open_tenant(name, lease); });
}
Result<Ino> FaultStore::reserve_inodes(TenantId tenant, uint32_t count) {
  return run(StoreCall::reserve_inodes, [&] { return base_->reserve_inodes(tenant, count); });
}
Result<bool> FaultStore::is_served(const std::string& name, std::chrono::milliseconds silence) {
  return run(StoreCall::is_served, [&] { return base_->is_served(name, silence); });
}
Result<std::vector<Status>> FaultStore::beat(const std::vector<Ownership>& owned) {
  return run(StoreCall::beat, [&] { return base_->beat(owned); });
}
Result<uint64_t> FaultStore::revoke_other_tokens(const std::string& tenant,
                                                 const std::vector<TokenHash>& kept) {
  return run(StoreCall::revoke_other_tokens,
             [&] { return base_->revoke_other_tokens(tenant, kept); });
}
Status FaultStore::put_token(const TokenRecord& token) {
  return run(StoreCall::put_token, [&] { return base_->put_token(token); });
}
Result<TokenRecord> FaultStore::find_token(const TokenHash& hash) {
  return run(StoreCall::find_token, [&] { return base_->find_token(hash); });
}
Result<std::vector<ValidToken>> FaultStore::valid_tokens(const std::vector<TokenHash>& hashes) {
  return run(StoreCall::valid_tokens, [&] { return base_->valid_tokens(hashes); });
}
Status FaultStore::narrow_token(const TokenRecord& token, const TokenHash& root, Time now) {
  return run(StoreCall::narrow_token, [&] { return base_->narrow_token(token, root, now); });
}
Result<TokenHash> FaultStore::bind_token(const TokenHash& hash, const TokenHash& to) {
  return run(StoreCall::bind_token, [&] { return base_->bind_token(hash, to); });
}
Status FaultStore::renew_tokens(const std::vector<ValidToken>& until, Time now) {
  return run(StoreCall::renew_tokens, [&] { return base_->renew_tokens(until, now); });
}
Status FaultStore::put_session(const SessionRecord& session, Epoch epoch) {
  return run(StoreCall::put_session, [&] { return base_->put_session(session, epoch); });
}
Result<SessionRecord> FaultStore::find_session(SessionId id) {
  return run(StoreCall::find_session, [&] { return base_->find_session(id); });
}
Result<std::vector<SessionRecord>> FaultStore::live_sessions(TenantId tenant) {
  return run(StoreCall::live_sessions, [&] { return base_->live_sessions(tenant); });
}
Status FaultStore::end_session(TenantId tenant, SessionId id, Epoch epoch) {
  return run(StoreCall::end_session, [&] { return base_->end_session(tenant, id, epoch); });
}
Result<LookupReply> FaultStore::lookup(const Scope& scope, const LookupRequest& request) {
  return run(StoreCall::lookup, [&] { return base_->lookup(scope, request); });
}
Result<NodeReply> FaultStore::getattr(const Scope& scope, const GetAttrRequest& request) {
  return run(StoreCall::getattr, [&] { return base_->getattr(scope, request); });
}
Result<ReadDirReply> FaultStore::readdir(const Scope& scope, const ReadDirRequest& request) {
  return run(StoreCall::readdir, [&] { return base_->readdir(scope, request); });
}
Result<ReadReply> FaultStore::read(const Scope& scope, const ReadRequest& request) {
  return run(StoreCall::read, [&] { return base_->read(scope, request); });
}
Result<DataRangesReply> FaultStore::data_ranges(const Scope& scope,
                                                const DataRangesRequest& request) {
  return run(StoreCall::data_ranges, [&] { return base_->data_ranges(scope, request); });
}
Result<XattrsReply> FaultStore::xattrs(const Scope& scope, Ino ino) {
  return run(StoreCall::xattrs, [&] { return base_->xattrs(scope, ino); });
}
Result<std::vector<VersionInfo>> FaultStore::versions(const Scope& scope,
                                                      const VersionsRequest& request) {
  return run(StoreCall::versions, [&] { return base_->versions(scope, request); });
}
Result<ChangesReply> FaultStore::changes(const Scope& scope, const ChangesRequest& request) {
  return run(StoreCall::changes, [&] { return base_->changes(scope, request); });
}
Result<ConflictsReply> FaultStore::conflicts(const Scope& scope, const ConflictsRequest& request) {
  return run(StoreCall::conflicts, [&] { return base_->conflicts(scope, request); });
}
Result<std::string> FaultStore::path_of(const Scope& scope, Ino ino) {
  return run(StoreCall::path_of, [&] { return base_->path_of(scope, ino); });
}
Result<std::vector<std::string>> FaultStore::paths_of(const Scope& scope, Ino ino, uint32_t limit) {
  return run(StoreCall::paths_of, [&] { return base_->paths_of(scope, ino, limit); });
}
Result<bool> FaultStore::is_applied(const Mutation& m, OpNumber number) {
  return run(StoreCall::is_applied, [&] { return base_->is_applied(m, number); });
}
Result<std::optional<MutationReply>> FaultStore::recall(const Mutation& m, OpNumber number) {
  return run(StoreCall::recall, [&] { return base_->recall(m, number); });
}
Result<Ino> FaultStore::successor(const Scope& scope, Ino ino) {
  return run(StoreCall::successor, [&] { return base_->successor(scope, ino); });
}
Result<Applied> FaultStore::create(const Mutation& m, const CreateRequest& request) {
  return run(
      StoreCall::create, [&] { return base_->create(m, request); }, &m);
}
Result<Applied> FaultStore::remove(const Mutation& m, const RemoveRequest& request) {
  return run(
      StoreCall::remove, [&] { return base_->remove(m, request); }, &m);
}
Result<Applied> FaultStore::rename(const Mutation& m, const RenameRequest& request) {
  return run(
      StoreCall::rename, [&] { return base_->rename(m, request); }, &m);
}
Result<Applied> FaultStore::link(const Mutation& m, const LinkRequest& request) {
  return run(
      StoreCall::link, [&] { return base_->link(m, request); }, &m);
}
Result<Applied> FaultStore::set_attributes(const Mutation& m, const SetAttrRequest& request) {
  return run(
      StoreCall::set_attributes, [&] { return base_->set_attributes(m, request); }, &m);
}
Result<Applied> FaultStore::commit(const Mutation& m, const CommitRequest& request) {
  return run(
      StoreCall::commit, [&] { return base_->commit(m, request); }, &m);
}
Result<Applied> FaultStore::set_xattr(const Mutation& m, const SetXattrRequest& request) {
  return run(
      StoreCall::set_xattr, [&] { return base_->set_xattr(m, request); }, &m);
}
Result<Conflict> FaultStore::keep(const Mutation& m, const KeepRequest& request) {
  return run(
      StoreCall::keep, [&] { return base_->keep(m, request); }, &m);
}
Result<Applied> FaultStore::settle(const Mutation& m, const SettleRequest& request) {
  return run(
      StoreCall::settle, [&] { return base_->settle(m, request); }, &m);
}
Result<uint64_t> FaultStore::prune(TenantId tenant, Time now) {
  return run(StoreCall::prune, [&] { return base_->prune(tenant, now); });
}
Status FaultStore::ping() {
  return run(StoreCall::ping, [&] { return base_->ping(); });
}

}  // namespace linkspan::store
