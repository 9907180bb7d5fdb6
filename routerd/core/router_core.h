// The Router: sessions and tenants, and the way of each call through the parts of this folder.
//
// attach.cc: attaching, ending, tenants. streams.cc: leases and revocations. reads.cc.
// restrict.cc: whose rules. mutations.cc: numbers, stores, revokes, answers. outcomes.cc: what the
// store did not answer. locking.cc. upkeep.cc: retention, ownership. tokens.cc: their life.
//
// Locks: mutex_ guards the tables only. None is held while a sink, a reply or the store is called.
// The order of all of them: ARCHITECTURE.md, Threads and locks.
#pragma once

#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "routerd/core/background.h"
#include "routerd/core/gate.h"
#include "routerd/core/guard.h"
#include "routerd/core/lease_timer.h"
#include "routerd/core/plan.h"
#include "routerd/core/router.h"
#include "routerd/core/session.h"
#include "routerd/core/tenant.h"

namespace linkspan::core {

class View;

class RouterCore final : public Router {
 public:
  RouterCore(std::unique_ptr<store::Store> store, RouterOptions options);
  ~RouterCore() override;

  Result<AttachReply> attach(const AttachRequest& request) override;
  Status detach(const Credentials& who) override;
  Result<NarrowReply> narrow(const Credentials& who, const NarrowProof& proof,
                             const NarrowRequest& request) override;
  Result<TenantId> check(const Credentials& who) override;
  Status open_stream(const Credentials& who, uint64_t last_revocation,
                     std::shared_ptr<StreamSink> sink) override;
  void renew(SessionId session, OpNumber answered_below, uint64_t nonce) override;
  void acknowledge(SessionId session, uint64_t revocation) override;
  void stream_closed(SessionId session, const StreamSink* sink) override;

  Result<LookupReply> lookup(const Credentials& who, const LookupRequest& request) override;
  Result<NodeReply> getattr(const Credentials& who, const GetAttrRequest& request) override;
  Result<ReadDirReply> readdir(const Credentials& who, const ReadDirRequest& request) override;
  Result<ReadReply> read(const Credentials& who, const ReadRequest& request) override;
  Result<DataRangesReply> data_ranges(const Credentials& who,
                                      const DataRangesRequest& request) override;
  Result<XattrsReply> xattrs(const Credentials& who, Ino ino) override;
  Result<StatFsReply> statfs(const Credentials& who, Ino ino) override;
  Result<std::vector<VersionInfo>> versions(const Credentials& who,
                                            const VersionsRequest& request) override;
  Result<ChangesReply> changes(const Credentials& who, const ChangesRequest& request) override;

  Result<ConflictsReply> conflicts(const Credentials& who,
                                   const ConflictsRequest& request) override;

  void create(const Credentials& who, CreateRequest request, MutationDone done) override;
  void remove(const Credentials& who, RemoveRequest request, MutationDone done) override;
  void rename(const Credentials& who, RenameRequest request, MutationDone done) override;
  void link(const Credentials& who, LinkRequest request, MutationDone done) override;
  void set_attributes(const Credentials& who, SetAttrRequest request, MutationDone done) override;
  void commit(const Credentials& who, CommitRequest request, MutationDone done) override;
  void set_xattr(const Credentials& who, SetXattrRequest request, MutationDone done) override;
  void settle(const Credentials& who, SettleRequest request, MutationDone done) override;
  void give_up(const Credentials& who, OpNumber number, GiveUpDone done) override;

  void set_lock(const Credentials& who, const SetLockRequest& request, LockDone done) override;
  Result<TestLockReply> test_lock(const Credentials& who, const TestLockRequest& request) override;
  Result<CancelLockReply> cancel_lock(const Credentials& who,
                                      const CancelLockRequest& request) override;
  Result<ReclaimLocksReply> reclaim_locks(const Credentials& who,
                                          const ReclaimLocksRequest& request) override;
  void end_waits() override;

  void stop() override;

 private:
  using SessionPtr = std::shared_ptr<Session>;
  using TenantPtr = std::shared_ptr<Tenant>;
  // A call that was let in: whose it is, and what it may do.
  struct Call {
    std::shared_ptr<Gate::Pass> pass;
    SessionPtr session;
    TenantPtr tenant;
    std::shared_ptr<const Grant> grant;
  };

  // tokens.cc
  struct InUse {
    SessionPtr session;
    std::shared_ptr<const Grant> grant;
  };
  using TokensInUse = std::map<store::TokenHash, std::vector<InUse>>;
  Result<Token> find_token(store::TokenHash hash);
  // Whether it may be used from there, and by that sandbox, to which it is bound from now on if it
  // binds.
  Status admit(const Token& token, const std::string& peer, const std::string& instance);
  // It ends so long after its last use, of which this is one.
  Status begin_use(Token* token);
  void look_after_tokens(Boot now);  // the timer's, of all tenants
  // Renews the tokens that renew and have a session that lives, and refuses the sessions of those
  // that were revoked.
  void check_tokens();
  void renew_tokens(const TokensInUse& in_use);

  // attach.cc
  static std::string made_up_label();
  Result<TenantPtr> tenant(const std::string& name);
  Result<TenantPtr> open_tenant(const std::string& name);
  Result<SessionPtr> new_session(const TenantPtr& tenant, const Token& token,
                                 std::shared_ptr<const Grant> grant);
  struct Resumed {
    SessionPtr session;  // null: there is none to resume
    bool caches_kept = false;
  };
  Result<Resumed> resume_session(const AttachRequest& request, const TenantPtr& tenant,
                                 const Token& token, std::shared_ptr<const Grant> grant);
  Result<SessionPtr> add_session(store::SessionRecord record, const TenantPtr& tenant,
                                 std::shared_ptr<const Grant> grant,
                                 std::optional<uint64_t> last_revocation);
  Status make_room(const store::TokenHash& root);
  SessionPtr find_session(SessionId id) const;
  bool is_ending(SessionId id) const;
  // Removes it from the tables and ends it; the store hears of it when no mutation is under way.
  void end_session(const SessionPtr& session, const Error& why, bool wait_for_store);
  void end_locks(Session& session);
  // Its token was revoked or has expired.
  void refuse_session(const SessionPtr& session, const Error& why);
  void forget_in_store(TenantId tenant, Epoch epoch, SessionId id);
  void fence(const TenantPtr& tenant);

  // streams.cc
  Result<Call> enter(const Credentials& who);
  Result<Call> authenticate(const Credentials& who);
  void settle(Session& session, const Acknowledged& acknowledged);
  Boot tick(Boot now);  // the timer's; when to be called again at the latest
  Boot look_after_sessions(Boot now);
  void end_awaited(Boot now);
  // Frees what Interests hold for nobody, and revokes some of what a session has too much of.
  void sweep(const TenantPtr& tenant);
  void relieve(const TenantPtr& tenant, Holder holder, Interests::Count count);
  std::vector<SessionPtr> all_sessions() const;
  std::vector<TenantPtr> all_tenants() const;

  // upkeep.cc
  void look_after(const TenantPtr& tenant, Boot now);  // the timer's
  // One bounded call of Store::prune, and another after it while that found something.
  void prune(const TenantPtr& tenant);
  Time sure_time() const;
  void look_after_ownership(Boot now);  // the timer's, of all tenants
  // Are the tenants still ours? Else fences them. Tells the store that we live.
  void check_owners(std::vector<TenantPtr> tenants);
  // The same, where it was not asked lately.
  void check_owner_if_due(const TenantPtr& tenant);
  bool owns(const Tenant& tenant) const { return clock_.boot() < tenant.owned_until(); }

  // locking.cc
  Status may_lock(const Call& call, Ino ino);
  void lock_now(const Call& call, const SetLockRequest& request, LockDone done);

  // reads.cc
  Result<VolumeId> volume_of(const Call& call, Ino ino);

  // restrict.cc
  // Of the rules for the volume that holds the node; nothing: there are none.
  Result<std::optional<Guard>> guard_of(const Call& call, Ino ino);
  // What was found in the directory is in its volume.
  static void learn_volume(const Call& call, Ino dir, Ino ino);
  Status may_read(const Call& call, Ino ino);
  bool may_be_told(const Call& call, const std::string& volume, const std::string& path);
  Status may_settle(const Call& call, const SettleRequest& request);

  // mutations.cc
  template <class Request>
  void mutate(const Credentials& who, Request request, MutationDone done);
  template <class Request>
  void run(const Call& call, Request& request);
  // `under`: the number while it is under way.
  template <class Request>
  void attempt(const Call& call, Request& request, bool also_successor, Seq* under);
  using Reserved = std::optional<Usage::Reservation>;  // until the usage was applied
  template <class Request>
  Result<store::Applied> apply(const Call& call, Request& request, store::Mutation& mutation,
                               Reserved& reserved);
  template <class Request>
  Result<store::Applied> apply_or_keep(const Call& call, Request& request,
                                       store::Mutation& mutation, Reserved& reserved,
                                       bool also_successor);
  Result<store::Applied> commit_metered(const Call& call, const CommitRequest& request,
                                        const store::Mutation& mutation, Reserved& reserved);
  Result<store::Applied> commit_over_head(const Call& call, const CommitRequest& request,
                                          const store::Mutation& mutation, VolumeId volume,
                                          Reserved& reserved);
  Result<store::Applied> commit_to_successor(const Call& call, CommitRequest request,
                                             const store::Mutation& mutation, Reserved& reserved);
  Result<store::Applied> commit_by_policy(const Call& call, CommitRequest request,
                                          const store::Mutation& mutation);
  Result<store::Applied> rename_by_policy(const Call& call, RenameRequest request,
                                          const store::Mutation& mutation);
  template <class Request>
  Result<Permit> permit(const Call& call, const Request& request, std::optional<Guard>* guard);
  // The route whose policy and patterns count for the node. It lives as long as the grant.
  Result<const Route*> rules_of(const Call& call, Ino ino);
  // For each other session that may have what the plan names: what it must forget.
  struct Revoked {
    Holder holder;
    Revocation revocation;
  };
  using RevokedBySlot = std::unordered_map<uint32_t, Revoked>;
  // `not_own`: a node that the caller has to forget, too.
  RevokedBySlot take_holders(Tenant& tenant, const Plan& plan, Seq seq, std::optional<Holder> self,
                             Ino not_own = {});
  // What the others must forget after this outcome; enters the caller for what it will be told.
  template <class Request>
  Plan plan_for(const Call& call, const Request& request, Ino new_ino,
                const Result<store::Applied>& applied, View& view);
  void forget_if_gone(const Call& call, View& view, Ino ino);
  void answer(const Call& call, OpNumber number, Result<MutationReply> result,
              RevokedBySlot revoked);

  // outcomes.cc
  struct Unsettled {
    Call call;
    OpNumber operation;     // that is under way
    OpNumber number;        // under which the store would know it
    store::Mutation terms;  // its seq is not finished
    std::optional<Holder> self;
    Ino file;  // of a commit
    std::function<Plan(const MutationReply&)> plan;
    Error error;  // the answer
  };
  using Found = Result<std::optional<MutationReply>>;  // by Store::recall
  void settle_later(Unsettled mutation);
  void look_after_outcomes(Boot now);  // the timer's
  void ask_for_outcomes();
  void settle_outcomes();
  void conclude(Unsettled mutation, const Found& found);
  void end_outcome_waits();

  const std::unique_ptr<store::Store> store_;
  const RouterOptions options_;
  const RouterClock& clock_;
  const Time started_;  // by clock_, both
  const Boot started_boot_;
  Gate gate_;

  mutable std::shared_mutex mutex_;  // before a session's operations'
  std::unordered_map<SessionId, SessionPtr> sessions_;
  using TenantFuture = std::shared_future<Result<TenantPtr>>;
  std::map<std::string, TenantFuture> tenants_;
  // Sessions of an earlier router that have not come back: ended when the grace is over.
  struct Awaited {
    Boot until;
    TenantId tenant;
    Epoch epoch;  // of our ownership
  };
  std::map<SessionId, Awaited> awaited_;
  std::set<SessionId> ending_;  // ended here, with mutations under way: not to be taken up again

  Tenant::Chore ownership_checks_, token_checks_, outcome_questions_;
  std::mutex unsettled_mutex_;  // leaf
  std::list<Unsettled> unsettled_;
  bool outcome_waits_ended_ = false;
  std::map<store::TokenHash, Boot> renewed_;  // of the upkeep's thread: when, of those in use

  // Ended after the timer, which posts to them. Each has a thread of its own: what was held back
  // waits for none of the others, and ownership not for tokens or a long prune.
  std::optional<Background> background_, ownership_, upkeep_, retention_, settling_;
  std::optional<LeaseTimer> timer_;
};

}  // namespace linkspan::core
