#include "fusefs/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/local_supervisor.h"
#include "fusefs/cli/preflight.h"

namespace linkspan::cli {

namespace {

// What a parse fills in. `chosen` is set by the subcommand that was named.
struct CommandLine {
  MountOptions mount;
  UmountOptions umount;
  RunOptions run;
  LocalOptions local;
  SupervisorOptions supervisor;
  StatusOptions status;
  LogCommandOptions log;
  std::function<int()> chosen;
};

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

void add_router(CLI::App* command, RouterOptions& router) {
  auto* address = command
                      ->add_option("--router", router.address,
                                   "the router: unix:/path or HOST:PORT (else $LINKSPAN_ROUTER)")
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
  command
      ->add_flag("--local", router.local,
                 "use a private PostgreSQL and router under the state directory; they start when "
                 "needed, end with their last user, and keep their data")
      ->excludes(address);
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
      "umount", "Write what is unsaved, unmount DIR, and end its process. Cleans up a dead mount.");
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
  add_logging(command, run.log);
  command->footer(
      "CMD starts when the tree answers, in /workspace, with the terminal and the rest of the "
      "machine as they are. What it wrote is stored, and everything is cleaned up, when it ends. "
      "Examples:\n"
      "  linkspan run --local -- bash\n"
      "  linkspan run --router HOST:PORT --token-file FILE --workspace . -- claude\n"
      "Exit status: that of CMD (128 + N if signal N ended it); 1 if the tree could not be "
      "presented or kept; 2 wrong usage; 126, 127 CMD cannot be run.");
  command->callback([&line] { line.chosen = [&line] { return run_command(line.run); }; });
}

void add_local(CLI::App& app, CommandLine& line) {
  auto* local = app.add_subcommand(
      "local", "The private PostgreSQL and router of --local: start, stop, status, prune.");
  local->require_subcommand(1);
  local->footer(std::string("Example:\n  linkspan local status\n") + kExitText);
  const auto add = [&](const char* name, const char* text, int (*run)(const LocalOptions&)) {
    auto* command = local->add_subcommand(name, text);
    add_state_dir(command, line.local.state_dir);
    command->callback([&line, run] { line.chosen = [&line, run] { return run(line.local); }; });
    return command;
  };
  add("start", "Start them now, to stay until `linkspan local stop`.", local_start_command);
  add("stop", "Stop them; their data stays.", local_stop_command)
      ->add_flag("--force", line.local.force, "also while mounts use them");
  add("status", "Say whether they run, and where; exit status 1 if not.", local_status_command)
      ->add_flag("--json", line.local.json, "as JSON");
  add("prune", "Remove them with everything stored in them.", local_prune_command)
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
  auto* command =
      app.add_subcommand("log", "Say who changed PATH, from where and when: the recent changes.");
  command->add_option("PATH", line.log.path, "a file or directory on a mount")->required();
  command->add_option("--limit,-n", line.log.limit, "at most this many changes")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", line.log.json, "as JSON, one object a line");
  command->footer(std::string("Example:\n  linkspan log /mnt/linkspan/memory/MEMORY.md\n") +
                  kExitText);
  command->callback([&line] { line.chosen = [&line] { return log_command(line.log); }; });
}

int usage_error(const CLI::App& app, const CLI::ParseError& error) {
  std::string name = "linkspan";
  for (const auto* sub = &app; !sub->get_subcommands().empty();) {
    sub = sub->get_subcommands().front();
    name += " " + sub->get_name();
  }
  say(std::string(error.what()) + "; see: " + name + " --help");
  return kUsage;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CommandLine line;
  CLI::App app("Shared skills, memory and sessions for agents, as ordinary files.", "linkspan");
  app.set_version_flag("--version", "linkspan " LINKSPAN_VERSION);
  app.require_subcommand(1);
  app.footer(
      "`linkspan COMMAND --help` has the options and an example.\n"
      "Try: linkspan run --local -- bash");
  add_mount(app, line);
  add_umount(app, line);
  add_run(app, line);
  add_local(app, line);
  add_status(app, line);
  add_log(app, line);

  // The command of `run` is everything after the first "--", flags and all.
  int own = argc;
  if (argc > 1 && std::strcmp(argv[1], "run") == 0)
    for (int i = 2; i < argc; ++i)
      if (std::strcmp(argv[i], "--") == 0) {
        own = i;
        line.run.command.assign(argv + i + 1, argv + argc);
        break;
      }
  try {
    app.parse(own, argv);
    if (app.got_subcommand("run") && line.run.command.empty()) throw CLI::RequiredError("-- CMD");
  } catch (const CLI::ParseError& error) {
    // --help and --version end here too.
    if (error.get_exit_code() == 0) return app.exit(error);
    return usage_error(app, error);
  }
  return line.chosen();
}

}  // namespace linkspan::cli
