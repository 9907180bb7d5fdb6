#include "fusefs/cli/local_stack.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "fusefs/cli/console.h"
#include "fusefs/cli/file_lock.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/postgres_cluster.h"

namespace linkspan::cli {

namespace {

using namespace std::chrono_literals;

constexpr auto kQuiet = 1s;        // waited before saying what for
constexpr auto kStartWait = 180s;  // for another's start, initdb included
constexpr int kPrunes = 10;        // that may come between, in a row
constexpr auto kStopWait = 60s;    // for servers that are stopping

Status wait_for_lock(const UniqueFd& file, int operation, std::chrono::milliseconds timeout,
                     const std::string& why) {
  LINKSPAN_TRY(bool locked, lock_within(file, operation, kQuiet));
  if (locked) return ok();
  say(why);
  LINKSPAN_TRY(locked, lock_within(file, operation, timeout));
  if (locked) return ok();
  return fail(Code::timed_out,
              why + ": gave up after " + std::to_string(timeout.count() / 1000) + " s");
}

// Reads what the supervisor says until it is ready, failed or gone.
Status await_supervisor(const UniqueFd& from, const std::string& log) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(from.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) text.append(buffer, static_cast<size_t>(n));
    while (text.rfind("error ", 0) != 0) {
      const size_t end = text.find('\n');
      if (end == std::string::npos) break;
      const std::string line = text.substr(0, end);
      text.erase(0, end + 1);
      if (line == "ready") return ok();
      if (line.rfind("progress ", 0) == 0) say(line.substr(9));
    }
    if (n > 0) continue;
    if (text.rfind("error ", 0) == 0) return fail(Code::unavailable, trim(text.substr(6)));
    return fail(Code::unavailable, "the private servers ended while starting (log: " + log + ")");
  }
}

Status start_supervisor(const LocalLayout& layout) {
  // Missing programs are said at once, before anything is made.
  if (auto routerd = find_routerd(); !routerd.ok()) return routerd.error();
  if (auto postgres = find_postgres(); !postgres.ok()) return postgres.error();
  LINKSPAN_TRY(auto ready, make_pipe());
  const std::string log_path = layout.root + "/local.log";
  const UniqueFd log(::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log) return system_error(log_path, errno);
  const UniqueFd self(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  if (!self) return system_error("/proc/self/exe", errno);
  SpawnOptions supervisor{
      .argv = {own_executable(), "local", "supervise", "--state-dir", dir_name(layout.root),
               "--ready-fd", std::to_string(ready.write.get())},
      .program_fd = self.get(),
      .out = log.get(),
      .err = log.get(),
      .keep = {ready.write.get()},
      .new_session = true};
  LINKSPAN_CHECK(([&]() -> Status {
    auto process = spawn(supervisor);
    if (!process.ok()) return process.error();
    return ok();
  }()));
  ready.write.reset();
  return await_supervisor(ready.read, log_path);
}

// The start lock; `local prune` may have taken away the file that we waited for.
Result<UniqueFd> lock_start(const std::string& state_dir) {
  for (int tries = 0; tries < kPrunes; ++tries) {
    LINKSPAN_TRY(const auto layout, local_layout(state_dir));
    LINKSPAN_CHECK(make_local_root(layout));
    auto start = open_lock(layout.start_lock());
    if (!start.ok() && start.code() == Code::not_found) continue;
    if (!start.ok()) return start.error();
    LINKSPAN_CHECK(wait_for_lock(*start, LOCK_EX, kStartWait,
                                 "another linkspan is starting the private servers; waiting"));
    if (is_at(*start, layout.start_lock())) return start;
  }
  return fail(Code::busy, "`linkspan local prune` removes the private servers again and again");
}

}  // namespace

std::optional<ProcessId> find_supervisor(const LocalLayout& layout) {
  const auto text = read_file(layout.running());
  if (!text.ok()) return std::nullopt;
  const auto words = split(trim(*text), ' ');
  if (words.size() != 2) return std::nullopt;
  const ProcessId process{std::atoi(words[0].c_str()),
                          std::strtoull(words[1].c_str(), nullptr, 10)};
  if (!is_alive(process)) return std::nullopt;
  return process;
}

Result<LocalStack> LocalStack::join(const std::string& state_dir) {
  LINKSPAN_TRY(const auto start, lock_start(state_dir));
  LINKSPAN_TRY(auto layout, local_layout(state_dir));
  LINKSPAN_CHECK(make_local_directories(&layout));
  LINKSPAN_TRY(auto users, open_lock(layout.users_lock()));
  LINKSPAN_CHECK(
      wait_for_lock(users, LOCK_SH, kStopWait, "the private servers are just stopping; waiting"));
  // With the start lock and a user's lock held, a supervisor that lives is ready and stays.
  LINKSPAN_TRY(const auto supervisor, open_lock(layout.supervisor_lock()));
  if (try_lock(supervisor, LOCK_EX)) {
    unlock(supervisor);
    LINKSPAN_CHECK(start_supervisor(layout));
  }
  return LocalStack(std::move(layout), std::move(users));
}

void LocalStack::hold_as_own() {
  // A shared one goes beside that of the parent, which keeps an exclusive one away meanwhile.
  auto own = open_lock(layout_.users_lock());
  if (own.ok() && try_lock(*own, LOCK_SH)) users_ = *std::move(own);
}

void LocalStack::leave(bool wait) {
  const auto supervisor = find_supervisor(layout_);
  const auto watch = supervisor ? open_process(*supervisor) : UniqueFd();
  users_.reset();
  if (!wait || !watch || ::access(layout_.keep().c_str(), F_OK) == 0) return;
  const auto users = open_lock(layout_.users_lock());
  // A shared lock goes beside other users, not beside a supervisor that is stopping; an exclusive
  // one only where nobody is left.
  if (!users.ok()) return;
  if (!try_lock(*users, LOCK_EX) && try_lock(*users, LOCK_SH)) return;
  unlock(*users);
  wait_for_end(watch, kStopWait);
}

}  // namespace linkspan::cli
