// Attaching, detaching, and the stream of renewals and revocations.
#pragma once

#include "linkspan/v1/session.grpc.pb.h"
#include "routerd/rpc/call.h"

namespace linkspan::rpc {

class SessionService final : public v1::Session::CallbackService {
 public:
  explicit SessionService(Front* front) : front_(front) {}

  grpc::ServerUnaryReactor* Attach(grpc::CallbackServerContext* context,
                                   const v1::AttachRequest* in, v1::AttachReply* out) override;
  grpc::ServerUnaryReactor* Detach(grpc::CallbackServerContext* context,
                                   const v1::DetachRequest* in, v1::DetachReply* out) override;
  grpc::ServerUnaryReactor* Narrow(grpc::CallbackServerContext* context,
                                   const v1::NarrowRequest* in, v1::NarrowReply* out) override;
  grpc::ServerBidiReactor<v1::ClientFrame, v1::RouterFrame>* Stream(
      grpc::CallbackServerContext* context) override;

 private:
  Front* const front_;
};

}  // namespace linkspan::rpc
