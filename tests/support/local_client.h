// A RouterClient straight over core::Router, in one process: what the gRPC client does (sessions,
// lease, revocations in order, one operation number over retries), without a wire. Its network can
// be cut, its revocations held up, its replies lost.
//
// Threads: any. One stream thread for each client delivers revocations and renews the lease.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "fusefs/client/lock_book.h"
#include "fusefs/client/router_client.h"
#include "local_router.h"
#include "routerd/core/router.h"

namespace linkspan::test {

class LocalClient final : public client::RouterClient {
 public:
  LocalClient(LocalRouter* router, std::string token);
  ~LocalClient() override;

  // -- faults --
  // Nothing gets through either way until join(). The lease runs out by itself.
  void cut();
  void join();
  // Revocations are kept undelivered until let_revocations().
  void hold_revocations();
  void let_revocations();
  // Mutations by name ("commit", ...): the mount's own threads tell access times at any moment.
  // The next one is applied, but its reply is lost: `unavailable`.
  void lose_next_reply(const std::string& what);
  // The next one is refused with this.
  void refuse_next(const std::string& what, Error error);
  // Each one is, until refuse_none().
  void refuse_all(const std::string& what, Error error);
  void refuse_none(const std::string& what);
  void lose_next_lock_reply() { lose_lock_reply_ = true; }
  // Called with each request's name before it is sent ("lookup", "commit", ...), on its thread.
  std::function<void(const std::string&)> before;
  // The same after the router answered, before the caller has it.
  std::function<void(const std::string&)> after;
  // Called by whoever asks whether the lease is valid, before he is answered.
  std::function<void()> on_lease_valid;
  uint64_t calls(const std::string& what) const;
  uint64_t calls() const;  // all of them

  Result<client::SessionInfo> attach(const client::Call& call,
                                     client::SessionListener* listener) override;
  void detach() override;
  Result<NarrowReply> narrow(const client::Call&, const NarrowRequest& request) override {
    return router_->router().narrow(who_, {}, request);
  }
  client::LinkState link() const override;
  bool lease_valid() const override;
  std::chrono::nanoseconds lease_left() const override {
    return lease_valid() ? std::chrono::hours(1) : std::chrono::nanoseconds(0);
  }

  Result<LookupReply> lookup(const client::Call& call, const LookupRequest& request) override;
  Result<NodeReply> getattr(const client::Call& call, const GetAttrRequest& request) override;
  Result<ReadDirReply> readdir(const client::Call& call, const ReadDirRequest& request) override;
  Result<ReadReply> read(const client::Call& call, const ReadRequest& request) override;
  Result<DataRangesReply> data_ranges(const client::Call& call,
                                      const DataRangesRequest& request) override;
  Result<XattrsReply> xattrs(const client::Call& call, Ino ino) override;
  Result<StatFsReply> statfs(const client::Call& call, Ino ino) override;
  Result<std::vector<VersionInfo>> versions(const client::Call& call,
                                            const VersionsRequest& request) override;
  Result<ChangesReply> changes(const client::Call& call, const ChangesRequest& request) override;
  Result<ConflictsReply> conflicts(const client::Call& call,
                                   const ConflictsRequest& request) override;
  Status prefetch(const client::Call& call, Ino dir, uint64_t max_bytes, uint32_t max_nodes,
                  const std::function<bool(Ino, ReadDirReply)>& page) override;

  void forget_operation(OpNumber operation) override;
  Result<Seq> give_up(const client::Call& call, OpNumber operation) override;
  Result<MutationReply> create(const client::Call& call, CreateRequest request) override;
  Result<MutationReply> remove(const client::Call& call, RemoveRequest request) override;
  Result<MutationReply> rename(const client::Call& call, RenameRequest request) override;
  Result<MutationReply> link(const client::Call& call, LinkRequest request) override;
  Result<MutationReply> set_attributes(const client::Call& call, SetAttrRequest request) override;
  Result<MutationReply> commit(const client::Call& call, CommitRequest request) override;
  Result<MutationReply> set_xattr(const client::Call& call, SetXattrRequest request) override;
  Result<MutationReply> settle(const client::Call& call, SettleRequest request) override;

  Status set_lock(const client::Call& call, const Lock& lock, LockWait wait) override;
  Status cancel_lock(const client::Call& call, const Lock& lock) override;
  Result<TestLockReply> test_lock(const client::Call& call, const Lock& lock) override;
  LockType lock_held(const Lock& lock) const override { return locks_.held(lock); }
  bool has_locks(const Lock& lock) const override { return locks_.has(lock); }

 private:
  class Sink;
  using Steady = std::chrono::steady_clock::time_point;
  template <class Request>
  using Mutate = void (core::Router::*)(const core::Credentials&, Request, core::MutationDone);

  Status enter(const client::Call& call, const std::string& what);
  Status leave(const std::string& what);
  std::optional<Error> refused(const std::string& what);
  bool lost(const std::string& what);
  // What `send` was answered, or that the caller was cancelled first.
  void await_calls();
  template <class Reply>
  Result<Reply> await(const client::Call& call,
                      std::function<void(std::function<void(Result<Reply>)>)> send);
  template <class Request>
  Result<MutationReply> mutate(const client::Call& call, const std::string& what, Request request,
                               Mutate<Request> method);
  OpHeader begin_operation(OpNumber* operation);
  void end_operation(OpNumber number, OpNumber* operation, bool answered);
  void stream();
  bool connected() const;

  LocalRouter* router_;
  const std::string token_;
  core::Credentials who_;
  client::SessionListener* listener_ = nullptr;

  mutable std::mutex mutex_;  // leaf; guards what follows
  std::condition_variable changed_;
  bool cut_ = false;
  bool held_ = false;
  bool stopping_ = false;
  bool lost_ = false;  // the caches were declared lost since the lease was valid last
  Steady lease_until_{};
  std::deque<Revocation> revocations_;
  std::shared_ptr<Sink> sink_;
  uint64_t last_revocation_ = 0;
  uint64_t next_operation_ = 1;
  std::set<uint64_t> unanswered_;
  std::map<std::string, uint64_t> calls_;
  struct Refusal {
    Error error;
    bool once = false;
  };
  std::map<std::string, Refusal> refuse_;
  std::set<std::string> lose_reply_;
  std::atomic<bool> lose_lock_reply_{false};
  std::atomic<uint64_t> last_lock_number_{0};
  client::LockBook locks_;
  size_t under_way_ = 0;  // calls that can be cancelled; each has a thread
  std::thread thread_;
};

}  // namespace linkspan::test
