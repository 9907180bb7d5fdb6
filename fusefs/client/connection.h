// A gRPC channel to the router with its stubs. Private to this folder: the one header that brings
// gRPC's in.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "fusefs/client/gate.h"
#include "linkspan/tls_files.h"
#include "linkspan/v1/fs.grpc.pb.h"
#include "linkspan/v1/session.grpc.pb.h"

namespace linkspan::client {

// A new one for every reconnect: a channel's own reconnecting and its backoff never come into play.
struct Connection {
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::Fs::Stub> fs;
  std::unique_ptr<v1::Session::Stub> session;
  bool ready() const { return channel->GetState(false) == GRPC_CHANNEL_READY; }
};

// Never fails: an address that cannot be reached fails the first call. With `pems` it is TLS 1.3,
// the certificate checked by their authorities and the host's name; must be make_grpc_client()'s
// process.
std::shared_ptr<Connection> make_connection(const std::string& address, const tls::Pems* pems);

// On the monotonic clock, so that a step of the wall clock neither shortens nor lengthens a call.
void set_deadline(grpc::ClientContext* context, std::chrono::steady_clock::time_point deadline);

}  // namespace linkspan::client
