#include "tests/wire/router_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace linkspan::test {
namespace {

constexpr int kReadyMilliseconds = 20'000 * test::kSlowdown;
constexpr int kReadyFd = 3;

std::string program() {
  const char* path = std::getenv("LINKSPAN_ROUTERD");
  if (!path) throw std::runtime_error("LINKSPAN_ROUTERD is not set; run this by `meson test`");
  return path;
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

// Forks and executes; `ready` (or -1) becomes descriptor 3 of the child.
pid_t spawn(const std::vector<std::string>& arguments, const std::string& out,
            const std::string& err, int ready) {
  std::vector<std::string> all = {program()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& one : all) argv.push_back(one.data());
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  constexpr int kFlags = O_CREAT | O_WRONLY | O_APPEND;
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(open(out.c_str(), kFlags, 0600), 1);
  dup2(open(err.c_str(), kFlags, 0600), 2);
  if (ready >= 0 && ready != kReadyFd) dup2(ready, kReadyFd);
  if (ready == kReadyFd) fcntl(ready, F_SETFD, 0);
  execv(argv[0], argv.data());
  _exit(127);
}

int status_of(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string make_dir() {
  char path[] = "/tmp/linkspan-wire-XXXXXX";
  if (!mkdtemp(path)) throw std::runtime_error("mkdtemp failed");
  return path;
}

}  // namespace

Ran run_routerd(const std::vector<std::string>& arguments) {
  const std::string dir = make_dir();
  Ran ran;
  ran.status = status_of(spawn(arguments, dir + "/out", dir + "/err", -1));
  ran.out = slurp(dir + "/out");
  ran.err = slurp(dir + "/err");
  std::filesystem::remove_all(dir);
  return ran;
}

RouterProcess::RouterProcess(Options options) : options_(std::move(options)), dir_(make_dir()) {
  const auto made = nlohmann::json::parse(run_routerd({"token", "new"}).out);
  token_ = made.at("token").get<std::string>();
  token_hash_ = made.at("sha256").get<std::string>();
  write_config();
  start();
}

RouterProcess::~RouterProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    status_of(pid_);
  }
  std::filesystem::remove_all(dir_);
}

void RouterProcess::write_config() const {
  std::ofstream out(dir_ + "/router.toml");
  out << "store = \"" << options_.store << "\"\n"
      << "listen = [\"" << unix_address() << "\", \"127.0.0.1:0\"]\n"
      << "lease_ms = " << options_.lease_ms << "\nspool_dir = \"" << dir_ << "\"\n"
      << "[[tenant]]\nname = \"default\"\n"
      << "[[tenant.volume]]\nname = \"memory\"\n[[tenant.volume]]\nname = \"skills\"\n"
      << "[[tenant.token]]\nsha256 = \"" << token_hash_ << "\"\nprincipal = \"agent\"\n"
      << "[[tenant.token.route]]\npath = \"memory\"\nvolume = \"memory\"\nrights = \"rw\"\n"
      << "[[tenant.token.route]]\npath = \"skills\"\nvolume = \"skills\"\nrights = \"ro\"\n";
}

void RouterProcess::start() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  std::vector<std::string> arguments = {"--config", dir_ + "/router.toml", "--ready-fd",
                                        std::to_string(kReadyFd)};
  arguments.insert(arguments.end(), options_.arguments.begin(), options_.arguments.end());
  pid_ = spawn(arguments, dir_ + "/out", dir_ + "/err", ends[1]);
  close(ends[1]);
  std::string line;
  char byte = 0;
  pollfd ready{ends[0], POLLIN, 0};
  while (poll(&ready, 1, kReadyMilliseconds) > 0 && read(ends[0], &byte, 1) == 1 && byte != '\n')
    line += byte;
  close(ends[0]);
  if (byte != '\n') throw std::runtime_error("the router did not come up:\n" + log());
  tcp_ = nlohmann::json::parse(line).at("listen").at(1).get<std::string>();
}

void RouterProcess::signal(int number) const {
  kill(pid_, number);
}

void RouterProcess::limit_descriptors(unsigned most) const {
  const rlimit limit{most, most};
  if (prlimit(pid_, RLIMIT_NOFILE, &limit, nullptr) != 0)
    throw std::runtime_error("prlimit failed");
}

int RouterProcess::wait() {
  const int status = status_of(pid_);
  pid_ = -1;
  return status;
}

std::string RouterProcess::log() const {
  return slurp(dir_ + "/err");
}

std::shared_ptr<grpc::Channel> RouterProcess::connect(const std::string& address) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace linkspan::test
