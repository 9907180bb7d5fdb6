#include "routerd/rpc/session_service.h"

#include "routerd/rpc/session_stream.h"

namespace linkspan::rpc {
namespace {

wire::Attached to_reply(core::AttachReply&& from) {
  wire::Attached out;
  out.session = from.session;
  out.secret = std::move(from.secret);
  out.lease = from.lease;
  out.routes = std::move(from.routes);
  out.tenant = std::move(from.tenant);
  out.principal = std::move(from.principal);
  out.sandbox = std::move(from.sandbox);
  out.router = std::move(from.router);
  out.seq = from.seq;
  out.resumed = from.resumed;
  out.token_expires = from.token_expires;
  out.token_renew = from.token_renew;
  return out;
}

}  // namespace

grpc::ServerUnaryReactor* SessionService::Attach(grpc::CallbackServerContext* context,
                                                 const v1::AttachRequest* in,
                                                 v1::AttachReply* out) {
  auto call = std::make_shared<UnaryCall>(front_, Rpc::attach, context);
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  auto asked = wire::from_wire(*in);
  if (!call->admit() || !asked.ok()) {
    call->finish(asked.ok() ? stopping() : asked.error());
    return reactor;
  }
  core::AttachRequest request{asked->token,
                              asked->client,
                              asked->resume,
                              asked->resume_secret,
                              asked->resume_revocation,
                              context->peer(),
                              asked->instance};
  enqueue(std::move(call), Where::worker,
          [request = std::move(request), out](const std::shared_ptr<UnaryCall>& mine) {
            auto reply = mine->front().router->attach(request);
            if (!reply.ok()) {
              log_warning("attach from " + request.peer + " (" + request.client +
                          ") refused: " + reply.error().message);
              return mine->finish(reply.error());
            }
            log_info("session " + std::to_string(reply->session.value) +
                     (reply->resumed ? " resumed" : " attached") + ": " + reply->principal +
                     " in " + reply->sandbox + " of " + reply->tenant + ", from " + request.peer +
                     " (" + request.client + ")");
            wire::to_wire(to_reply(*std::move(reply)), out);
            mine->finish();
          });
  return reactor;
}

grpc::ServerUnaryReactor* SessionService::Detach(grpc::CallbackServerContext* context,
                                                 const v1::DetachRequest*, v1::DetachReply*) {
  auto call = std::make_shared<UnaryCall>(front_, Rpc::detach, context);
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  auto who = credentials(*context);
  if (!call->admit() || !who.ok()) {
    call->finish(who.ok() ? stopping() : who.error());
    return reactor;
  }
  enqueue(std::move(call), Where::worker,
          [who = *std::move(who)](const std::shared_ptr<UnaryCall>& mine) {
            const auto detached = mine->front().router->detach(who);
            if (!detached.ok()) return mine->finish(detached.error());
            log_info("session " + std::to_string(who.session.value) + " detached");
            mine->finish();
          });
  return reactor;
}

grpc::ServerUnaryReactor* SessionService::Narrow(grpc::CallbackServerContext* context,
                                                 const v1::NarrowRequest* in,
                                                 v1::NarrowReply* out) {
  auto call = std::make_shared<UnaryCall>(front_, Rpc::narrow, context);
  grpc::ServerUnaryReactor* const reactor = call->reactor();
  auto asked = wire::from_wire(*in);
  Result<core::Credentials> who = core::Credentials{{}, {}, context->peer()};
  if (in->token().empty()) who = credentials(*context);
  if (!call->admit() || !asked.ok() || !who.ok()) {
    call->finish(!asked.ok() ? asked.error() : !who.ok() ? who.error() : stopping());
    return reactor;
  }
  enqueue(
      std::move(call), Where::worker,
      [who = *std::move(who), asked = *std::move(asked),
       out](const std::shared_ptr<UnaryCall>& mine) {
        auto reply = mine->front().router->narrow(who, asked.proof, asked.request);
        if (!reply.ok()) {
          log_warning("narrowing a token from " + who.peer + " refused: " + reply.error().message);
          return mine->finish(reply.error());
        }
        log_info("token of " + reply->principal + " narrowed" +
                 (reply->sandbox.empty() ? "" : " for " + reply->sandbox) + ", from " + who.peer);
        wire::to_wire(*reply, out);
        mine->finish();
      });
  return reactor;
}

grpc::ServerBidiReactor<v1::ClientFrame, v1::RouterFrame>* SessionService::Stream(
    grpc::CallbackServerContext* context) {
  return SessionStream::begin(front_, context);
}

}  // namespace linkspan::rpc
