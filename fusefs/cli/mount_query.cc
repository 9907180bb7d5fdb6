#include "fusefs/cli/mount_query.h"

#include <algorithm>
#include <thread>

#include "fusefs/cli/query_json.h"
#include "linkspan/limits.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr auto kResumeWait = 5s;  // for the new session; what was cached is gone by then
constexpr auto kResumePoll = 10ms;
constexpr std::chrono::milliseconds kQueryAway = 10s;  // of a router that is away; people wait

struct Answer {
  Json header = Json{{"ok", true}};
  std::string bytes;
};

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::file:
      return "file";
    case Kind::directory:
      return "directory";
    case Kind::symlink:
      return "symlink";
    case Kind::fifo:
      return "fifo";
    case Kind::socket:
      return "socket";
  }
  return "?";
}

// One request: who asks, for how long, of which route.
class Asking {
 public:
  Asking(const MountQueries& mount, const vfs::Caller& caller, const Json& request)
      : mount_(mount), caller_(caller), request_(request) {}

  Result<Answer> answer() {
    LINKSPAN_CHECK(find_route());
    call_.cancel = caller_.cancel;
    const std::chrono::milliseconds timeout(timeout_ms());
    call_.deadline = Steady::now() + timeout;
    call_.away = std::min(timeout, kQueryAway);
    const auto op = get_bytes(request_, "op");
    if (op == "changes") return changes();
    if (op == "versions") return versions();
    if (op == "node") return node();
    if (op == "read") return read();
    if (op == "conflicts") return conflicts();
    if (op == "settle") return settle();
    if (op == "narrow") return narrow();
    if (op == "resume") return resume();
    return fail(Code::invalid,
                "\"op\" has to be changes, versions, node, read, conflicts, settle, narrow "
                "or resume");
  }

 private:
  Status find_route();
  uint32_t timeout_ms() const;
  bool is_owner() const { return caller_.uid == 0 || caller_.uid == mount_.owner; }
  Status may(const char* what) const;
  Result<Ino> ino() const;
  Result<std::string> text(const char* key, size_t most) const;
  uint32_t limit() const;

  Result<Answer> changes();
  Result<Answer> versions();
  Result<Answer> node();
  Result<Answer> read();
  Result<Answer> conflicts();
  Result<Answer> settle();
  Result<Answer> narrow();
  Result<Answer> resume();

  const MountQueries& mount_;
  const vfs::Caller& caller_;
  const Json& request_;
  const Route* route_ = nullptr;
  client::Call call_;
};

Status Asking::find_route() {
  const auto path = get_bytes(request_, "route");
  if (path.empty()) return ok();
  for (const auto& route : mount_.routes)
    if (route.path == path) route_ = &route;
  if (route_) return ok();
  return fail(Code::not_found, "this mount has no route " + path);
}

uint32_t Asking::timeout_ms() const {
  if (route_) return route_->timeout_ms;
  uint32_t most = 1000;
  for (const auto& route : mount_.routes) most = std::max(most, route.timeout_ms);
  return most;
}

// With numeric owners a file's mode keeps others out; what is asked by number passes no such check.
Status Asking::may(const char* what) const {
  if (mount_.ownership == vfs::Ownership::squash || is_owner()) return ok();
  return fail(Code::access_denied, std::string(what) +
                                       " is only for root and the user who mounted, since this "
                                       "mount keeps owners apart (--owner identity)");
}

Result<Ino> Asking::ino() const {
  if (!route_) return fail(Code::invalid, "\"route\" is missing: the path of a route");
  const uint64_t number = get_number(request_, "ino");
  return number <= 1 ? route_->root : Ino{number};
}

Result<std::string> Asking::text(const char* key, size_t most) const {
  auto text = get_bytes(request_, key);
  if (text.size() <= most && text.find('\0') == std::string::npos) return text;
  return fail(Code::invalid, "\"" + std::string(key) + "\" has a NUL in it, or more than " +
                                 std::to_string(most) + " bytes");
}

uint32_t Asking::limit() const {
  const uint64_t asked = get_number(request_, "limit");
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(asked == 0 ? 100 : asked, 1, limits::kHistoryPage));
}

Result<Answer> Asking::changes() {
  ChangesRequest request;
  request.after = Seq{get_number(request_, "after")};
  request.before = Seq{get_number(request_, "before")};
  request.limit = limit();
  request.newest = get_flag(request_, "newest");
  if (route_) request.volume_of = route_->root;
  request.under = Ino{get_number(request_, "ino")};
  LINKSPAN_TRY(request.below, text("below", limits::kPathBytes));
  LINKSPAN_TRY(request.principal, text("author", limits::kLabelBytes));
  LINKSPAN_TRY(request.sandbox, text("sandbox", limits::kLabelBytes));
  LINKSPAN_TRY(request.what, text("what", limits::kLabelBytes));
  request.since = Time{get_signed(request_, "since_ns")};
  LINKSPAN_TRY(const auto reply, mount_.client->changes(call_, request));
  Answer answer;
  Json list = Json::array();
  uint64_t next = reply.next.value;
  size_t bytes = 0;
  const size_t count = reply.changes.size();
  for (size_t i = 0; i < count; ++i) {
    const Change& change = reply.changes[request.newest ? count - 1 - i : i];
    Json json = to_json(change);
    bytes += dump_line(json).size();
    list.push_back(std::move(json));
    if (bytes <= kQueryListBytes || i + 1 == count) continue;
    next = change.seq.value;  // after it, or with `newest` before it
    break;
  }
  if (request.newest) std::reverse(list.begin(), list.end());
  answer.header["changes"] = std::move(list);
  answer.header["next"] = next;
  return answer;
}

Result<Answer> Asking::versions() {
  VersionsRequest request;
  LINKSPAN_TRY(request.ino, ino());
  request.before = Version{get_number(request_, "before")};
  request.limit = limit();
  LINKSPAN_TRY(const auto versions, mount_.client->versions(call_, request));
  Answer answer;
  answer.header["versions"] = Json::array();
  for (const auto& version : versions) answer.header["versions"].push_back(to_json(version));
  return answer;
}

Result<Answer> Asking::node() {
  LINKSPAN_CHECK(may("asking for a file by its number"));
  LINKSPAN_TRY(const Ino ino, this->ino());
  LINKSPAN_TRY(const auto reply, mount_.client->getattr(call_, {ino, false}));
  const Attr& attr = reply.node.attr;
  Answer answer;
  answer.header.update(Json{{"kind", kind_name(attr.kind)},
                            {"ino", attr.ino.value},
                            {"mode", attr.mode},
                            {"uid", attr.uid},
                            {"gid", attr.gid},
                            {"size", attr.size},
                            {"nlink", attr.nlink},
                            {"version", attr.version.value}});
  if (attr.kind == Kind::symlink) set_bytes(answer.header, "target", reply.node.target);
  return answer;
}

Result<Answer> Asking::read() {
  LINKSPAN_CHECK(may("reading what a file was"));
  ReadRequest request;
  LINKSPAN_TRY(request.ino, ino());
  request.version = Version{get_number(request_, "version")};
  request.offset = get_number(request_, "offset");
  request.length =
      static_cast<uint32_t>(std::min<uint64_t>(get_number(request_, "length"), kQueryReadBytes));
  LINKSPAN_TRY(auto reply, mount_.client->read(call_, request));
  Answer answer;
  answer.header["version"] = reply.version.value;
  answer.header["size"] = reply.size;
  answer.header["length"] = reply.data.size();
  answer.bytes = std::move(reply.data);
  return answer;
}

Result<Answer> Asking::conflicts() {
  ConflictsRequest request{Seq{get_number(request_, "after")}, limit()};
  LINKSPAN_TRY(const auto reply, mount_.client->conflicts(call_, request));
  Answer answer;
  Json list = Json::array();
  size_t bytes = 0;
  uint64_t next = reply.conflicts.size() == request.limit ? reply.conflicts.back().number.value : 0;
  for (const auto& conflict : reply.conflicts) {
    Json json = to_json(conflict);
    bytes += dump_line(json).size();
    list.push_back(std::move(json));
    if (bytes <= kQueryListBytes || &conflict == &reply.conflicts.back()) continue;
    next = conflict.number.value;
    break;
  }
  answer.header["conflicts"] = std::move(list);
  answer.header["next"] = next;
  return answer;
}

Result<Answer> Asking::settle() {
  LINKSPAN_CHECK(may("settling a conflict"));
  if (mount_.read_only)
    return fail(Code::read_only, "this mount is read-only: settle the conflict through another");
  const uint64_t number = get_number(request_, "number");
  if (number == 0) return fail(Code::invalid, "\"number\" is missing: that of a conflict");
  LINKSPAN_TRY(const auto reply, mount_.client->settle(call_, {{}, Seq{number}}));
  mount_.settled();
  return Answer{};
}

// A token leaves the sandbox, as files do not: whoever could read the mount's own may have it.
Result<Answer> Asking::narrow() {
  if (!is_owner())
    return fail(Code::access_denied,
                "narrowing the mount's token is only for root and the user who mounted");
  LINKSPAN_TRY(NarrowRequest request, narrow_request_from(request_));
  if (mount_.read_only) request.rights = Access::read_only;
  LINKSPAN_TRY(const NarrowReply reply, mount_.client->narrow(call_, request));
  Answer answer;
  answer.header.update(to_json(reply));
  return answer;
}

// First the lease: from then on nothing is answered from what was cached before.
Result<Answer> Asking::resume() {
  LINKSPAN_CHECK(may("resuming"));
  mount_.client->start_over();
  if (mount_.drop_everything) mount_.drop_everything();
  const auto until = std::min(call_.deadline, Steady::now() + kResumeWait);
  while (!mount_.client->lease_valid() && Steady::now() < until &&
         !(call_.cancel && call_.cancel->cancelled()) &&
         mount_.client->link().link != client::Link::ended)
    std::this_thread::sleep_for(kResumePoll);
  Answer answer;
  const bool connected = mount_.client->lease_valid();
  answer.header["connected"] = connected;
  if (!connected) answer.header["reason"] = mount_.client->link().reason;
  return answer;
}

}  // namespace

std::string MountQueries::answer(const vfs::Caller& caller, const std::string& request) const {
  const Json json = Json::parse(request, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return dump_line(to_json(fail(Code::invalid, "a request is one JSON object")));
  auto answer = Asking(*this, caller, json).answer();
  if (!answer.ok()) return dump_line(to_json(answer.error()));
  return dump_line(answer->header) + answer->bytes;
}

}  // namespace linkspan::cli
