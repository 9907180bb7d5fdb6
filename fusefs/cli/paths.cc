#include "fusefs/cli/paths.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

std::string environment(const char* name) {
  const char* value = ::getenv(name);
  return value ? value : "";
}

std::string home() {
  if (auto home = environment("HOME"); !home.empty()) return home;
  const passwd* entry = ::getpwuid(::geteuid());
  return entry && entry->pw_dir ? entry->pw_dir : "";
}

bool is_own_directory(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == ::geteuid();
}

// An existing directory that only we control, or a new one.
Result<std::string> private_directory(const std::string& path, unsigned mode) {
  LINKSPAN_CHECK(make_directories(dir_name(path), 0755));
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return system_error(path, errno);
  struct stat st;
  if (::lstat(path.c_str(), &st) != 0) return system_error(path, errno);
  if (!S_ISDIR(st.st_mode) || st.st_uid != ::geteuid())
    return fail(Code::access_denied,
                path + " belongs to another user; remove it, or choose another place: --state-dir");
  if ((st.st_mode & 0777) != mode && ::chmod(path.c_str(), mode) != 0)
    return system_error(path, errno);
  return path;
}

}  // namespace

Result<std::string> state_directory(const std::string& override) {
  if (!override.empty()) return absolute_path(override);
  if (auto dir = environment("LINKSPAN_STATE_DIR"); !dir.empty()) return absolute_path(dir);
  if (auto dir = environment("XDG_STATE_HOME"); !dir.empty()) return dir + "/linkspan";
  if (::geteuid() == 0) return std::string("/var/lib/linkspan");
  if (auto dir = home(); !dir.empty()) return dir + "/.local/state/linkspan";
  return fail(Code::not_found, "no place for the state: set XDG_STATE_HOME or give --state-dir");
}

Error with_state_mend(const Error& error) {
  return fail(error.code, error.message +
                              "; choose a place for Linkspan's own files that this user can write "
                              "to: --state-dir DIR, or set XDG_STATE_HOME");
}

namespace {

Result<std::string> find_mounts_directory(const std::string& override) {
  const bool chosen = !override.empty() || !environment("LINKSPAN_STATE_DIR").empty() ||
                      !environment("XDG_STATE_HOME").empty();
  if (!chosen && ::geteuid() == 0) return private_directory("/run/linkspan-mount/mounts", 0700);
  if (auto state = state_directory(override); state.ok()) {
    auto dir = private_directory(*state + "/mounts", 0700);
    if (dir.ok()) return dir;
    if (chosen) return with_state_mend(dir.error());
  }
  const std::string fallback = "/tmp/linkspan-" + std::to_string(::geteuid());
  LINKSPAN_CHECK(private_directory(fallback, 0700));
  return private_directory(fallback + "/mounts", 0700);
}

}  // namespace

// Mounts are made in it and found again in mountinfo, which knows no symlinks.
Result<std::string> mounts_directory(const std::string& override) {
  LINKSPAN_TRY(const auto dir, find_mounts_directory(override));
  return real_path(dir);
}

namespace {

// The best first. Never empty: the last is always short enough.
std::vector<std::string> socket_directories(const std::string& purpose) {
  const std::string name = hex(hash_text(purpose)).substr(0, 10);
  std::vector<std::string> candidates;
  if (::geteuid() == 0)
    candidates.push_back("/run/linkspan-mount/" + name);
  else if (auto dir = environment("XDG_RUNTIME_DIR");
           !dir.empty() && ::access(dir.c_str(), W_OK) == 0)
    candidates.push_back(dir + "/linkspan-" + name);
  candidates.push_back("/tmp/linkspan-" + std::to_string(::geteuid()) + "-" + name);
  std::erase_if(candidates, [](const auto& path) { return path.size() > kSocketDirectoryBytes; });
  return candidates;
}

}  // namespace

std::string spool_directory() {
  const auto chosen = environment("TMPDIR");
  return !chosen.empty() && chosen[0] == '/' ? chosen : "/tmp";
}

std::string find_socket_directory(const std::string& purpose) {
  const auto candidates = socket_directories(purpose);
  const auto there = std::find_if(candidates.begin(), candidates.end(), is_own_directory);
  return there != candidates.end() ? *there : candidates.front();
}

Result<std::string> make_socket_directory(const std::string& purpose, unsigned mode) {
  Error last = fail(Code::io);
  for (const auto& path : socket_directories(purpose)) {
    auto dir = private_directory(path, mode);
    if (dir.ok()) return dir;
    last = dir.error();
  }
  return last;
}

Result<std::string> find_routerd() {
  const std::string beside = dir_name(own_executable());
  // Installed side by side, or build/fusefs/cli/linkspan and build/routerd/linkspan-routerd.
  for (const char* place : {"/linkspan-routerd", "/../../routerd/linkspan-routerd"})
    if (auto path = find_program(beside + place)) return absolute_path(*path);
  if (auto path = find_program("linkspan-routerd")) return *path;
  return fail(Code::not_found, "linkspan-routerd was not found beside " + own_executable() +
                                   " nor in PATH; install it, or build it (ninja -C build)");
}

}  // namespace linkspan::cli
