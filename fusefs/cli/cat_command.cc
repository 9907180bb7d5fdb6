// linkspan cat
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/past_version.h"
#include "fusefs/cli/router_watch.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

int cat_command(const VersionOptions& options) {
  if (const auto named = names_version(options.path, options.version, options.which); !named.ok()) {
    complain(named.error());
    return kUsage;
  }
  const RouterWatch watch(options.path);
  const auto past = find_past_version(options.path, options.version, options.which);
  if (!past.ok()) return complain(watch.explain(past.error()));
  const auto done =
      past->content([](const std::string& piece) { return write_all(STDOUT_FILENO, piece); });
  if (!done.ok()) return complain(watch.explain(done.error()));
  return kSuccess;
}

}  // namespace linkspan::cli
