// Ending a mount from outside: its process is asked, or, if it is gone, what it left is taken away.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "fusefs/cli/mount_state.h"

namespace linkspan::cli {

// What is on top at `dir`, asked within kAskMount.
enum class Health {
  none,    // nothing of ours
  cover,   // of a mount that somebody has unmounted
  dead,    // a mount whose process is gone
  alive,   // it answers
  silent,  // it cannot be asked: another user's, or its process is stopped
};
struct MountHealth {
  Health health = Health::none;
  std::optional<uid_t> user;  // whose it is
  std::string why;            // it is silent
  Code code = Code::io;       // likewise
};
inline constexpr std::chrono::seconds kAskMount{3};
MountHealth ask_mount(const std::string& dir);
// The error of a command that would have to know more of a silent mount, with the mend.
Error cannot_ask(const std::string& dir, const MountHealth& mount);

// That of a mount whose process has ended, with the mend. `state_dir` as for mounts_directory().
Error has_ended(const std::string& dir, const std::string& state_dir = {});

// What is ours at `dir` and below, as steps in the order they were mounted.
std::vector<MountStep> steps_from_mountinfo(const std::string& dir);
// What a mount at `dir` whose process has ended has left: its state file's steps, and what else is
// ours at `dir`. Empty: nothing. `busy` if the process lives, as far as can be told; as
// cannot_ask() says if it cannot.
Result<std::vector<MountStep>> left_over_steps(const std::string& mounts_dir,
                                               const std::string& dir);
// Takes `steps`' mounts out of the way at once, in use or not; who has something open keeps it
// while their process lives. Returns after kDetachWait, even if the kernel still waits for that.
inline constexpr std::chrono::seconds kDetachWait{2};
void detach(const std::string& dir, std::vector<MountStep> steps);

// For a mount at `dir` whose process is gone: unmounts what is ours there (and what its state file
// names elsewhere), gives directories their modes back. Errors: as left_over_steps().
Status clean_up_dead(const std::string& mounts_dir, const std::string& dir);

// Is something of ours mounted at `dir`?
bool is_mounted_here(const std::string& dir);

}  // namespace linkspan::cli
