#include "fusefs/cli/rewrite.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "fusefs/cli/console.h"
#include "fusefs/cli/mount_report.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

volatile sig_atomic_t stopping_signal = 0;

// While it lives, the first signal that would end the process only breaks off what it does, so that
// the temporary file is removed; then the process ends of it after all.
class Stopping {
 public:
  Stopping() {
    struct sigaction stop = {};
    stop.sa_handler = [](int signal) { stopping_signal = signal; };
    stop.sa_flags = SA_RESETHAND;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &stop, nullptr);
    }
  }
  Stopping(const Stopping&) = delete;
  Stopping& operator=(const Stopping&) = delete;
  ~Stopping() {
    for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
    if (stopping_signal != 0) ::raise(stopping_signal);
  }

 private:
  static constexpr std::array<int, 3> kSignals{SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, kSignals.size()> before_;
};

Status stopped() {
  if (stopping_signal == 0) return ok();
  return fail(Code::interrupted,
              std::string("stopped by a signal: ") + ::strsignal(stopping_signal));
}

// What a file has beside its content.
struct Original {
  UniqueFd fd;
  struct stat st = {};
};

// Where a symlink leads, so that it stays.
std::string final_path(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) ? resolved : path;
}

// Opening and reading it says to the mount what the new content is based on: the head as it is now.
Result<std::optional<Original>> open_original(const std::string& path) {
  Original original;
  original.fd.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!original.fd && errno == ENOENT) return std::optional<Original>();
  char byte;
  if (!original.fd || ::fstat(original.fd.get(), &original.st) != 0)
    return system_error(path, errno);
  if (!S_ISREG(original.st.st_mode)) return fail(Code::invalid, path + " is not a plain file");
  if (::pread(original.fd.get(), &byte, 1, 0) < 0) return system_error(path, errno);
  return std::optional<Original>(std::move(original));
}

Status copy_xattrs(int from, int to, const std::string& path) {
  const ssize_t length = ::flistxattr(from, nullptr, 0);
  if (length <= 0) return ok();
  std::string names(static_cast<size_t>(length), '\0');
  const ssize_t listed = ::flistxattr(from, names.data(), names.size());
  if (listed < 0) return system_error(path + ": its extended attributes", errno);
  names.resize(static_cast<size_t>(listed));
  for (size_t at = 0; at < names.size(); at += std::string_view(&names[at]).size() + 1) {
    const char* name = &names[at];
    if (std::string_view(name).rfind("user.", 0) != 0) continue;
    std::string value(XATTR_SIZE_MAX, '\0');
    const ssize_t n = ::fgetxattr(from, name, value.data(), value.size());
    if (n < 0 || ::fsetxattr(to, name, value.data(), static_cast<size_t>(n), 0) != 0)
      return system_error(path + ": the extended attribute " + name, errno);
  }
  return ok();
}

// Owner, attributes and mode, as far as we may and what is not so yet.
Status dress(const std::optional<Original>& original, unsigned mode, int fd,
             const std::string& path) {
  struct stat st;
  if (::fstat(fd, &st) != 0) return system_error(path, errno);
  if (original) {
    if ((st.st_uid != original->st.st_uid || st.st_gid != original->st.st_gid) &&
        ::fchown(fd, original->st.st_uid, original->st.st_gid) != 0)
      return fail(Code::not_permitted, path +
                                           " belongs to another user; do this as that user or "
                                           "root");
    LINKSPAN_CHECK(copy_xattrs(original->fd.get(), fd, path));
  }
  if (::fstat(fd, &st) != 0) return system_error(path, errno);
  if ((st.st_mode & 07777) != mode && ::fchmod(fd, mode) != 0) return system_error(path, errno);
  return ok();
}

// The file beside the one that is rewritten. What is not put in its place goes with this.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (!there_ || ::unlink(path_.c_str()) == 0 || errno == ENOENT) return;
    say("could not remove " + printable(path_) + ": " + ::strerror(errno) + "; remove it");
  }
  const std::string& path() const { return path_; }
  bool there() const { return there_; }
  Status make(const std::function<Status()>& make) {
    stopping_.emplace();
    LINKSPAN_CHECK(make());
    there_ = true;
    return ok();
  }
  void put_in_place() { there_ = false; }

 private:
  const std::string path_;
  std::optional<Stopping> stopping_;  // outlives the file
  bool there_ = false;
};

Status create(const Rewrite& what, unsigned mode, const std::string& temporary, UniqueFd* fd) {
  const mode_t mask = ::umask(0);  // so that no chmod is needed: another line in the log
  fd->reset(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0777));
  const int error = errno;
  ::umask(mask);
  if (*fd) return ok();
  if (error == EROFS)
    return fail(Code::read_only, what.path +
                                     " may not be written through this mount (`linkspan status` "
                                     "says what may); use another, or --to PATH elsewhere");
  return system_error("cannot write beside " + what.path, error);
}

Status write_temporary(const Rewrite& what, const std::optional<Original>& original,
                       Temporary* temporary) {
  const unsigned mode = original ? original->st.st_mode & 07777 : what.mode;
  UniqueFd fd;
  const auto create_once = [&]() -> Status {
    if (temporary->there()) return ok();
    if (!original) LINKSPAN_CHECK(make_directories(dir_name(what.path), 0755));
    return temporary->make([&] { return create(what, mode, temporary->path(), &fd); });
  };
  const Status filled = what.fill([&](const std::string& piece) -> Status {
    LINKSPAN_CHECK(stopped());
    LINKSPAN_CHECK(create_once());
    return write_all(fd.get(), piece);
  });
  if (!filled.ok()) return filled;
  LINKSPAN_CHECK(create_once());
  LINKSPAN_CHECK(dress(original, mode, fd.get(), what.path));
  if (::fsync(fd.get()) != 0 || ::close(fd.release()) != 0) return system_error(what.path, errno);
  return stopped();
}

Error taken(const std::string& path) {
  return fail(Code::exists, path + " is there already; give it another place with --to");
}

bool has_entry(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

Status put_in_place(const std::string& temporary, const std::string& path, bool must_be_new) {
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(),
                  must_be_new ? RENAME_NOREPLACE : 0) == 0)
    return ok();
  const int error = errno;
  if (error == EEXIST) return taken(path);
  if (error == ESTALE)
    return fail(Code::conflict, path +
                                    " was changed by another meanwhile, and is left as that "
                                    "made it; look at it, then try again");
  return system_error(path, error);
}

// Before anything is made. Of what comes later, put_in_place() says so.
Status may_be_made(const std::string& path, bool must_be_new) {
  return must_be_new && has_entry(path) ? Status(taken(path)) : ok();
}

}  // namespace

Status rewrite(const Rewrite& asked) {
  Rewrite what = asked;
  if (!what.must_be_new) what.path = final_path(what.path);
  LINKSPAN_CHECK(may_be_made(what.path, what.must_be_new));
  LINKSPAN_TRY(const auto original, what.must_be_new ? Result<std::optional<Original>>(std::nullopt)
                                                     : open_original(what.path));
  const auto may_replace = [&] { return what.may_replace ? what.may_replace(what.path) : ok(); };
  LINKSPAN_CHECK(may_replace());
  // Where nothing is, nothing was read that the rename would be held against.
  const bool to_free_name = what.must_be_new || (what.may_replace && !has_entry(what.path));
  Temporary temporary(dir_name(what.path) + "/" + restore_temporary(what.origin, ::getpid()));
  LINKSPAN_CHECK(write_temporary(what, original, &temporary));
  LINKSPAN_CHECK(may_replace());
  const Status put = put_in_place(temporary.path(), what.path, to_free_name);
  if (!put.ok() && put.code() == Code::exists) LINKSPAN_CHECK(may_replace());
  LINKSPAN_CHECK(put);
  temporary.put_in_place();
  return ok();
}

Status make_link(const std::string& target, const std::string& path, const Origin& origin) {
  LINKSPAN_CHECK(may_be_made(path, true));
  LINKSPAN_CHECK(make_directories(dir_name(path), 0755));
  Temporary temporary(dir_name(path) + "/" + restore_temporary(origin, ::getpid()));
  LINKSPAN_CHECK(temporary.make([&]() -> Status {
    if (::symlink(target.c_str(), temporary.path().c_str()) == 0) return ok();
    return system_error(path, errno);
  }));
  LINKSPAN_CHECK(put_in_place(temporary.path(), path, true));
  temporary.put_in_place();
  return ok();
}

}  // namespace linkspan::cli
