#include "fusefs/cli/mount_stack.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "fusefs/cli/mountinfo.h"

namespace linkspan::cli {

namespace {

using Kind = MountStep::Kind;

// One page for the root and one for slack; no file can be made in it.
constexpr const char* kCoverOptions = "mode=0555,size=4k,nr_inodes=1";

Status unmount_fuse_as_user(const std::string& path, bool lazy) {
  auto output = run_program({.argv = {"fusermount3", lazy ? "-uz" : "-u", "--", path}},
                            std::chrono::seconds(10));
  if (!output.ok()) return output.error();
  if (output->status == 0) return ok();
  return fail(Code::io, "cannot unmount " + path + ": " + trim(output->text));
}

Status unmount(const MountStep& step, bool lazy) {
  const int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  if (::umount2(step.path.c_str(), flags) == 0) return ok();
  const int error = errno;
  if (error == EINVAL || error == ENOENT) return ok();  // nothing is mounted there any more
  if (error == EPERM && step.kind == Kind::fuse) return unmount_fuse_as_user(step.path, lazy);
  return system_error("cannot unmount " + step.path, error);
}

Status remove_symlink(const MountStep& step) {
  char target[PATH_MAX];
  const ssize_t n = ::readlink(step.path.c_str(), target, sizeof target);
  if (n < 0 || std::string_view(target, static_cast<size_t>(n)) != step.target) return ok();
  if (::unlink(step.path.c_str()) != 0) return system_error("cannot remove " + step.path, errno);
  return ok();
}

// Somebody may have taken our mount away, and mounted something else there.
Result<bool> is_still_there(const MountStep& step) {
  LINKSPAN_TRY(const auto mounts, read_mountinfo());
  const auto top = mount_at(mounts, step.path);
  if (!top) return false;
  if (step.kind != Kind::bind) return is_ours(*top);
  return step.device.empty() || top->device == step.device;
}

// What is busy is detached: its users keep what they have open, nobody new finds it.
Status undo_step(const MountStep& step) {
  switch (step.kind) {
    case Kind::cover:
    case Kind::fuse:
    case Kind::bind: {
      LINKSPAN_TRY(const bool there, is_still_there(step));
      if (!there) return ok();
      auto done = unmount(step, false);
      if (!done.ok() && done.code() == Code::busy) done = unmount(step, true);
      return done;
    }
    case Kind::symlink:
      return remove_symlink(step);
    case Kind::directory:
      if (::rmdir(step.path.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
          errno != EEXIST)
        return system_error("cannot remove " + step.path, errno);
      return ok();
    case Kind::mode:
      if (::chmod(step.path.c_str(), step.mode) != 0 && errno != ENOENT)
        return system_error("cannot restore the mode of " + step.path, errno);
      return ok();
  }
  return ok();
}

}  // namespace

bool can_mount() {
  // A change of propagation of what is no mountpoint: EINVAL where allowed, else EPERM.
  return ::mount(nullptr, "/proc/self", nullptr, MS_PRIVATE, nullptr) == 0 || errno != EPERM;
}

void MountStack::push(MountStep step) {
  steps_.push_back(std::move(step));
  if (on_change_) on_change_(steps_);
}

void MountStack::pop() {
  steps_.pop_back();
  if (on_change_) on_change_(steps_);
}

Status MountStack::cover(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return system_error(path, errno);
  push({Kind::cover, path});
  if (::mount(kCoverSource, path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              kCoverOptions) == 0) {
    if (::mount(nullptr, path.c_str(), nullptr,
                MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0)
      return ok();
    const int error = errno;
    ::umount2(path.c_str(), MNT_DETACH);
    pop();
    return system_error("cannot make the cover of " + path + " read-only", error);
  }
  const int error = errno;
  pop();
  if (error != EPERM) return system_error("cannot mount on " + path, error);
  if (st.st_uid != ::geteuid())
    return fail(Code::not_permitted,
                path +
                    " belongs to another user, and mounting on it needs root; choose a "
                    "directory of your own, or use `linkspan run`");
  beneath_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!beneath_) return system_error(path, errno);
  push({Kind::mode, path, {}, st.st_mode & 07777u});
  return ok();
}

void MountStack::fuse(const std::string& path) {
  push({Kind::fuse, path});
}

Status MountStack::seal() {
  if (beneath_ && ::fchmod(beneath_.get(), 0555) != 0)
    return system_error("cannot make the directory beneath the mount unwritable", errno);
  beneath_.reset();
  return ok();
}

Status MountStack::bind(const std::string& from, const std::string& to) {
  push({Kind::bind, to});
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0) {
    if (const auto mounts = read_mountinfo(); mounts.ok())
      if (const auto top = mount_at(*mounts, to)) steps_.back().device = top->device;
    if (on_change_) on_change_(steps_);
    return ok();
  }
  const int error = errno;
  pop();
  return system_error("cannot bind " + from + " to " + to, error);
}

Status MountStack::symlink(const std::string& target, const std::string& path) {
  push({Kind::symlink, path, target});
  if (::symlink(target.c_str(), path.c_str()) == 0) return ok();
  const int error = errno;
  pop();
  return system_error(path, error);
}

Status MountStack::make_directory(const std::string& path) {
  push({Kind::directory, path});
  if (::mkdir(path.c_str(), 0755) == 0) return ok();
  const int error = errno;
  pop();
  return system_error(path, error);
}

Status MountStack::make_parents(const std::string& path) {
  const std::string parent = dir_name(path);
  struct stat st;
  if (::stat(parent.c_str(), &st) == 0) return ok();
  if (errno != ENOENT || parent == path) return system_error(parent, errno);
  LINKSPAN_CHECK(make_parents(parent));
  return make_directory(parent);
}

void MountStack::undo_last(std::vector<Error>* failures) {
  const auto& step = steps_.back();
  if (step.kind != Kind::fuse)
    if (auto done = undo_step(step); !done.ok()) failures->push_back(done.error());
  pop();
}

std::vector<Error> MountStack::undo_above_fuse() {
  std::vector<Error> failures;
  while (!steps_.empty() && steps_.back().kind != Kind::fuse) undo_last(&failures);
  return failures;
}

std::vector<Error> MountStack::undo() {
  std::vector<Error> failures;
  while (!steps_.empty()) undo_last(&failures);
  return failures;
}

std::vector<Error> detach_steps(const std::vector<MountStep>& steps) {
  std::vector<Error> failures;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->kind != Kind::cover && step->kind != Kind::fuse && step->kind != Kind::bind) continue;
    const auto there = is_still_there(*step);
    if (!there.ok() || !*there) continue;
    if (auto done = unmount(*step, true); !done.ok()) failures.push_back(done.error());
  }
  return failures;
}

std::vector<Error> undo_steps(const std::vector<MountStep>& steps) {
  std::vector<Error> failures;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step)
    if (auto done = undo_step(*step); !done.ok()) failures.push_back(done.error());
  return failures;
}

}  // namespace linkspan::cli
