// Asks a router for a narrower token without a session: by a token alone.
#pragma once

#include "fusefs/client/grpc_client.h"
#include "linkspan/token_ops.h"

namespace linkspan::client {

// Of the addresses, the token, the instance and the files for TLS of `options`; each address is
// tried once. From a process's only thread, before any other client.
Result<NarrowReply> narrow_token(const GrpcClientOptions& options, const NarrowRequest& request);

}  // namespace linkspan::client
