#include "fusefs/cli/local_layout.h"

#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "fusefs/cli/paths.h"

namespace linkspan::cli {

namespace {

Status own_directory(const LocalLayout& layout, const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return system_error(path, errno);
  if (::chmod(path.c_str(), mode) != 0) return system_error(path, errno);
  if (layout.user && ::chown(path.c_str(), layout.user->first, layout.user->second) != 0)
    return system_error(path, errno);
  return ok();
}

// As root every directory on the way must let the servers' user pass.
Status check_passable(const LocalLayout& layout) {
  if (!layout.user) return ok();
  for (std::string path = layout.root;; path = dir_name(path)) {
    struct stat st;
    if (::stat(path.c_str(), &st) != 0) return system_error(path, errno);
    const auto [uid, gid] = *layout.user;
    const mode_t bit = st.st_uid == uid ? S_IXUSR : st.st_gid == gid ? S_IXGRP : S_IXOTH;
    if (!(st.st_mode & bit))
      return fail(Code::access_denied,
                  "user " + layout.user_name + ", who runs the private PostgreSQL, cannot pass " +
                      path + "; choose another --state-dir, or: chmod o+x " + path);
    if (path == "/") return ok();
  }
}

}  // namespace

Result<LocalLayout> local_layout(const std::string& state_override) {
  LINKSPAN_TRY(const auto state, state_directory(state_override));
  LocalLayout layout;
  layout.root = state + "/local";
  const passwd* user = nullptr;
  if (::geteuid() == 0) {
    user = ::getpwnam("postgres");
    if (!user) user = ::getpwnam("nobody");
    if (!user)
      return fail(Code::not_found,
                  "neither user postgres nor nobody exists; PostgreSQL "
                  "refuses to run as root");
    layout.user = {user->pw_uid, user->pw_gid};
  } else {
    user = ::getpwuid(::geteuid());
    if (!user)
      return fail(Code::not_found, "uid " + std::to_string(::geteuid()) +
                                       " has no line in /etc/passwd, which PostgreSQL needs");
  }
  layout.user_name = user->pw_name;
  layout.sockets = find_socket_directory(layout.root);
  return layout;
}

Status make_local_root(const LocalLayout& layout) {
  const mode_t mode = layout.user ? 0711 : 0700;
  const auto parents = make_directories(dir_name(layout.root), layout.user ? 0755 : 0700);
  if (!parents.ok()) return with_state_mend(parents.error());
  if (::mkdir(layout.root.c_str(), mode) != 0 && errno != EEXIST)
    return with_state_mend(system_error(layout.root, errno));
  if (::chmod(layout.root.c_str(), mode) != 0) return system_error(layout.root, errno);
  return ok();
}

Status make_local_directories(LocalLayout* layout) {
  LINKSPAN_CHECK(check_passable(*layout));
  LINKSPAN_TRY(layout->sockets, make_socket_directory(layout->root, layout->user ? 0711 : 0700));
  LINKSPAN_CHECK(own_directory(*layout, layout->postgres_sockets(), 0700));
  return own_directory(*layout, layout->router_sockets(), 0700);
}

void remove_socket_directories(const LocalLayout& layout) {
  std::error_code error;
  std::filesystem::remove_all(layout.sockets, error);  // what stays is reused
}

}  // namespace linkspan::cli
