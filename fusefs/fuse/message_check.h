// Is a message of the kernel's as long as its operation needs? libfuse 3.14 does not look: a short
// one would be read on into what an earlier message left in the buffer.
#pragma once

#include <cstddef>

namespace linkspan::fuse {

// `message` starts with a fuse_in_header (at least that many bytes). Operations that libfuse does
// not know are well formed: it answers them with ENOSYS.
bool well_formed(const void* message, size_t size);

}  // namespace linkspan::fuse
