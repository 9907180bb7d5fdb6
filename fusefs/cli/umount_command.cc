// linkspan umount, and umount(8)'s helper
#include <signal.h>

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
constexpr auto kGiveUp = 120s;  // more than a route's timeout, twice
constexpr auto kAsk = 3s;
constexpr size_t kUsersShown = 5;

// The process that serves `dir`: from the state file, else from the mount itself.
std::optional<MountState> find_mount(const std::string& mounts_dir, const std::string& dir) {
  if (auto state = load_state(mounts_dir, dir)) return state;
  const auto text = read_within(dir + "/.linkspan/status.json", kAsk);
  if (!text.ok()) return std::nullopt;
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object() || json.value("dir", "") != dir) return std::nullopt;
  MountState state;
  state.dir = dir;
  state.process.pid = json.value("pid", 0);
  state.process.start = process_start(state.process.pid).value_or(0);
  const auto name = read_file("/proc/" + std::to_string(state.process.pid) + "/comm");
  if (!name.ok() || trim(*name) != "linkspan") return std::nullopt;
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

Status ask_to_end(const MountState& state) {
  const auto process = open_process(state.process);
  if (!process) return ok();
  const std::string who = "pid " + std::to_string(state.process.pid);
  if (!signal_process(process, SIGTERM))
    return fail(Code::not_permitted,
                who + ", which serves " + state.dir +
                    ", belongs to another user; run this as that user or root");
  const auto begun = std::chrono::steady_clock::now();
  while (!wait_for_end(process, kProgress)) {
    const auto waited = std::chrono::steady_clock::now() - begun;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(waited).count();
    if (waited > kGiveUp)
      return fail(Code::timed_out, who + " has not ended after " + std::to_string(seconds) +
                                       " s; what is unsaved is lost with: kill -9 " +
                                       std::to_string(state.process.pid));
    say("waiting for " + who + " to write what is unsaved (" + std::to_string(seconds) + " s)");
  }
  return ok();
}

}  // namespace

int umount_command(const UmountOptions& options) {
  const std::string dir = real_path(options.dir);
  auto mounts_dir = mounts_directory(options.state_dir);
  if (!mounts_dir.ok()) return complain(mounts_dir.error());
  const auto state = find_mount(*mounts_dir, dir);
  const bool alive = state && is_alive(state->process);
  if (!state && !is_mounted_here(dir)) return complain(dir + " is not a Linkspan mount");
  if (!alive) {
    if (auto cleaned = clean_up_dead(*mounts_dir, dir); !cleaned.ok())
      return complain(cleaned.error());
    say("cleaned up " + dir + "; its process had ended before");
    return kSuccess;
  }
  if (!options.lazy)
    if (auto unused = check_unused(*state); !unused.ok()) return complain(unused.error());
  (void)take_failure(*mounts_dir, dir);  // of an earlier mount
  if (auto ended = ask_to_end(*state); !ended.ok()) return complain(ended.error());
  if (is_mounted_here(dir))  // it was killed meanwhile
    if (auto cleaned = clean_up_dead(*mounts_dir, dir); !cleaned.ok())
      return complain(cleaned.error());
  if (const auto failure = take_failure(*mounts_dir, dir))
    return complain("unmounted " + dir + ", but: " + *failure);
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
