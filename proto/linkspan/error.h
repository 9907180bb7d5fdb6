// Domain errors and Result. Codes travel on the wire as numbers: never renumber, only append.
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace linkspan {

// The errno each becomes is in fusefs/fuse/errno_table.cc, the gRPC status in proto/linkspan/
// convert_status.cc; nowhere else.
enum class Code : uint32_t {
  internal = 1,         // a bug or an unknown failure: EIO, logged and counted
  not_found = 2,        // ENOENT
  exists = 3,           // EEXIST
  not_directory = 4,    // ENOTDIR
  is_directory = 5,     // EISDIR
  not_empty = 6,        // ENOTEMPTY
  access_denied = 7,    // EACCES: the grant does not allow it
  not_permitted = 8,    // EPERM
  read_only = 9,        // EROFS: the route is read-only
  name_too_long = 10,   // ENAMETOOLONG
  invalid = 11,         // EINVAL
  too_large = 12,       // EFBIG
  no_space = 13,        // ENOSPC
  quota = 14,           // EDQUOT
  cross_volume = 15,    // EXDEV
  loop = 16,            // a directory moved into itself: EINVAL
  too_many_links = 17,  // EMLINK
  conflict = 18,        // the base is not the head any more: ESTALE (policy "reject", failed merge)
  stale_node = 19,      // the node is gone: ESTALE
  busy = 20,            // a queue is full: retried by the mount within its deadline, then EBUSY
  timed_out = 21,       // ETIMEDOUT
  unavailable = 22,     // the router cannot be reached or is stopping: retried, then ETIMEDOUT
  no_attribute = 23,    // ENODATA
  unsupported = 24,     // EOPNOTSUPP
  interrupted = 25,     // EINTR
  session_lost = 26,    // the router does not know this session: attach again, then retry
  unauthenticated = 27,    // refused, expired or revoked token: EACCES
  would_block = 28,        // EAGAIN: a lock is held by another
  deadlock = 29,           // EDEADLK
  io = 30,                 // EIO: local disk or store failure
  attribute_too_big = 31,  // E2BIG / ENOSPC for xattrs
  fenced = 32,             // this router does not own the tenant any more; never sent as a result
};

// "not-found", "conflict", ...: for logs and messages.
std::string_view to_string(Code code);

struct Error {
  Code code = Code::internal;
  std::string message;        // for people: names the thing and, where there is one, the mend
  uint64_t head_version = 0;  // with Code::conflict: the head now
  friend bool operator==(const Error& a, const Error& b) { return a.code == b.code; }
};

inline Error fail(Code code, std::string message = {}) {
  return Error{code, std::move(message), 0};
}

// Either a value or an Error; ignoring one breaks the build.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }
  Code code() const { return error().code; }

 private:
  std::variant<T, Error> state_;
};

struct Done {};
using Status = Result<Done>;
inline Status ok() {
  return Done{};
}

// LINKSPAN_TRY(x, f()): x = the value of f(), or return its error.
#define LINKSPAN_CONCAT_(a, b) a##b
#define LINKSPAN_CONCAT(a, b) LINKSPAN_CONCAT_(a, b)
#define LINKSPAN_TRY(lhs, expr)                                                              \
  auto LINKSPAN_CONCAT(try_, __LINE__) = (expr);                                             \
  if (!LINKSPAN_CONCAT(try_, __LINE__).ok()) return LINKSPAN_CONCAT(try_, __LINE__).error(); \
  lhs = std::move(LINKSPAN_CONCAT(try_, __LINE__)).value()
#define LINKSPAN_CHECK(expr)                                       \
  do {                                                             \
    if (auto check_ = (expr); !check_.ok()) return check_.error(); \
  } while (false)

}  // namespace linkspan
