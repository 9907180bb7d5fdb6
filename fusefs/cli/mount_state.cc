#include "fusefs/cli/mount_state.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "fusefs/cli/json_text.h"

namespace linkspan::cli {

namespace {

using Json = nlohmann::json;
using StepKind = MountStep::Kind;

constexpr std::pair<StepKind, std::string_view> kKinds[] = {
    {StepKind::cover, "cover"},     {StepKind::fuse, "fuse"},           {StepKind::bind, "bind"},
    {StepKind::symlink, "symlink"}, {StepKind::directory, "directory"}, {StepKind::mode, "mode"}};

}  // namespace

std::string_view to_string(StepKind kind) {
  for (const auto& [k, name] : kKinds)
    if (k == kind) return name;
  return "?";
}

std::string to_json(const MountState& state) {
  Json steps = Json::array();
  for (const auto& step : state.steps) {
    Json entry{{"kind", std::string(to_string(step.kind))}, {"path", step.path}};
    if (!step.target.empty()) entry["target"] = step.target;
    if (step.kind == StepKind::mode) entry["mode"] = step.mode;
    if (!step.device.empty()) entry["device"] = step.device;
    steps.push_back(std::move(entry));
  }
  // A path that is no UTF-8 is not kept as it is, which only costs the clean-up after a kill.
  return dump_text(Json{{"dir", state.dir},
                        {"pid", state.process.pid},
                        {"pid_start", state.process.start},
                        {"router", state.router},
                        {"workspace", state.workspace},
                        {"started", state.started},
                        {"steps", std::move(steps)}});
}

Result<MountState> state_from_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return fail(Code::invalid, "not a mount's state");
  MountState state;
  try {
    state.dir = json.at("dir").get<std::string>();
    state.process = {json.at("pid").get<pid_t>(), json.at("pid_start").get<uint64_t>()};
    state.router = json.value("router", "");
    state.workspace = json.value("workspace", "");
    state.started = json.value("started", "");
    for (const auto& entry : json.at("steps")) {
      const auto name = entry.at("kind").get<std::string>();
      const auto* kind = std::find_if(std::begin(kKinds), std::end(kKinds),
                                      [&](const auto& known) { return known.second == name; });
      if (kind == std::end(kKinds)) return fail(Code::invalid, "unknown step " + name);
      state.steps.push_back({kind->first, entry.at("path").get<std::string>(),
                             entry.value("target", ""), entry.value("mode", 0u),
                             entry.value("device", "")});
    }
  } catch (const Json::exception& error) {
    return fail(Code::invalid, error.what());
  }
  return state;
}

std::string state_file(const std::string& mounts_dir, const std::string& dir) {
  return mounts_dir + "/" + hex(hash_text(dir)) + ".json";
}

Status save_state(const std::string& mounts_dir, const MountState& state) {
  return write_file(state_file(mounts_dir, state.dir), to_json(state), 0600);
}

void remove_half_written(const std::string& mounts_dir, const std::string& dir) {
  const std::string begin = state_file(mounts_dir, dir) + ".";
  constexpr size_t kRandom = 6;  // write_file()'s mkstemp(3)
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(mounts_dir, error)) {
    const std::string path = entry.path().string();
    if (path.starts_with(begin) && path.size() == begin.size() + kRandom) ::unlink(path.c_str());
  }
}

std::optional<MountState> load_state(const std::string& mounts_dir, const std::string& dir) {
  auto text = read_file(state_file(mounts_dir, dir));
  if (!text.ok()) return std::nullopt;
  auto state = state_from_json(*text);
  if (!state.ok() || state->dir != dir) return std::nullopt;
  return *std::move(state);
}

std::vector<MountState> load_all_states(const std::string& mounts_dir) {
  std::vector<MountState> states;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(mounts_dir, error)) {
    if (entry.path().extension() != ".json") continue;
    auto text = read_file(entry.path().string());
    if (!text.ok()) continue;
    if (auto state = state_from_json(*text); state.ok()) states.push_back(*std::move(state));
  }
  std::sort(states.begin(), states.end(),
            [](const auto& a, const auto& b) { return a.dir < b.dir; });
  return states;
}

void forget_state(const std::string& mounts_dir, const std::string& dir) {
  ::unlink(state_file(mounts_dir, dir).c_str());
}

std::string mount_of_part(const std::string& mounts_dir, const std::string& path) {
  for (const auto& state : load_all_states(mounts_dir))
    if (path != state.dir && is_alive(state.process) &&
        std::any_of(state.steps.begin(), state.steps.end(),
                    [&](const auto& step) { return step.path == path; }))
      return state.dir;
  return {};
}

void leave_failure(const std::string& mounts_dir, const std::string& dir, const std::string& text) {
  (void)write_file(state_file(mounts_dir, dir) + ".failure", text, 0600).ok();
}

std::optional<std::string> take_failure(const std::string& mounts_dir, const std::string& dir) {
  const std::string path = state_file(mounts_dir, dir) + ".failure";
  auto text = read_file(path);
  ::unlink(path.c_str());
  if (!text.ok()) return std::nullopt;
  return *std::move(text);
}

}  // namespace linkspan::cli
