// linkspan: mounts the shared tree, runs commands in it, says how it is.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "fusefs/cli/command_line.h"
#include "fusefs/cli/commands.h"
#include "fusefs/cli/system.h"
#include "linkspan/arenas.h"

namespace {

// std::thread tells by an exception that there can be no more threads; nobody here can go on then.
[[noreturn]] void say_why_and_end() {
  try {
    if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
  } catch (const std::system_error& e) {
    if (e.code() == std::errc::resource_unavailable_try_again) {
      std::fprintf(stderr,
                   "linkspan: cannot start a thread: %s; allow more processes (ulimit -u, pids.max "
                   "of the container, TasksMax= of a unit)\n",
                   e.what());
      _exit(1);
    }
    std::fprintf(stderr, "linkspan: failed: %s\n", e.what());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "linkspan: failed: %s\n", e.what());
  } catch (...) {
  }
  std::abort();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace linkspan::cli;
  linkspan::limit_arenas();
  std::set_terminate(say_why_and_end);
  const std::string name = argc > 0 ? base_name(argv[0]) : "";
  const std::vector<std::string> arguments(argv + (argc > 0), argv + argc);
  if (name == "mount.linkspan") return mount_helper(arguments);
  if (name.rfind("umount.", 0) == 0) return umount_helper(arguments);
  if (argc > 1 && std::strcmp(argv[1], kExecInSandbox) == 0)
    return exec_in_sandbox(argc - 2, argv + 2);
  return run_command_line(argc, argv);
}
