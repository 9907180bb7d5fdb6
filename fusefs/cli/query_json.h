// What is said on .linkspan/query, the same on both sides: requests and the first line of answers
// are JSON. Names are bytes: `key` has them as text, and `key`_hex as they are where they are no
// UTF-8. Reading never throws: a field that is missing or of another type counts as empty.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "fusefs/cli/json_text.h"
#include "linkspan/ops.h"
#include "linkspan/token_ops.h"

namespace linkspan::cli {

using Json = nlohmann::json;

void set_bytes(Json& json, const std::string& key, const std::string& bytes);
std::string get_bytes(const Json& json, const std::string& key);
uint64_t get_number(const Json& json, const char* key);
int64_t get_signed(const Json& json, const char* key);
Json get_list(const Json& json, const char* key);
bool get_flag(const Json& json, const char* key);

Json to_json(const Change& change);
Change change_from(const Json& json);
Json to_json(const VersionInfo& info);
VersionInfo version_from(const Json& json);
Json to_json(const Conflict& conflict);
Conflict conflict_from(const Json& json);

// "ro", "append", "no-delete", "rw"; none: another word.
Access rights_named(std::string_view word);
Json to_json(const NarrowRequest& request);
// `invalid`: rights that there are not.
Result<NarrowRequest> narrow_request_from(const Json& json);
Json to_json(const NarrowReply& reply);
NarrowReply narrow_reply_from(const Json& json);  // routes: path, rights and reaches

std::string session_text(SessionId session);  // 16 hex digits, as user.linkspan.session

// {"ok": false, ...} and back. `error_from`: of a header that is not ok.
Json to_json(const Error& error);
Error error_from(const Json& json);

}  // namespace linkspan::cli
