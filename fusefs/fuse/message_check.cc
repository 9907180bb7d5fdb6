#include "fusefs/fuse/message_check.h"

#include <linux/fuse.h>

#include <cstring>

#include "fusefs/fuse/statx.h"

namespace linkspan::fuse {
namespace {

struct Shape {
  size_t fixed = 0;    // bytes of the structure after the header
  unsigned names = 0;  // NUL-terminated strings after it
};

constexpr size_t kSetxattrBytes = FUSE_COMPAT_SETXATTR_IN_SIZE;  // libfuse 3.14 speaks the old form

Shape shape_of(uint32_t opcode) {
  switch (opcode) {
    case FUSE_LOOKUP:
    case FUSE_UNLINK:
    case FUSE_RMDIR:
    case FUSE_REMOVEXATTR:
      return {0, 1};
    case FUSE_SYMLINK:
      return {0, 2};
    case FUSE_FORGET:
      return {sizeof(fuse_forget_in), 0};
    case FUSE_BATCH_FORGET:
      return {sizeof(fuse_batch_forget_in), 0};
    case FUSE_GETATTR:
      return {sizeof(fuse_getattr_in), 0};
    case FUSE_SETATTR:
      return {sizeof(fuse_setattr_in), 0};
    case FUSE_MKNOD:
      return {sizeof(fuse_mknod_in), 1};
    case FUSE_MKDIR:
      return {sizeof(fuse_mkdir_in), 1};
    case FUSE_RENAME:
      return {sizeof(fuse_rename_in), 2};
    case FUSE_RENAME2:
      return {sizeof(fuse_rename2_in), 2};
    case FUSE_LINK:
      return {sizeof(fuse_link_in), 1};
    case FUSE_OPEN:
    case FUSE_OPENDIR:
      return {sizeof(fuse_open_in), 0};
    case FUSE_CREATE:
      return {sizeof(fuse_create_in), 1};
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return {sizeof(fuse_read_in), 0};
    case FUSE_WRITE:
      return {sizeof(fuse_write_in), 0};
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
      return {sizeof(fuse_release_in), 0};
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
      return {sizeof(fuse_fsync_in), 0};
    case FUSE_FLUSH:
      return {sizeof(fuse_flush_in), 0};
    case FUSE_SETXATTR:
      return {kSetxattrBytes, 1};
    case FUSE_GETXATTR:
      return {sizeof(fuse_getxattr_in), 1};
    case FUSE_LISTXATTR:
      return {sizeof(fuse_getxattr_in), 0};
    case FUSE_INTERRUPT:
      return {sizeof(fuse_interrupt_in), 0};
    case FUSE_FALLOCATE:
      return {sizeof(fuse_fallocate_in), 0};
    case FUSE_LSEEK:
      return {sizeof(fuse_lseek_in), 0};
    case FUSE_GETLK:
    case FUSE_SETLK:
    case FUSE_SETLKW:
      return {sizeof(fuse_lk_in), 0};
    case FUSE_COPY_FILE_RANGE:
      return {sizeof(fuse_copy_file_range_in), 0};
    case kOpStatx:
      return {sizeof(StatxIn), 0};
    default:
      return {};
  }
}

template <class T>
T read_as(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Bytes that the structure itself says follow.
size_t payload(uint32_t opcode, const char* body) {
  switch (opcode) {
    case FUSE_WRITE:
      return read_as<fuse_write_in>(body).size;
    case FUSE_SETXATTR:
      return read_as<uint32_t>(body);
    case FUSE_BATCH_FORGET:
      return size_t{read_as<fuse_batch_forget_in>(body).count} * sizeof(fuse_forget_one);
    default:
      return 0;
  }
}

}  // namespace

bool well_formed(const void* message, size_t size) {
  auto header = read_as<fuse_in_header>(static_cast<const char*>(message));
  if (header.len != size) return false;
  const char* at = static_cast<const char*>(message) + sizeof header;
  size_t rest = size - sizeof header;
  Shape shape = shape_of(header.opcode);
  if (rest < shape.fixed) return false;
  size_t follows = payload(header.opcode, at);
  at += shape.fixed;
  rest -= shape.fixed;
  for (unsigned i = 0; i < shape.names; ++i) {
    const void* end = std::memchr(at, '\0', rest);
    if (!end) return false;
    size_t length = static_cast<const char*>(end) - at + 1;
    at += length;
    rest -= length;
  }
  return rest >= follows;
}

}  // namespace linkspan::fuse
