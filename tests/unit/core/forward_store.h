// A decorator that passes all calls on, and lets a test stop or fail some of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "routerd/store/store.h"

namespace linkspan::core::testing {

using namespace store;

class ForwardStore final : public Store {
 public:
  explicit ForwardStore(Store* inner) : inner_(inner) {}

  // Called before and after the named call ("commit", ...) of the inner store; an error from
  // `before` is the answer instead, one from `after` replaces the answer: the reply is lost. So is
  // what `no_answer` gives to a mutation, which is not made, or only later.
  using Hook = std::function<Status()>;
  void no_answer(const std::string& call, Hook hook) { set(no_answer_, call, std::move(hook)); }
  void before(const std::string& call, Hook hook) { set(before_, call, std::move(hook)); }
  void after(const std::string& call, Hook hook) { set(after_, call, std::move(hook)); }
  int calls(const std::string& call) {
    const std::lock_guard lock(mutex_);
    return calls_[call];
  }

  std::atomic<bool> served{false};   // another router lives
  std::atomic<TenantId> recalled{};  // for whom recall was called last

  Result<TenantId> provision(const TenantSpec& s, Time now) override {
    return inner_->provision(s, now);
  }
  Result<TenantState> open_tenant(const std::string& name,
                                  std::chrono::milliseconds lease) override {
    return pass<TenantState>("open_tenant", [&] { return inner_->open_tenant(name, lease); });
  }
  Result<Ino> reserve_inodes(TenantId t, uint32_t n) override {
    return pass<Ino>("reserve_inodes", [&] { return inner_->reserve_inodes(t, n); });
  }
  Result<bool> is_served(const std::string& name, std::chrono::milliseconds silence) override {
    if (served) return true;
    return pass<bool>("is_served", [&] { return inner_->is_served(name, silence); });
  }
  Result<std::vector<Status>> beat(const std::vector<Ownership>& owned) override {
    return pass<std::vector<Status>>("beat", [&] { return inner_->beat(owned); });
  }
  Result<uint64_t> revoke_other_tokens(const std::string& tenant,
                                       const std::vector<TokenHash>& kept) override {
    return inner_->revoke_other_tokens(tenant, kept);
  }
  Status put_token(const TokenRecord& t) override { return inner_->put_token(t); }
  Result<TokenRecord> find_token(const TokenHash& h) override {
    return pass<TokenRecord>("find_token", [&] { return inner_->find_token(h); });
  }
  Result<std::vector<ValidToken>> valid_tokens(const std::vector<TokenHash>& hashes) override {
    return pass<std::vector<ValidToken>>("valid_tokens",
                                         [&] { return inner_->valid_tokens(hashes); });
  }
  Status narrow_token(const TokenRecord& t, const TokenHash& root, Time now) override {
    return pass<Done>("narrow_token", [&] { return inner_->narrow_token(t, root, now); });
  }
  Result<TokenHash> bind_token(const TokenHash& hash, const TokenHash& to) override {
    return pass<TokenHash>("bind_token", [&] { return inner_->bind_token(hash, to); });
  }
  Status renew_tokens(const std::vector<ValidToken>& until, Time now) override {
    return pass<Done>("renew_tokens", [&] { return inner_->renew_tokens(until, now); });
  }
  Status put_session(const SessionRecord& s, Epoch epoch) override {
    return inner_->put_session(s, epoch);
  }
  Result<SessionRecord> find_session(SessionId id) override { return inner_->find_session(id); }
  Result<std::vector<SessionRecord>> live_sessions(TenantId t) override {
    return inner_->live_sessions(t);
  }
  Status end_session(TenantId t, SessionId id, Epoch epoch) override {
    return pass<Done>("end_session", [&] { return inner_->end_session(t, id, epoch); });
  }
  Result<LookupReply> lookup(const Scope& s, const LookupRequest& r) override {
    return pass<LookupReply>("lookup", [&] { return inner_->lookup(s, r); });
  }
  Result<NodeReply> getattr(const Scope& s, const GetAttrRequest& r) override {
    return pass<NodeReply>("getattr", [&] { return inner_->getattr(s, r); });
  }
  Result<ReadDirReply> readdir(const Scope& s, const ReadDirRequest& r) override {
    return pass<ReadDirReply>("readdir", [&] { return inner_->readdir(s, r); });
  }
  Result<DataRangesReply> data_ranges(const Scope& s, const DataRangesRequest& r) override {
    return pass<DataRangesReply>("data_ranges", [&] { return inner_->data_ranges(s, r); });
  }
  Result<ReadReply> read(const Scope& s, const ReadRequest& r) override {
    return pass<ReadReply>("read", [&] { return inner_->read(s, r); });
  }
  Result<XattrsReply> xattrs(const Scope& s, Ino ino) override {
    return pass<XattrsReply>("xattrs", [&] { return inner_->xattrs(s, ino); });
  }
  Result<std::vector<VersionInfo>> versions(const Scope& s, const VersionsRequest& r) override {
    return inner_->versions(s, r);
  }
  Result<ChangesReply> changes(const Scope& s, const ChangesRequest& r) override {
    return inner_->changes(s, r);
  }
  Result<ConflictsReply> conflicts(const Scope& s, const ConflictsRequest& r) override {
    return inner_->conflicts(s, r);
  }
  Result<std::string> path_of(const Scope& s, Ino ino) override {
    return pass<std::string>("path_of", [&] { return inner_->path_of(s, ino); });
  }
  Result<std::vector<std::string>> paths_of(const Scope& s, Ino ino, uint32_t limit) override {
    return pass<std::vector<std::string>>("paths_of",
                                          [&] { return inner_->paths_of(s, ino, limit); });
  }
  Result<bool> is_applied(const store::Mutation& m, OpNumber number) override {
    return pass<bool>("is_applied", [&] { return inner_->is_applied(m, number); });
  }
  Result<std::optional<MutationReply>> recall(const store::Mutation& m, OpNumber number) override {
    recalled = m.scope.tenant;
    return pass<std::optional<MutationReply>>("recall", [&] { return inner_->recall(m, number); });
  }
  Result<Ino> successor(const Scope& s, Ino ino) override {
    return pass<Ino>("successor", [&] { return inner_->successor(s, ino); });
  }
  Result<Applied> create(const Mutation& m, const CreateRequest& r) override {
    return pass<Applied>(
        "create", [&] { return inner_->create(m, r); }, &m);
  }
  Result<Applied> remove(const Mutation& m, const RemoveRequest& r) override {
    return pass<Applied>(
        "remove", [&] { return inner_->remove(m, r); }, &m);
  }
  Result<Applied> rename(const Mutation& m, const RenameRequest& r) override {
    return pass<Applied>(
        "rename", [&] { return inner_->rename(m, r); }, &m);
  }
  Result<Applied> link(const Mutation& m, const LinkRequest& r) override {
    return pass<Applied>(
        "link", [&] { return inner_->link(m, r); }, &m);
  }
  Result<Applied> set_attributes(const Mutation& m, const SetAttrRequest& r) override {
    return pass<Applied>(
        "set_attributes", [&] { return inner_->set_attributes(m, r); }, &m);
  }
  Result<Applied> commit(const Mutation& m, const CommitRequest& r) override {
    return pass<Applied>(
        "commit", [&] { return inner_->commit(m, r); }, &m);
  }
  Result<Applied> set_xattr(const Mutation& m, const SetXattrRequest& r) override {
    return pass<Applied>(
        "set_xattr", [&] { return inner_->set_xattr(m, r); }, &m);
  }
  Result<Conflict> keep(const Mutation& m, const KeepRequest& r) override {
    return pass<Conflict>(
        "keep", [&] { return inner_->keep(m, r); }, &m);
  }
  Result<Applied> settle(const Mutation& m, const SettleRequest& r) override {
    return pass<Applied>(
        "settle", [&] { return inner_->settle(m, r); }, &m);
  }
  Result<uint64_t> prune(TenantId t, Time now) override {
    return pass<uint64_t>("prune", [&] { return inner_->prune(t, now); });
  }
  Status ping() override { return inner_->ping(); }

 private:
  using Hooks = std::map<std::string, Hook>;
  void set(Hooks& hooks, const std::string& call, Hook hook) {
    const std::lock_guard lock(mutex_);
    hooks[call] = std::move(hook);
  }
  Status run(Hooks& hooks, const char* call) {
    Hook hook;
    {
      const std::lock_guard lock(mutex_);
      if (&hooks == &before_) ++calls_[call];
      if (const auto at = hooks.find(call); at != hooks.end()) hook = at->second;
    }
    return hook ? hook() : ok();
  }
  template <class T, class F>
  Result<T> pass(const char* call, F&& inner, const Mutation* m = nullptr) {
    LINKSPAN_CHECK(run(before_, call));
    LINKSPAN_CHECK(left_open(m, run(no_answer_, call)));
    Result<T> result = inner();
    LINKSPAN_CHECK(left_open(m, run(after_, call)));
    return result;
  }
  static Status left_open(const Mutation* m, Status status) {
    if (m && m->unanswered && !status.ok()) *m->unanswered = true;
    return status;
  }

  Store* inner_;
  std::mutex mutex_;
  Hooks before_, no_answer_, after_;
  std::map<std::string, int> calls_;
};

// A place where a thread waits until the test lets it go on.
class Barrier {
 public:
  // Waits for open(). Counts as arrived meanwhile.
  void pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  bool met() {
    const std::lock_guard lock(mutex_);
    return arrived_ > 0;
  }
  void await_arrivals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  void open() {
    {
      const std::lock_guard lock(mutex_);
      open_ = true;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  bool open_ = false;
};

}  // namespace linkspan::core::testing
