// FUSE_STATX, which carries the birth time. libfuse 3.14 does not know it, nor do Debian 12's
// kernel headers: the loop hands it to libfuse as the GETATTR that it begins like, and the callback
// asks current_operation() which of the two it was.
#pragma once

#include <cstdint>

#include "linkspan/types.h"

namespace linkspan::fuse {

inline constexpr uint32_t kOpStatx = 52;  // protocol 7.39, kernel 6.6

struct StatxIn {  // its first 16 bytes are a fuse_getattr_in
  uint32_t getattr_flags, reserved;
  uint64_t fh;
  uint32_t sx_flags, sx_mask;
};

struct StatxTime {
  int64_t seconds;
  uint32_t nanoseconds;
  int32_t reserved;
};

struct Statx {
  uint32_t mask, blksize;
  uint64_t attributes;
  uint32_t nlink, uid, gid;
  uint16_t mode, spare0;
  uint64_t ino, size, blocks, attributes_mask;
  StatxTime atime, btime, ctime, mtime;
  uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
  uint64_t spare2[14];
};

struct StatxOut {
  uint64_t attr_valid;  // seconds
  uint32_t attr_valid_nsec;
  uint32_t flags;
  uint64_t spare[2];
  Statx stat;
};

static_assert(sizeof(StatxIn) == 24 && sizeof(Statx) == 256 && sizeof(StatxOut) == 288);

StatxOut to_statx(const Attr& attr, double timeout);

}  // namespace linkspan::fuse
