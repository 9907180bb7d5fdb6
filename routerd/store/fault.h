// A store that fails on purpose, for tests: over any other store, call by call.
//
//   FaultStore store(make_mem_store());
//   store.add({.call = StoreCall::commit, .skip = 2, .error = fail(Code::unavailable)});
//   store.add({.call = StoreCall::create, .error = fail(Code::timed_out), .applied = true});
//
// The third commit fails without being applied; the first create is applied and its answer lost.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "routerd/store/store.h"

namespace linkspan::store {

enum class StoreCall : uint8_t {
  any,  // in a Fault: whatever comes
  provision,
  open_tenant,
  reserve_inodes,
  is_served,
  beat,
  put_token,
  revoke_other_tokens,
  find_token,
  valid_tokens,
  narrow_token,
  bind_token,
  renew_tokens,
  put_session,
  find_session,
  live_sessions,
  end_session,
  lookup,
  getattr,
  readdir,
  read,
  data_ranges,
  xattrs,
  versions,
  changes,
  conflicts,
  path_of,
  paths_of,
  successor,
  is_applied,
  recall,
  create,
  remove,
  rename,
  link,
  set_attributes,
  commit,
  set_xattr,
  keep,
  settle,
  prune,
  ping,
  count_,
};

// What happens to some calls of a kind. The first matching fault that is not used up decides.
struct Fault {
  StoreCall call = StoreCall::any;
  uint32_t skip = 0;                   // so many calls pass first
  uint32_t times = 1;                  // then so many are hit; 0: all that follow
  std::optional<Error> error;          // none: the call goes through (after delay and hook)
  bool applied = false;                // the error comes after the call was made: a lost reply
  std::chrono::milliseconds delay{0};  // before the call
  std::function<void()> hook;          // before the call, on its thread, no lock held: it may block
};

// Threads: any, also add() and clear() beside calls.
class FaultStore final : public Store {
 public:
  explicit FaultStore(std::shared_ptr<Store> base) : base_(std::move(base)) {}

  void add(Fault fault);
  // Removes all faults; calls that are under way are not touched.
  void clear();
  // Calls of a kind so far (StoreCall::any: of all kinds), failed ones too.
  uint64_t calls(StoreCall call) const;

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
  Status ping() override;

 private:
  // Counts the call and takes the fault that hits it, if any.
  std::optional<Fault> strike(StoreCall call);
  template <class Make>
  auto run(StoreCall call, Make&& make, const Mutation* m = nullptr) -> decltype(make());

  const std::shared_ptr<Store> base_;
  mutable std::mutex mutex_;  // guards all below; never held across a call or a hook
  std::vector<Fault> faults_;
  std::array<uint64_t, static_cast<size_t>(StoreCall::count_)> calls_{};
};

}  // namespace linkspan::store
