#include "fusefs/cli/postgres_cluster.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <thread>

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kInitdbTimeout = 120s;
constexpr auto kReadyPoll = 20ms;  // postmaster.pid has no event of its own
constexpr auto kStopTimeout = 30s;
constexpr int kStartTries = 10;  // after a kill
constexpr auto kStartPause = 300ms;

Result<int> major_version(const std::string& bin) {
  LINKSPAN_TRY(const auto output, run_program({.argv = {bin + "/postgres", "--version"}}, 10s));
  // "postgres (PostgreSQL) 15.16 (Debian ...)"
  const auto words = split(trim(output.text), ' ');
  const int major = words.size() > 2 ? std::atoi(words[2].c_str()) : 0;
  if (output.status != 0 || major == 0)
    return fail(Code::unsupported, bin + "/postgres does not say its version: " + output.text);
  return major;
}

std::vector<std::string> candidate_directories() {
  std::vector<std::string> found;
  if (auto initdb = find_program("initdb")) found.push_back(dir_name(absolute_path(*initdb)));
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql", error))
    found.push_back(entry.path().string() + "/bin");
  return found;
}

Result<UniqueFd> open_log(const ClusterOptions& options) {
  UniqueFd log(::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return system_error(options.log, errno);
  return log;
}

// Is it a server of this very data directory? One of another (the machine's own PostgreSQL) may
// have got the number since. A server's working directory is its data directory; where we may not
// look at that (root without CAP_SYS_PTRACE), its command line tells.
bool serves(pid_t pid, const std::string& data) {
  const std::string proc = "/proc/" + std::to_string(pid);
  char cwd[PATH_MAX];
  const ssize_t n = ::readlink((proc + "/cwd").c_str(), cwd, sizeof cwd);
  if (n > 0) return std::string_view(cwd, static_cast<size_t>(n)) == real_path(data);
  const auto command = read_file(proc + "/cmdline");
  if (!command.ok()) return false;
  const auto words = split(*command, '\0');
  const auto flag = std::find(words.begin(), words.end(), "-D");
  return flag != words.end() && flag + 1 != words.end() && *(flag + 1) == data;
}

// The postmaster of `data` that a lock file names, if it runs. A file whose process is gone goes
// too: its number may mean another program by now, or one that died and that nobody has waited for
// (a container without an init), and PostgreSQL would refuse to start for either. Nobody else uses
// these directories: we hold the supervisor's lock.
std::optional<ProcessId> owner_of(const std::string& lock_file, const std::string& data) {
  const auto text = read_file(lock_file);
  if (!text.ok()) return std::nullopt;
  const pid_t pid = std::atoi(text->c_str());
  const auto start = process_start(pid);
  const auto name = read_file("/proc/" + std::to_string(pid) + "/comm");
  if (start && name.ok() && trim(*name) == "postgres" && serves(pid, data))
    return ProcessId{pid, *start};
  ::unlink(lock_file.c_str());
  return std::nullopt;
}

Status end_previous(const ClusterOptions& options) {
  for (const auto& lock_file :
       {options.data + "/postmaster.pid", options.sockets + "/.s.PGSQL.5432.lock"}) {
    const auto previous = owner_of(lock_file, options.data);
    const auto process = previous ? open_process(*previous) : UniqueFd();
    if (!process) continue;
    signal_process(process, SIGINT);  // fast shutdown
    if (!wait_for_end(process, kStopTimeout))
      return fail(Code::busy, "an earlier PostgreSQL (pid " + std::to_string(previous->pid) +
                                  ") on " + options.data + " does not end; look into " +
                                  options.log);
    (void)owner_of(lock_file, options.data);
  }
  return ok();
}

// What this very server says of itself, not one that a power cut left behind.
bool is_ready(const std::string& data, pid_t pid) {
  const auto text = read_file(data + "/postmaster.pid");
  if (!text.ok()) return false;
  const auto lines = split(*text, '\n');  // the first is its pid, the eighth its state
  return lines.size() > 7 && std::atoi(lines[0].c_str()) == pid && trim(lines[7]) == "ready";
}

SpawnOptions server_options(const ClusterOptions& options, int log) {
  return {
      .argv = {options.programs.bin + "/postgres", "-D", options.data, "-k", options.sockets, "-c",
               "listen_addresses=", "-c", "unix_socket_permissions=0700", "-c",
               "max_connections=60", "-c", "shared_buffers=32MB", "-c", "logging_collector=off"},
      .user = options.user,
      .out = log,
      .err = log,
      .new_session = true,
      .death_signal = SIGINT};
}

// One try. The error's `busy` means that the server ended by itself.
Result<ProcessId> try_start(const ClusterOptions& options, int log,
                            std::chrono::steady_clock::time_point deadline) {
  LINKSPAN_TRY(const auto process, spawn(server_options(options, log)));
  const auto watch = open_process(process);
  while (!is_ready(options.data, process.pid)) {
    const bool late = std::chrono::steady_clock::now() >= deadline;
    if (!late && watch && !wait_for_end(watch, kReadyPoll)) continue;
    if (late && watch) signal_process(watch, SIGQUIT);
    (void)wait_child(process.pid).ok();
    return fail(late ? Code::timed_out : Code::busy,
                std::string("PostgreSQL ") +
                    (late ? "was not ready in time" : "ended while starting") +
                    " (log: " + options.log + "):\n" + tail_of_file(options.log));
  }
  return process;
}

}  // namespace

Result<PostgresPrograms> find_postgres() {
  PostgresPrograms best;
  for (const auto& bin : candidate_directories()) {
    if (!find_program(bin + "/initdb") || !find_program(bin + "/postgres")) continue;
    if (auto major = major_version(bin); major.ok() && *major > best.major) best = {bin, *major};
  }
  const std::string mend = "; install it with: apt-get install postgresql";
  if (best.major == 0)
    return fail(Code::not_found,
                "PostgreSQL is missing (no initdb and postgres in PATH or "
                "/usr/lib/postgresql/*/bin)" +
                    mend);
  if (best.major < kPostgresMajor)
    return fail(Code::unsupported, "PostgreSQL " + std::to_string(best.major) + " in " + best.bin +
                                       " is too old, " + std::to_string(kPostgresMajor) +
                                       " or newer is needed" + mend);
  return best;
}

Result<bool> prepare_cluster(const ClusterOptions& options) {
  const std::string complete = options.data + "/linkspan-complete";
  if (::access(complete.c_str(), F_OK) == 0) return false;
  if (errno != ENOENT) return system_error(complete, errno);
  // A cluster that served once has more than initdb makes: nobody but its owner may remove that.
  if (::access((options.data + "/postmaster.opts").c_str(), F_OK) == 0)
    return fail(Code::io, complete + " is missing, though a cluster ran in " + options.data +
                              "; if it was restored whole: touch " + complete +
                              "; else move the directory away");
  std::error_code error;
  std::filesystem::remove_all(options.data, error);
  if (::mkdir(options.data.c_str(), 0700) != 0) return system_error(options.data, errno);
  if (options.user && ::chown(options.data.c_str(), options.user->first, options.user->second) != 0)
    return system_error(options.data, errno);
  auto output = run_program(
      {.argv = {options.programs.bin + "/initdb", "--pgdata", options.data, "--username",
                options.user_name, "--auth", "peer", "--encoding", "UTF8", "--no-locale"},
       .user = options.user},
      std::chrono::milliseconds(kInitdbTimeout));
  if (!output.ok()) return output.error();
  if (output->status != 0 && output->text.find("No space left on device") != std::string::npos) {
    std::filesystem::remove_all(options.data, error);
    return fail(Code::no_space, "the disk of " + options.data +
                                    " is full: the private PostgreSQL cluster begins with about "
                                    "40 MB; free some space there, or choose another place: "
                                    "--state-dir DIR");
  }
  if (output->status != 0)
    return fail(Code::io, "initdb failed in " + options.data + ":\n" + trim(output->text));
  LINKSPAN_CHECK(write_file(options.data + "/linkspan-complete", "1\n", 0644));
  return true;
}

Result<ProcessId> start_cluster(const ClusterOptions& options, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  const bool killed = ::access((options.data + "/postmaster.pid").c_str(), F_OK) == 0 ||
                      ::access((options.sockets + "/.s.PGSQL.5432.lock").c_str(), F_OK) == 0;
  LINKSPAN_CHECK(end_previous(options));
  LINKSPAN_TRY(const auto log, open_log(options));
  // After a kill its orphaned workers may hold the shared memory for a moment, and nothing
  // announces their end to us.
  auto process = try_start(options, log.get(), deadline);
  for (int tries = 1;
       killed && !process.ok() && process.code() == Code::busy && tries < kStartTries; ++tries) {
    std::this_thread::sleep_for(kStartPause);
    process = try_start(options, log.get(), deadline);
  }
  return process;
}

std::string cluster_url(const ClusterOptions& options) {
  std::string host;
  for (const char c : options.sockets) host += c == '/' ? std::string("%2F") : std::string(1, c);
  return "postgresql://" + options.user_name + "@/postgres?host=" + host;
}

}  // namespace linkspan::cli
