#include "fusefs/fuse/statx.h"

#include <sys/stat.h>

#include "fusefs/fuse/stat.h"

namespace linkspan::fuse {
namespace {

StatxTime statx_time(Time time) {
  timespec ts = to_timespec(time);
  return {ts.tv_sec, static_cast<uint32_t>(ts.tv_nsec), 0};
}

}  // namespace

StatxOut to_statx(const Attr& attr, double timeout) {
  struct stat st = to_stat(attr);
  StatxOut out = {};
  out.attr_valid = static_cast<uint64_t>(timeout);
  out.attr_valid_nsec =
      static_cast<uint32_t>((timeout - static_cast<double>(out.attr_valid)) * 1e9);
  out.stat.mask = STATX_BASIC_STATS | STATX_BTIME;
  out.stat.blksize = static_cast<uint32_t>(st.st_blksize);
  out.stat.nlink = static_cast<uint32_t>(st.st_nlink);
  out.stat.uid = st.st_uid;
  out.stat.gid = st.st_gid;
  out.stat.mode = static_cast<uint16_t>(st.st_mode);
  out.stat.ino = st.st_ino;
  out.stat.size = static_cast<uint64_t>(st.st_size);
  out.stat.blocks = static_cast<uint64_t>(st.st_blocks);
  out.stat.atime = statx_time(attr.atime);
  out.stat.btime = statx_time(attr.btime);
  out.stat.ctime = statx_time(attr.ctime);
  out.stat.mtime = statx_time(attr.mtime);
  return out;
}

}  // namespace linkspan::fuse
