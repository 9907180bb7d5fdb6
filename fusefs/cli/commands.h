// What each subcommand takes; command_line.cc fills these in, one file each does the work and
// answers an exit status.
#pragma once

#include <string>
#include <vector>

#include "fusefs/cli/past_version.h"
#include "fusefs/cli/token.h"
#include "linkspan/tls_files.h"

namespace linkspan::cli {

struct RouterOptions {
  std::string address;               // "unix:/path", "tls://host:port" or "host:port"
  tls::Files tls;                    // of tls:// addresses
  bool allow_plaintext_tcp = false;  // to other addresses than loopback
  TokenSource token;
  bool local = false;      // the embedded default
  bool publisher = false;  // local: by the token that may write skills
  std::string state_dir;   // empty: the user's
};

struct TokenNarrowOptions {
  RouterOptions router;
  std::string dir;                  // of a mount through which it is asked for; empty: by a token
  std::vector<std::string> routes;  // PATH or PATH=RIGHTS; empty: all of the token
  std::string rights;               // at most; empty: those of the token
  std::string expires;              // as parse_until() takes it; empty: with the token
  std::string sandbox;
  std::string out;  // file for the token; empty: stdout
  bool json = false;
};
int token_narrow_command(TokenNarrowOptions options);

struct LogOptions {
  std::string level = "info";
  std::string file;  // empty: stderr in the foreground, else none
};

struct MountOptions {
  std::string dir;
  RouterOptions router;
  std::string workspace;         // empty: none
  std::string owner = "squash";  // or "identity"
  std::string expose;            // prefix; empty: not
  std::string spool_dir;         // for large unsaved writes; empty: $TMPDIR, else /tmp
  bool non_empty = false;
  bool read_only = false;
  bool foreground = false;
  int ready_fd = -1;
  LogOptions log;
};
int mount_command(MountOptions options);
// `mount -t linkspan ROUTER DIR -o ...` (mount.linkspan) and `umount` (umount.fuse.linkspan);
// without the program's name.
int mount_helper(const std::vector<std::string>& arguments);
int umount_helper(const std::vector<std::string>& arguments);

struct UmountOptions {
  std::string dir;
  std::string state_dir;
  bool lazy = false;
};
int umount_command(const UmountOptions& options);

struct RunOptions {
  RouterOptions router;
  std::string workspace = ".";
  std::string owner = "squash";
  std::string expose_at = "/";
  std::string spool_dir;
  LogOptions log{"error", ""};
  std::vector<std::string> command;
};
int run_command(RunOptions options);
// Inside the sandbox: gives back the signal dispositions and becomes the command.
int exec_in_sandbox(int argc, char** argv);
inline constexpr const char* kExecInSandbox = "exec-in-sandbox";

struct LocalOptions {
  std::string state_dir;
  bool json = false;
  bool force = false;  // stop: also with users; prune: without asking
};
int local_start_command(const LocalOptions& options);
int local_stop_command(const LocalOptions& options);
int local_status_command(const LocalOptions& options);
int local_prune_command(const LocalOptions& options);

struct StatusOptions {
  std::string dir;  // empty: all mounts of this user
  std::string state_dir;
  bool json = false;
  double timeout_seconds = 5;
};
int status_command(const StatusOptions& options);

struct LogCommandOptions {
  std::string path;
  std::string since;   // as parse_since() takes it; empty: all
  std::string author;  // empty: anybody
  unsigned limit = 20;
  bool deleted = false;
  uint64_t change = 0;  // the versions of the file that it deleted
  bool json = false;
};
int log_command(const LogCommandOptions& options);

struct VersionOptions {
  std::string path;      // PATH@V, or PATH
  uint64_t version = 0;  // 0: named by the path
  WhichFile which;
};
int cat_command(const VersionOptions& options);

struct DiffOptions {
  std::string from, to;  // PATH@V each; empty `to`: the file as it is now
  uint64_t from_version = 0, to_version = 0;
  WhichFile which;  // of `from`'s name
};
int diff_command(const DiffOptions& options);

struct RestoreOptions {
  std::string path;
  uint64_t version = 0;  // 0: named by the path
  WhichFile which;       // deleted, and no version is named: its last
  std::string since;     // as parse_since() takes it; not empty: all that was deleted in `path`
  std::string conflict;  // as parse_conflict() takes it; empty: none
  std::string to;        // another place; empty: the file itself
  std::string mount;     // of the conflict; empty: the one at hand
};
int restore_command(const RestoreOptions& options);

struct ResolveOptions {
  std::vector<std::string> conflicts;  // as parse_conflict() takes them; of one file but for `ours`
  bool ours = false, theirs = false;
  std::string merged;  // a file; "-": standard input
  uint64_t over = 0;   // the version that it was made from; 0: that of the conflict
  std::string mount;
};
int resolve_command(const ResolveOptions& options);

struct ResumeOptions {
  std::string dir;  // empty: all mounts of this user
};
int resume_command(const ResumeOptions& options);

}  // namespace linkspan::cli
