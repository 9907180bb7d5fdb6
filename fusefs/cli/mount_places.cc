// Which mount goes where: routes, the workspace, and what is exposed outside of DIR.
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "fusefs/cli/mount_session.h"
#include "fusefs/cli/mountinfo.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

bool is_link_to(const std::string& path, const std::string& target) {
  char text[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), text, sizeof text);
  return n > 0 && std::string_view(text, static_cast<size_t>(n)) == target;
}

// Not another mount's place: what is mounted on that would be hidden.
Status check_free(const std::string& place) {
  LINKSPAN_TRY(const auto mounts, read_mountinfo());
  const auto top = mount_at(mounts, place);
  if (!top || top->type != kFuseType) return ok();
  return fail(Code::busy, "cannot expose " + place +
                              ": another Linkspan mount has its place there (linkspan status); "
                              "unmount that, or choose another --expose");
}

}  // namespace

// Decided before anything is mounted: from then on the control files read it.
void MountSession::plan() {
  if (!options_.workspace.empty())
    workspace_form_ = mounting_ ? "bind mount" : "served through the mount";
  if (options_.expose.empty()) return;
  const std::string prefix = (options_.expose == "/" ? "" : options_.expose) + "/";
  for (const auto& part : *routes()) exposed_.push_back(prefix + part.route.path);
  if (!options_.workspace.empty()) exposed_.push_back(prefix + kWorkspace);
  exposed_.push_back(prefix + kControl);
}

Status MountSession::mount_routes() {
  if (!mounting_) LINKSPAN_CHECK(stack_.make_directory(aside()));
  for (const auto& part : *routes()) LINKSPAN_CHECK(mount_route(part));
  return ok();
}

Status MountSession::mount_route(const RoutePart& part) {
  const std::string path = route_directory(part.route.path);
  if (!mounting_) {
    LINKSPAN_CHECK(stack_.make_directory(path));
    LINKSPAN_CHECK(stack_.cover(path));
  }
  stack_.fuse(path);
  LINKSPAN_CHECK(mounts_.add_route(
      path, part.vfs.get(), part.notifier.get(),
      {.read_only = options_.read_only || !part.route.writable(), .own = part.own.get()}));
  return stack_.seal();
}

std::string MountSession::aside() const {
  return options_.mounts_dir + "/" + hex(hash_text(options_.dir)) + ".d";
}

std::string MountSession::route_directory(const std::string& path) const {
  if (mounting_) return options_.dir + "/" + path;
  std::string name = path;
  std::replace(name.begin(), name.end(), '/', '_');
  if (name != path) name += "." + hex(hash_text(path));  // not that of a route named with a "_"
  return aside() + "/" + name;
}

Status MountSession::mount_workspace() {
  if (options_.workspace.empty()) return ok();
  const std::string path = options_.dir + "/" + kWorkspace;
  if (!mounting_) return serve_workspace();
  LINKSPAN_CHECK(bind(options_.workspace, path));
  if (options_.read_only &&
      ::mount(nullptr, path.c_str(), nullptr,
              MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) != 0)
    return system_error("cannot make " + path + " read-only", errno);
  return ok();
}

Status MountSession::serve_workspace() {
  LINKSPAN_TRY(auto tree, local::LocalTree::open(options_.workspace));
  const std::string path = route_directory(kWorkspace);
  LINKSPAN_CHECK(stack_.make_directory(path));
  LINKSPAN_CHECK(stack_.cover(path));
  stack_.fuse(path);
  LINKSPAN_CHECK(mounts_.add_local(path, std::move(tree)));
  return stack_.seal();
}

Status MountSession::expose_all() {
  for (const auto& to : exposed_)
    LINKSPAN_CHECK(
        expose(options_.dir + to.substr(options_.expose == "/" ? 0 : options_.expose.size()), to));
  return ok();
}

Status MountSession::expose(const std::string& from, const std::string& to) {
  struct stat st;
  LINKSPAN_CHECK(check_free(to));
  const bool there = ::lstat(to.c_str(), &st) == 0;
  if (!there && errno != ENOENT) return system_error("cannot expose " + to, errno);
  if (is_link_to(to, from)) {
    stack_.take_over(MountStep::Kind::symlink, to);
    return ok();
  }
  if (there && !S_ISDIR(st.st_mode))
    return fail(Code::not_directory, "cannot expose " + to + ": it is there and no directory");
  if (there) {
    LINKSPAN_TRY(const bool empty, is_empty_directory(to));
    if (!empty)
      return fail(Code::not_empty, "cannot expose " + to +
                                       ": the directory is not empty, and it would be hidden; "
                                       "move it away or choose another --expose");
  }
  LINKSPAN_CHECK(stack_.make_parents(to));
  if (!mounting_) {
    if (there)
      return fail(Code::exists, "cannot expose " + to +
                                    " without the right to mount: a symlink "
                                    "has to take its place; remove it with: rmdir " +
                                    to);
    return stack_.symlink(from, to);
  }
  if (there)
    stack_.take_over(MountStep::Kind::directory, to);
  else
    LINKSPAN_CHECK(stack_.make_directory(to));
  LINKSPAN_CHECK(stack_.cover(to));
  return bind(from, to);
}

Status MountSession::bind(const std::string& from, const std::string& to) {
  LINKSPAN_CHECK(stack_.bind(from, to));
  const std::lock_guard lock(mutex_);
  binds_.emplace_back(to, fuse::mounted_device(to));
  return ok();
}

bool MountSession::is_abandoned() const {
  const auto states = mounts_.status();
  return !states.empty() && !states.front().in_place;
}

// What is not (any more) at its place, or hidden there by a mount of somebody else.
std::vector<std::string> MountSession::missing() const {
  std::vector<std::string> paths;
  for (const auto& state : mounts_.status())
    if (state.ended || !state.in_place) paths.push_back(state.mountpoint);
  const std::lock_guard lock(mutex_);
  for (const auto& [path, device] : binds_)
    if (!fuse::is_mounted(path, device)) paths.push_back(path);
  return paths;
}

// Every mount answers, and with what we put there.
Status MountSession::check_all() const {
  std::vector<std::string> paths{options_.dir};
  for (const auto& part : *routes()) paths.push_back(options_.dir + "/" + part.route.path);
  if (!options_.workspace.empty()) paths.push_back(options_.dir + "/" + kWorkspace);
  paths.insert(paths.end(), exposed_.begin(), exposed_.end());
  for (const auto& path : paths) {
    struct statfs fs;
    struct stat st;
    if (::stat(path.c_str(), &st) != 0 || ::statfs(path.c_str(), &fs) != 0)
      return system_error("the mount at " + path + " does not answer", errno);
  }
  return ok();
}

}  // namespace linkspan::cli
