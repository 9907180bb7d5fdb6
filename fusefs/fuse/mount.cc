#include "fusefs/fuse/mount.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

extern char** environ;

namespace linkspan::fuse {
namespace {

constexpr const char* kFusermount = "fusermount3";
constexpr const char* kMtab = "/etc/mtab";
constexpr size_t kHelperMessage = 4096;  // bytes kept of what fusermount3 says

std::string reason(int error) {
  return std::strerror(error);
}

Status check_mountpoint(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) {
    switch (errno) {
      case ENOENT:
        return fail(Code::not_found, "mountpoint " + path + " does not exist: mkdir -p " + path);
      case ENOTCONN:
        return fail(Code::busy, "a mount at " + path + " has lost its process: fusermount3 -uz " +
                                    path + " (or umount -l), then mount again");
      case EACCES:
        return fail(Code::access_denied, "mountpoint " + path + " cannot be reached: " +
                                             reason(EACCES) + "; check the directories above it");
      default:
        return fail(Code::io, "mountpoint " + path + ": " + reason(errno));
    }
  }
  if (!S_ISDIR(st.st_mode))
    return fail(Code::not_directory, "mountpoint " + path + " is not a directory");
  return ok();
}

Error no_device(const std::string& device, int error) {
  if (error == ENOENT || error == ENODEV || error == ENXIO)
    return fail(Code::not_found,
                "there is no " + device + ": load the module (modprobe fuse), or pass the device " +
                    "into the container (docker run --device /dev/fuse --cap-add SYS_ADMIN)");
  if (error == EMFILE || error == ENFILE)
    return fail(Code::io, "cannot open " + device + ": " + reason(error) +
                              "; raise the limit (ulimit -n, LimitNOFILE= of a unit)");
  return fail(Code::access_denied, "cannot open " + device + ": " + reason(error) + "; chmod 666 " +
                                       device + ", or allow the device for this container");
}

Error mount_refused(const MountOptions& options, int error) {
  if (error == EBUSY)
    return fail(Code::busy, options.mountpoint + " is busy: something else is mounted there; see " +
                                "findmnt " + options.mountpoint);
  if (error == EPERM || error == EACCES)
    return fail(Code::not_permitted,
                "mounting at " + options.mountpoint + " is not permitted: " + reason(error) +
                    "; run as root, in a user namespace (linkspan run), or install fuse3");
  return fail(Code::io, "mounting at " + options.mountpoint + ": " + reason(error));
}

std::string common_options(const MountOptions& options, bool allow_other) {
  std::string text = "max_read=" + std::to_string(options.max_read);
  if (options.default_permissions) text += ",default_permissions";
  if (allow_other) text += ",allow_other";
  return text;
}

// 0 or an errno. Read-only is the mount, not the filesystem: the mount process may make a copy of
// it that is not (visit.h). What comes in between, the connection refuses.
int mount_directly(const MountOptions& options, int device) {
  char data[256];
  std::snprintf(data, sizeof data, "fd=%d,rootmode=40000,user_id=%u,group_id=%u,%s", device,
                getuid(), getgid(), common_options(options, options.allow_other).c_str());
  const unsigned long flags = MS_NOSUID | MS_NODEV;
  std::string type = "fuse." + options.subtype;
  if (::mount(options.fsname.c_str(), options.mountpoint.c_str(), type.c_str(), flags, data) != 0)
    return errno;
  if (!options.read_only || ::mount(nullptr, options.mountpoint.c_str(), nullptr,
                                    MS_REMOUNT | MS_BIND | MS_RDONLY | flags, nullptr) == 0)
    return 0;
  const int error = errno;
  ::umount2(options.mountpoint.c_str(), MNT_DETACH);
  return error;
}

// ---- fusermount3 -------------------------------------------------------------------------------

class FileActions {
 public:
  FileActions() { posix_spawn_file_actions_init(&actions_); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  void dup(int from, int to) { posix_spawn_file_actions_adddup2(&actions_, from, to); }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

struct HelperResult {
  int exit_status = -1;
  std::string message;  // what it wrote to stderr
  Fd received;
};

Fd receive_descriptor(int socket) {
  char byte;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message = {};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n;
  while ((n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  cmsghdr* header = n > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (!header || header->cmsg_type != SCM_RIGHTS) return Fd();
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

std::string read_all(int fd) {
  std::string text;
  char part[512];
  ssize_t n;
  while ((n = ::read(fd, part, sizeof part)) > 0 || (n < 0 && errno == EINTR))
    if (n > 0 && text.size() < kHelperMessage) text.append(part, static_cast<size_t>(n));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// Runs fusermount3 with the socket it sends the descriptor over as its descriptor 3.
Result<HelperResult> run_fusermount(std::vector<std::string> arguments) {
  int sockets[2], pipes[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    return fail(Code::io, "socketpair: " + reason(errno));
  Fd ours(sockets[0]), theirs(sockets[1]);
  if (pipe2(pipes, O_CLOEXEC) != 0) return fail(Code::io, "pipe: " + reason(errno));
  Fd read_end(pipes[0]), write_end(pipes[1]);

  constexpr int kHelperSocket = 3;
  // dup2 onto itself would leave close-on-exec set.
  Fd away(fcntl(theirs.get(), F_DUPFD_CLOEXEC, 10));
  FileActions actions;
  actions.dup(write_end.get(), STDERR_FILENO);
  actions.dup(away.get(), kHelperSocket);
  std::vector<char*> argv{const_cast<char*>(kFusermount)};
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  std::string variable = "_FUSE_COMMFD=" + std::to_string(kHelperSocket);
  std::vector<char*> environment;
  for (char** e = environ; *e; ++e)
    if (std::strncmp(*e, "_FUSE_COMMFD=", 13) != 0) environment.push_back(*e);
  environment.push_back(variable.data());
  environment.push_back(nullptr);

  pid_t pid;
  int error =
      posix_spawnp(&pid, kFusermount, actions.get(), nullptr, argv.data(), environment.data());
  if (error != 0)
    return fail(Code::not_permitted, std::string("cannot run ") + kFusermount + ": " +
                                         reason(error) + "; install fuse3, or mount as root");
  theirs.reset();
  away.reset();
  write_end.reset();
  HelperResult result;
  result.received = receive_descriptor(ours.get());
  result.message = read_all(read_end.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  result.exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  return result;
}

Result<Mounted> mount_by_fusermount(const MountOptions& options, bool allow_other) {
  if (::access(kMtab, F_OK) != 0)  // a bare debootstrap has none
    return fail(Code::not_permitted,
                "mounting at " + options.mountpoint + ": there is no " + kMtab +
                    ", and without it " + kFusermount +
                    " cannot unmount again; as root: ln -s /proc/self/mounts " + kMtab);
  std::string text = common_options(options, allow_other) + (options.read_only ? ",ro" : ",rw") +
                     ",nosuid,nodev,fsname=" + options.fsname + ",subtype=" + options.subtype;
  LINKSPAN_TRY(HelperResult helper, run_fusermount({"-o", text, "--", options.mountpoint}));
  if (helper.received.valid()) return Mounted{std::move(helper.received), allow_other, true};
  return fail(
      Code::not_permitted,
      "mounting at " + options.mountpoint + " failed: " +
          (helper.message.empty() ? std::string(kFusermount) + " gave no reason" : helper.message) +
          "; run as root or in a user namespace (linkspan run)");
}

// mountinfo writes space, tab, newline and backslash as \\ooo.
std::string unescape(const std::string& field) {
  std::string text;
  for (size_t i = 0; i < field.size(); ++i) {
    unsigned code;
    if (field[i] == '\\' && std::sscanf(field.c_str() + i + 1, "%3o", &code) == 1) {
      text += static_cast<char>(code);
      i += 3;
    } else {
      text += field[i];
    }
  }
  return text;
}

}  // namespace

void Fd::reset(int fd) {
  int old = std::exchange(fd_, fd);
  if (old >= 0) ::close(old);
}

Result<Mounted> mount_fuse(const MountOptions& options) {
  LINKSPAN_CHECK(check_mountpoint(options.mountpoint));
  Fd device(::open(options.device.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.valid()) return no_device(options.device, errno);
  int error = mount_directly(options, device.get());
  if (error == 0) return Mounted{std::move(device), options.allow_other, false};
  if (error != EPERM) return mount_refused(options, error);
  device.reset();
  if (options.allow_other)  // refused unless /etc/fuse.conf has user_allow_other
    if (auto mounted = mount_by_fusermount(options, true); mounted.ok()) return mounted;
  return mount_by_fusermount(options, false);
}

dev_t mounted_device(const std::string& mountpoint) {
  std::ifstream mounts("/proc/self/mountinfo");
  dev_t found = 0;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, path;
    fields >> id >> parent >> device >> root >> path;
    unsigned major_number = 0, minor_number = 0;
    if (unescape(path) != mountpoint) continue;
    if (std::sscanf(device.c_str(), "%u:%u", &major_number, &minor_number) == 2)
      found = makedev(major_number, minor_number);  // later lines lie on top
  }
  return found;
}

bool is_mounted(const std::string& mountpoint, dev_t device) {
  dev_t there = mounted_device(mountpoint);
  return there != 0 && (device == 0 || there == device);
}

Status unmount_fuse(const std::string& mountpoint) {
  if (::umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return ok();
  int error = errno;
  if (error == EINVAL || error == ENOENT) return ok();  // nothing mounted there any more
  if (error != EPERM) return fail(Code::io, "unmounting " + mountpoint + ": " + reason(error));
  LINKSPAN_TRY(HelperResult helper, run_fusermount({"-u", "-z", "--", mountpoint}));
  if (helper.exit_status == 0) return ok();
  return fail(Code::io, "unmounting " + mountpoint + ": " + helper.message);
}

}  // namespace linkspan::fuse
