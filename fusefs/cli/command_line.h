// The program's words: its commands are in command_options.h, what is wrong with them is said here.
#pragma once

namespace linkspan::cli {

// Parses, runs the subcommand, answers the exit status.
int run_command_line(int argc, char** argv);

}  // namespace linkspan::cli
