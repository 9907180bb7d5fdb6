#include "fusefs/cli/query_json.h"

#include <cstdio>
#include <cstdlib>

#include "fusefs/cli/mount_report.h"

namespace linkspan::cli {

namespace {

constexpr const char* kHexDigits = "0123456789abcdef";

std::string as_hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char c : bytes) {
    text += kHexDigits[c >> 4];
    text += kHexDigits[c & 15];
  }
  return text;
}

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::string from_hex(const std::string& text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    const int high = digit(text[i]), low = digit(text[i + 1]);
    if (high < 0 || low < 0) return {};
    bytes += static_cast<char>(high << 4 | low);
  }
  return bytes;
}

std::string get_text(const Json& json, const std::string& key) {
  if (!json.is_object()) return {};
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
}

SessionId session_from(const Json& json) {
  return SessionId{std::strtoull(get_text(json, "session").c_str(), nullptr, 16)};
}

void set_author(Json& json, const std::string& principal, const std::string& sandbox,
                SessionId session, Time at) {
  set_bytes(json, "principal", principal);
  set_bytes(json, "sandbox", sandbox);
  json["session"] = session_text(session);
  json["time"] = format_time(at);
  json["time_ns"] = at.ns;
}

template <class T>
void get_author(const Json& json, T* into) {
  into->principal = get_bytes(json, "principal");
  into->sandbox = get_bytes(json, "sandbox");
  into->session = session_from(json);
  into->at = Time{get_signed(json, "time_ns")};
}

}  // namespace

void set_bytes(Json& json, const std::string& key, const std::string& bytes) {
  json[key] = bytes;  // dump_line() replaces what is no UTF-8
  if (!is_utf8(bytes)) json[key + "_hex"] = as_hex(bytes);
}

std::string get_bytes(const Json& json, const std::string& key) {
  const auto hex = get_text(json, key + "_hex");
  return hex.empty() ? get_text(json, key) : from_hex(hex);
}

uint64_t get_number(const Json& json, const char* key) {
  if (!json.is_object()) return 0;
  const auto found = json.find(key);
  return found != json.end() && found->is_number_unsigned() ? found->get<uint64_t>() : 0;
}

int64_t get_signed(const Json& json, const char* key) {
  if (!json.is_object()) return 0;
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

Json get_list(const Json& json, const char* key) {
  if (!json.is_object()) return Json::array();
  const auto found = json.find(key);
  return found != json.end() && found->is_array() ? *found : Json::array();
}

bool get_flag(const Json& json, const char* key) {
  if (!json.is_object()) return false;
  const auto found = json.find(key);
  return found != json.end() && found->is_boolean() && found->get<bool>();
}

Access rights_named(std::string_view word) {
  for (const Access rights :
       {Access::read_only, Access::append_only, Access::no_delete, Access::read_write})
    if (word == rights_word(rights)) return rights;
  return Access::none;
}

Json to_json(const NarrowRequest& request) {
  Json json{{"op", "narrow"}, {"reaches", Json::array()}, {"expires_ns", request.expires.ns}};
  for (const auto& reach : request.reaches) {
    Json entry = Json::object();
    set_bytes(entry, "path", reach.path);
    if (reach.rights != Access::none) entry["rights"] = rights_word(reach.rights);
    json["reaches"].push_back(std::move(entry));
  }
  if (request.rights != Access::none) json["rights"] = rights_word(request.rights);
  set_bytes(json, "sandbox", request.sandbox);
  return json;
}

Result<NarrowRequest> narrow_request_from(const Json& json) {
  const auto rights_in = [](const Json& from) -> Result<Access> {
    const std::string word = get_bytes(from, "rights");
    const Access rights = rights_named(word);
    if (word.empty() || rights != Access::none) return rights;
    return fail(Code::invalid, "\"rights\" has to be ro, append, no-delete or rw");
  };
  NarrowRequest request;
  for (const Json& entry : get_list(json, "reaches")) {
    LINKSPAN_TRY(const Access rights, rights_in(entry));
    request.reaches.push_back({get_bytes(entry, "path"), rights});
  }
  LINKSPAN_TRY(request.rights, rights_in(json));
  request.expires = Time{get_signed(json, "expires_ns")};
  request.sandbox = get_bytes(json, "sandbox");
  return request;
}

Json to_json(const NarrowReply& reply) {
  Json routes = Json::array();
  for (const Route& route : reply.routes) {
    Json entry{{"rights", rights_word(route.rights)}, {"reaches", Json::array()}};
    set_bytes(entry, "path", route.path);
    for (const std::string& reach : route.reaches) {
      Json one = Json::object();
      set_bytes(one, "path", reach);
      entry["reaches"].push_back(std::move(one));
    }
    routes.push_back(std::move(entry));
  }
  Json json{{"token", reply.token}, {"routes", std::move(routes)}};
  set_bytes(json, "principal", reply.principal);
  set_bytes(json, "sandbox", reply.sandbox);
  json["expires_ns"] = reply.expires.ns;
  return json;
}

NarrowReply narrow_reply_from(const Json& json) {
  NarrowReply reply;
  reply.token = get_bytes(json, "token");
  reply.principal = get_bytes(json, "principal");
  reply.sandbox = get_bytes(json, "sandbox");
  reply.expires = Time{get_signed(json, "expires_ns")};
  for (const Json& entry : get_list(json, "routes")) {
    Route route;
    route.path = get_bytes(entry, "path");
    route.rights = rights_named(get_bytes(entry, "rights"));
    for (const Json& reach : get_list(entry, "reaches"))
      route.reaches.push_back(get_bytes(reach, "path"));
    reply.routes.push_back(std::move(route));
  }
  return reply;
}

std::string session_text(SessionId session) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(session.value));
  return text;
}

Json to_json(const Change& change) {
  Json json{{"seq", change.seq.value},
            {"what", change.what},
            {"ino", change.ino.value},
            {"version", change.version.value},
            {"size", change.size}};
  set_bytes(json, "volume", change.volume);
  set_bytes(json, "path", change.path);
  if (!change.old_path.empty()) set_bytes(json, "old_path", change.old_path);
  set_author(json, change.principal, change.sandbox, change.session, change.at);
  return json;
}

Change change_from(const Json& json) {
  Change change;
  change.seq = Seq{get_number(json, "seq")};
  change.what = get_text(json, "what");
  change.ino = Ino{get_number(json, "ino")};
  change.version = Version{get_number(json, "version")};
  change.volume = get_bytes(json, "volume");
  change.path = get_bytes(json, "path");
  change.old_path = get_bytes(json, "old_path");
  change.size = get_number(json, "size");
  get_author(json, &change);
  return change;
}

Json to_json(const VersionInfo& info) {
  Json json{{"version", info.version.value},
            {"size", info.size},
            {"what", info.what},
            {"ino", info.ino.value}};
  set_author(json, info.principal, info.sandbox, info.session, info.at);
  return json;
}

VersionInfo version_from(const Json& json) {
  VersionInfo info;
  info.version = Version{get_number(json, "version")};
  info.size = get_number(json, "size");
  info.what = get_text(json, "what");
  info.ino = Ino{get_number(json, "ino")};
  get_author(json, &info);
  return info;
}

Json to_json(const Conflict& conflict) {
  Json json{{"number", conflict.number.value}, {"what", conflict.what},
            {"ino", conflict.ino.value},       {"base_ino", conflict.base_ino.value},
            {"base", conflict.base.value},     {"head", conflict.head.value},
            {"theirs", conflict.theirs.value}, {"size", conflict.size}};
  set_bytes(json, "volume", conflict.volume);
  set_bytes(json, "path", conflict.path);
  set_author(json, conflict.principal, conflict.sandbox, conflict.session, conflict.at);
  return json;
}

Conflict conflict_from(const Json& json) {
  Conflict conflict;
  conflict.number = Seq{get_number(json, "number")};
  conflict.what = get_text(json, "what");
  conflict.volume = get_bytes(json, "volume");
  conflict.path = get_bytes(json, "path");
  conflict.ino = Ino{get_number(json, "ino")};
  conflict.base_ino = Ino{get_number(json, "base_ino")};
  conflict.base = Version{get_number(json, "base")};
  conflict.head = Version{get_number(json, "head")};
  conflict.theirs = Ino{get_number(json, "theirs")};
  conflict.size = get_number(json, "size");
  get_author(json, &conflict);
  return conflict;
}

Json to_json(const Error& error) {
  return Json{
      {"ok", false}, {"code", std::string(to_string(error.code))}, {"message", error.message}};
}

Error error_from(const Json& json) {
  const auto name = get_text(json, "code");
  Code code = Code::internal;
  for (uint32_t n = 1; n <= static_cast<uint32_t>(Code::fenced); ++n)
    if (to_string(static_cast<Code>(n)) == name) code = static_cast<Code>(n);
  return fail(code, get_text(json, "message"));
}

}  // namespace linkspan::cli
