// What people and files say: the configuration, tokens, routes' patterns, addresses, and what is
// asked and answered on .linkspan/query. The first byte says which.
#include <algorithm>

#include "fusefs/cli/history_words.h"
#include "fusefs/cli/mountinfo.h"
#include "fusefs/cli/query_json.h"
#include "fusefs/cli/token.h"
#include "linkspan/address.h"
#include "linkspan/source_range.h"
#include "linkspan/utc.h"
#include "routerd/config/config.h"
#include "routerd/config/token.h"
#include "routerd/core/glob.h"
#include "routerd/core/policy.h"
#include "routerd/core/rules.h"
#include "routerd/core/token.h"
#include "tests/fuzz/messages.h"

namespace linkspan::fuzz {
namespace {

using Text = std::string_view;

// What stands before the first line's end, and what behind it.
std::pair<Text, Text> cut(Text text) {
  const size_t line = text.find('\n');
  if (line == Text::npos) return {text, {}};
  return {text.substr(0, line), text.substr(line + 1)};
}

void configuration(Text text) {
  const auto parsed = config::parse(text, "routerd.toml");
  for (const std::string& problem : parsed.problems)
    require(!problem.empty(), "a problem has words");
  if (parsed.problems.empty()) require(!config::summary(parsed.config).empty(), "a summary");
}

void tokens(Text text) {
  const auto hash = config::parse_token_hash(text);
  if (hash.ok()) require(config::parse_token_hash(config::to_hex(*hash)).ok(), "a hash stays one");
  const bool token = cli::has_token_form(std::string(text));
  require(!token || !hash.ok(), "a token is no hash");
  (void)config::parse_mode(text).ok();
}

void addresses(Text text) {
  const auto [first, second] = cut(text);
  const auto address = parse_address(first);
  if (address.ok()) {
    const auto again = parse_address(to_string(*address));
    require(again.ok() && *again == *address, "an address stays the same");
    (void)is_local(*address);
    (void)host_and_port(*address);
  }
  const auto range = parse_source_range(first);
  if (range.ok()) {
    require(range->bits <= 128, "no address has more bits");
    (void)holds({*range}, second);
  }
}

void patterns(Text text) {
  const auto [glob, rest] = cut(text);
  const auto [path, other] = cut(rest);
  (void)core::matches(glob, path);
  if (!core::tells_apart(glob, path, other) && !path.empty() && !other.empty())
    require(core::matches(glob, std::string(path) + "/x") ==
                core::matches(glob, std::string(other) + "/x"),
            "what does not tell two directories apart matches in both or in neither");
  Route route;
  route.path = route.volume = "memory";
  route.rights = Access::read_write;
  PolicyPattern pattern{std::string(glob)};
  pattern.access = Access::append_only;
  pattern.allowed = {std::string(other)};
  pattern.policy = Policy::reject;
  route.patterns = {pattern};
  if (!other.empty()) route.reaches = {std::string(other)};
  (void)core::effective_policy(route, path);
  core::Rules rules;
  rules.add(route);
  require(rules.at(path).access >= rules.strictest().access, "nothing is stricter than all");
  (void)rules.allows_name(path).ok();
  (void)rules.allows_move(path, other).ok();
}

void narrowing(Text text) {
  NarrowRequest request;
  const auto json = cli::Json::parse(text, nullptr, false);
  const auto asked = cli::narrow_request_from(json);
  if (!asked.ok()) return require_words(asked.error());
  core::Token from;
  from.record.principal = "agent";
  Route route;
  route.path = route.volume = "memory";
  route.rights = Access::append_only;
  from.record.routes = {route};
  const auto made = core::narrow(from, *asked, "box", Time{1});
  if (!made.ok()) return;
  for (const Route& narrower : made->routes)
    require(narrower.rights <= Access::append_only, "a narrower token may do no more");
}

void answers(Text text) {
  using namespace cli;
  const Json json = Json::parse(text, nullptr, false);
  const auto stays = [](const auto& value, auto from) {
    const Json first = to_json(value);
    require(to_json(from(first)) == first, "what is told is read as it was");
  };
  if (!json.is_object()) return;
  stays(change_from(json), change_from);
  stays(version_from(json), version_from);
  stays(conflict_from(json), conflict_from);
  (void)error_from(json);
  (void)narrow_reply_from(json);
}

void words(Text text) {
  const std::string said(text);
  (void)cli::parse_path_version(said);
  (void)cli::parse_since(said, Time{1'700'000'000'000'000'000}).ok();
  const auto until = cli::parse_until(said, Time{1'700'000'000'000'000'000});
  if (until.ok()) (void)utc(*until);
  (void)cli::parse_mountinfo(said);
}

void names(Text text) {
  if (wire::check_route_path(text).ok())
    require(text.front() != '/' && text.back() != '/' && text.size() <= limits::kPathBytes,
            "a route's path has names only");
  const std::string clean = wire::clean_text(text, 64);
  require(clean.size() <= 64 && wire::clean_text(clean, 64) == clean, "clean text stays clean");
}

}  // namespace
}  // namespace linkspan::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace linkspan::fuzz;
  if (size == 0) return 0;
  constexpr void (*kKinds[])(Text) = {configuration, tokens,  addresses, patterns,
                                      narrowing,     answers, words,     names};
  kKinds[data[0] % std::size(kKinds)]({reinterpret_cast<const char*>(data) + 1, size - 1});
  return 0;
}
