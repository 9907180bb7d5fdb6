#include "tests/support/pg_cluster.h"

#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace linkspan::test {
namespace {

using Command = std::vector<std::string>;

constexpr const char* kUser = "linkspan";
constexpr auto kStartTime = std::chrono::seconds(60);
constexpr auto kLook = std::chrono::milliseconds(20);  // between two looks at a starting server

std::string find_programs() {
  glob_t found{};
  std::string best;
  if (::glob("/usr/lib/postgresql/*/bin/initdb", 0, nullptr, &found) == 0)
    best = std::filesystem::path(found.gl_pathv[found.gl_pathc - 1]).parent_path();
  ::globfree(&found);
  if (best.empty())
    throw std::runtime_error(
        "PostgreSQL is not installed (no /usr/lib/postgresql/*/bin/initdb): apt-get install "
        "postgresql");
  return best;
}

// PostgreSQL does not run as root.
const passwd* server_user() {
  if (::geteuid() != 0) return nullptr;
  for (const char* name : {"postgres", "nobody"})
    if (const passwd* user = ::getpwnam(name)) return user;
  throw std::runtime_error("there is neither a user postgres nor nobody to run PostgreSQL as");
}

Command unprivileged(Command command) {
  Command out{"setpriv"};
  if (const passwd* user = server_user()) {
    out.push_back("--reuid=" + std::to_string(user->pw_uid));
    out.push_back("--regid=" + std::to_string(user->pw_gid));
    out.push_back("--clear-groups");
  }
  out.push_back("--pdeathsig=INT");
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

// Output goes to the end of `log`.
pid_t spawn(const Command& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  const int out = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  ::dup2(out, 1);
  ::dup2(out, 2);
  if (::chdir("/") != 0) ::_exit(126);
  ::execvp(arguments[0], arguments.data());
  ::_exit(127);
}

int run(const Command& command, const std::string& log) {
  int status = 0;
  if (::waitpid(spawn(command, log), &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

PgCluster::PgCluster(PgOptions options) : options_(options), bin_(find_programs()) {
  std::string name = "/tmp/lspg.XXXXXX";
  if (::mkdtemp(name.data()) == nullptr)
    throw std::runtime_error("cannot make a directory in /tmp");
  directory_ = name;
  if (const passwd* user = server_user())
    if (::chown(name.c_str(), user->pw_uid, user->pw_gid) != 0)
      throw std::runtime_error("cannot give " + name + " to " + user->pw_name);
  const Command init{
      program("initdb"), "-D",       data(), "-U", kUser, "-A", "trust", "--no-locale",
      "--encoding=UTF8", "--no-sync"};
  if (run(unprivileged(init), directory_ + "/log") != 0)
    throw std::runtime_error("initdb failed: " + log_tail());
  start();
}

PgCluster::~PgCluster() {
  stop();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void PgCluster::start() {
  Command command{program("postgres"),
                  "-D",
                  data(),
                  "-k",
                  directory_,
                  "-c",
                  "listen_addresses=",
                  "-c",
                  "max_connections=100",
                  "-c",
                  "shared_buffers=64MB"};
  if (!options_.durable)
    for (const char* off : {"fsync=off", "full_page_writes=off"})
      command.insert(command.end(), {"-c", off});
  server_ = spawn(unprivileged(command), directory_ + "/log");
  const auto deadline = std::chrono::steady_clock::now() + kStartTime;
  const Command ready{program("pg_isready"), "-q", "-h", directory_};
  while (run(ready, "/dev/null") != 0) {
    const bool gone = ::waitpid(server_, nullptr, WNOHANG) != 0;
    if (gone) server_ = 0;
    if (gone || std::chrono::steady_clock::now() > deadline)
      throw std::runtime_error("PostgreSQL did not start: " + log_tail());
    std::this_thread::sleep_for(kLook);
  }
}

void PgCluster::stop() {
  end(SIGINT);
}  // fast shutdown

void PgCluster::crash() {
  end(SIGQUIT);
}  // immediate shutdown

void PgCluster::end(int signal) {
  if (server_ == 0) return;
  ::kill(server_, signal);
  ::waitpid(server_, nullptr, 0);
  server_ = 0;
}

std::string PgCluster::conninfo(const std::string& database) const {
  return "host=" + directory_ + " user=" + kUser + " dbname=" + database;
}

void PgCluster::create_database(const std::string& name) {
  const Command create{program("createdb"), "-h", directory_, "-U", kUser, name};
  if (run(create, directory_ + "/createdb.log") != 0)
    throw std::runtime_error("createdb " + name + " failed, see " + directory_);
}

std::string PgCluster::log_tail() const {
  constexpr size_t kTail = 2000;
  std::stringstream text;
  text << std::ifstream(directory_ + "/log").rdbuf();
  const std::string all = text.str();
  return all.size() > kTail ? all.substr(all.size() - kTail) : all;
}

}  // namespace linkspan::test
