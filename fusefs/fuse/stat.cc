#include "fusefs/fuse/stat.h"

#include <algorithm>

namespace linkspan::fuse {
namespace {
constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr blksize_t kBlockSize = 4096;  // the page size: the kernel derives i_blkbits from it
constexpr uint64_t kStatBlock = 512;    // unit of st_blocks
}  // namespace

timespec to_timespec(Time time) {
  int64_t seconds = time.ns / kNsPerSecond, rest = time.ns % kNsPerSecond;
  if (rest < 0) {  // before 1970: tv_nsec is never negative
    rest += kNsPerSecond;
    --seconds;
  }
  return {seconds, rest};
}

Time to_time(const timespec& ts) {
  constexpr int64_t kLast =
      INT64_MAX / kNsPerSecond - 1;  // years 1678 to 2262; clamped, as ext4 does
  int64_t seconds = std::clamp<int64_t>(ts.tv_sec, -kLast, kLast);
  return Time{seconds * kNsPerSecond + ts.tv_nsec};
}

mode_t file_type(Kind kind) {
  switch (kind) {
    case Kind::file:
      return S_IFREG;
    case Kind::directory:
      return S_IFDIR;
    case Kind::symlink:
      return S_IFLNK;
    case Kind::fifo:
      return S_IFIFO;
    case Kind::socket:
      return S_IFSOCK;
  }
  return S_IFREG;
}

std::optional<Kind> kind_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case 0:  // mknod(2): no type is a plain file
    case S_IFREG:
      return Kind::file;
    case S_IFDIR:
      return Kind::directory;
    case S_IFLNK:
      return Kind::symlink;
    case S_IFIFO:
      return Kind::fifo;
    case S_IFSOCK:
      return Kind::socket;
    default:
      return std::nullopt;
  }
}

struct stat to_stat(const Attr& attr) {
  struct stat st = {};
  st.st_ino = attr.ino.value;
  st.st_mode = file_type(attr.kind) | (attr.mode & 07777);
  st.st_nlink = attr.nlink;
  st.st_uid = attr.uid;
  st.st_gid = attr.gid;
  st.st_size = static_cast<off_t>(attr.size);
  st.st_blksize = kBlockSize;
  st.st_blocks = static_cast<blkcnt_t>((attr.allocated + kStatBlock - 1) / kStatBlock);
  st.st_atim = to_timespec(attr.atime);
  st.st_mtim = to_timespec(attr.mtime);
  st.st_ctim = to_timespec(attr.ctime);
  return st;
}

}  // namespace linkspan::fuse
