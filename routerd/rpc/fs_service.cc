#include "routerd/rpc/fs_service.h"

#include "linkspan/convert_locks.h"
#include "routerd/rpc/commit_upload.h"
#include "routerd/rpc/prefetch_walk.h"

namespace linkspan::rpc {

namespace {

// Credentials and request of a call, or its refusal.
template <class In>
auto accept(UnaryCall* call, const grpc::CallbackServerContext& context, const In& in)
    -> Result<std::pair<core::Credentials, typename std::decay_t<decltype(*wire::from_wire(in))>>> {
  if (!call->admit()) return stopping();
  LINKSPAN_TRY(core::Credentials who, credentials(context));
  LINKSPAN_TRY(auto request, wire::from_wire(in));
  return std::pair(std::move(who), std::move(request));
}

// A wait without an end: a stop of the router does not wait for it.
template <class Request>
bool stays(const Request&) {
  return false;
}
bool stays(const SetLockRequest& request) {
  return request.wait == LockWait::stay;
}

}  // namespace

// `op`: the member of Router that does it. `in` and `out` live until the call is finished.
template <class In, class Out, class Op>
FsService::Unary* FsService::read(Rpc rpc, Context* context, const In* in, Out* out, Op op) {
  auto call = std::make_shared<UnaryCall>(front_, rpc, context);
  Unary* const reactor = call->reactor();
  auto accepted = accept(call.get(), *context, *in);
  if (!accepted.ok()) {
    call->finish(accepted.error());
    return reactor;
  }
  enqueue(std::move(call), Where::anywhere,
          [accepted = *std::move(accepted), out, op](const std::shared_ptr<UnaryCall>& mine) {
            auto reply = ((*mine->front().router).*op)(accepted.first, accepted.second);
            if (!reply.ok()) return mine->finish(reply.error());
            wire::to_wire(*std::move(reply), out);
            mine->finish();
          });
  return reactor;
}

// What may wait for others answers later, through the last parameter of `op`.
template <class In, class Out, class Op>
FsService::Unary* FsService::start(Rpc rpc, Context* context, const In* in, Out* out, Op op) {
  auto call = std::make_shared<UnaryCall>(front_, rpc, context);
  Unary* const reactor = call->reactor();
  auto accepted = accept(call.get(), *context, *in);
  if (!accepted.ok()) {
    call->finish(accepted.error());
    return reactor;
  }
  enqueue(
      std::move(call), Where::anywhere,
      [accepted = *std::move(accepted), out, op](const std::shared_ptr<UnaryCall>& mine) mutable {
        if (stays(accepted.second)) mine->leave();
        const auto done = [mine, out](auto reply) {
          if (!reply.ok()) return mine->finish(reply.error());
          wire::to_wire(*std::move(reply), out);
          mine->finish();
        };
        ((*mine->front().router).*op)(accepted.first, std::move(accepted.second), done);
      });
  return reactor;
}

using core::Router;

FsService::Unary* FsService::Lookup(Context* context, const v1::LookupRequest* in,
                                    v1::LookupReply* out) {
  return read(Rpc::lookup, context, in, out, &Router::lookup);
}

FsService::Unary* FsService::GetAttr(Context* context, const v1::GetAttrRequest* in,
                                     v1::NodeReply* out) {
  return read(Rpc::getattr, context, in, out, &Router::getattr);
}

FsService::Unary* FsService::ReadDir(Context* context, const v1::ReadDirRequest* in,
                                     v1::ReadDirReply* out) {
  return read(Rpc::readdir, context, in, out, &Router::readdir);
}

FsService::Unary* FsService::Read(Context* context, const v1::ReadRequest* in, v1::ReadReply* out) {
  return read(Rpc::read, context, in, out, &Router::read);
}

FsService::Unary* FsService::DataRanges(Context* context, const v1::DataRangesRequest* in,
                                        v1::DataRangesReply* out) {
  return read(Rpc::data_ranges, context, in, out, &Router::data_ranges);
}

FsService::Unary* FsService::GetXattrs(Context* context, const v1::XattrsRequest* in,
                                       v1::XattrsReply* out) {
  return read(Rpc::xattrs, context, in, out, &Router::xattrs);
}

FsService::Unary* FsService::StatFs(Context* context, const v1::StatFsRequest* in,
                                    v1::StatFsReply* out) {
  return read(Rpc::statfs, context, in, out, &Router::statfs);
}

FsService::Unary* FsService::Versions(Context* context, const v1::VersionsRequest* in,
                                      v1::VersionsReply* out) {
  return read(Rpc::versions, context, in, out, &Router::versions);
}

FsService::Unary* FsService::Changes(Context* context, const v1::ChangesRequest* in,
                                     v1::ChangesReply* out) {
  return read(Rpc::changes, context, in, out, &Router::changes);
}

FsService::Unary* FsService::Conflicts(Context* context, const v1::ConflictsRequest* in,
                                       v1::ConflictsReply* out) {
  return read(Rpc::conflicts, context, in, out, &Router::conflicts);
}

FsService::Unary* FsService::Create(Context* context, const v1::CreateRequest* in,
                                    v1::MutationReply* out) {
  return start(Rpc::create, context, in, out, &Router::create);
}

FsService::Unary* FsService::Remove(Context* context, const v1::RemoveRequest* in,
                                    v1::MutationReply* out) {
  return start(Rpc::remove, context, in, out, &Router::remove);
}

FsService::Unary* FsService::Rename(Context* context, const v1::RenameRequest* in,
                                    v1::MutationReply* out) {
  return start(Rpc::rename, context, in, out, &Router::rename);
}

FsService::Unary* FsService::Link(Context* context, const v1::LinkRequest* in,
                                  v1::MutationReply* out) {
  return start(Rpc::link, context, in, out, &Router::link);
}

FsService::Unary* FsService::SetAttr(Context* context, const v1::SetAttrRequest* in,
                                     v1::MutationReply* out) {
  return start(Rpc::set_attributes, context, in, out, &Router::set_attributes);
}

FsService::Unary* FsService::SetXattr(Context* context, const v1::SetXattrRequest* in,
                                      v1::MutationReply* out) {
  return start(Rpc::set_xattr, context, in, out, &Router::set_xattr);
}

FsService::Unary* FsService::Settle(Context* context, const v1::SettleRequest* in,
                                    v1::MutationReply* out) {
  return start(Rpc::settle, context, in, out, &Router::settle);
}

FsService::Unary* FsService::GiveUp(Context* context, const v1::GiveUpRequest* in,
                                    v1::GiveUpReply* out) {
  return start(Rpc::give_up, context, in, out, &Router::give_up);
}

FsService::Unary* FsService::SetLock(Context* context, const v1::SetLockRequest* in,
                                     v1::SetLockReply* out) {
  return start(Rpc::set_lock, context, in, out, &Router::set_lock);
}

FsService::Unary* FsService::TestLock(Context* context, const v1::TestLockRequest* in,
                                      v1::TestLockReply* out) {
  return read(Rpc::test_lock, context, in, out, &Router::test_lock);
}

FsService::Unary* FsService::CancelLock(Context* context, const v1::CancelLockRequest* in,
                                        v1::CancelLockReply* out) {
  return read(Rpc::cancel_lock, context, in, out, &Router::cancel_lock);
}

FsService::Unary* FsService::ReclaimLocks(Context* context, const v1::ReclaimLocksRequest* in,
                                          v1::ReclaimLocksReply* out) {
  return read(Rpc::reclaim_locks, context, in, out, &Router::reclaim_locks);
}

grpc::ServerReadReactor<v1::CommitPart>* FsService::Commit(Context* context,
                                                           v1::MutationReply* out) {
  return CommitUpload::begin(front_, context, out);
}

grpc::ServerWriteReactor<v1::PrefetchReply>* FsService::Prefetch(Context* context,
                                                                 const v1::PrefetchRequest* in) {
  return PrefetchWalk::begin(front_, context, *in);
}

}  // namespace linkspan::rpc
