// The messages of one commit: extents packed into parts. Private to this folder.
#pragma once

#include <optional>

#include "fusefs/client/connection.h"
#include "linkspan/ops.h"

namespace linkspan::client {

// Sends the head and all extents (from the first: rewinds the source), in one message where they
// fit in limits::kPartBytes. When the source fails nothing is applied, and *local says why.
grpc::Status stream_commit(v1::Fs::Stub& fs, grpc::ClientContext& context,
                           const CommitRequest& request, v1::MutationReply* reply,
                           std::optional<Error>* local);

}  // namespace linkspan::client
