#include "fusefs/cli/users_of.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace linkspan::cli {

namespace {

namespace fs = std::filesystem;

std::string link_of(const fs::path& path) {
  char target[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : std::string();
}

bool is_under(const std::string& path, const std::vector<std::string>& tops) {
  return std::any_of(tops.begin(), tops.end(),
                     [&](const auto& top) { return path == top || path.rfind(top + "/", 0) == 0; });
}

// How the process uses one of the paths; empty if it does not.
std::string use_by(const fs::path& process, const std::vector<std::string>& paths) {
  if (is_under(link_of(process / "cwd"), paths)) return "its working directory";
  if (is_under(link_of(process / "root"), paths)) return "its root";
  if (is_under(link_of(process / "exe"), paths)) return "its program";
  std::error_code error;
  for (const auto& fd : fs::directory_iterator(process / "fd", error))
    if (auto target = link_of(fd.path()); is_under(target, paths)) return target;
  const auto maps = read_file((process / "maps").string(), 16 << 20);
  if (maps.ok())
    for (const auto& line : split(*maps, '\n'))
      if (const size_t path = line.find('/'); path != std::string::npos)
        if (is_under(line.substr(path), paths)) return line.substr(path);
  return {};
}

}  // namespace

std::vector<UseOfMount> users_of(const std::vector<std::string>& paths, pid_t except,
                                 size_t limit) {
  std::vector<UseOfMount> uses;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == except || pid == ::getpid()) continue;
    auto how = use_by(entry.path(), paths);
    if (how.empty()) continue;
    const auto name = read_file((entry.path() / "comm").string());
    uses.push_back({pid, name.ok() ? trim(*name) : "?", std::move(how)});
    if (uses.size() == limit) break;
  }
  return uses;
}

}  // namespace linkspan::cli
