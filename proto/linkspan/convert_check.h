// Private to convert*.cc: the checks of single fields.
#pragma once

#include <string>
#include <string_view>

#include "linkspan/error.h"
#include "linkspan/limits.h"
#include "linkspan/types.h"

namespace linkspan::wire {

inline Error bad(std::string_view field, std::string_view what) {
  return fail(Code::invalid, std::string(field) + ": " + std::string(what));
}

inline Status check_range(std::string_view field, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return ok();
  return bad(field, std::to_string(value) + " is not in " + std::to_string(low) + ".." +
                        std::to_string(high));
}

// Of a thing that is counted; 0: none, where that may be said.
inline Status check_number(std::string_view field, uint64_t number, uint64_t least = 0) {
  return check_range(field, number, least, limits::kLastNumber);
}

inline Status check_ino(std::string_view field, uint64_t ino) {
  if (ino == 0) return bad(field, "is 0, which is no inode");
  return check_number(field, ino);
}

inline Status check_bytes(std::string_view field, size_t size, size_t low, size_t high) {
  if (size >= low && size <= high) return ok();
  return bad(field, std::to_string(size) + " bytes, where " + std::to_string(low) + ".." +
                        std::to_string(high) + " are allowed");
}

inline Status check_count(std::string_view field, int count, size_t high) {
  if (static_cast<size_t>(count) <= high) return ok();
  return bad(field, std::to_string(count) + " items, where at most " + std::to_string(high) +
                        " are allowed");
}

inline Status check_no_nul(std::string_view field, std::string_view bytes) {
  if (bytes.find('\0') == std::string_view::npos) return ok();
  return bad(field, "holds a NUL byte");
}

inline Status check_file_size(std::string_view field, uint64_t size) {
  if (size <= limits::kFileBytes) return ok();
  return fail(Code::too_large, std::string(field) + ": " + std::to_string(size) +
                                   " bytes; a file has at most " +
                                   std::to_string(limits::kFileBytes));
}

// Offsets reach the kernel as signed 64-bit numbers.
inline constexpr uint64_t kMaxOffset = INT64_MAX;

inline Status check_mode(std::string_view field, uint32_t mode) {
  if ((mode & ~07777u) == 0) return ok();
  return bad(field, "has bits outside of 07777");
}

// -1 says "as it is" to chown(2), and is nobody's number.
inline Status check_owner(std::string_view field, uint32_t id) {
  return check_range(field, id, 0, UINT32_MAX - 1);
}

// A symlink's target.
inline Status check_target(std::string_view field, std::string_view target) {
  LINKSPAN_CHECK(check_bytes(field, target.size(), 1, limits::kSymlinkBytes));
  return check_no_nul(field, target);
}

inline Status check_xattr_name(std::string_view field, std::string_view name) {
  LINKSPAN_CHECK(check_bytes(field, name.size(), 1, limits::kXattrNameBytes));
  return check_no_nul(field, name);
}

// What people are shown as it is: clean_text() leaves it alone, and it holds no tab or newline.
Status check_printable(std::string_view field, std::string_view text);

Result<Kind> kind_from(std::string_view field, int kind);

}  // namespace linkspan::wire
