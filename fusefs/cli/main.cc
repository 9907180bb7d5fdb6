// linkspan: mounts the shared tree, runs commands in it, says how it is.
#include <cstring>
#include <string>
#include <vector>

#include "fusefs/cli/command_line.h"
#include "fusefs/cli/commands.h"
#include "fusefs/cli/system.h"
#include "linkspan/arenas.h"

int main(int argc, char** argv) {
  using namespace linkspan::cli;
  linkspan::limit_arenas();
  const std::string name = argc > 0 ? base_name(argv[0]) : "";
  const std::vector<std::string> arguments(argv + (argc > 0), argv + argc);
  if (name == "mount.linkspan") return mount_helper(arguments);
  if (name.rfind("umount.", 0) == 0) return umount_helper(arguments);
  if (argc > 1 && std::strcmp(argv[1], kExecInSandbox) == 0)
    return exec_in_sandbox(argc - 2, argv + 2);
  return run_command_line(argc, argv);
}
