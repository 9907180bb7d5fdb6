// Mounting and unmounting: mount(2) as root or in a user namespace, fusermount3 for everyone else.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "linkspan/error.h"

namespace linkspan::fuse {

// Owns a descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct MountOptions {
  std::string mountpoint;  // absolute; an existing directory
  std::string fsname = "linkspan";
  std::string subtype = "linkspan";
  bool read_only = false;
  bool allow_other = true;  // where allowed: always for mount(2), else if fuse.conf says so
  bool default_permissions = true;
  size_t max_read = 1 << 20;
  std::string device = "/dev/fuse";
};

struct Mounted {
  Fd fd;  // of the device, for the session
  bool allow_other = false;
  bool by_fusermount = false;
};

// Errors: `not_found` (no mountpoint, no device), `not_directory`, `busy` (something is mounted
// there that is dead or ours), `not_permitted`, `access_denied`; each with the mend.
Result<Mounted> mount_fuse(const MountOptions& options);

// The device number (st_dev) of the topmost mount at the path, from mountinfo: nothing is asked of
// the filesystem. 0: none.
dev_t mounted_device(const std::string& mountpoint);
// Is that very mount still there? device 0: any.
bool is_mounted(const std::string& mountpoint, dev_t device);

// Detaches the mount at once, also when it is in use; who has it open keeps it while the process
// serves it. Nothing mounted there is success.
Status unmount_fuse(const std::string& mountpoint);

}  // namespace linkspan::fuse
