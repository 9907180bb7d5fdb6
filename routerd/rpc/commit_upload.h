// One Commit: its parts arrive (and wait in a Spool) without a worker; only a complete upload takes
// one. An upload that stalls is ended.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "linkspan/v1/fs.grpc.pb.h"
#include "routerd/rpc/call.h"
#include "routerd/rpc/finish_gate.h"

namespace linkspan::rpc {

class CommitUpload final : public grpc::ServerReadReactor<v1::CommitPart>,
                           public Sweepable,
                           public std::enable_shared_from_this<CommitUpload> {
 public:
  static grpc::ServerReadReactor<v1::CommitPart>* begin(Front* front,
                                                        grpc::CallbackServerContext* context,
                                                        v1::MutationReply* out);

  CommitUpload(Front* front, grpc::CallbackServerContext* context, v1::MutationReply* out,
               core::Credentials who, TenantId tenant, Shares::Ticket share);

  void OnReadDone(bool got) override;
  void OnCancel() override;
  void OnDone() override;
  void sweep(std::chrono::steady_clock::time_point now) override;
  void stop() override;

 private:
  void read_next();
  Status take_part();
  // Keeps what fits in memory; the rest is handed to the spool's threads, which read on.
  void keep_part();
  void spool_part();
  void complete();
  void commit();

  const Shares::Ticket share_;
  Account account_;
  grpc::CallbackServerContext* const context_;
  v1::MutationReply* const out_;
  const core::Credentials who_;
  FinishGate gate_;

  // One at a time touches these: the reaction, the spool's thread, the worker, in turn.
  v1::CommitPart part_;
  wire::ExtentReader reader_;
  std::vector<Extent> pending_;  // of the part that arrived, not in the spool yet
  size_t pending_at_ = 0;
  bool has_head_ = false;
  CommitRequest request_;
  std::shared_ptr<Spool> spool_;

  std::atomic<int64_t> waits_since_{
      0};  // steady clock, ns: for the client's next part; 0: it does not
  std::shared_ptr<CommitUpload> self_;  // gRPC's reference, until OnDone
};

}  // namespace linkspan::rpc
