#include "fusefs/cli/mount_stack.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <utility>

#include "fusefs/cli/mountinfo.h"

namespace linkspan::cli {

namespace {

using StepKind = MountStep::Kind;

// One page for the root and one for slack; no file can be made in it.
constexpr const char* kCoverOptions = "mode=0555,size=4k,nr_inodes=1";
constexpr mode_t kSealed = 0555;  // of a directory beneath, where no cover can be mounted

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
  if (error == EPERM && step.kind == StepKind::fuse) return unmount_fuse_as_user(step.path, lazy);
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
  if (step.kind == StepKind::fuse) return top->type == kFuseType;
  if (step.kind == StepKind::cover) return is_ours(*top) && top->type != kFuseType;
  return step.device.empty() || top->device == step.device;
}

// What is busy is detached: its users keep what they have open, nobody new finds it.
Status undo_step(const MountStep& step) {
  switch (step.kind) {
    case StepKind::cover:
    case StepKind::fuse:
    case StepKind::bind: {
      LINKSPAN_TRY(const bool there, is_still_there(step));
      if (!there) return ok();
      auto done = unmount(step, false);
      if (!done.ok() && done.code() == Code::busy) done = unmount(step, true);
      return done;
    }
    case StepKind::symlink:
      return remove_symlink(step);
    case StepKind::directory:
      if (::rmdir(step.path.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
          errno != EEXIST)
        return system_error("cannot remove " + step.path, errno);
      return ok();
    case StepKind::mode:
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

void MountStack::changed() const {
  if (!on_change_) return;
  std::vector<MountStep> steps = inherited_;
  for (const auto& done : done_) steps.push_back(done.step);
  on_change_(steps);
}

void MountStack::push(MountStep step) {
  done_.push_back({std::move(step)});
  changed();
}

void MountStack::pop() {
  done_.pop_back();
  changed();
}

bool MountStack::take_over(StepKind kind, const std::string& path) {
  bool taken = false;
  for (auto step = inherited_.begin(); step != inherited_.end();) {
    if (step->kind != kind || step->path != path) {
      ++step;
      continue;
    }
    done_.push_back({std::move(*step), true});
    step = inherited_.erase(step);
    taken = true;
  }
  if (taken) changed();
  return taken;
}

void MountStack::give_back() {
  // First: what was done last was inherited after what is still to be given back.
  inherited_.insert(inherited_.begin(), std::move(done_.back().step));
  pop();
}

Status MountStack::uncover(const std::string& dir) {
  const auto is_mount = [](const auto& step) {
    return step.kind == StepKind::fuse || step.kind == StepKind::bind;
  };
  std::vector<MountStep> dead;
  for (const auto& step : inherited_)  // what is mounted inside of DIR goes with it, at once
    if (is_mount(step) && step.path.rfind(dir + "/", 0) != 0) dead.push_back(step);
  if (auto failures = detach_steps(dead); !failures.empty()) return failures.front();
  std::erase_if(inherited_, is_mount);
  return ok();
}

std::vector<Error> MountStack::settle() {
  for (auto& done : done_) done.inherited = false;
  auto failures = undo_steps(std::exchange(inherited_, {}));
  changed();
  return failures;
}

Status MountStack::cover(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) return system_error(path, errno);
  LINKSPAN_TRY(const auto mounts, read_mountinfo());
  const auto top = mount_at(mounts, path);
  if (top && is_ours(*top) && top->type != kFuseType && take_over(StepKind::cover, path))
    return ok();
  push({StepKind::cover, path});
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
  return cover_as_user(path, st.st_mode & 07777u);
}

Status MountStack::cover_as_user(const std::string& path, unsigned mode) {
  beneath_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!beneath_) return system_error(path, errno);
  if (!take_over(StepKind::mode, path)) {
    push({StepKind::mode, path, {}, mode});
    return ok();
  }
  // From here until seal() it can be written to: fusermount3 mounts on no other.
  if (::fchmod(beneath_.get(), done_.back().step.mode) != 0) return system_error(path, errno);
  return ok();
}

void MountStack::fuse(const std::string& path) {
  push({StepKind::fuse, path});
}

Status MountStack::seal() {
  if (beneath_ && ::fchmod(beneath_.get(), kSealed) != 0)
    return system_error("cannot make the directory beneath the mount unwritable", errno);
  beneath_.reset();
  return ok();
}

Status MountStack::bind(const std::string& from, const std::string& to) {
  push({StepKind::bind, to});
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0) {
    if (const auto mounts = read_mountinfo(); mounts.ok())
      if (const auto top = mount_at(*mounts, to)) done_.back().step.device = top->device;
    changed();
    return ok();
  }
  const int error = errno;
  pop();
  return system_error("cannot bind " + from + " to " + to, error);
}

Status MountStack::symlink(const std::string& target, const std::string& path) {
  if (take_over(StepKind::symlink, path) && done_.back().step.target == target) return ok();
  push({StepKind::symlink, path, target});
  if (::symlink(target.c_str(), path.c_str()) == 0) return ok();
  const int error = errno;
  pop();
  return system_error(path, error);
}

Status MountStack::make_directory(const std::string& path) {
  struct stat st;
  if (::lstat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode) &&
      take_over(StepKind::directory, path))
    return ok();
  push({StepKind::directory, path});
  if (::mkdir(path.c_str(), 0755) == 0) return ok();
  const int error = errno;
  pop();
  return system_error(path, error);
}

Status MountStack::make_parents(const std::string& path) {
  const std::string parent = dir_name(path);
  if (parent == path) return ok();
  LINKSPAN_CHECK(make_parents(parent));
  struct stat st;
  if (::stat(parent.c_str(), &st) == 0) {
    take_over(StepKind::directory, parent);
    return ok();
  }
  if (errno != ENOENT) return system_error(parent, errno);
  return make_directory(parent);
}

void MountStack::undo_last(std::vector<Error>* failures) {
  const auto& [step, inherited] = done_.back();
  if (inherited) {
    // Unwritable again, as the dead mount left it.
    if (step.kind == StepKind::mode && ::chmod(step.path.c_str(), kSealed) != 0)
      failures->push_back(system_error("cannot make " + step.path + " unwritable", errno));
    return give_back();
  }
  if (step.kind != StepKind::fuse)
    if (auto done = undo_step(step); !done.ok()) failures->push_back(done.error());
  pop();
}

std::vector<Error> MountStack::undo_above_fuse() {
  std::vector<Error> failures;
  while (!done_.empty() && done_.back().step.kind != StepKind::fuse) undo_last(&failures);
  return failures;
}

std::vector<Error> MountStack::undo() {
  std::vector<Error> failures;
  while (!done_.empty()) undo_last(&failures);
  return failures;
}

std::vector<Error> detach_steps(const std::vector<MountStep>& steps) {
  std::vector<Error> failures;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (step->kind != StepKind::cover && step->kind != StepKind::fuse &&
        step->kind != StepKind::bind)
      continue;
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
