// How a session reads from and writes to the kernel: the device, or a socket in tests. Ours instead
// of libfuse's for the sake of one message: libfuse 3.14 forgets FUSE_PARALLEL_DIROPS in its answer
// to INIT, and without it the kernel lets one LOOKUP or READDIR at a time into a directory.
#pragma once

#include <sys/uio.h>

#include <cstdint>

struct fuse_session;

namespace linkspan::fuse {

// Makes the session, whose userdata is a SessionContext, speak over the descriptor, which it owns
// then: /dev/fuse, mounted, or a SOCK_SEQPACKET socket. 0 or -errno.
int attach_descriptor(fuse_session* session, int descriptor);

// Writes one message of ours, as libfuse would; returns writev(2)'s result.
ssize_t write_to_kernel(fuse_session* session, const iovec* iov, int count);

}  // namespace linkspan::fuse
