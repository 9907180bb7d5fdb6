// How much more time a test grants in this build. A sanitizer makes code up to fifteen times
// slower, so that a lease of 200 ms is over after a few calls. What must not run out by itself, and
// the patience for what must come, are multiplied by it; the checks stay the same.
#pragma once

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define LINKSPAN_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)  // gcc's names
#define LINKSPAN_SANITIZED 1
#endif

namespace linkspan::test {

#ifdef LINKSPAN_SANITIZED
inline constexpr bool kSanitized = true;
inline constexpr int kSlowdown = 10;
#else
inline constexpr bool kSanitized = false;
inline constexpr int kSlowdown = 1;
#endif

}  // namespace linkspan::test
