#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>

#include "linkspan/limits.h"
#include "linkspan/source_range.h"
#include "routerd/config/config.h"
#include "routerd/config/reader.h"
#include "routerd/config/token.h"

namespace linkspan::config {
namespace {

constexpr int64_t kCountMost = INT64_MAX;
constexpr int64_t kKeepMost = 1'000'000;
constexpr int64_t kTimeoutMsMost = 3'600'000;
constexpr int64_t kRenewLeast = 2, kRenewMost = 30 * 86'400;  // seconds
constexpr size_t kLabelBytes = 255;  // names of tenants, volumes, principals, sandboxes

// What is shown and logged has none: names of tenants, volumes and principals, paths, globs.
bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

std::string label_problem(std::string_view text) {
  if (text.empty()) return "must not be empty";
  if (text.size() > kLabelBytes) return "is longer than 255 bytes";
  if (has_control(text)) return "must not hold control characters";
  return {};
}

std::string volume_problem(std::string_view text) {
  if (auto problem = label_problem(text); !problem.empty()) return problem;
  return text.find('/') != std::string_view::npos ? "must not hold a '/'" : std::string();
}

std::string route_path_problem(std::string_view path) {
  if (path.empty()) return "must not be empty; write path = \"memory\"";
  if (path.front() == '/')
    return "must not begin with '/': it is relative to the mountpoint; write path = \"" +
           std::string(path.substr(path.find_first_not_of('/') == std::string_view::npos
                                       ? path.size()
                                       : path.find_first_not_of('/'))) +
           "\"";
  if (path.size() > limits::kPathBytes) return "is longer than 4095 bytes";
  if (has_control(path)) return "must not hold control characters";
  size_t begin = 0;
  while (begin <= path.size()) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const auto name = path.substr(begin, end - begin);
    if (name.empty() || name == "." || name == "..")
      return "must not have empty, '.' or '..' parts";
    if (name.size() > limits::kNameBytes) return "has a part longer than 255 bytes";
    if (begin == 0 && (name == ".linkspan" || name == "workspace"))
      return "'" + std::string(name) + "' is the mount's own directory; choose another path";
    begin = end + 1;
  }
  return {};
}

std::string glob_problem(std::string_view glob) {
  if (glob.empty()) return "must not be empty; write glob = \"*.csv\"";
  if (glob.size() > limits::kGlobBytes)
    return "is longer than " + std::to_string(limits::kGlobBytes) + " bytes";
  if (has_control(glob)) return "must not hold control characters";
  if (glob.find('/') != std::string_view::npos && glob.front() == '/') glob.remove_prefix(1);
  for (;;) {
    const size_t slash = glob.find('/');
    const auto part = glob.substr(0, slash);
    if (part.empty() || part == "." || part == "..")
      return "must not have empty, '.' or '..' parts; write glob = \"journal/**\" for all below";
    if (part != "**" && part.find("**") != std::string_view::npos)
      return "'**' stands for directories and must be a part of its own; write glob = "
             "\"journal/**/*.log\"";
    if (slash == std::string_view::npos) return {};
    glob.remove_prefix(slash + 1);
  }
}

std::optional<Policy> policy_in(const Table& table) {
  constexpr Policy kPolicies[] = {Policy::merge, Policy::reject, Policy::last_writer_wins};
  const auto choice = table.choice("policy", {"merge", "reject", "last-writer-wins"});
  return choice ? std::optional(kPolicies[*choice]) : std::nullopt;
}

std::optional<uint32_t> number(const std::string& text) {
  uint32_t id = 0;
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, id);
  return !text.empty() && error == std::errc{} && read == end ? std::optional(id) : std::nullopt;
}

std::optional<uint32_t> user_id(const std::string& name) {
  if (const auto id = number(name)) return id;
  const passwd* const user = ::getpwnam(name.c_str());
  return user ? std::optional(user->pw_uid) : std::nullopt;
}

std::optional<uint32_t> group_id(const std::string& name) {
  if (const auto id = number(name)) return id;
  const group* const found = ::getgrnam(name.c_str());
  return found ? std::optional(found->gr_gid) : std::nullopt;
}

Access rights_in(const Table& table) {
  constexpr Access kRights[] = {Access::read_only, Access::append_only, Access::no_delete,
                                Access::read_write};
  const auto choice = table.choice("rights", {"ro", "append", "no-delete", "rw"});
  return kRights[choice.value_or(0)];
}

std::optional<Access> access_in(const Table& table) {
  constexpr Access kAccess[] = {Access::none, Access::read_only, Access::append_only,
                                Access::no_delete, Access::read_write};
  const auto choice =
      table.choice("access", {"deny", "read-only", "append-only", "no-delete", "read-write"});
  return choice ? std::optional(kAccess[*choice]) : std::nullopt;
}

// What names new files may have. `false`: reported.
bool allowed_in(const Table& table, std::vector<std::string>* allowed) {
  for (const Sourced& name : table.texts("allowed")) allowed->push_back(name.text);
  std::string problem;
  if (allowed->size() > limits::kAllowedNames)
    problem = "has more than " + std::to_string(limits::kAllowedNames) +
              " globs; put what is alike under one";
  for (const std::string& glob : *allowed) {
    if (glob.find('/') != std::string::npos)
      problem =
          "\"" + glob + "\" is matched with names, which hold no '/'; put directories into glob";
    else if (auto wrong = glob_problem(glob); !wrong.empty())
      problem = "\"" + glob + "\" " + wrong;
  }
  if (!problem.empty()) table.wrong("allowed", problem);
  return problem.empty();
}

class Parser {
 public:
  explicit Parser(const std::string& label) : problems_(label) {}

  Parsed run(const toml::table& root) {
    Table top(problems_, root, "at the top level",
              {{"store", "store = \"postgres://...\" or store = \"mem:\""},
               {"listen", "listen = [\"unix:/run/linkspan/router.sock\"]"},
               {"lease_ms", "lease_ms = 5000"},
               {"workers", "workers = 16"},
               {"allow_plaintext_tcp", "allow_plaintext_tcp = true"},
               {"socket_mode", "socket_mode = \"0660\""},
               {"socket_users", "socket_users = [\"agent\", \"1000\"]"},
               {"socket_groups", "socket_groups = [\"linkspan\"]"},
               {"spool_dir", "spool_dir = \"/var/tmp\""},
               {"tls", "[tls]"},
               {"log", "[log]"},
               {"tenant", "[[tenant]]"}});
    scalars(top);
    peers(top, root);
    if (const auto* tls = top.child("tls")) this->tls(*tls);
    if (const auto* log = top.child("log")) this->log(*log);
    top.each("tenant", [this](const toml::table& table) { tenant(table); });
    return {std::move(config_), problems_.take()};
  }

 private:
  void scalars(const Table& top) {
    if (auto store = top.text("store")) {
      config_.store.text = *store;
      config_.store.origin = top.origin("store");
    }
    config_.listen = top.texts("listen");
    if (auto ms = top.integer("lease_ms", kLeaseMsLeast, kLeaseMsMost))
      config_.lease = std::chrono::milliseconds(*ms);
    if (auto n = top.integer("workers", 1, kWorkersMost))
      config_.workers = static_cast<uint32_t>(*n);
    if (auto allow = top.boolean("allow_plaintext_tcp")) config_.allow_plaintext_tcp = *allow;
    if (auto mode = top.text("socket_mode")) {
      if (auto parsed = parse_mode(*mode); parsed.ok())
        config_.socket_mode = *parsed;
      else
        top.wrong("socket_mode", parsed.error().message);
    }
    if (auto dir = top.text("spool_dir")) {
      if (dir->starts_with('/'))
        config_.spool_dir = {*dir, top.origin("spool_dir")};
      else
        top.wrong("spool_dir", "the path must be absolute; write spool_dir = \"/var/tmp\"");
    }
  }

  // Names are looked up once, at start.
  void peers(const Table& top, const toml::table& root) {
    for (const char* key : {"socket_users", "socket_groups"})
      if (const auto* list = root.get_as<toml::array>(key); list && list->empty())
        top.wrong(key,
                  "is empty; name who may connect, or leave it out (then socket_mode decides)");
    for (const Sourced& name : top.texts("socket_users")) {
      const auto id = user_id(name.text);
      if (id)
        config_.socket_peers.users.push_back(*id);
      else
        top.wrong("socket_users", "no user \"" + name.text + "\"; write a name or a number");
    }
    for (const Sourced& name : top.texts("socket_groups")) {
      const auto id = group_id(name.text);
      if (id)
        config_.socket_peers.groups.push_back(*id);
      else
        top.wrong("socket_groups", "no group \"" + name.text + "\"; write a name or a number");
    }
  }

  void tls(const toml::table& raw) {
    Table table(problems_, raw, "in [tls]",
                {{"certificate", "certificate = \"/etc/linkspan/tls/cert.pem\""},
                 {"key", "key = \"/etc/linkspan/tls/key.pem\""},
                 {"client_ca", "client_ca = \"/etc/linkspan/tls/clients.pem\""}});
    // `&`, not `&&`: one run tells of both.
    (void)(static_cast<int>(table.require("certificate")) & static_cast<int>(table.require("key")));
    const auto path = [&](const char* key, Sourced* out) {
      const auto text = table.text(key);
      if (!text) return;
      if (text->starts_with('/'))
        *out = {*text, table.origin(key)};
      else
        table.wrong(key, "the path must be absolute; write " + std::string(key) +
                             " = \"/etc/linkspan/tls/" + key + ".pem\"");
    };
    path("certificate", &config_.tls.certificate);
    path("key", &config_.tls.key);
    path("client_ca", &config_.tls.client_ca);
  }

  void log(const toml::table& raw) {
    Table table(problems_, raw, "in [log]",
                {{"level", "level = \"info\""}, {"format", "format = \"text\""}});
    constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warning", "error"};
    if (auto level = table.choice("level", {"trace", "debug", "info", "warning", "error"}))
      config_.log_level = kLevels[*level];
    if (auto format = table.choice("format", {"text", "json"}))
      config_.log_format = *format == 1 ? LogFormat::json : LogFormat::text;
  }

  void tenant(const toml::table& raw) {
    Table table(problems_, raw, "in [[tenant]]",
                {{"name", "name = \"default\""},
                 {"volume", "[[tenant.volume]]"},
                 {"token", "[[tenant.token]]"}});
    store::TenantSpec spec;
    if (!table.require("name")) return;
    const auto name = table.text("name");
    if (!name) return;
    if (auto problem = label_problem(*name); !problem.empty()) return table.wrong("name", problem);
    if (!tenants_.insert(*name).second)
      return table.wrong(
          "name", "a tenant named \"" + *name + "\" is there already; put both in one [[tenant]]");
    spec.name = *name;
    std::set<std::string> volumes;
    table.each("volume", [&](const toml::table& volume) { this->volume(volume, &spec, &volumes); });
    table.each("token", [&](const toml::table& token) { this->token(token, spec.name, volumes); });
    config_.tenants.push_back(std::move(spec));
  }

  void volume(const toml::table& raw, store::TenantSpec* tenant, std::set<std::string>* names) {
    Table table(problems_, raw, "in [[tenant.volume]]",
                {{"name", "name = \"memory\""},
                 {"quota_bytes", "quota_bytes = 10737418240"},
                 {"quota_files", "quota_files = 1000000"},
                 {"keep_versions", "keep_versions = 1000"},
                 {"keep_days", "keep_days = 90"}});
    store::VolumeSpec spec;
    if (!table.require("name")) return;
    const auto name = table.text("name");
    if (!name) return;
    if (auto problem = volume_problem(*name); !problem.empty()) return table.wrong("name", problem);
    if (!names->insert(*name).second)
      return table.wrong("name", "a volume named \"" + *name +
                                     "\" is there already in this tenant; choose another name");
    spec.name = *name;
    if (auto n = table.integer("quota_bytes", 0, kCountMost))
      spec.quota_bytes = static_cast<uint64_t>(*n);
    if (auto n = table.integer("quota_files", 0, kCountMost))
      spec.quota_files = static_cast<uint64_t>(*n);
    if (auto n = table.integer("keep_versions", 1, kKeepMost))
      spec.keep_versions = static_cast<uint32_t>(*n);
    if (auto n = table.integer("keep_days", 0, kKeepMost))
      spec.keep_days = static_cast<uint32_t>(*n);
    tenant->volumes.push_back(std::move(spec));
  }

  void token(const toml::table& raw, const std::string& tenant,
             const std::set<std::string>& volumes) {
    Table table(problems_, raw, "in [[tenant.token]]",
                {{"sha256", "sha256 = \"...\" as `linkspan-routerd token new` prints it"},
                 {"principal", "principal = \"agent\""},
                 {"sandbox", "sandbox = \"build-7\""},
                 {"expires", "expires = 2030-01-01T00:00:00Z"},
                 {"bind", "bind = true"},
                 {"sources", "sources = [\"10.0.0.0/8\"]"},
                 {"renew_s", "renew_s = 900"},
                 {"route", "[[tenant.token.route]]"}});
    store::TokenRecord record;
    record.tenant = tenant;
    if (!token_identity(table, &record)) return;
    token_use(table, raw, &record);
    std::set<std::string> paths;
    size_t routes = 0;
    table.each("route", [&](const toml::table& route) {
      if (++routes == limits::kRoutes + 1)
        problems_.add(route.source(), "route: a token has at most " +
                                          std::to_string(limits::kRoutes) +
                                          " routes; share the rest out to another token");
      if (routes <= limits::kRoutes) this->route(route, volumes, &paths, &record.routes);
    });
    if (table.require("route")) config_.tokens.push_back(std::move(record));
  }

  bool token_identity(const Table& table, store::TokenRecord* record) {
    // `&`, not `&&`: one run tells of both.
    if (!(static_cast<int>(table.require("sha256")) & static_cast<int>(table.require("principal"))))
      return false;
    const auto hex = table.text("sha256");
    const auto principal = table.text("principal");
    if (!hex || !principal) return false;
    const auto hash = parse_token_hash(*hex);
    if (!hash.ok()) {
      table.wrong("sha256", hash.error().message);
      return false;
    }
    if (!hashes_.insert(*hex).second) {
      table.wrong("sha256",
                  "this token is there already; make another with "
                  "`linkspan-routerd token new`");
      return false;
    }
    if (auto problem = label_problem(*principal); !problem.empty()) {
      table.wrong("principal", problem);
      return false;
    }
    record->hash = *hash;
    record->principal = *principal;
    if (auto sandbox = table.text("sandbox"); sandbox && !sandbox->empty()) {
      if (auto problem = label_problem(*sandbox); !problem.empty()) table.wrong("sandbox", problem);
      record->sandbox = *sandbox;
    }
    record->expires = table.time("expires").value_or(Time{});
    return true;
  }

  // Who may use it, from where, and how long after its last mount.
  void token_use(const Table& table, const toml::table& raw, store::TokenRecord* record) {
    record->bind = table.boolean("bind").value_or(false);
    if (const auto* list = raw.get_as<toml::array>("sources"); list && list->empty())
      table.wrong("sources", "is empty; name address ranges, or leave it out (then from anywhere)");
    const auto sources = table.texts("sources");
    if (sources.size() > limits::kSources)
      table.wrong("sources", "has more than " + std::to_string(limits::kSources) + " ranges");
    for (const Sourced& source : sources) {
      if (const auto range = parse_source_range(source.text); !range.ok())
        table.wrong("sources", range.error().message);
      record->sources.push_back(source.text);
    }
    const auto seconds = table.integer("renew_s", kRenewLeast, kRenewMost);
    if (!seconds) return;
    record->renew = std::chrono::seconds(*seconds);
    if (record->expires.ns == 0)
      table.wrong("renew_s",
                  "a token that its mounts renew needs an end, too; write expires = "
                  "2030-01-01T00:00:00Z");
  }

  void route(const toml::table& raw, const std::set<std::string>& volumes,
             std::set<std::string>* paths, std::vector<Route>* routes) {
    Table table(problems_, raw, "in [[tenant.token.route]]",
                {{"path", "path = \"memory\""},
                 {"volume", "volume = \"memory\""},
                 {"rights", "rights = \"rw\""},
                 {"policy", "policy = \"merge\""},
                 {"timeout_ms", "timeout_ms = 30000"},
                 {"pattern", "[[tenant.token.route.pattern]]"}});
    if (!(static_cast<int>(table.require("path")) & static_cast<int>(table.require("volume")) &
          static_cast<int>(table.require("rights"))))
      return;
    const auto path = table.text("path");
    const auto volume = table.text("volume");
    if (!path || !volume) return;
    if (auto problem = route_path_problem(*path); !problem.empty())
      return table.wrong("path", problem);
    if (!paths->insert(*path).second)
      return table.wrong("path", "\"" + *path + "\" is routed already by this token; remove one");
    if (!volumes.contains(*volume))
      return table.wrong("volume", "no volume \"" + *volume +
                                       "\" in this tenant; add [[tenant.volume]] name = \"" +
                                       *volume + "\"");
    Route out;
    out.path = *path;
    out.volume = *volume;
    out.rights = rights_in(table);
    out.policy = policy_in(table).value_or(out.policy);
    size_t patterns = 0;
    table.each("pattern", [&](const toml::table& pattern) {
      if (++patterns == limits::kPatterns + 1)
        problems_.add(pattern.source(), "pattern: a route has at most " +
                                            std::to_string(limits::kPatterns) +
                                            " patterns; put what is alike under one glob");
      if (patterns <= limits::kPatterns) this->pattern(pattern, &out.patterns);
    });
    if (auto ms = table.integer("timeout_ms", 1, kTimeoutMsMost))
      out.timeout_ms = static_cast<uint32_t>(*ms);
    routes->push_back(std::move(out));
  }

  void pattern(const toml::table& raw, std::vector<PolicyPattern>* patterns) {
    Table table(problems_, raw, "in [[tenant.token.route.pattern]]",
                {{"glob", "glob = \"*.csv\""},
                 {"policy", "policy = \"reject\""},
                 {"access", "access = \"append-only\""},
                 {"no_exec", "no_exec = true"},
                 {"max_bytes", "max_bytes = 1048576"},
                 {"allowed", "allowed = [\"*.md\"]"}});
    if (!table.require("glob")) return;
    const auto glob = table.text("glob");
    if (!glob) return;
    PolicyPattern out{*glob};
    out.policy = policy_in(table);
    out.access = access_in(table);
    out.no_exec = table.boolean("no_exec");
    if (auto bytes = table.integer("max_bytes", 0, limits::kFileBytes)) out.max_bytes = *bytes;
    if (!allowed_in(table, &out.allowed)) return;
    if (raw.size() == 1)
      return table.wrong("glob",
                         "the pattern says nothing of its files; write policy = \"reject\" or "
                         "access = \"append-only\", no_exec, max_bytes, allowed");
    if (auto problem = glob_problem(*glob); !problem.empty()) return table.wrong("glob", problem);
    if (std::any_of(patterns->begin(), patterns->end(),
                    [&](const PolicyPattern& before) { return before.glob == *glob; }))
      return table.wrong("glob", "\"" + *glob + "\" is there already in this route; remove one");
    patterns->push_back(std::move(out));
  }

  Problems problems_;
  Config config_;
  std::set<std::string> tenants_, hashes_;
};

}  // namespace

Parsed parse(std::string_view toml, const std::string& label) {
  try {
    const toml::table root = toml::parse(toml, label);
    return Parser(label).run(root);
  } catch (const toml::parse_error& e) {
    Problems problems(label);
    problems.add(e.source(), "not valid TOML: " + std::string(e.description()));
    return {{}, problems.take()};
  }
}

Parsed load(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text;
  if (in) {
    text.resize(kFileBytesMost + 1);
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(in.gcount()));
  }
  if (!in.is_open() || in.bad())
    return {{}, {path + ": cannot be read: " + std::strerror(errno) + "; see --config"}};
  if (text.size() > kFileBytesMost) return {{}, {path + ": is larger than 8 MiB; see --config"}};
  return parse(text, path);
}

}  // namespace linkspan::config
