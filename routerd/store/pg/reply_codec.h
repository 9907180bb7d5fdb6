// A mutation's reply as the bytes that are stored with it, for retries. Content is never in it. Or,
// in its place, that what was under way for the operation by `seq` is ruled out: it may be tried
// anew, by who takes exactly these bytes away.
#pragma once

#include <string>
#include <string_view>

#include "linkspan/ops.h"

namespace linkspan::store::pg {

std::string encode_reply(const MutationReply& reply);
Result<MutationReply> decode_reply(std::string_view bytes);  // `io`: not such bytes

std::string ruled_out(Seq seq);
bool is_ruled_out(std::string_view bytes);  // they come before all replies: sql::kRuleOut

}  // namespace linkspan::store::pg
