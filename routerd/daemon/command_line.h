// The command line of linkspan-routerd, and how it is laid over the configuration file.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "routerd/config/config.h"

namespace linkspan::daemon {

struct CommandLine {
  enum class Action : uint8_t { serve, check_config, new_token, exit };
  Action action = Action::exit;
  int exit_code = 0;     // of Action::exit
  std::string out, err;  // to be printed for Action::exit

  std::optional<std::string> config;
  std::optional<std::string> store, spool_dir, socket_mode, log_level, log_format;
  std::vector<std::string> listen;  // replaces the file's
  std::optional<int64_t> lease_ms, workers;
  bool allow_plaintext_tcp = false;
  int ready_fd = -1;
  int wait_store_s = 30;  // for a store that is away at the start
};

// Never exits by itself. Mistakes: Action::exit with code 2 and a message that names the mend.
CommandLine parse_command_line(int argc, const char* const* argv);

// Loads the file, lays the flags over it, checks the whole. Problems: one message each.
config::Parsed effective_config(const CommandLine& flags);

}  // namespace linkspan::daemon
