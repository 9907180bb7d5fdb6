#include "linkspan/clock.h"
#include "linkspan/error.h"
#include "linkspan/types.h"

namespace linkspan {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::internal:
      return "internal";
    case Code::not_found:
      return "not-found";
    case Code::exists:
      return "exists";
    case Code::not_directory:
      return "not-directory";
    case Code::is_directory:
      return "is-directory";
    case Code::not_empty:
      return "not-empty";
    case Code::access_denied:
      return "access-denied";
    case Code::not_permitted:
      return "not-permitted";
    case Code::read_only:
      return "read-only";
    case Code::name_too_long:
      return "name-too-long";
    case Code::invalid:
      return "invalid";
    case Code::too_large:
      return "too-large";
    case Code::no_space:
      return "no-space";
    case Code::quota:
      return "quota";
    case Code::cross_volume:
      return "cross-volume";
    case Code::loop:
      return "loop";
    case Code::too_many_links:
      return "too-many-links";
    case Code::conflict:
      return "conflict";
    case Code::stale_node:
      return "stale-node";
    case Code::busy:
      return "busy";
    case Code::timed_out:
      return "timed-out";
    case Code::unavailable:
      return "unavailable";
    case Code::no_attribute:
      return "no-attribute";
    case Code::unsupported:
      return "unsupported";
    case Code::interrupted:
      return "interrupted";
    case Code::session_lost:
      return "session-lost";
    case Code::unauthenticated:
      return "unauthenticated";
    case Code::would_block:
      return "would-block";
    case Code::deadlock:
      return "deadlock";
    case Code::io:
      return "io";
    case Code::attribute_too_big:
      return "attribute-too-big";
    case Code::fenced:
      return "fenced";
  }
  return "unknown";
}

namespace {
class SystemClock final : public Clock {
 public:
  Time now() const override {
    return Time{std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::system_clock::now().time_since_epoch())
                    .count()};
  }
  Steady steady() const override { return std::chrono::steady_clock::now(); }
};
}  // namespace

const Clock& Clock::system() {
  static const SystemClock clock;
  return clock;
}

std::string_view to_string(Access access) {
  constexpr std::string_view kWords[] = {"deny", "read-only", "append-only", "no-delete",
                                         "read-write"};
  return kWords[static_cast<size_t>(access)];
}

std::string_view rights_word(Access rights) {
  constexpr std::string_view kWords[] = {"none", "ro", "append", "no-delete", "rw"};
  return kWords[static_cast<size_t>(rights)];
}

}  // namespace linkspan
