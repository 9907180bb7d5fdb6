#include "fusefs/cli/cleanup.h"

#include "fusefs/cli/mount_stack.h"
#include "fusefs/cli/mountinfo.h"

namespace linkspan::cli {

namespace {

// What is ours at `dir` and below, as steps in the order they were mounted.
std::vector<MountStep> steps_from_mountinfo(const std::string& dir) {
  std::vector<MountStep> steps;
  const auto mounts = read_mountinfo();
  if (!mounts.ok()) return steps;
  bool inside_ours = false;
  for (const auto& mount : *mounts) {
    const bool here = mount.mountpoint == dir;
    const bool below = mount.mountpoint.rfind(dir + "/", 0) == 0;
    if (here && is_ours(mount)) {
      inside_ours = true;
      const bool fuse = mount.type == kFuseType;
      steps.push_back({fuse ? MountStep::Kind::fuse : MountStep::Kind::cover, dir});
    } else if (below && inside_ours) {  // routes, and the workspace whatever its type
      steps.push_back({mount.type == kFuseType ? MountStep::Kind::fuse : MountStep::Kind::bind,
                       mount.mountpoint});
    }
  }
  return steps;
}

}  // namespace

bool is_mounted_here(const std::string& dir) {
  const auto mounts = read_mountinfo();
  if (!mounts.ok()) return false;
  const auto top = mount_at(*mounts, dir);
  return top && is_ours(*top);
}

Status clean_up_dead(const std::string& mounts_dir, const std::string& dir) {
  std::vector<Error> failures;
  const auto state = load_state(mounts_dir, dir);
  if (state) {
    if (is_alive(state->process))
      return fail(Code::busy, "process " + std::to_string(state->process.pid) + " serves " + dir +
                                  "; end it with: linkspan umount " + dir);
    failures = undo_steps(state->steps);
  }
  for (auto& error : undo_steps(steps_from_mountinfo(dir))) failures.push_back(std::move(error));
  if (!failures.empty()) return failures.front();
  forget_state(mounts_dir, dir);
  return ok();
}

}  // namespace linkspan::cli
