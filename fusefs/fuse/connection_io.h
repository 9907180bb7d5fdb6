// The session's descriptor: the device, or a socket in tests.
#pragma once

#include <sys/uio.h>

struct fuse_session;

namespace linkspan::fuse {

// Writes one message as libfuse would; returns writev(2)'s result.
ssize_t write_to_kernel(fuse_session* session, const iovec* iov, int count);

// Makes the session speak over a SOCK_SEQPACKET socket, which it owns then. 0 or -errno.
int use_socket(fuse_session* session, int socket);

}  // namespace linkspan::fuse
