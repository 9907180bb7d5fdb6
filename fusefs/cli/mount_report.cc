#include "fusefs/cli/mount_report.h"

#include <algorithm>
#include <cstdio>

#include "fusefs/cli/json_text.h"
#include "fusefs/cli/query_json.h"
#include "linkspan/utc.h"

namespace linkspan::cli {

namespace {

constexpr int64_t kNanosecond = 1'000'000'000;

std::string policy_name(Policy policy) {
  switch (policy) {
    case Policy::merge:
      return "merge";
    case Policy::reject:
      return "reject";
    case Policy::last_writer_wins:
      return "last-writer-wins";
  }
  return "?";
}

std::string link_name(client::Link link) {
  switch (link) {
    case client::Link::connected:
      return "connected";
    case client::Link::disconnected:
      return "disconnected";
    case client::Link::ended:
      return "ended";
  }
  return "?";
}

bool may_be_stale(const MountReport& report) {
  return report.link.link != client::Link::connected || !report.lease_valid;
}

std::string row(const char* name, const std::string& value) {
  char text[32];
  std::snprintf(text, sizeof text, "%-11s", name);
  return text + value + "\n";
}

std::string digits(uint64_t value) {
  return std::to_string(value);
}

Json pattern_json(const PolicyPattern& pattern) {
  Json json{{"glob", pattern.glob}};
  if (pattern.policy) json["policy"] = policy_name(*pattern.policy);
  if (pattern.access) json["access"] = to_string(*pattern.access);
  if (pattern.no_exec) json["no_exec"] = *pattern.no_exec;
  if (pattern.max_bytes) json["max_bytes"] = *pattern.max_bytes;
  if (!pattern.allowed.empty()) json["allowed"] = pattern.allowed;
  return json;
}

// What it says that matters: where nothing is written, what may not be read.
std::string pattern_text(const PolicyPattern& pattern, bool written) {
  std::string text;
  const auto say = [&](const std::string& word) { text += (text.empty() ? "" : ", ") + word; };
  if (pattern.access && (written || *pattern.access == Access::none))
    say(std::string(to_string(*pattern.access)));
  if (!written) return text;
  if (pattern.policy) say(policy_name(*pattern.policy));
  if (pattern.no_exec) say(*pattern.no_exec ? "no execute bits" : "execute bits");
  if (pattern.max_bytes) say("at most " + digits(*pattern.max_bytes) + " bytes a file");
  std::string names;
  for (const std::string& glob : pattern.allowed) names += " " + printable(glob);
  if (!names.empty()) say("only names like" + names);
  return text;
}

std::string wal_text(const vfs::WalRefusal& wal) {
  return row("REFUSED", "locks of " + printable(wal.file) + ", " + digits(wal.times) + " since " +
                            format_time(wal.since) + ", last at " + format_time(wal.last) + ": " +
                            std::string(vfs::kWalRefusedWhy)) +
         row("mend", std::string(vfs::kWalRefusedMend));
}

Json wal_json(const vfs::WalRefusal& wal) {
  return Json{{"file", wal.file},
              {"times", wal.times},
              {"since", format_time(wal.since)},
              {"last", format_time(wal.last)},
              {"why", vfs::kWalRefusedWhy},
              {"mend", vfs::kWalRefusedMend}};
}

struct Dirty {
  uint64_t files = 0, bytes = 0;
};
Dirty dirty_of(const MountReport& report) {
  Dirty dirty;
  for (const auto& route : report.routes) {
    dirty.files += route.stats.dirty_files;
    dirty.bytes += route.stats.dirty_bytes;
  }
  return dirty;
}

}  // namespace

std::string format_time(Time time) {
  return utc(time, 3);
}

std::string format_age(Time since, Time now) {
  const int64_t seconds = std::max<int64_t>((now.ns - since.ns) / kNanosecond, 0);
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 7200) return std::to_string(seconds / 60) + " min";
  if (seconds < 172800) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

namespace {

// Length of the well-formed UTF-8 sequence at `at`, or 0.
size_t utf8_length(const std::string& text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const size_t length = first < 0x80                    ? 1
                        : first >= 0xC2 && first < 0xE0 ? 2
                        : first >= 0xE0 && first < 0xF0 ? 3
                        : first >= 0xF0 && first < 0xF5 ? 4
                                                        : 0;
  if (length == 0 || at + length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xC0) != 0x80) return 0;
  return length;
}

}  // namespace

bool is_utf8(const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = utf8_length(bytes, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

std::string printable(const std::string& bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = utf8_length(bytes, at);
    const auto first = static_cast<unsigned char>(bytes[at]);
    // C0 and C1 controls move the terminal's cursor, and a newline forges a line.
    const bool control =
        first < 0x20 || first == 0x7F ||
        (length == 2 && first == 0xC2 && static_cast<unsigned char>(bytes[at + 1]) < 0xA0);
    if (length > 0 && !control) {
      text.append(bytes, at, length);
      at += length;
      continue;
    }
    char escaped[8];
    std::snprintf(escaped, sizeof escaped, "\\x%02X", first);
    text += escaped;
    ++at;
  }
  return text;
}

bool is_healthy(const MountReport& report) {
  return report.link.link == client::Link::connected && report.lease_valid &&
         report.missing.empty() &&
         std::all_of(report.routes.begin(), report.routes.end(),
                     [](const auto& route) { return route.stats.refused.empty(); }) &&
         std::none_of(report.connections.begin(), report.connections.end(),
                      [](const auto& connection) { return connection.ended; });
}

namespace {

// "B  name (of A,B)"; while none serves us all that are asked: who did may not live any more.
std::string router_text(const MountReport& report) {
  const std::string all = printable(report.session.address);
  if (report.link.address.empty()) return all;
  return printable(report.link.address) + "  " + printable(report.link.router) +
         (report.link.address == report.session.address ? "" : "  (of " + all + ")");
}

}  // namespace

std::string status_text(const MountReport& report) {
  std::string text = row("mount", printable(report.dir) + "  (linkspan " LINKSPAN_VERSION ", pid " +
                                      std::to_string(report.pid) + ", up " +
                                      format_age(report.started, report.now) + ")");
  text += row("state", link_name(report.link.link) + " since " + format_time(report.link.since) +
                           " (" + format_age(report.link.since, report.now) + ")");
  if (!report.link.reason.empty() && report.link.link != client::Link::connected)
    text += row("reason", printable(report.link.reason));
  text += row("router", router_text(report));
  text += row("identity", whoami_text(report).substr(0, whoami_text(report).find('\n')));
  if (report.session.token_expires.ns != 0)
    text +=
        row("token",
            "expires " + format_time(report.session.token_expires) +
                (report.session.token_renew.count() == 0
                     ? ""
                     : ", or " + digits(static_cast<uint64_t>(report.session.token_renew.count())) +
                           " s after its last mount"));
  text += row("lease", report.lease_valid ? "valid" : "run out: nothing is answered from caches");
  const Dirty dirty = dirty_of(report);
  text += row("unsaved", digits(dirty.bytes) + " bytes in " + digits(dirty.files) + " files");
  for (const auto& [route, stats] : report.routes)
    if (!stats.refused.empty())
      text += row("REFUSED", "writes to " + printable(route.path) + " since " +
                                 format_time(stats.refused_since) + ", last at " +
                                 format_time(stats.refused_last) + ": " + printable(stats.refused));
  for (const auto& [route, stats] : report.routes)
    for (const auto& wal : stats.wal_refusals) text += wal_text(wal);
  for (const auto& path : report.missing)
    text += row("UNMOUNTED", printable(path) + " by somebody, or hidden by another mount");
  if (!report.missing.empty())
    text += row("mend", (report.of_run ? "end this `linkspan run` and start it again"
                                       : "linkspan umount " + printable(report.dir) +
                                             ", then mount it again") +
                            "; until then nothing can be written there");
  if (report.conflicts.value_or(0) > 0)
    text += row("conflicts", digits(*report.conflicts) + " open: ls " +
                                 printable(report.dir == "/" ? "" : report.dir) +
                                 "/.linkspan/conflicts");
  text += routes_text(report);
  for (const auto& path : report.exposed) text += row("exposed", printable(path));
  return text;
}

std::string status_json(const MountReport& report) {
  Json routes = Json::array();
  for (const auto& [route, stats] : report.routes) {
    Json entry{{"path", route.path},
               {"volume", route.volume},
               {"writable", route.writable() && !report.read_only},
               {"rights", rights_word(route.rights)},
               {"policy", policy_name(route.policy)},
               {"patterns", Json::array()},
               {"timeout_ms", route.timeout_ms},
               {"dirty_files", stats.dirty_files},
               {"dirty_bytes", stats.dirty_bytes}};
    entry["reaches"] = Json::array();
    for (const auto& reach : route.reaches) entry["reaches"].push_back(reach);
    for (const auto& pattern : route.patterns) entry["patterns"].push_back(pattern_json(pattern));
    entry["refused"] = stats.refused.empty() ? Json() : Json(stats.refused);
    entry["refused_since"] =
        stats.refused.empty() ? Json() : Json(format_time(stats.refused_since));
    entry["wal_refused"] = Json::array();
    for (const auto& wal : stats.wal_refusals) entry["wal_refused"].push_back(wal_json(wal));
    entry["stale_since"] = may_be_stale(report) ? Json(format_time(report.link.since)) : Json();
    routes.push_back(std::move(entry));
  }
  const Dirty dirty = dirty_of(report);
  Json json{{"dir", report.dir},
            {"pid", report.pid},
            {"version", LINKSPAN_VERSION},
            {"read_only", report.read_only},
            {"started", format_time(report.started)},
            {"healthy", is_healthy(report)},
            {"state", link_name(report.link.link)},
            {"since", format_time(report.link.since)},
            {"reason", report.link.reason},
            {"lease_valid", report.lease_valid},
            {"router",
             {{"address", report.session.address},
              {"connected_to", report.link.address.empty() ? Json() : Json(report.link.address)},
              {"name", report.link.router.empty() ? Json() : Json(report.link.router)}}},
            {"tenant", report.session.tenant},
            {"principal", report.session.principal},
            {"sandbox", report.session.sandbox},
            {"session", session_text(report.session.id)},
            {"dirty_files", dirty.files},
            {"dirty_bytes", dirty.bytes},
            {"routes", std::move(routes)},
            {"exposed", report.exposed},
            {"unmounted", report.missing}};
  json["conflicts"] = report.conflicts ? Json(*report.conflicts) : Json();
  json["workspace"] = report.workspace.empty() ? Json() : Json(report.workspace);
  json["token_expires"] = report.session.token_expires.ns == 0
                              ? Json()
                              : Json(format_time(report.session.token_expires));
  json["token_renew_s"] = report.session.token_renew.count();
  return dump_text(json);
}

std::string whoami_text(const MountReport& report) {
  const auto& session = report.session;
  return printable(session.principal) + " in sandbox " + printable(session.sandbox) + ", tenant " +
         printable(session.tenant) + "\n" + "session " + session_text(session.id) + "\n";
}

std::string routes_text(const MountReport& report) {
  std::string text;
  const std::string stale =
      may_be_stale(report) ? "  stale since " + format_time(report.link.since) : std::string();
  for (const auto& [route, stats] : report.routes) {
    std::string line = printable(route.path) + "  volume " + printable(route.volume) +
                       (!route.writable()  ? "  ro"
                        : report.read_only ? "  ro (--read-only)"
                                           : "  " + std::string(rights_word(route.rights)) + "  " +
                                                 policy_name(route.policy)) +
                       "  timeout " + digits(route.timeout_ms / 1000) + " s";
    if (stats.dirty_bytes > 0) line += "  unsaved " + digits(stats.dirty_bytes) + " bytes";
    text += row("route", line + stale);
    const bool written = route.writable() && !report.read_only;
    for (const auto& reach : route.reaches)
      text += row("reach", printable(route.path) + "  only  " + printable(reach));
    for (const auto& pattern : route.patterns)
      if (const std::string says = pattern_text(pattern, written); !says.empty())
        text +=
            row("pattern", printable(route.path) + "  " + says + "  " + printable(pattern.glob));
  }
  if (!report.workspace.empty())
    text += row("route", "workspace  local " + printable(report.workspace) +
                             (report.read_only ? "  ro (--read-only)  (" : "  rw  (") +
                             report.workspace_form + ")");
  return text;
}

std::string changes_text(const std::vector<Change>& changes, const std::string& stale) {
  std::string text;
  for (const auto& change : changes) {
    std::string line = format_time(change.at) + "  #" + digits(change.seq.value) + "  " +
                       printable(change.principal) + "@" + printable(change.sandbox) + "  " +
                       change.what + "  ";
    const std::string path = printable(change.volume) + "/" + printable(change.path);
    line += change.old_path.empty()
                ? path
                : printable(change.volume) + "/" + printable(change.old_path) + " -> " + path;
    if (change.version.value != 0)
      line += "  v" + digits(change.version.value) + "  " + digits(change.size) + " bytes";
    text += line + "\n";
  }
  if (!stale.empty()) text += "# " + printable(stale) + "\n";
  return text;
}

std::string changes_json(const std::vector<Change>& changes) {
  std::string text;
  for (const auto& change : changes) text += dump_line(to_json(change));
  return text;
}

}  // namespace linkspan::cli
