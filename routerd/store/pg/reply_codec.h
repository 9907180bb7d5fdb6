// A mutation's reply as the bytes that are stored with it, for retries. Content is never in it.
#pragma once

#include <string>
#include <string_view>

#include "linkspan/ops.h"

namespace linkspan::store::pg {

std::string encode_reply(const MutationReply& reply);
Result<MutationReply> decode_reply(std::string_view bytes);  // `io`: not such bytes

}  // namespace linkspan::store::pg
