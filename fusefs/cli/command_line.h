// The program's flags and help texts; the only file that includes CLI11.
#pragma once

namespace linkspan::cli {

// Parses, runs the subcommand, answers the exit status.
int run_command_line(int argc, char** argv);

}  // namespace linkspan::cli
