#include "fusefs/cli/local_router.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

// Beside a token's file lies its hash, for the configuration. The hash is written last: without it
// both are made anew.
Result<std::string> token_hash(const std::string& path, const std::string& routerd) {
  const std::string hash_path = path + ".sha256";
  if (auto hash = read_file(hash_path); hash.ok() && ::access(path.c_str(), R_OK) == 0)
    return trim(*hash);
  LINKSPAN_TRY(const auto output, run_program({.argv = {routerd, "token", "new"}}, 10s));
  const auto json = nlohmann::json::parse(output.text, nullptr, false);
  if (output.status != 0 || !json.is_object() || !json.contains("token") ||
      !json.contains("sha256"))
    return fail(Code::io, routerd + " token new failed: " + trim(output.text));
  const auto hash = json["sha256"].get<std::string>();
  LINKSPAN_CHECK(write_file(path, json["token"].get<std::string>() + "\n", 0600));
  LINKSPAN_CHECK(write_file(hash_path, hash + "\n", 0600));
  return hash;
}

std::string token_section(const std::string& hash, const std::string& principal,
                          const std::string& skills_rights) {
  std::string text =
      "\n[[tenant.token]]\nsha256 = \"" + hash + "\"\nprincipal = \"" + principal + "\"\n";
  const std::array<std::array<std::string, 3>, 3> routes = {
      {{"skills", skills_rights, "reject"},
       {"memory", "rw", "merge"},
       {"sessions", "rw", "last-writer-wins"}}};
  for (const auto& [name, rights, policy] : routes)
    text += "[[tenant.token.route]]\npath = \"" + name + "\"\nvolume = \"" + name +
            "\"\nrights = \"" + rights + "\"\npolicy = \"" + policy + "\"\n";
  return text;
}

// Waits for the line that says it listens; the error is what its log says.
Status await_ready(const UniqueFd& ready, const UniqueFd& watch, const LocalLayout& layout,
                   std::chrono::milliseconds timeout) {
  std::string line;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd poll_fd{ready.get(), POLLIN, 0};
    const int n = ::poll(&poll_fd, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
    if (n < 0 && errno == EINTR) continue;
    char buffer[4096];
    const ssize_t bytes = n > 0 ? ::read(ready.get(), buffer, sizeof buffer) : 0;
    if (bytes > 0) line.append(buffer, static_cast<size_t>(bytes));
    if (line.find('\n') != std::string::npos) return ok();
    if (bytes > 0) continue;
    if (watch) signal_process(watch, SIGKILL);
    return fail(Code::unavailable, std::string("the private router ") +
                                       (n > 0 ? "ended while starting" : "was not ready in time") +
                                       " (log: " + layout.router_log() + "):\n" +
                                       tail_of_file(layout.router_log()));
  }
}

}  // namespace

Status write_router_config(const LocalLayout& layout, const std::string& routerd,
                           const std::string& store_url) {
  LINKSPAN_TRY(const auto agent, token_hash(layout.agent_token(), routerd));
  LINKSPAN_TRY(const auto publisher, token_hash(layout.publisher_token(), routerd));
  std::string text =
      "# Written at each start of the embedded default; changes are lost.\nstore = \"" + store_url +
      "\"\nlisten = [\"" + layout.router_address() + "\"]\n\n[[tenant]]\nname = \"local\"\n";
  for (const char* volume : {"skills", "memory", "sessions"})
    text += std::string("[[tenant.volume]]\nname = \"") + volume + "\"\n";
  text += token_section(agent, "agent", "ro") + token_section(publisher, "publisher", "rw");
  LINKSPAN_CHECK(write_file(layout.router_config(), text, 0600));
  if (layout.user &&
      ::chown(layout.router_config().c_str(), layout.user->first, layout.user->second) != 0)
    return system_error(layout.router_config(), errno);
  return ok();
}

Result<ProcessId> start_router(const LocalLayout& layout, const std::string& routerd,
                               std::chrono::milliseconds timeout) {
  LINKSPAN_TRY(auto ready, make_pipe());
  // Opened while we may: the other user need not be able to reach the path.
  const UniqueFd program(::open(routerd.c_str(), O_RDONLY | O_CLOEXEC));
  if (!program) return system_error(routerd, errno);
  const UniqueFd log(
      ::open(layout.router_log().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return system_error(layout.router_log(), errno);
  SpawnOptions router{.argv = {routerd, "--config", layout.router_config(), "--wait-store", "2",
                               "--ready-fd", std::to_string(ready.write.get())},
                      .program_fd = program.get(),
                      .user = layout.user,
                      .out = log.get(),
                      .err = log.get(),
                      .keep = {ready.write.get()},
                      .new_session = true,
                      .death_signal = SIGTERM};
  LINKSPAN_TRY(const auto process, spawn(router));
  ready.write.reset();
  const auto watch = open_process(process);
  auto started = await_ready(ready.read, watch, layout, timeout);
  if (!started.ok()) {
    (void)wait_child(process.pid).ok();
    return started.error();
  }
  return process;
}

}  // namespace linkspan::cli
