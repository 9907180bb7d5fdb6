// The namespaces of `linkspan run`, and bubblewrap's part in them: a root like the machine's own,
// with the shared tree's directories added.
#pragma once

#include <signal.h>

#include <string>
#include <vector>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

// Gives this (single-threaded) process a mount namespace of its own, and a user namespace with the
// same ids where mounting needs one. `not_permitted` names what the machine has switched off.
Status enter_mount_namespace();

// A directory of our own under $TMPDIR that is locked (flock) while its descriptor is open, in this
// process or its children; others of this user that nobody locks are removed.
struct RunDirectory {
  std::string path;
  UniqueFd lock;
};
Result<RunDirectory> make_run_directory();

struct SandboxOptions {
  std::string tree;                // where the shared tree is mounted
  std::string prefix;              // where its directories appear: "/" or an existing directory
  std::vector<std::string> names;  // of the tree's directories: "skills", ".linkspan", ...
  std::string working_directory;   // inside
  int executable_fd = -1;          // of this program, for exec-in-sandbox; inherited
  int info_fd = -1;                // bwrap says the command's pid there; inherited
  std::vector<std::string> command;
};
// bwrap's whole command line. `invalid` if the prefix cannot be used.
Result<std::vector<std::string>> bwrap_arguments(const SandboxOptions& options);

// These do not end bwrap, whose terminal group is the command's: they are blocked in it, until
// exec_in_sandbox() lets them through. So none that comes meanwhile is lost.
sigset_t shielded_signals();

// Names the mount namespace of a process ("mnt:[4026531840]"); empty if it is gone or another
// user's.
std::string mount_namespace(pid_t pid);

// Processes other than this one that see a mount of one of these devices ("0:57").
std::vector<pid_t> processes_seeing(const std::vector<std::string>& devices);

}  // namespace linkspan::cli
