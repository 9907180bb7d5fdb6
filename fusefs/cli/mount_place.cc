#include "fusefs/cli/mount_place.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "fusefs/cli/bounded_read.h"
#include "fusefs/cli/cleanup.h"
#include "fusefs/cli/mount_state.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr auto kTimeout = 5s;

// Relative paths as the shell names them: where routes are symlinks, getcwd(2) is not on the mount.
std::string as_named(const std::string& path) {
  const char* shell = ::getenv("PWD");
  struct stat here, there;
  if (path.empty() || path[0] == '/' || !shell || shell[0] != '/' || ::stat(".", &here) != 0 ||
      ::stat(shell, &there) != 0 || here.st_dev != there.st_dev || here.st_ino != there.st_ino)
    return absolute_path(path);
  return absolute_path(std::string(shell) + "/" + path);
}

// The directory at or above `path` that has .linkspan in it.
Result<std::string> find_dir(const std::string& path) {
  for (std::string dir = path;; dir = dir_name(dir)) {
    const std::string root = dir == "/" ? "" : dir;
    if (has_control_files(root, kTimeout)) return root;
    if (dir == "/")
      return fail(Code::not_found,
                  path + " is not on a Linkspan mount (`linkspan status` lists the mounts)");
  }
}

// All below the top of a dead mount answers as it does itself.
std::string top_of_dead(std::string dir) {
  const auto dead = [](const std::string& at) {
    const Status asked = stat_within(at + "/.linkspan", kTimeout);
    return !asked.ok() && asked.code() == Code::unavailable;
  };
  while (dir.size() > 1 && dead(dir_name(dir))) dir = dir_name(dir);
  return dir.empty() ? "/" : dir;
}

Result<MountRoot> read_root(const std::string& dir) {
  const std::string file = dir + "/.linkspan/status.json";
  const auto text = read_within(file, kTimeout);
  if (!text.ok() && text.code() == Code::unavailable) return has_ended(top_of_dead(dir));
  LINKSPAN_CHECK(text);
  const Json status = Json::parse(*text, nullptr, false);
  if (!status.is_object() || !status.contains("routes") || !status["routes"].is_array())
    return fail(Code::io, file + " is not what was expected");
  MountRoot root{dir, {}};
  for (const auto& route : status["routes"])
    if (route.is_object())
      root.routes.push_back(
          {route.value("path", ""), route.value("volume", ""), route.value("writable", false)});
  return root;
}

Result<Place> locate_absolute(const std::string& path) {
  LINKSPAN_TRY(const auto dir, find_dir(path));
  LINKSPAN_TRY(auto root, read_root(dir));
  const std::string relative = path.size() > dir.size() + 1 ? path.substr(dir.size() + 1) : "";
  Place place{std::move(root), path, {}, {}};
  for (const auto& route : place.mount.routes) {
    const bool in = relative == route.path || relative.rfind(route.path + "/", 0) == 0;
    if (!in || route.path.size() < place.route.path.size()) continue;
    place.route = route;
    place.inside =
        relative.size() > route.path.size() ? relative.substr(route.path.size() + 1) : "";
  }
  if (place.route.path.empty() && !relative.empty())
    return fail(Code::not_found,
                path + " is on none of the shared routes of the mount, and only they keep history");
  return place;
}

}  // namespace

const MountRoute* MountRoot::route_of_volume(const std::string& volume) const {
  for (const bool writable : {true, false})
    for (const auto& route : routes)
      if (route.volume == volume && route.writable == writable) return &route;
  return nullptr;
}

// Without symlinks first: a name outside may lead to the mount. But where routes are symlinks, what
// they lead to is not on it.
Result<Place> locate(const std::string& path) {
  const std::string named = as_named(path);
  const std::string real = real_path(named);
  if (real != named)
    if (auto place = locate_absolute(real); place.ok()) return place;
  return locate_absolute(named);
}

Result<MountRoot> find_mount_root(const std::string& dir) {
  if (!dir.empty()) {
    LINKSPAN_TRY(const auto found, find_dir(as_named(dir)));
    return read_root(found);
  }
  if (const auto found = find_dir(as_named(".")); found.ok()) return read_root(*found);
  const auto dirs = all_mount_dirs();
  if (dirs.size() == 1) return read_root(dirs.front() == "/" ? "" : dirs.front());
  if (dirs.empty()) return fail(Code::not_found, "there is no mount here; name it: --mount DIR");
  return fail(Code::invalid, "there are several mounts; name one: --mount " + dirs.front());
}

std::vector<std::string> all_mount_dirs() {
  std::vector<std::string> dirs;
  if (has_control_files("", kTimeout)) dirs.emplace_back("/");
  if (const auto states = mounts_directory(""); states.ok())
    for (const auto& state : load_all_states(*states)) dirs.push_back(state.dir);
  return dirs;
}

}  // namespace linkspan::cli
