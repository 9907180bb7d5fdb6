// linkspan umount, and umount(8)'s helper
#include <signal.h>

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "fusefs/cli/bounded_read.h"
#include "fusefs/cli/cleanup.h"
#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_state.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/users_of.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kProgress = 2s;
constexpr auto kGiveUp = 120s;     // more than a route's timeout, twice
constexpr auto kLazyGiveUp = 45s;  // more than a route's timeout, once; then it is killed
constexpr auto kKilled = 10s;      // until a killed process is gone
constexpr size_t kUsersShown = 5;

std::optional<uid_t> user_of(pid_t pid) {
  const auto status = read_file("/proc/" + std::to_string(pid) + "/status");
  if (!status.ok()) return std::nullopt;
  const size_t at = status->find("\nUid:");
  if (at == std::string::npos) return std::nullopt;
  return static_cast<uid_t>(std::strtoul(status->c_str() + at + 5, nullptr, 10));
}

bool is_stopped(pid_t pid) {
  const auto stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const size_t end = stat.ok() ? stat->rfind(')') : std::string::npos;
  return end != std::string::npos && stat->substr(end + 1, 2) == " T";
}

// The process that serves `dir`: from the state file, else from the mount itself. What a directory
// says that is no mount of ours counts for nothing, nor what a user's mount says of another's
// process: we may be root.
std::optional<MountState> find_mount(const std::string& mounts_dir, const std::string& dir) {
  if (auto state = load_state(mounts_dir, dir)) return state;
  const auto asked = ask_mount(dir);
  if (asked.health != Health::alive) return std::nullopt;
  const auto text = read_within(dir + "/.linkspan/status.json", kAskMount);
  if (!text.ok()) return std::nullopt;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object() || json.value("dir", "") != dir) return std::nullopt;
  MountState state;
  state.dir = dir;
  state.process.pid = json.value("pid", 0);
  state.process.start = process_start(state.process.pid).value_or(0);
  const auto name = read_file("/proc/" + std::to_string(state.process.pid) + "/comm");
  if (!name.ok() || trim(*name) != "linkspan") return std::nullopt;
  if (!asked.user || user_of(state.process.pid) != asked.user) return std::nullopt;
  state.steps = steps_from_mountinfo(dir);
  return state;
}

// What was mounted, so far as programs can be in it.
std::vector<std::string> places(const MountState& state) {
  std::vector<std::string> paths{state.dir};
  for (const auto& step : state.steps)
    if (step.kind == MountStep::Kind::bind) paths.push_back(step.path);
  return paths;
}

Status check_unused(const MountState& state) {
  const auto uses = users_of(places(state), state.process.pid, kUsersShown);
  if (uses.empty()) return ok();
  std::string who;
  for (const auto& use : uses)
    who += "\n  " + use.program + " (pid " + std::to_string(use.pid) + "): " + use.how;
  return fail(Code::busy, state.dir + " is in use; end these, or give --lazy:" + who);
}

Error not_ours(const MountState& state) {
  return fail(Code::not_permitted, "pid " + std::to_string(state.process.pid) + ", which serves " +
                                       state.dir +
                                       ", belongs to another user; run this as that user or root");
}

// False when it has not ended within the time.
bool await_end(const UniqueFd& process, pid_t pid, std::chrono::seconds give_up) {
  const auto begun = std::chrono::steady_clock::now();
  while (!wait_for_end(process, kProgress)) {
    const auto waited = std::chrono::steady_clock::now() - begun;
    if (waited > give_up) return false;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited).count();
    say("waiting for pid " + std::to_string(pid) + " to write what is unsaved (" +
        std::to_string(seconds) + " s)");
  }
  return true;
}

Status ask_to_end(const MountState& state) {
  const auto process = open_process(state.process);
  if (!process) return ok();
  const std::string pid = std::to_string(state.process.pid);
  if (is_stopped(state.process.pid))
    return fail(Code::busy, "pid " + pid + ", which serves " + state.dir +
                                ", is stopped; continue it (kill -CONT " + pid +
                                "), or give --lazy");
  if (!signal_process(process, SIGTERM)) return not_ours(state);
  if (await_end(process, state.process.pid, kGiveUp)) return ok();
  return fail(Code::timed_out,
              "pid " + pid + " has not ended after " + std::to_string(kGiveUp.count()) +
                  " s; what is unsaved is lost with: linkspan umount --lazy " + state.dir);
}

// The mount goes at once, whatever its process does; then that shall end, and write what is unsaved
// if it still can.
Status end_lazily(const MountState& state) {
  const auto process = open_process(state.process);
  if (!process) return ok();
  if (!signal_process(process, 0)) return not_ours(state);
  detach(state.dir, state.steps);
  signal_process(process, SIGTERM);
  signal_process(process, SIGCONT);
  if (await_end(process, state.process.pid, kLazyGiveUp)) return ok();
  signal_process(process, SIGKILL);
  wait_for_end(process, kKilled);
  return fail(Code::timed_out, "pid " + std::to_string(state.process.pid) + " did not end within " +
                                   std::to_string(kLazyGiveUp.count()) +
                                   " s and was killed; what programs wrote here in its last "
                                   "moments, and had not synced, may be lost");
}

// Of a mount whose process has ended or is not known.
int clean_up(const UmountOptions& options, const std::string& mounts_dir, const std::string& dir) {
  const auto asked = ask_mount(dir);
  if (options.lazy && (asked.health == Health::silent || asked.health == Health::alive)) {
    detach(dir, steps_from_mountinfo(dir));
    if (is_mounted_here(dir)) return complain("cannot detach " + dir + "; try it as root");
    say("detached " + dir +
        "; the process that serves it is not known: what is unsaved there is "
        "lost if it does not end by itself");
    return kSuccess;
  }
  if (auto cleaned = clean_up_dead(mounts_dir, dir); !cleaned.ok())
    return complain(cleaned.error());
  say("cleaned up " + dir + "; its process had ended before");
  return kSuccess;
}

}  // namespace

int umount_command(const UmountOptions& options) {
  const std::string dir = real_path(options.dir);
  auto mounts_dir = mounts_directory(options.state_dir);
  if (!mounts_dir.ok()) return complain(mounts_dir.error());
  const auto state = find_mount(*mounts_dir, dir);
  if (!state && !is_mounted_here(dir))
    return complain(dir + " is not a Linkspan mount (`linkspan status` lists the mounts)");
  if (const auto whole = state || options.lazy ? std::string() : mount_of_part(*mounts_dir, dir);
      !whole.empty())
    return complain(dir + " is a part of the mount at " + whole +
                    "; unmount that: linkspan umount " + whole);
  if (!state || !is_alive(state->process)) return clean_up(options, *mounts_dir, dir);
  if (!options.lazy)
    if (auto unused = check_unused(*state); !unused.ok()) return complain(unused.error());
  (void)take_failure(*mounts_dir, dir);  // of an earlier mount
  const auto ended = options.lazy ? end_lazily(*state) : ask_to_end(*state);
  const bool gone = !is_alive(state->process);
  if (!gone)
    return complain(ended.ok() ? fail(Code::busy, dir + " is still served") : ended.error());
  if (is_mounted_here(dir) || load_state(*mounts_dir, dir))  // it was killed meanwhile
    if (auto cleaned = clean_up_dead(*mounts_dir, dir); !cleaned.ok())
      return complain(cleaned.error());
  auto failure = take_failure(*mounts_dir, dir);
  if (!failure && !ended.ok()) failure = ended.error().message;
  if (failure) return complain("unmounted " + dir + ", but: " + *failure);
  say("unmounted " + dir);
  return kSuccess;
}

// umount.fuse.linkspan DIR [-flnrv] [-t TYPE] [-N NS]: called by umount(8) and systemd.
int umount_helper(const std::vector<std::string>& arguments) {
  UmountOptions options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto& argument = arguments[i];
    if (argument == "-t" || argument == "-N") {
      ++i;
    } else if (!argument.empty() && argument[0] == '-') {
      options.lazy = options.lazy || argument.find_first_of("lf") != std::string::npos;
    } else if (options.dir.empty()) {
      options.dir = argument;
    }
  }
  if (options.dir.empty()) {
    complain("usage: umount.fuse.linkspan DIR [-l]");
    return kUsage;
  }
  return umount_command(options);
}

}  // namespace linkspan::cli
