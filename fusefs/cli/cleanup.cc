#include "fusefs/cli/cleanup.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "fusefs/cli/bounded_read.h"
#include "fusefs/cli/history_words.h"
#include "fusefs/cli/local_layout.h"
#include "fusefs/cli/mount_stack.h"
#include "fusefs/cli/mountinfo.h"
#include "fusefs/cli/paths.h"

namespace linkspan::cli {

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

MountHealth ask_mount(const std::string& dir) {
  const auto mounts = read_mountinfo();
  const auto top = mounts.ok() ? mount_at(*mounts, dir) : std::nullopt;
  if (!top || !is_ours(*top)) return {};
  if (top->type != kFuseType) return {.health = Health::cover};
  const auto asked = stat_within(dir, kAskMount);
  if (asked.ok()) return {Health::alive, top->user, {}, {}};
  if (asked.code() == Code::unavailable) return {Health::dead, top->user, {}, {}};
  return {Health::silent, top->user, asked.error().message, asked.code()};
}

Error cannot_ask(const std::string& dir, const MountHealth& mount) {
  const bool anothers = mount.code == Code::access_denied;
  const std::string whose = mount.user ? "user " + std::to_string(*mount.user) : "another user";
  return fail(Code::busy,
              "cannot ask the mount at " + dir + " (" + mount.why +
                  (anothers ? "): it is of " + whose + "; run this as that user"
                            : "): its process may be stopped; continue it (kill -CONT)") +
                  ", or take it away: linkspan umount --lazy " + dir);
}

Error has_ended(const std::string& dir, const std::string& state_dir) {
  const auto mounts_dir = mounts_directory(state_dir);
  const auto state = mounts_dir.ok() ? load_state(*mounts_dir, dir) : std::nullopt;
  const auto layout = local_layout(state_dir);
  const std::string where = state_dir.empty() ? "" : "--state-dir " + shell_word(state_dir) + " ";
  std::string again = "linkspan mount " + where;
  if (state && layout.ok() && state->router == layout->router_address()) again += "--local ";
  if (state && !state->workspace.empty())
    again += "--workspace " + shell_word(state->workspace) + " ";
  return fail(Code::unavailable,
              "the process that served " + dir + " has ended" + "; mount it again (" + again + dir +
                  "), with the other options that it had, or clean up with: linkspan umount " +
                  where + dir);
}

void detach(const std::string& dir, std::vector<MountStep> steps) {
  // What is mounted inside of the top goes with it, at once. One by one the kernel might wait at
  // the first of them.
  std::erase_if(steps, [&](const auto& step) { return step.path.rfind(dir + "/", 0) == 0; });
  const pid_t child = ::fork();
  if (child == 0) {
    (void)detach_steps(steps);
    ::_exit(0);
  }
  const ProcessId id{child, process_start(child).value_or(0)};
  if (const auto watch = open_process(id)) wait_for_end(watch, kDetachWait);
  ::waitpid(child, nullptr, WNOHANG);
}

bool is_mounted_here(const std::string& dir) {
  const auto mounts = read_mountinfo();
  if (!mounts.ok()) return false;
  const auto top = mount_at(*mounts, dir);
  return top && is_ours(*top);
}

Result<std::vector<MountStep>> left_over_steps(const std::string& mounts_dir,
                                               const std::string& dir) {
  const auto state = load_state(mounts_dir, dir);
  if (state && is_alive(state->process))
    return fail(Code::busy, "process " + std::to_string(state->process.pid) + " serves " + dir +
                                "; end it with: linkspan umount " + dir);
  const auto asked = ask_mount(dir);
  if (asked.health == Health::silent) return cannot_ask(dir, asked);
  if (asked.health == Health::alive)
    return fail(Code::busy, "the mount at " + dir +
                                " is served by a process that cannot be told; "
                                "take it away with: linkspan umount --lazy " +
                                dir);
  std::vector<MountStep> steps = state ? state->steps : std::vector<MountStep>();
  // Each mount that the state does not name, or not so often, lies on top of those that it names.
  std::vector<MountStep> known = steps;
  for (auto& step : steps_from_mountinfo(dir)) {
    const auto same = std::find_if(known.begin(), known.end(), [&](const auto& other) {
      return other.kind == step.kind && other.path == step.path;
    });
    if (same == known.end())
      steps.push_back(std::move(step));
    else
      known.erase(same);
  }
  return steps;
}

Status clean_up_dead(const std::string& mounts_dir, const std::string& dir) {
  LINKSPAN_TRY(const auto steps, left_over_steps(mounts_dir, dir));
  if (auto failures = undo_steps(steps); !failures.empty()) return failures.front();
  forget_state(mounts_dir, dir);
  return ok();
}

}  // namespace linkspan::cli
