// linkspan status
#include <iostream>
#include <nlohmann/json.hpp>

#include "fusefs/cli/bounded_read.h"
#include "fusefs/cli/cleanup.h"
#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/json_text.h"
#include "fusefs/cli/mount_state.h"
#include "fusefs/cli/paths.h"

namespace linkspan::cli {

namespace {

using Json = nlohmann::json;

struct MountAnswer {
  bool healthy = false;
  std::string text;  // of .linkspan/status, or what is wrong with the mend
  Json json;         // of .linkspan/status.json, or {"dir", "healthy": false, "state", "reason"}
};

MountAnswer wrong(const std::string& dir, const std::string& state, const std::string& reason) {
  return {false, state + "  " + reason + "\n",
          Json{{"dir", dir}, {"healthy", false}, {"state", state}, {"reason", reason}}};
}

std::string under(const std::string& dir, const char* file) {
  return (dir == "/" ? "" : dir) + "/.linkspan/" + file;
}

MountAnswer ask(const std::string& dir, const std::optional<MountState>& state,
                const std::string& state_dir, std::chrono::milliseconds timeout) {
  auto json_text = read_within(under(dir, "status.json"), timeout);
  auto text = json_text.ok() ? read_within(under(dir, "status"), timeout)
                             : Result<std::string>(json_text.error());
  if (text.ok()) {
    Json json = Json::parse(*json_text, nullptr, false);
    if (json.is_object()) return {json.value("healthy", false), *std::move(text), std::move(json)};
    return wrong(dir, "unreadable", under(dir, "status.json") + " is not JSON");
  }
  if (text.code() == Code::timed_out)
    return wrong(dir, "not answering",
                 text.error().message +
                     "; its process may be stopped (kill -CONT), else: "
                     "linkspan umount --lazy " +
                     dir);
  const auto asked = ask_mount(dir);
  if (asked.health == Health::silent && !(state && !is_alive(state->process)))
    return wrong(dir, "not answering", cannot_ask(dir, asked).message);
  if (text.code() == Code::unavailable || (state && !is_alive(state->process)) ||
      asked.health == Health::dead || asked.health == Health::cover)
    return wrong(dir, "dead", has_ended(dir, state_dir).message);
  if (asked.health == Health::alive) return wrong(dir, "unreadable", text.error().message);
  return wrong(dir, "not mounted",
               dir + " is not a Linkspan mount (`linkspan status` lists the mounts)");
}

int print(const std::vector<MountAnswer>& answers, bool json, bool one) {
  bool healthy = true;
  Json all = Json::array();
  for (const auto& answer : answers) {
    healthy = healthy && answer.healthy;
    if (json) {
      all.push_back(answer.json);
    } else {
      if (&answer != &answers.front()) std::cout << "\n";
      std::cout << coloured(1, answer.healthy ? Colour::good : Colour::bad,
                            answer.healthy ? "healthy" : "UNHEALTHY")
                << "\n"
                << answer.text;
    }
  }
  if (json) std::cout << dump_text(one ? all.at(0) : all);
  return healthy ? kSuccess : kFailure;
}

}  // namespace

int status_command(const StatusOptions& options) {
  const auto timeout =
      std::chrono::milliseconds(static_cast<int64_t>(options.timeout_seconds * 1000));
  auto mounts_dir = mounts_directory(options.state_dir);
  std::vector<MountAnswer> answers;
  if (!options.dir.empty()) {
    const std::string dir = real_path(options.dir);
    const auto state = mounts_dir.ok() ? load_state(*mounts_dir, dir) : std::nullopt;
    const auto whole = mounts_dir.ok() && !state ? mount_of_part(*mounts_dir, dir) : std::string();
    answers.push_back(whole.empty() ? ask(dir, state, options.state_dir, timeout)
                                    : wrong(dir, "not a mountpoint",
                                            dir + " is a part of the mount at " + whole +
                                                "; see: linkspan status " + whole));
    return print(answers, options.json, true);
  }
  // Inside `linkspan run` (or --expose /) the control files are at /.linkspan.
  if (has_control_files("", timeout))
    answers.push_back(ask("/", std::nullopt, options.state_dir, timeout));
  if (mounts_dir.ok())
    for (const auto& state : load_all_states(*mounts_dir))
      answers.push_back(ask(state.dir, state, options.state_dir, timeout));
  if (answers.empty()) {
    if (options.json) std::cout << "[]\n";
    return complain("no mounts; make one with: linkspan mount DIR");
  }
  return print(answers, options.json, false);
}

}  // namespace linkspan::cli
