// The commands of the program with their flags and help texts.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/local_supervisor.h"

namespace linkspan::cli {

// What a parse fills in. `chosen` is set by the subcommand that was named.
struct CommandLine {
  MountOptions mount;
  UmountOptions umount;
  RunOptions run;
  LocalOptions local;
  SupervisorOptions supervisor;
  StatusOptions status;
  LogCommandOptions log;
  VersionOptions cat;
  DiffOptions diff;
  RestoreOptions restore;
  ResolveOptions resolve;
  ResumeOptions resume;
  TokenNarrowOptions narrow;
  std::function<int()> chosen;
};

// `line` outlives `app`.
void add_commands(CLI::App& app, CommandLine& line);

}  // namespace linkspan::cli
