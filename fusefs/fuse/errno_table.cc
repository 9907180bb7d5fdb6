#include "fusefs/fuse/errno_table.h"

#include <cerrno>

namespace linkspan::fuse {

int to_errno(Code code) {
  switch (code) {
    case Code::internal:
      return EIO;
    case Code::not_found:
      return ENOENT;
    case Code::exists:
      return EEXIST;
    case Code::not_directory:
      return ENOTDIR;
    case Code::is_directory:
      return EISDIR;
    case Code::not_empty:
      return ENOTEMPTY;
    case Code::access_denied:
      return EACCES;
    case Code::not_permitted:
      return EPERM;
    case Code::read_only:
      return EROFS;
    case Code::name_too_long:
      return ENAMETOOLONG;
    case Code::invalid:
      return EINVAL;
    case Code::too_large:
      return EFBIG;
    case Code::no_space:
      return ENOSPC;
    case Code::quota:
      return EDQUOT;
    case Code::cross_volume:
      return EXDEV;
    // rename(2): a directory into itself. ELOOP is the kernel's, of symlinks, and never ours.
    case Code::loop:
      return EINVAL;
    case Code::too_many_links:
      return EMLINK;
    // ESTALE says "what you based this on is gone", which is the truth; EBUSY or EAGAIN would make
    // programs try again with the same lost base.
    case Code::conflict:
      return ESTALE;
    // The kernel retries a path walk once on ESTALE from GETATTR and OPEN (DESIGN 4a).
    case Code::stale_node:
      return ESTALE;
    // Not EAGAIN: programs take that for "use select", and blocking callers never expect it.
    case Code::busy:
      return EBUSY;
    case Code::timed_out:
      return ETIMEDOUT;
    // The client has waited for the router up to the deadline by now: to a program that is a
    // timeout. ENOTCONN would read as "the mount died", EIO as "the data is damaged".
    case Code::unavailable:
      return ETIMEDOUT;
    case Code::no_attribute:
      return ENODATA;
    case Code::unsupported:
      return EOPNOTSUPP;
    case Code::interrupted:
      return EINTR;
    // The client attaches again by itself; it gave up here, within the deadline.
    case Code::session_lost:
      return ETIMEDOUT;
    // EACCES, not EPERM: a new token mends it, no privilege does.
    case Code::unauthenticated:
      return EACCES;
    case Code::would_block:
      return EAGAIN;
    case Code::deadlock:
      return EDEADLK;
    case Code::io:
      return EIO;
    // setxattr(2): a value over XATTR_SIZE_MAX never reaches us, so this is the node's total.
    case Code::attribute_too_big:
      return ENOSPC;
    case Code::fenced:
      return EIO;  // never sent as a result: a bug if it arrives
  }
  return EIO;
}

int to_lock_errno(Code code) {
  return code == Code::no_space ? ENOLCK : to_errno(code);
}

bool is_expected(Code code) {
  switch (code) {
    case Code::internal:
    case Code::io:
    case Code::fenced:
      return false;
    default:
      return to_errno(code) != EIO;
  }
}

}  // namespace linkspan::fuse
