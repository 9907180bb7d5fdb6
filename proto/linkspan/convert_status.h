// The gRPC status of each domain error, and back. A domain error travels as a status (for proxies
// and people) plus its exact form, a serialized v1::ErrorDetail, in trailing metadata kErrorKey.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "linkspan/error.h"

namespace linkspan::wire {

inline constexpr char kErrorKey[] = "linkspan-error-bin";

grpc::StatusCode status_code(Code code);
grpc::Status status_of(const Error& error);  // without the detail
std::string encode_error(const Error& error);
// A detail that cannot be parsed is Code::internal and says so.
Error decode_error(std::string_view detail);

// Server side: `return wire::finish(*context, error);` with any grpc::ServerContextBase.
template <class ServerContext>
grpc::Status finish(ServerContext& context, const Error& error) {
  context.AddTrailingMetadata(kErrorKey, encode_error(error));
  return status_of(error);
}

// Client side, after a call that failed: the detail if there is one, else by status code -
// UNAVAILABLE: unavailable, DEADLINE_EXCEEDED: timed_out, CANCELLED: interrupted,
// RESOURCE_EXHAUSTED: busy, any other: internal.
Error error_of(const grpc::Status& status);
template <class ClientContext>
Error error_of(const ClientContext& context, const grpc::Status& status) {
  const auto& trailing = context.GetServerTrailingMetadata();
  if (auto it = trailing.find(kErrorKey); it != trailing.end())
    return decode_error({it->second.data(), it->second.size()});
  return error_of(status);
}

}  // namespace linkspan::wire
