// linkspan log
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "fusefs/cli/bounded_read.h"
#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr auto kTimeout = 5s;

struct Place {
  std::string root;  // of the mount, without trailing slash
  std::string volume;
  std::string path;  // within the volume; empty: its top
};

// The directory above `path` that has .linkspan in it.
Result<std::string> find_root(const std::string& path) {
  for (std::string dir = path;; dir = dir_name(dir)) {
    const std::string root = dir == "/" ? "" : dir;
    if (::access((root + "/.linkspan/status.json").c_str(), F_OK) == 0) return root;
    if (dir == "/") return fail(Code::not_found, path + " is not on a Linkspan mount");
  }
}

Result<Place> locate(const std::string& path) {
  LINKSPAN_TRY(const auto root, find_root(path));
  LINKSPAN_TRY(const auto text, read_within(root + "/.linkspan/status.json", kTimeout));
  const Json status = Json::parse(text, nullptr, false);
  if (!status.is_object() || !status.contains("routes"))
    return fail(Code::io, root + "/.linkspan/status.json is not what was expected");
  const std::string relative = path.size() > root.size() ? path.substr(root.size() + 1) : "";
  Place place{root, "", ""};
  size_t longest = 0;
  for (const auto& route : status["routes"]) {
    const auto prefix = route.value("path", "");
    const bool in = relative == prefix || relative.rfind(prefix + "/", 0) == 0;
    if (!in || prefix.size() < longest) continue;
    longest = prefix.size();
    place.volume = route.value("volume", "");
    place.path = relative.size() > prefix.size() ? relative.substr(prefix.size() + 1) : "";
  }
  if (place.volume.empty() && !relative.empty())
    return fail(Code::not_found, path + " is on no route of the mount; only routes keep a log");
  return place;
}

bool concerns(const Json& change, const Place& place) {
  if (place.volume.empty()) return true;  // the whole mount
  if (change.value("volume", "") != place.volume) return false;
  for (const char* field : {"path", "old_path"}) {
    const auto path = change.value(field, "");
    if (place.path.empty() || path == place.path || path.rfind(place.path + "/", 0) == 0)
      return true;
  }
  return false;
}

void print(const Json& change) {
  std::cout << coloured(1, Colour::dim, change.value("time", "")) << "  "
            << printable(change.value("principal", "")) << "@"
            << printable(change.value("sandbox", "")) << "  "
            << coloured(1, Colour::bold, change.value("what", "")) << "  "
            << printable(change.value("volume", "") + "/" + change.value("path", ""));
  if (change.contains("old_path"))
    std::cout << "  from " << printable(change.value("old_path", ""));
  if (change.value("version", 0) != 0)
    std::cout << "  v" << change.value("version", 0) << "  " << change.value("size", uint64_t{0})
              << " bytes";
  std::cout << "\n";
}

}  // namespace

int log_command(const LogCommandOptions& options) {
  const auto place = locate(absolute_path(options.path));
  if (!place.ok()) return complain(place.error());
  const auto text = read_within(place->root + "/.linkspan/changes.json", kTimeout);
  if (!text.ok()) return complain(text.error());
  std::vector<Json> shown;
  size_t seen = 0;
  std::string oldest;  // its time
  for (const auto& line : split(*text, '\n')) {
    Json change = Json::parse(line, nullptr, false);
    if (!change.is_object()) continue;
    if (seen++ == 0) oldest = change.value("time", "");
    if (concerns(change, *place)) shown.push_back(std::move(change));
  }
  if (shown.size() > options.limit) shown.erase(shown.begin(), shown.end() - options.limit);
  for (const auto& change : shown) {
    if (options.json)
      std::cout << change.dump() << "\n";
    else
      print(change);
  }
  std::cout << std::flush;
  if (shown.size() < options.limit && seen >= kChangesShown)
    say("older changes are not shown: the mount knows the last " + std::to_string(kChangesShown) +
        " of all files, which began " + oldest);
  return kSuccess;
}

}  // namespace linkspan::cli
