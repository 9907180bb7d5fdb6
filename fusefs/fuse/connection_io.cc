#include "fusefs/fuse/connection_io.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "fusefs/fuse/lowlevel.h"
#include "fusefs/fuse/session_context.h"

namespace linkspan::fuse {
namespace {

bool is_init_reply(const iovec* iov, int count) {
  return count == 2 && iov[1].iov_len == sizeof(fuse_init_out) &&
         static_cast<const fuse_out_header*>(iov[0].iov_base)->error == 0;
}

// The first reply of a session that is that long answers INIT.
void amend(iovec* iov, int count, SessionContext* context) {
  if (context->init_flags.load(std::memory_order_relaxed) == 0 || !is_init_reply(iov, count))
    return;
  static_cast<fuse_init_out*>(iov[1].iov_base)->flags |= context->init_flags.exchange(0);
}

ssize_t device_writev(int fd, iovec* iov, int count, void* context) {
  amend(iov, count, static_cast<SessionContext*>(context));
  return ::writev(fd, iov, count);
}

ssize_t device_read(int fd, void* buffer, size_t length, void*) {
  return ::read(fd, buffer, length);
}

ssize_t device_splice(int in, off_t* in_offset, int out, off_t* out_offset, size_t length,
                      unsigned flags, void*) {
  return ::splice(in, in_offset, out, out_offset, length, flags);
}

ssize_t send_message(int fd, const iovec* iov, int count) {
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(iov);
  message.msg_iovlen = static_cast<size_t>(count);
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

ssize_t socket_writev(int fd, iovec* iov, int count, void* context) {
  amend(iov, count, static_cast<SessionContext*>(context));
  return send_message(fd, iov, count);
}

ssize_t socket_read(int fd, void* buffer, size_t length, void*) {
  ssize_t n = ::recv(fd, buffer, length, 0);
  if (n != 0) return n;
  errno = ENODEV;  // the other side is gone: as an unmount looks
  return -1;
}

bool is_socket(int fd) {
  int type;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

}  // namespace

int attach_descriptor(fuse_session* session, int descriptor) {
  fuse_custom_io io = {};
  bool socket = is_socket(descriptor);
  io.writev = socket ? socket_writev : device_writev;
  io.read = socket ? socket_read : device_read;
  if (!socket) io.splice_send = io.splice_receive = device_splice;
  return fuse_session_custom_io(session, &io, descriptor);
}

ssize_t write_to_kernel(fuse_session* session, const iovec* iov, int count) {
  int fd = fuse_session_fd(session);
  ssize_t n = send_message(fd, iov, count);
  return n < 0 && errno == ENOTSOCK ? ::writev(fd, iov, count) : n;
}

}  // namespace linkspan::fuse
