#include "fusefs/cli/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "fusefs/cli/commands.h"
#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_stack.h"
#include "fusefs/cli/mountinfo.h"

namespace linkspan::cli {

namespace {

namespace fs = std::filesystem;

constexpr const char* kRunPrefix = "linkspan-run.";
constexpr int kRunDirectoryTries = 100;  // each is lost only to another run's start

Status write_proc(const std::string& path, const std::string& text) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) return system_error(path, errno);
  auto written = write_all(fd.get(), text);
  if (!written.ok()) return Error{written.code(), path + ": " + written.error().message, 0};
  return ok();
}

Error no_namespace(int error) {
  std::string mend;
  if (error == ENOSPC)
    mend = "raise the limit: sysctl user.max_user_namespaces=15000";
  else
    mend =
        "user namespaces are switched off, or this is a chroot, which is given none; as root: "
        "sysctl kernel.unprivileged_userns_clone=1 (Debian), "
        "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), or start the container with "
        "--security-opt seccomp=unconfined";
  return fail(Code::not_permitted,
              std::string("cannot make a user namespace: ") + std::strerror(error) + "; " + mend);
}

Status map_ids(uid_t uid, gid_t gid) {
  LINKSPAN_CHECK(write_proc("/proc/self/setgroups", "deny"));
  const std::string user = std::to_string(uid), group = std::to_string(gid);
  LINKSPAN_CHECK(write_proc("/proc/self/uid_map", user + " " + user + " 1"));
  return write_proc("/proc/self/gid_map", group + " " + group + " 1");
}

std::string link_target(const std::string& path) {
  char target[PATH_MAX];
  const ssize_t n = ::readlink(path.c_str(), target, sizeof target);
  return n > 0 ? std::string(target, static_cast<size_t>(n)) : std::string();
}

// Removes directories that killed runs left. A directory in use is locked; removing one that is
// mounted on in another namespace would take the mount away.
void remove_left_over(const std::string& parent) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    if (entry.path().filename().string().rfind(kRunPrefix, 0) != 0) continue;
    struct stat st;
    if (::lstat(entry.path().c_str(), &st) != 0 || st.st_uid != ::geteuid()) continue;
    const UniqueFd fd(::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) ::rmdir(entry.path().c_str());
  }
}

}  // namespace

Status enter_mount_namespace() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (can_mount() && ::unshare(CLONE_NEWNS) == 0) {
    // root: no user namespace is needed
  } else {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return no_namespace(errno);
    LINKSPAN_CHECK(map_ids(uid, gid));
  }
  // The machine's later mounts come in, ours do not get out.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
    const bool chrooted = errno == EINVAL;
    const Error error = system_error("cannot make the mounts of / private", errno);
    if (!chrooted) return error;
    return fail(error.code, error.message +
                                "; this is a chroot whose / is no mount: enter it with "
                                "pivot_root(8), or as a container");
  }
  return ok();
}

Result<RunDirectory> make_run_directory() {
  const char* parent = ::getenv("TMPDIR");
  const std::string place = real_path(parent && *parent == '/' ? parent : "/tmp");
  remove_left_over(place);
  // Until it is locked, another run that starts takes it for left over and may remove it.
  for (int tries = 0; tries < kRunDirectoryTries; ++tries) {
    std::string path = place + "/" + kRunPrefix + "XXXXXX";
    if (!::mkdtemp(path.data())) return system_error(place, errno);
    UniqueFd lock(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!lock && errno != ENOENT) return system_error(path, errno);
    struct stat st;
    if (lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0 && ::fstat(lock.get(), &st) == 0 &&
        st.st_nlink > 0)
      return RunDirectory{path, std::move(lock)};
    ::rmdir(path.c_str());
  }
  return fail(Code::busy, "cannot keep a directory in " + place +
                              ": something removes it at once; choose another place: TMPDIR");
}

Result<std::vector<std::string>> bwrap_arguments(const SandboxOptions& options) {
  std::vector<std::string> arguments{"bwrap", "--die-with-parent"};
  const auto add = [&](std::initializer_list<std::string> more) {
    arguments.insert(arguments.end(), more);
  };
  std::vector<std::string> hidden;  // top-level entries that the tree's take the place of
  if (options.prefix == "/")
    for (const auto& name : options.names) hidden.push_back(name.substr(0, name.find('/')));
  std::vector<std::string> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/", error))
    entries.push_back(entry.path().filename().string());
  if (error) return fail(Code::io, "cannot list /: " + error.message());
  std::sort(entries.begin(), entries.end());
  for (const auto& entry : entries) {
    if (std::find(hidden.begin(), hidden.end(), entry) != hidden.end()) continue;
    const std::string path = "/" + entry;
    if (const auto target = link_target(path); !target.empty())
      add({"--symlink", target, path});
    else
      add({"--dev-bind-try", path, path});
  }
  std::string prefix = options.prefix == "/" ? "" : options.prefix;
  if (!prefix.empty()) {
    struct stat st;
    if (::stat(prefix.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
      return fail(Code::invalid, "--expose-at " + prefix +
                                     " is not a directory; make it with: mkdir -p " + prefix);
    add({"--tmpfs", prefix});
  }
  for (const auto& name : options.names)
    add({"--dev-bind", options.tree + "/" + name, prefix + "/" + name});
  const std::string executable = std::to_string(options.executable_fd);
  add({"--info-fd", std::to_string(options.info_fd), "--chdir", options.working_directory, "--",
       "/proc/self/fd/" + executable, kExecInSandbox, executable});
  arguments.insert(arguments.end(), options.command.begin(), options.command.end());
  return arguments;
}

sigset_t shielded_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGTERM})
    ::sigaddset(&signals, signal);
  return signals;
}

std::string mount_namespace(pid_t pid) {
  return link_target("/proc/" + std::to_string(pid) + "/ns/mnt");
}

std::vector<pid_t> processes_seeing(const std::vector<std::string>& devices) {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const pid_t pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == ::getpid()) continue;
    const auto mounts = read_mountinfo((entry.path() / "mountinfo").string());
    if (!mounts.ok()) continue;
    if (std::any_of(mounts->begin(), mounts->end(), [&](const auto& mount) {
          return std::find(devices.begin(), devices.end(), mount.device) != devices.end();
        }))
      found.push_back(pid);
  }
  return found;
}

namespace {

// As shells say it: 127 there is no such program, 126 it cannot be run. execvp(3) alone cannot
// tell: a directory of $PATH that may not be searched makes every unknown name EACCES.
int exec_failure(const std::string& name, int error) {
  if (error == EACCES && name.find('/') == std::string::npos) {
    const char* path = ::getenv("PATH");
    const auto dirs = split(path ? path : "", ':');
    const bool exists = std::any_of(dirs.begin(), dirs.end(), [&](const auto& dir) {
      return ::access((dir + "/" + name).c_str(), F_OK) == 0;
    });
    if (!exists) error = ENOENT;
  }
  complain(name + ": " + std::strerror(error));
  return error == ENOENT ? 127 : 126;
}

}  // namespace

int exec_in_sandbox(int argc, char** argv) {
  if (argc < 2) return kUsage;
  ::close(std::atoi(argv[0]));
  const sigset_t shielded = shielded_signals();
  ::sigprocmask(SIG_UNBLOCK, &shielded, nullptr);
  ::execvp(argv[1], argv + 1);
  return exec_failure(argv[1], errno);
}

}  // namespace linkspan::cli
