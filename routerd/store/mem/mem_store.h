// The reference model of store.h: everything in maps under one mutex, as plain as the contract
// allows. tests/conformance and tests/model compare the other stores with it; `mem:` runs on it.
//
// Threads: any. A commit's extents are taken in before the mutex is.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "routerd/store/mem/tree.h"
#include "routerd/store/store.h"

namespace linkspan::store::mem {

Error no_tenant(const std::string& name);  // `not_found`

class MemStore final : public Store {
 public:
  Result<TenantId> provision(const TenantSpec& spec, Time now) override;
  Result<TenantState> open_tenant(const std::string& name,
                                  std::chrono::milliseconds lease) override;
  Result<Ino> reserve_inodes(TenantId tenant, uint32_t count) override;
  Result<bool> is_served(const std::string& name, std::chrono::milliseconds silence) override;
  Result<std::vector<Status>> beat(const std::vector<Ownership>& owned) override;
  Status put_token(const TokenRecord& token) override;
  Result<uint64_t> revoke_other_tokens(const std::string& tenant,
                                       const std::vector<TokenHash>& kept) override;
  Status narrow_token(const TokenRecord& token, const TokenHash& root, Time now) override;
  Result<TokenRecord> find_token(const TokenHash& hash) override;
  Result<std::vector<ValidToken>> valid_tokens(const std::vector<TokenHash>& hashes) override;
  Result<TokenHash> bind_token(const TokenHash& hash, const TokenHash& to) override;
  Status renew_tokens(const std::vector<ValidToken>& until, Time now) override;
  Status put_session(const SessionRecord& session, Epoch epoch) override;
  Result<SessionRecord> find_session(SessionId id) override;
  Result<std::vector<SessionRecord>> live_sessions(TenantId tenant) override;
  Status end_session(TenantId tenant, SessionId id, Epoch epoch) override;

  Result<LookupReply> lookup(const Scope& scope, const LookupRequest& request) override;
  Result<NodeReply> getattr(const Scope& scope, const GetAttrRequest& request) override;
  Result<ReadDirReply> readdir(const Scope& scope, const ReadDirRequest& request) override;
  Result<ReadReply> read(const Scope& scope, const ReadRequest& request) override;
  Result<DataRangesReply> data_ranges(const Scope& scope,
                                      const DataRangesRequest& request) override;
  Result<XattrsReply> xattrs(const Scope& scope, Ino ino) override;
  Result<std::vector<VersionInfo>> versions(const Scope& scope,
                                            const VersionsRequest& request) override;
  Result<ChangesReply> changes(const Scope& scope, const ChangesRequest& request) override;
  Result<ConflictsReply> conflicts(const Scope& scope, const ConflictsRequest& request) override;
  Result<std::string> path_of(const Scope& scope, Ino ino) override;
  Result<std::vector<std::string>> paths_of(const Scope& scope, Ino ino, uint32_t limit) override;
  Result<Ino> successor(const Scope& scope, Ino ino) override;
  Result<bool> is_applied(const Mutation& m, OpNumber number) override;
  Result<std::optional<MutationReply>> recall(const Mutation& m, OpNumber number) override;

  Result<Applied> create(const Mutation& m, const CreateRequest& request) override;
  Result<Applied> remove(const Mutation& m, const RemoveRequest& request) override;
  Result<Applied> rename(const Mutation& m, const RenameRequest& request) override;
  Result<Applied> link(const Mutation& m, const LinkRequest& request) override;
  Result<Applied> set_attributes(const Mutation& m, const SetAttrRequest& request) override;
  Result<Applied> commit(const Mutation& m, const CommitRequest& request) override;
  Result<Applied> set_xattr(const Mutation& m, const SetXattrRequest& request) override;
  Result<Conflict> keep(const Mutation& m, const KeepRequest& request) override;
  Result<Applied> settle(const Mutation& m, const SettleRequest& request) override;

  Result<uint64_t> prune(TenantId tenant, Time now) override;
  Status ping() override { return ok(); }

 private:
  Tenant* find_tenant(TenantId id);
  Tenant* find_tenant(const std::string& name);
  Status check_owner(TenantId id, Epoch epoch);
  Result<Tenant*> scoped_tenant(const Scope& scope);
  void add_volume(Tenant& tenant, const VolumeSpec& spec, Time now);
  const TokenRecord* above(const TokenRecord& token) const;  // it was narrowed from that; or null
  bool is_below(const TokenRecord& token, const TokenHash& ancestor) const;
  Result<Applied> relax(const Mutation& m, const SetAttrRequest& request);
  // The frame of every mutation: lock, epoch, replay, `apply(Tenant&)`, usage, result.
  template <class Apply>
  Result<Applied> mutate(const Mutation& m, const OpHeader& op, Apply&& apply);

  std::mutex mutex_;  // guards all below; no other lock is taken under it
  std::map<TenantId, std::unique_ptr<Tenant>> tenants_;
  uint64_t last_volume_ = 0;
  std::map<TokenHash, TokenRecord> tokens_;
  std::map<SessionId, SessionRecord> sessions_;
};

}  // namespace linkspan::store::mem
