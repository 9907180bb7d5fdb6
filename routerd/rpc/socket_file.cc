#include "routerd/rpc/socket_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace linkspan::rpc {
namespace {

Error cannot(const std::string& path, const std::string& why) {
  return fail(Code::io, "cannot listen on unix:" + path + ": " + why);
}

Error living(const std::string& path) {
  return cannot(path, "another router listens there; stop it, or listen on another path");
}

// Something that does not lock (an older or a foreign server) may listen all the same.
bool answers(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  const int done = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const bool listens =
      done == 0 || errno == EAGAIN || errno == EINPROGRESS;  // EAGAIN: its queue is full
  close(fd);
  return listens;
}

Status clear(const std::string& path) {
  struct stat at {};
  if (lstat(path.c_str(), &at) != 0)
    return errno == ENOENT ? ok() : Status(cannot(path, std::strerror(errno)));
  if (!S_ISSOCK(at.st_mode))
    return cannot(path,
                  "the path is taken by something that is no socket; remove it, or listen "
                  "on another path");
  if (answers(path)) return living(path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT)
    return cannot(path, std::string("the stale socket cannot be removed: ") + std::strerror(errno));
  return ok();
}

}  // namespace

Result<std::unique_ptr<SocketFile>> SocketFile::claim(const std::string& path) {
  const std::string name = path + ".lock";
  const int lock = open(name.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock < 0) {
    const std::string dir = path.substr(0, path.rfind('/') + 1);
    if (errno == ENOENT) return cannot(path, "the directory " + dir + " does not exist; create it");
    return cannot(path,
                  name + ": " + std::strerror(errno) + "; the router needs to write in " + dir);
  }
  std::unique_ptr<SocketFile> file(new SocketFile(path, lock));
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) return living(path);
  LINKSPAN_CHECK(clear(path));
  return file;
}

SocketFile::~SocketFile() {
  close(lock_);
}

Status SocketFile::set_mode(uint32_t mode) const {
  if (chmod(path_.c_str(), mode) != 0)
    return cannot(path_, std::string("its mode cannot be set: ") + std::strerror(errno));
  return ok();
}

}  // namespace linkspan::rpc
