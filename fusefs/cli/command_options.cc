#include "fusefs/cli/command_options.h"

#include "fusefs/cli/conflict_choice.h"
#include "fusefs/cli/preflight.h"

namespace linkspan::cli {
namespace {

const char* const kExitText =
    "Exit status: 0 done, 1 failed (stderr says what and the mend), 2 wrong usage.";

void add_state_dir(CLI::App* command, std::string& value) {
  command
      ->add_option("--state-dir", value,
                   "where Linkspan keeps its own files (default: $XDG_STATE_HOME/linkspan; as "
                   "root /run/linkspan-mount and /var/lib/linkspan)")
      ->type_name("DIR");
}

CLI::Validator router_address() {
  return CLI::Validator(
      [](const std::string& address) {
        const auto checked = check_router_address(address);
        return checked.ok() ? std::string() : checked.error().message;
      },
      "");
}

CLI::Validator open_descriptor() {
  return CLI::Validator(
      [](const std::string& number) {
        const auto checked = check_ready_fd(std::atoi(number.c_str()));
        return checked.ok() ? std::string() : checked.error().message;
      },
      "");
}

CLI::Validator conflict_name() {
  return CLI::Validator(
      [](const std::string& text) {
        const auto named = parse_conflict(text);
        return named.ok() ? std::string() : named.error().message;
      },
      "");
}

void add_tls(CLI::App* command, RouterOptions& router) {
  command
      ->add_option("--router-ca", router.tls.authorities,
                   "authorities by which the certificate of a tls:// router is checked, PEM (else "
                   "$LINKSPAN_ROUTER_CA, else the system's)")
      ->type_name("FILE");
  command
      ->add_option("--router-cert", router.tls.certificate,
                   "certificate to show to a router that asks for one, PEM (else "
                   "$LINKSPAN_ROUTER_CERT)")
      ->type_name("FILE");
  command->add_option("--router-key", router.tls.key, "its private key (else $LINKSPAN_ROUTER_KEY)")
      ->type_name("FILE");
  command->add_flag("--allow-plaintext-tcp", router.allow_plaintext_tcp,
                    "connect to HOST:PORT on another machine although nothing is encrypted "
                    "(also $LINKSPAN_ALLOW_PLAINTEXT_TCP=1)");
}

void add_router(CLI::App* command, RouterOptions& router) {
  auto* address =
      command
          ->add_option("--router", router.address,
                       "the router: unix:/path, tls://HOST:PORT, or HOST:PORT on this machine; or "
                       "several on one database, separated by commas (else $LINKSPAN_ROUTER)")
          ->type_name("ADDRESS")
          ->check(router_address());
  auto* file = command
                   ->add_option("--token-file", router.token.file,
                                "file with the token (else --token-fd, $LINKSPAN_TOKEN, "
                                "$LINKSPAN_TOKEN_FILE)")
                   ->type_name("FILE");
  command->add_option("--token-fd", router.token.fd, "descriptor to read the token from")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->excludes(file);
  add_tls(command, router);
  auto* local =
      command
          ->add_flag("--local", router.local,
                     "use a private PostgreSQL and router under the state directory; they start "
                     "when needed, end with their last user, and keep their data")
          ->excludes(address);
  command
      ->add_flag("--publisher", router.publisher,
                 "with --local: by the publisher's token, which may write skills, too")
      ->needs(local)
      ->excludes(file);
  add_state_dir(command, router.state_dir);
}

void add_logging(CLI::App* command, LogOptions& log) {
  command->add_option("--log-level", log.level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->capture_default_str();
  command->add_option("--log-file", log.file, "append log lines to this file")->type_name("FILE");
}

void add_owner(CLI::App* command, std::string& owner) {
  command
      ->add_option("--owner", owner,
                   "squash: everything belongs to whoever mounts; identity: numeric owners are "
                   "stored and checked")
      ->check(CLI::IsMember({"squash", "identity"}))
      ->capture_default_str();
}

void add_spool(CLI::App* command, std::string& dir) {
  command
      ->add_option("--spool-dir", dir,
                   "where unsaved writes of more than 8 MiB lie until they are stored (else "
                   "$TMPDIR, else /tmp)")
      ->type_name("DIR");
}

void add_mount(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand("mount", "Mount the shared tree at DIR.");
  auto& mount = line.mount;
  command->add_option("DIR", mount.dir, "an empty directory")->required();
  add_router(command, mount.router);
  command->add_option("--workspace", mount.workspace, "local directory to show as DIR/workspace")
      ->type_name("DIR");
  add_owner(command, mount.owner);
  command
      ->add_option("--expose", mount.expose,
                   "also show the routes and the workspace at PREFIX/skills, PREFIX/memory, ...")
      ->type_name("PREFIX");
  add_spool(command, mount.spool_dir);
  command->add_flag("--nonempty", mount.non_empty, "mount even if DIR is not empty");
  command->add_flag("--read-only", mount.read_only, "let nothing be written through this mount");
  command->add_flag("--foreground,-f", mount.foreground, "stay; end with SIGTERM or SIGINT");
  command
      ->add_option("--ready-fd", mount.ready_fd,
                   "write one line of JSON to this descriptor when every mount answers")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber)
      ->check(open_descriptor());
  add_logging(command, mount.log);
  command->footer(
      std::string("Returns when the mount answers. Example:\n"
                  "  linkspan mount --router unix:/run/linkspan/router.sock --token-file "
                  "~/.linkspan-token --workspace . /mnt/linkspan\n") +
      kExitText);
  command->callback([&line] { line.chosen = [&line] { return mount_command(line.mount); }; });
}

void add_umount(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand(
      "umount",
      "Write what is unsaved, unmount DIR, and end its process. Cleans up a dead mount. Programs "
      "that use it are named and keep it mounted, unless --lazy is given; calls on it fail "
      "afterwards (ENOTCONN), what was acknowledged is kept.");
  command->add_option("DIR", line.umount.dir, "the mountpoint")->required();
  command->add_flag(
      "--lazy,-l", line.umount.lazy,
      "also when programs still use it (they get ENOTCONN) or its process does not answer");
  add_state_dir(command, line.umount.state_dir);
  command->footer(std::string("Example:\n  linkspan umount /mnt/linkspan\n") + kExitText);
  command->callback([&line] { line.chosen = [&line] { return umount_command(line.umount); }; });
}

void add_run(CLI::App& app, CommandLine& line) {
  auto* command =
      app.add_subcommand("run",
                         "Run CMD with /skills, /memory, /sessions and /workspace; needs no root.\n"
                         "Form: linkspan run [OPTIONS] -- CMD [ARGUMENT]...");
  auto& run = line.run;
  add_router(command, run.router);
  command->add_option("--workspace", run.workspace, "local directory to show as /workspace")
      ->type_name("DIR")
      ->capture_default_str();
  add_owner(command, run.owner);
  command->add_option("--expose-at", run.expose_at, "where skills, memory, ... appear")
      ->type_name("PREFIX")
      ->capture_default_str();
  add_spool(command, run.spool_dir);
  add_logging(command, run.log);
  command->footer(
      "CMD starts when the tree answers, in /workspace, with the terminal and the rest of the "
      "machine as they are. What it wrote is stored, and everything is cleaned up, when it ends. "
      "The -- may be left out. Examples:\n"
      "  linkspan run --local -- bash\n"
      "  linkspan run --local --publisher -- cp -r greet /skills/\n"
      "  linkspan run --router tls://HOST:PORT --token-file FILE --workspace . -- claude\n"
      "Exit status: that of CMD (128 + N if signal N ended it); 1 if the tree could not be "
      "presented or kept; 2 wrong usage; 126, 127 CMD cannot be run.");
  command->callback([&line] { line.chosen = [&line] { return run_command(line.run); }; });
}

void add_local(CLI::App& app, CommandLine& line) {
  auto* local = app.add_subcommand(
      "local", "The private PostgreSQL and router of --local: start, stop, status, prune.");
  local->require_subcommand(1);
  local->footer(std::string("`linkspan local COMMAND --help` has an example each. Example:\n"
                            "  linkspan local status\n") +
                kExitText);
  const auto add = [&](const char* name, const char* text, const char* examples,
                       int (*run)(const LocalOptions&)) {
    auto* command = local->add_subcommand(name, text);
    command->footer(std::string(examples) + kExitText);
    add_state_dir(command, line.local.state_dir);
    command->callback([&line, run] { line.chosen = [&line, run] { return run(line.local); }; });
    return command;
  };
  add("start", "Start them now, to stay until `linkspan local stop`.",
      "Example: keep them warm between runs.\n  linkspan local start\n"
      "  linkspan run --local -- bash\n  linkspan local stop\n",
      local_start_command);
  add("stop", "Stop them; their data stays.",
      "Examples:\n  linkspan local stop\n  linkspan local stop --force\n", local_stop_command)
      ->add_flag("--force", line.local.force, "also while mounts use them");
  add("status",
      "Say whether they run, and where: the router's address, the agents' and the publisher's "
      "token; exit status 1 if not.",
      "Examples:\n  linkspan local status\n  linkspan local status --json\n", local_status_command)
      ->add_flag("--json", line.local.json, "as JSON");
  add("prune", "Remove them with everything stored in them.",
      "Example: begin anew.\n  linkspan local stop\n  linkspan local prune --yes\n",
      local_prune_command)
      ->add_flag("--yes", line.local.force, "without asking");
  auto* supervise =
      local->add_subcommand("supervise", "")->group("");  // started by us, not by people
  add_state_dir(supervise, line.supervisor.state_dir);
  supervise->add_option("--ready-fd", line.supervisor.ready_fd);
  supervise->callback(
      [&line] { line.chosen = [&line] { return supervise_local(line.supervisor); }; });
}

void add_status(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand("status", "Say how a mount is.");
  command->add_option("DIR", line.status.dir, "the mountpoint (default: all mounts of this user)");
  command->add_flag("--json", line.status.json, "as JSON");
  command->add_option("--timeout", line.status.timeout_seconds, "seconds to wait for its answer")
      ->check(CLI::Range(0.1, 600.0))
      ->capture_default_str();
  add_state_dir(command, line.status.state_dir);
  command->footer(
      "Example:\n  linkspan status /mnt/linkspan\n"
      "Exit status: 0 healthy, 1 disconnected, dead, not mounted or not answering, 2 wrong usage.");
  command->callback([&line] { line.chosen = [&line] { return status_command(line.status); }; });
}

void add_log(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand(
      "log",
      "Say who changed PATH, from where and when: a file's versions, across saves and renames "
      "(also of one that was deleted); of a directory the changes. The newest come last.");
  auto& log = line.log;
  command->add_option("PATH", log.path, "a file or directory on a mount")->required();
  command
      ->add_option(
          "--since", log.since,
          "only later ones: how long ago (90s, 15m, 2h, 3d, 1w), today, yesterday, or a date "
          "like 2026-11-20T14:30 (local; UTC with a Z)")
      ->type_name("TIME");
  command->add_option("--author", log.author, "only those of this principal, or PRINCIPAL@SANDBOX")
      ->type_name("NAME");
  command->add_flag("--deleted", log.deleted,
                    "files that were deleted under PATH, and what brings each back");
  command
      ->add_option("--change", log.change,
                   "the versions of the file PATH that change N deleted (--deleted shows N)")
      ->type_name("N");
  command->add_option("--limit,-n", log.limit, "at most this many, the newest")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command->add_flag("--json", log.json, "as JSON, one object a line");
  command->footer(std::string("Examples:\n"
                              "  linkspan log /mnt/linkspan/memory/MEMORY.md\n"
                              "  linkspan log --since 12h --author claude /mnt/linkspan/memory\n"
                              "  linkspan log --deleted /mnt/linkspan/memory\n") +
                  kExitText);
  command->callback([&line] { line.chosen = [&line] { return log_command(line.log); }; });
}

CLI::Option* add_version(CLI::App* command, const char* name, uint64_t& version) {
  return command
      ->add_option(name, version, "the version, for a PATH whose own name ends in @digits")
      ->type_name("V")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 62));
}

void add_which(CLI::App* command, WhichFile& which) {
  command->add_flag("--deleted", which.deleted,
                    "of the file PATH that was deleted last (without @V: its last "
                    "version); goes without saying where nothing is at PATH now");
  command
      ->add_option("--change", which.change,
                   "of the file PATH that change N deleted (`linkspan log --deleted PATH` shows N)")
      ->type_name("N");
}

void add_cat(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand("cat", "Write a version of a file to standard output.");
  command
      ->add_option("PATH@V", line.cat.path, "a file on a mount, and a number from `linkspan log`")
      ->required();
  add_version(command, "--version", line.cat.version);
  add_which(command, line.cat.which);
  command->footer(std::string("Example:\n  linkspan cat /mnt/linkspan/memory/MEMORY.md@7\n") +
                  kExitText);
  command->callback([&line] { line.chosen = [&line] { return cat_command(line.cat); }; });
}

void add_diff(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand(
      "diff", "Compare a version of a file with another, or with the file as it is now.");
  auto& diff = line.diff;
  command->add_option("PATH@V", diff.from, "the older one")->required();
  command->add_option("PATH2[@V2]", diff.to, "the newer one; without: PATH as it is now");
  add_version(command, "--version", diff.from_version);
  add_version(command, "--to-version", diff.to_version);
  add_which(command, diff.which);
  command->footer(
      "Examples:\n"
      "  linkspan diff /mnt/linkspan/memory/MEMORY.md@7\n"
      "  linkspan diff /mnt/linkspan/memory/MEMORY.md@5 /mnt/linkspan/memory/MEMORY.md@7\n"
      "Exit status: 0 the same, 1 different, 2 trouble.");
  command->callback([&line] { line.chosen = [&line] { return diff_command(line.diff); }; });
}

void add_restore(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand(
      "restore",
      "Make a version of a file its content again, bring a deleted file back, or what a conflict "
      "refused. What was there stays in the history.");
  auto& restore = line.restore;
  command->add_option("PATH[@V]", restore.path, "the file, and a number from `linkspan log`");
  add_version(command, "--version", restore.version);
  add_which(command, restore.which);
  command
      ->add_option("--since", restore.since,
                   "with --deleted: PATH is a directory, and all files come back that were deleted "
                   "in it since then and where nothing is now (TIME as `linkspan log` takes it)")
      ->type_name("TIME");
  command
      ->add_option("--conflict", restore.conflict,
                   "what the conflict N refused becomes the file's content, and N is settled; with "
                   "--to it is written there, and N stays open. N is its number, or its folder in "
                   ".linkspan/conflicts")
      ->type_name("N")
      ->check(conflict_name());
  command->add_option("--to", restore.to, "write it to this path, where nothing is")
      ->type_name("PATH");
  command->add_option("--mount", restore.mount, "the mount of the conflict (the one at hand)")
      ->type_name("DIR");
  command->footer(std::string("Examples:\n"
                              "  linkspan restore /mnt/linkspan/memory/MEMORY.md@7\n"
                              "  linkspan restore --deleted /mnt/linkspan/memory/notes.md\n"
                              "  linkspan restore --deleted --since 1h /mnt/linkspan/memory/dir\n"
                              "  linkspan restore --conflict 1048619 --to /tmp/theirs\n") +
                  kExitText);
  command->callback([&line] { line.chosen = [&line] { return restore_command(line.restore); }; });
}

void add_resolve(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand(
      "resolve", "Settle conflicts: say what the file shall be (.linkspan/conflicts lists them).");
  auto& resolve = line.resolve;
  command
      ->add_option(
          "N", resolve.conflicts,
          "the conflict's number, or its folder in .linkspan/conflicts; more than one with "
          "--ours, or, where they are of one file, with --merged")
      ->required()
      ->check(conflict_name());
  command->add_flag("--ours", resolve.ours, "it stays as it is; what was refused is given up");
  command->add_flag("--theirs", resolve.theirs, "what was refused becomes its new content");
  command->add_option("--merged", resolve.merged, "FILE becomes its new content; - is stdin")
      ->type_name("FILE");
  add_version(command, "--over", resolve.over)
      ->description(
          "the version that --merged or --theirs shall replace, when others changed the file since "
          "the conflict (else that is refused, and says which version it is now)");
  command->add_option("--mount", resolve.mount, "the mount (the one at hand)")->type_name("DIR");
  command->footer(std::string("Examples:\n"
                              "  ls /mnt/linkspan/.linkspan/conflicts      # 1048619-MEMORY.md\n"
                              "  linkspan resolve 1048619 --theirs\n"
                              "  linkspan resolve --ours /mnt/linkspan/.linkspan/conflicts/*\n"
                              "  linkspan resolve --merged /tmp/merged "
                              "/mnt/linkspan/.linkspan/conflicts/*-MEMORY.md\n"
                              "  linkspan resolve 1048619 --merged /tmp/merged --over 9\n") +
                  kExitText);
  command->callback([&line] { line.chosen = [&line] { return resolve_command(line.resolve); }; });
}

void add_resume(CLI::App& app, CommandLine& line) {
  auto* command = app.add_subcommand(
      "resume",
      "For the hook of a sandbox that was paused or restored from a snapshot: drop everything "
      "cached, the kernel's caches too, before it returns, and take a new session.");
  command->add_option("DIR", line.resume.dir, "the mountpoint (default: all mounts of this user)");
  command->footer(std::string("Example:\n  linkspan resume /mnt/linkspan\n") + kExitText);
  command->callback([&line] { line.chosen = [&line] { return resume_command(line.resume); }; });
}

void add_token(CLI::App& app, CommandLine& line) {
  auto* token = app.add_subcommand("token", "Tokens: narrow.");
  token->require_subcommand(1);
  token->footer("Example:\n  linkspan token narrow --route memory=ro --out reader.token\n");
  auto* command = token->add_subcommand(
      "narrow",
      "Make a token that may do less, for a sub-agent: by the token that `linkspan mount` would "
      "use, or that of the mount at DIR. It ends with that one. Written to standard output.");
  auto& narrow = line.narrow;
  command->add_option("DIR", narrow.dir, "a mount, to be asked with its token");
  command
      ->add_option("--route", narrow.routes,
                   "what it may see: a route or a path below one, with =ro, =append, =no-delete or "
                   "=rw; may be repeated (default: all routes of the token, with its rights)")
      ->type_name("PATH[=RIGHTS]")
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--rights", narrow.rights, "at most these in all routes")
      ->type_name("RIGHTS")
      ->check(CLI::IsMember({"ro", "append", "no-delete", "rw"}));
  command
      ->add_option("--expires", narrow.expires,
                   "when it ends at the latest: in 15m, 2h, 3d, or at a date like 2026-11-20T14:30")
      ->type_name("TIME");
  command
      ->add_option("--sandbox", narrow.sandbox,
                   "its name: what it writes carries that of the token's sandbox, / and this one")
      ->type_name("NAME");
  command->add_option("--out", narrow.out, "write the token to this file, which gets the mode 0600")
      ->type_name("FILE");
  command->add_flag("--json", narrow.json, "as JSON");
  add_router(command, narrow.router);
  command->footer(
      std::string("Examples:\n"
                  "  linkspan token narrow --rights ro --expires 1h --out reader.token "
                  "/mnt/linkspan\n"
                  "  linkspan token narrow --route memory/projects/x --sandbox reviewer "
                  "--router unix:/run/linkspan/router.sock --token-file token\n") +
      kExitText);
  command->callback(
      [&line] { line.chosen = [&line] { return token_narrow_command(line.narrow); }; });
}

}  // namespace

void add_commands(CLI::App& app, CommandLine& line) {
  add_mount(app, line);
  add_umount(app, line);
  add_run(app, line);
  add_local(app, line);
  add_status(app, line);
  add_log(app, line);
  add_cat(app, line);
  add_diff(app, line);
  add_restore(app, line);
  add_resolve(app, line);
  add_resume(app, line);
  add_token(app, line);
}

}  // namespace linkspan::cli
