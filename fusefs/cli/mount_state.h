// What one mount has done to the machine, step by step, in a file, so that `umount` and `status`
// find it and a mount whose process was killed can be cleaned up by the next command.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

struct MountStep {
  enum class Kind { cover, fuse, bind, symlink, directory, mode };
  Kind kind = Kind::cover;
  std::string path;    // absolute
  std::string target;  // symlink: what it says
  unsigned mode = 0;   // mode: what it was
  std::string device;  // bind: of what is bound, as mountinfo has it; empty: not known (yet)
  bool operator==(const MountStep&) const = default;
};
std::string_view to_string(MountStep::Kind kind);

struct MountState {
  std::string dir;               // the mountpoint, absolute
  ProcessId process;             // that serves it
  std::string router;            // address
  std::string workspace;         // empty: none
  std::string started;           // RFC 3339
  std::vector<MountStep> steps;  // in the order they were done
};

std::string to_json(const MountState& state);
Result<MountState> state_from_json(const std::string& text);

// The file of the mount at `dir` within `mounts_dir`.
std::string state_file(const std::string& mounts_dir, const std::string& dir);
Status save_state(const std::string& mounts_dir, const MountState& state);
// What save_state() left that was killed. By who has the place's lock.
void remove_half_written(const std::string& mounts_dir, const std::string& dir);
std::optional<MountState> load_state(const std::string& mounts_dir, const std::string& dir);
std::vector<MountState> load_all_states(const std::string& mounts_dir);
void forget_state(const std::string& mounts_dir, const std::string& dir);
// The mountpoint of the live mount that `path` is a part of (a route, an exposed place); empty:
// none.
std::string mount_of_part(const std::string& mounts_dir, const std::string& path);

// What went wrong while the mount at `dir` ended, left by its process for `linkspan umount`.
void leave_failure(const std::string& mounts_dir, const std::string& dir, const std::string& text);
std::optional<std::string> take_failure(const std::string& mounts_dir, const std::string& dir);

}  // namespace linkspan::cli
