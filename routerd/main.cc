// linkspan-routerd: see --help.
#include <cstdio>
#include <exception>

#include "linkspan/arenas.h"
#include "routerd/config/token.h"
#include "routerd/daemon/command_line.h"
#include "routerd/daemon/log.h"
#include "routerd/daemon/serve.h"

namespace {

using namespace linkspan;

constexpr int kUsage = 2;

int new_token() {
  const auto token = store::new_token();
  if (!token.ok()) {
    std::fprintf(stderr, "linkspan-routerd: %s\n", token.error().message.c_str());
    return 1;
  }
  std::printf("{\"token\":\"%s\",\"sha256\":\"%s\"}\n", token->c_str(),
              config::to_hex(store::hash_token(*token)).c_str());
  return 0;
}

int run(int argc, char** argv) {
  const auto flags = daemon::parse_command_line(argc, argv);
  switch (flags.action) {
    case daemon::CommandLine::Action::exit:
      std::fputs(flags.out.c_str(), stdout);
      std::fputs(flags.err.c_str(), stderr);
      return flags.exit_code;
    case daemon::CommandLine::Action::new_token:
      return new_token();
    default:
      break;
  }
  const auto effective = daemon::effective_config(flags);
  for (const std::string& problem : effective.problems)
    std::fprintf(stderr, "linkspan-routerd: %s\n", problem.c_str());
  if (!effective.problems.empty()) return kUsage;
  if (flags.action == daemon::CommandLine::Action::check_config) {
    std::fputs(config::summary(effective.config).c_str(), stdout);
    return 0;
  }
  daemon::set_up_log(effective.config.log_level, effective.config.log_format);
  return daemon::serve(effective.config, flags.ready_fd, std::chrono::seconds(flags.wait_store_s));
}

}  // namespace

int main(int argc, char** argv) {
  linkspan::limit_arenas();
  linkspan::daemon::block_signals();
  try {
    return run(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "linkspan-routerd: failed: %s\n", e.what());
    return 1;
  }
}
