// linkspan local start|stop|status|prune
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/file_lock.h"
#include "fusefs/cli/json_text.h"
#include "fusefs/cli/local_stack.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kDownWait = 60s;

void print_servers(const LocalLayout& layout) {
  std::cout << "router  " << layout.router_address() << "\ntoken   " << layout.agent_token()
            << "\npublisher token  " << layout.publisher_token() << "\nstate   " << layout.root
            << "\n";
}

Status remove_tree(const std::string& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (error) return fail(Code::io, "cannot remove " + path + ": " + error.message());
  return ok();
}

// Nobody starts the servers, nor do they run, until it is out of the way. Who waits for the start
// lock meanwhile finds that it is not the file of that name any more.
Status remove_all_of(const LocalLayout& layout) {
  LINKSPAN_TRY(const auto start, open_lock(layout.start_lock()));
  LINKSPAN_TRY(const auto supervisor, open_lock(layout.supervisor_lock()));
  if (!try_lock(start, LOCK_EX) || !is_at(start, layout.start_lock()) ||
      !try_lock(supervisor, LOCK_EX))
    return fail(Code::busy,
                "the private servers are just starting or stopping; first: linkspan local stop");
  LINKSPAN_CHECK(remove_tree(layout.sockets));
  const std::string away = layout.root + ".pruned";
  LINKSPAN_CHECK(remove_tree(away));  // of one that was killed
  if (::rename(layout.root.c_str(), away.c_str()) != 0) return system_error(layout.root, errno);
  return remove_tree(away);
}

}  // namespace

int local_start_command(const LocalOptions& options) {
  (void)take_token_variables();  // not for the servers
  auto stack = LocalStack::join(options.state_dir);
  if (!stack.ok()) return complain(stack.error());
  if (auto kept = write_file(stack->layout().keep(), "", 0600); !kept.ok())
    return complain(kept.error());
  print_servers(stack->layout());
  stack->leave(false);
  return kSuccess;
}

int local_stop_command(const LocalOptions& options) {
  auto layout = local_layout(options.state_dir);
  if (!layout.ok()) return complain(layout.error());
  const auto supervisor = find_supervisor(*layout);
  const auto users = lock_holders(layout->users_lock());
  if (supervisor && !users.empty() && !options.force)
    return complain("the private servers are in use by " + std::to_string(users.size()) +
                    " mounts (first: pid " + std::to_string(users.front()) +
                    "); unmount those, or give --force");
  ::unlink(layout->keep().c_str());
  const auto watch = supervisor ? open_process(*supervisor) : UniqueFd();
  if (!watch) {
    say("the private servers are not running");
    return kSuccess;
  }
  signal_process(watch, SIGTERM);
  if (!wait_for_end(watch, kDownWait))
    return complain("the private servers (pid " + std::to_string(supervisor->pid) +
                    ") do not stop; see " + layout->root + "/local.log");
  say("stopped the private servers; their data stays in " + layout->root);
  return kSuccess;
}

int local_status_command(const LocalOptions& options) {
  auto layout = local_layout(options.state_dir);
  if (!layout.ok()) return complain(layout.error());
  const auto supervisor = find_supervisor(*layout);
  const bool kept = ::access(layout->keep().c_str(), F_OK) == 0;
  const auto users = supervisor ? lock_holders(layout->users_lock()) : std::vector<pid_t>();
  if (options.json) {
    std::cout << dump_text({{"running", supervisor.has_value()},
                            {"pid", supervisor ? supervisor->pid : 0},
                            {"kept", kept},
                            {"users", users},
                            {"router", layout->router_address()},
                            {"token_file", layout->agent_token()},
                            {"publisher_token_file", layout->publisher_token()},
                            {"state_dir", layout->root}});
  } else if (supervisor) {
    std::cout << coloured(1, Colour::good, "running") << "  pid " << supervisor->pid << ", "
              << users.size() << (users.size() == 1 ? " user" : " users")
              << (kept ? ", stays without users" : "") << "\n";
    print_servers(*layout);
  } else {
    std::cout << "not running\nstate   " << layout->root << "\n";
  }
  return supervisor ? kSuccess : kFailure;
}

int local_prune_command(const LocalOptions& options) {
  auto layout = local_layout(options.state_dir);
  if (!layout.ok()) return complain(layout.error());
  if (find_supervisor(*layout))
    return complain("the private servers are running; first: linkspan local stop");
  if (::access(layout->root.c_str(), F_OK) != 0) {
    say("there is nothing in " + layout->root);
    return kSuccess;
  }
  if (!options.force) {
    if (!::isatty(0))
      return complain("removing " + layout->root + " loses what is stored there; give --yes");
    std::cout << "Remove " << layout->root << " and everything stored in it? [y/N] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "yes") return kFailure;
  }
  if (auto removed = remove_all_of(*layout); !removed.ok()) return complain(removed.error());
  say("removed " + layout->root);
  return kSuccess;
}

}  // namespace linkspan::cli
