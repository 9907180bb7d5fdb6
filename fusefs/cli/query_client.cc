#include "fusefs/cli/query_client.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_query.h"
#include "fusefs/cli/query_json.h"
#include "fusefs/cli/system.h"
#include "linkspan/limits.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;

constexpr auto kBusyWait = 20ms;  // before it is tried again
constexpr auto kBusyTime = 10s;   // in all
constexpr size_t kReadBytes = 128 << 10;

// read(2) or the like again while the mount has its hands full.
template <class Call>
Result<size_t> patiently(const std::string& file, Call call) {
  const auto limit = Steady::now() + kBusyTime;
  for (;;) {
    const ssize_t n = call();
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EINTR) continue;
    if (errno != EBUSY || Steady::now() > limit) return system_error(file, errno);
    std::this_thread::sleep_for(kBusyWait);
  }
}

Result<UniqueFd> open_query(const std::string& file) {
  UniqueFd fd;
  const auto opened = patiently(file, [&]() -> ssize_t {
    fd.reset(::open(file.c_str(), O_RDWR | O_CLOEXEC));
    return fd ? 0 : -1;
  });
  if (opened.ok()) return fd;
  if (opened.code() == Code::not_found)
    return fail(Code::unsupported,
                file + " is not there: the mount is of an older linkspan; mount it again");
  return opened.error();
}

}  // namespace

struct QueryClient::Reply {
  Json header;
  std::string bytes;
};

Result<QueryClient::Reply> QueryClient::ask(const std::string& request) {
  LINKSPAN_TRY(const auto fd, open_query(file_));
  LINKSPAN_TRY(const size_t written,
               patiently(file_, [&] { return ::write(fd.get(), request.data(), request.size()); }));
  if (written != request.size()) return fail(Code::io, file_ + " took only a part of the request");
  std::string text;
  std::string buffer(kReadBytes, '\0');
  for (;;) {
    LINKSPAN_TRY(const size_t n,
                 patiently(file_, [&] { return ::read(fd.get(), buffer.data(), buffer.size()); }));
    if (n == 0) break;
    text.append(buffer, 0, n);
  }
  const size_t line = text.find('\n');
  Reply reply{Json::parse(text.substr(0, line), nullptr, false), {}};
  if (!reply.header.is_object())
    return fail(Code::io, file_ + " answered something else than JSON");
  if (!get_flag(reply.header, "ok")) return error_from(reply.header);
  if (line != std::string::npos) reply.bytes = text.substr(line + 1);
  return reply;
}

Status QueryClient::changes(const LogQuery& query, const std::function<bool(const Change&)>& each) {
  Json request{{"op", "changes"}, {"newest", true}, {"limit", limits::kHistoryPage}};
  set_bytes(request, "route", query.route);
  set_bytes(request, "below", query.below);
  set_bytes(request, "author", query.author);
  set_bytes(request, "what", query.what);
  request["since_ns"] = query.since.ns;
  request["ino"] = query.ino.value;
  for (size_t asked = 0; asked < query.most_asked; ++asked) {
    LINKSPAN_TRY(const auto reply, ask(dump_line(request)));
    const Json list = get_list(reply.header, "changes");
    for (auto json = list.rbegin(); json != list.rend(); ++json)
      if (!each(change_from(*json))) return ok();
    const uint64_t next = get_number(reply.header, "next");
    if (next == 0) return ok();
    const uint64_t before = get_number(request, "before");
    if (before != 0 && next >= before) return fail(Code::io, "the router's log goes in circles");
    request["before"] = next;
  }
  return ok();
}

Status QueryClient::versions(const std::string& route, Ino ino,
                             const std::function<bool(const VersionInfo&)>& each) {
  Json request{{"op", "versions"}, {"ino", ino.value}, {"limit", limits::kHistoryPage}};
  set_bytes(request, "route", route);
  for (;;) {
    LINKSPAN_TRY(const auto reply, ask(dump_line(request)));
    const Json list = get_list(reply.header, "versions");
    VersionInfo last;
    for (const auto& json : list) {
      last = version_from(json);
      if (!each(last)) return ok();
    }
    if (list.size() < limits::kHistoryPage || last.version.value <= 1) return ok();
    const uint64_t before = get_number(request, "before");
    if (before != 0 && last.version.value >= before)
      return fail(Code::io, "the router's list of versions goes in circles");
    request["before"] = last.version.value;
  }
}

Result<FoundNode> QueryClient::node(const std::string& route, Ino ino) {
  Json request{{"op", "node"}, {"ino", ino.value}};
  set_bytes(request, "route", route);
  LINKSPAN_TRY(const auto reply, ask(dump_line(request)));
  const Json& header = reply.header;
  FoundNode node;
  node.kind = get_bytes(header, "kind");
  node.mode = static_cast<uint32_t>(get_number(header, "mode"));
  node.uid = static_cast<uint32_t>(get_number(header, "uid"));
  node.gid = static_cast<uint32_t>(get_number(header, "gid"));
  node.size = get_number(header, "size");
  node.nlink = static_cast<uint32_t>(get_number(header, "nlink"));
  node.version = Version{get_number(header, "version")};
  node.target = get_bytes(header, "target");
  return node;
}

Status QueryClient::content(const std::string& route, Ino ino, Version version,
                            const std::function<Status(const std::string&)>& piece) {
  Json request{
      {"op", "read"}, {"ino", ino.value}, {"version", version.value}, {"length", kQueryReadBytes}};
  set_bytes(request, "route", route);
  for (uint64_t offset = 0;;) {
    request["offset"] = offset;
    LINKSPAN_TRY(const auto reply, ask(dump_line(request)));
    // With version 0 all of it is of the one that was the head at the beginning.
    request["version"] = get_number(reply.header, "version");
    LINKSPAN_CHECK(piece(reply.bytes));
    offset += reply.bytes.size();
    if (offset >= get_number(reply.header, "size") || reply.bytes.empty()) return ok();
  }
}

Result<Conflict> QueryClient::conflict(uint64_t number) {
  const Error none = fail(Code::not_found, "there is no open conflict " + std::to_string(number) +
                                               "; the open ones: ls " +
                                               shell_word(dir_name(file_) + "/conflicts"));
  if (number == 0) return none;
  const Json request{{"op", "conflicts"}, {"after", number - 1}, {"limit", 1}};
  LINKSPAN_TRY(const auto reply, ask(dump_line(request)));
  const Json list = get_list(reply.header, "conflicts");
  if (list.empty()) return none;
  auto conflict = conflict_from(list.front());
  if (conflict.number.value != number) return none;
  return conflict;
}

Status QueryClient::settle(uint64_t number) {
  LINKSPAN_TRY(const auto reply, ask(dump_line(Json{{"op", "settle"}, {"number", number}})));
  return ok();
}

Result<QueryClient::Resumed> QueryClient::resume() {
  LINKSPAN_TRY(const auto reply, ask(dump_line(Json{{"op", "resume"}})));
  return Resumed{get_flag(reply.header, "connected"), get_bytes(reply.header, "reason")};
}

Result<NarrowReply> QueryClient::narrow(const NarrowRequest& request) {
  LINKSPAN_TRY(const auto reply, ask(dump_line(to_json(request))));
  return narrow_reply_from(reply.header);
}

}  // namespace linkspan::cli
