#include "fusefs/cli/preflight.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "fusefs/cli/cleanup.h"
#include "fusefs/cli/paths.h"
#include "fusefs/cli/system.h"
#include "linkspan/address.h"

namespace linkspan::cli {

namespace {

Status check_directory(const std::string& dir) {
  struct stat st;
  if (::stat(dir.c_str(), &st) == 0) {
    if (S_ISDIR(st.st_mode)) return ok();
    return fail(Code::not_directory, dir + " is not a directory");
  }
  if (errno == ENOENT)
    return fail(Code::not_found, dir + " does not exist; make it with: mkdir -p " + dir);
  return system_error(dir, errno);
}

}  // namespace

Status check_mountpoint(const std::string& dir, bool non_empty) {
  const auto asked = ask_mount(dir);
  switch (asked.health) {
    case Health::dead:
      return fail(Code::unavailable, dir + " is a mount whose process has ended");
    case Health::cover:
      return fail(Code::unavailable, dir + " has the cover of a mount whose process has ended");
    case Health::alive:
      return fail(Code::busy, dir + " is already a Linkspan mount; see: linkspan status " + dir);
    case Health::silent:
      return cannot_ask(dir, asked);
    case Health::none:
      break;
  }
  LINKSPAN_CHECK(check_directory(dir));
  LINKSPAN_TRY(const bool empty, is_empty_directory(dir));
  if (!empty && !non_empty)
    return fail(Code::not_empty, dir +
                                     " is not empty, and the mount would hide what is in it; "
                                     "choose another directory or give --nonempty");
  return ok();
}

Status check_fuse_device(const std::string& device) {
  UniqueFd fd(::open(device.c_str(), O_RDWR | O_CLOEXEC));
  if (fd) return ok();
  const int error = errno;
  if (error == ENOENT || error == ENODEV || error == ENXIO)
    return fail(Code::not_found,
                "no " + device +
                    ": the kernel module fuse is not loaded (modprobe fuse), or the "
                    "container lacks the device (docker run --device /dev/fuse)");
  if (error == EACCES || error == EPERM)
    return fail(Code::access_denied,
                device + " may not be opened by this user; as root: chmod 666 " + device +
                    " (in a container also allow the device: "
                    "--device /dev/fuse)");
  return system_error(device, error);
}

Status check_workspace(const std::string& dir, const std::string& mountpoint) {
  struct stat st;
  if (::stat(dir.c_str(), &st) != 0) {
    if (errno == ENOENT)
      return fail(Code::not_found,
                  "workspace " + dir + " does not exist; make it with: mkdir -p " + dir);
    return system_error("workspace " + dir, errno);
  }
  if (!S_ISDIR(st.st_mode))
    return fail(Code::not_directory, "workspace " + dir + " is not a directory");
  const std::string real = real_path(dir);
  if (!mountpoint.empty() && (real == mountpoint || real.starts_with(mountpoint + "/")))
    return fail(Code::invalid, "workspace " + dir + " is in " + mountpoint +
                                   ", and the mount would hide it; choose a directory elsewhere");
  if (::access(dir.c_str(), R_OK | X_OK) != 0) return system_error("workspace " + dir, errno);
  return ok();
}

Status check_spool(const std::string& dir, const std::string& named) {
  struct stat st;
  const std::string what = named + " " + dir + ", where large unsaved writes go";
  const std::string mend = "; choose another: --spool-dir /var/tmp";
  if (::stat(dir.c_str(), &st) != 0)
    return fail(Code::not_found, what + ": " + std::strerror(errno) + mend);
  if (!S_ISDIR(st.st_mode)) return fail(Code::not_directory, what + ", is not a directory" + mend);
  if (::access(dir.c_str(), W_OK | X_OK) != 0)
    return fail(Code::access_denied, what + ": " + std::strerror(errno) + mend);
  // Rights are not all: it may be full, or of a sort that takes no files.
  std::string name = dir + "/linkspan-dirty-XXXXXX";
  const UniqueFd probe(::mkostemp(name.data(), O_CLOEXEC));
  const bool written = probe && ::unlink(name.c_str()) == 0 && ::write(probe.get(), "x", 1) == 1;
  if (!written)
    return fail(Code::io, what + ": cannot write a file there: " + std::strerror(errno) + mend);
  return ok();
}

Result<std::string> choose_spool(const std::string& asked) {
  const std::string dir = asked.empty() ? spool_directory() : absolute_path(asked);
  LINKSPAN_CHECK(check_spool(dir, asked.empty() ? "TMPDIR" : "--spool-dir"));
  return dir;
}

Status check_ready_fd(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags >= 0 && (flags & O_ACCMODE) != O_RDONLY) return ok();
  return fail(Code::invalid, std::to_string(fd) + " is no descriptor that is open for writing");
}

Status check_prefix(const std::string& prefix) {
  struct stat st;
  if (::stat(prefix.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return ok();
  return fail(Code::not_directory,
              "--expose " + prefix + " is not a directory; make it with: mkdir -p " + prefix);
}

namespace {

Status check_one_address(const std::string& text) {
  const auto address = parse_address(text);
  if (address.ok() && (address->is_unix() || address->port != 0)) return ok();
  return fail(Code::invalid,
              "router address " + text + ": " +
                  (address.ok() ? "a port from 1 to 65535 is expected" : address.error().message));
}

}  // namespace

Status check_router_address(const std::string& address) {
  if (address.empty())
    return fail(Code::invalid,
                "no router: give --router ADDRESS or set LINKSPAN_ROUTER (or try --local)");
  for (const auto& one : split(address, ',')) LINKSPAN_CHECK(check_one_address(one));
  return ok();
}

Status check_plaintext(const std::string& addresses, bool allowed) {
  for (const auto& one : split(addresses, ',')) {
    LINKSPAN_TRY(const auto address, parse_address(one));
    if (allowed || address.tls || is_local(address)) continue;
    return fail(Code::invalid,
                "router address " + one +
                    " is on another machine and the connection would not be encrypted; write "
                    "tls://" +
                    one +
                    ", or say --allow-plaintext-tcp (LINKSPAN_ALLOW_PLAINTEXT_TCP=1) if the "
                    "network is private");
  }
  return ok();
}

}  // namespace linkspan::cli
