// linkspan token narrow
#include <sys/prctl.h>

#include <cstdio>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/query_client.h"
#include "fusefs/cli/query_json.h"
#include "fusefs/cli/router_choice.h"
#include "fusefs/cli/router_watch.h"
#include "fusefs/cli/system.h"
#include "fusefs/client/narrow.h"
#include "linkspan/clock.h"

namespace linkspan::cli {

namespace {

Result<Access> rights_in(const std::string& word) {
  const Access rights = rights_named(word);
  if (rights != Access::none) return rights;
  return fail(Code::invalid, "\"" + word + "\" are no rights; write ro, append, no-delete or rw");
}

// PATH, or PATH=RIGHTS; a path with a '=' in it is followed by its rights.
Result<NarrowRequest::Reach> reach_in(const std::string& text) {
  const size_t equals = text.rfind('=');
  NarrowRequest::Reach reach{text.substr(0, equals), Access::none};
  if (equals != std::string::npos) {
    LINKSPAN_TRY(reach.rights, rights_in(text.substr(equals + 1)));
  }
  reach.path.erase(0, reach.path.find_first_not_of('/'));
  while (reach.path.ends_with('/')) reach.path.pop_back();
  if (!reach.path.empty()) return reach;
  return fail(Code::invalid, "--route \"" + text + "\" names no route; write --route memory=ro");
}

Result<NarrowRequest> request_of(const TokenNarrowOptions& options) {
  NarrowRequest request;
  for (const std::string& text : options.routes) {
    LINKSPAN_TRY(auto reach, reach_in(text));
    request.reaches.push_back(std::move(reach));
  }
  if (!options.rights.empty()) {
    LINKSPAN_TRY(request.rights, rights_in(options.rights));
  }
  if (!options.expires.empty()) {
    LINKSPAN_TRY(request.expires, parse_until(options.expires, Clock::system().now()));
  }
  request.sandbox = options.sandbox;
  return request;
}

Result<NarrowReply> ask_mount(const std::string& dir, const NarrowRequest& request) {
  const RouterWatch watch(dir);
  LINKSPAN_TRY(const auto mount, find_mount_root(dir));
  auto reply = QueryClient(mount).narrow(request);
  if (!reply.ok()) return watch.explain(reply.error());
  return reply;
}

Result<NarrowReply> ask_router(RouterOptions& options, const NarrowRequest& request) {
  LINKSPAN_TRY(auto router, resolve_router(options));
  client::GrpcClientOptions client;
  client.address = router.address;
  client.tls = router.tls;
  client.token = std::move(router.token);
  client.instance = std::move(router.instance);
  auto reply = client::narrow_token(client, request);
  if (router.local) router.local->leave(true);
  return reply;
}

std::string summary(const NarrowReply& reply) {
  std::string routes;
  for (const Route& route : reply.routes) {
    const std::string rights = " (" + std::string(rights_word(route.rights)) + ")";
    if (route.reaches.empty()) routes += (routes.empty() ? "" : ", ") + route.path + rights;
    for (const std::string& reach : route.reaches)
      routes += (routes.empty() ? "" : ", ") + route.path + "/" + reach + rights;
  }
  return "a token of " + printable(reply.principal) +
         (reply.sandbox.empty() ? "" : " in sandbox " + printable(reply.sandbox)) + " for " +
         printable(routes) +
         (reply.expires.ns == 0 ? ", which ends with the one that it came from"
                                : ", until " + format_time(reply.expires) +
                                      " or the end of the one that it came from");
}

}  // namespace

int token_narrow_command(TokenNarrowOptions options) {
  // There is a token in this process's memory: nobody of the same user shall read it there.
  ::prctl(PR_SET_DUMPABLE, 0);
  const auto request = request_of(options);
  if (!request.ok()) {
    complain(request.error());
    return kUsage;
  }
  auto reply =
      options.dir.empty() ? ask_router(options.router, *request) : ask_mount(options.dir, *request);
  if (!reply.ok()) return complain(reply.error());
  if (!options.out.empty())
    if (const auto written = write_file(options.out, reply->token + "\n", 0600); !written.ok())
      return complain(written.error());
  if (options.json) {
    Json json = to_json(*reply);
    json.erase("expires_ns");
    json["expires"] = reply->expires.ns == 0 ? Json() : Json(format_time(reply->expires));
    if (!options.out.empty()) {
      json.erase("token");
      json["file"] = options.out;
    }
    std::fputs(dump_line(json).c_str(), stdout);
    return kSuccess;
  }
  if (options.out.empty()) std::printf("%s\n", reply->token.c_str());
  say(summary(*reply) + (options.out.empty() ? "" : ": " + printable(options.out)));
  return kSuccess;
}

}  // namespace linkspan::cli
