// The filesystem's operations over gRPC: each reaction converts and enqueues; a worker calls the
// core; a mutation is answered from the core's MutationDone.
#pragma once

#include "linkspan/v1/fs.grpc.pb.h"
#include "routerd/rpc/call.h"

namespace linkspan::rpc {

class FsService final : public v1::Fs::CallbackService {
 public:
  explicit FsService(Front* front) : front_(front) {}

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;
  Unary* Lookup(Context*, const v1::LookupRequest*, v1::LookupReply*) override;
  Unary* GetAttr(Context*, const v1::GetAttrRequest*, v1::NodeReply*) override;
  Unary* ReadDir(Context*, const v1::ReadDirRequest*, v1::ReadDirReply*) override;
  Unary* Read(Context*, const v1::ReadRequest*, v1::ReadReply*) override;
  Unary* DataRanges(Context*, const v1::DataRangesRequest*, v1::DataRangesReply*) override;
  Unary* GetXattrs(Context*, const v1::XattrsRequest*, v1::XattrsReply*) override;
  Unary* StatFs(Context*, const v1::StatFsRequest*, v1::StatFsReply*) override;
  Unary* Versions(Context*, const v1::VersionsRequest*, v1::VersionsReply*) override;
  Unary* Changes(Context*, const v1::ChangesRequest*, v1::ChangesReply*) override;
  Unary* Create(Context*, const v1::CreateRequest*, v1::MutationReply*) override;
  Unary* Remove(Context*, const v1::RemoveRequest*, v1::MutationReply*) override;
  Unary* Rename(Context*, const v1::RenameRequest*, v1::MutationReply*) override;
  Unary* Link(Context*, const v1::LinkRequest*, v1::MutationReply*) override;
  Unary* SetAttr(Context*, const v1::SetAttrRequest*, v1::MutationReply*) override;
  Unary* SetXattr(Context*, const v1::SetXattrRequest*, v1::MutationReply*) override;
  Unary* Conflicts(Context*, const v1::ConflictsRequest*, v1::ConflictsReply*) override;
  Unary* Settle(Context*, const v1::SettleRequest*, v1::MutationReply*) override;
  Unary* GiveUp(Context*, const v1::GiveUpRequest*, v1::GiveUpReply*) override;
  Unary* SetLock(Context*, const v1::SetLockRequest*, v1::SetLockReply*) override;
  Unary* TestLock(Context*, const v1::TestLockRequest*, v1::TestLockReply*) override;
  Unary* CancelLock(Context*, const v1::CancelLockRequest*, v1::CancelLockReply*) override;
  Unary* ReclaimLocks(Context*, const v1::ReclaimLocksRequest*, v1::ReclaimLocksReply*) override;
  grpc::ServerReadReactor<v1::CommitPart>* Commit(Context*, v1::MutationReply*) override;
  grpc::ServerWriteReactor<v1::PrefetchReply>* Prefetch(Context*,
                                                        const v1::PrefetchRequest*) override;

 private:
  template <class In, class Out, class Op>
  Unary* read(Rpc rpc, Context* context, const In* in, Out* out, Op op);
  template <class In, class Out, class Op>
  Unary* start(Rpc rpc, Context* context, const In* in, Out* out, Op op);

  Front* const front_;
};

}  // namespace linkspan::rpc
