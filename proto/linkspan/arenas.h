// How malloc shares memory among the threads of our programs.
#pragma once

#include <malloc.h>

namespace linkspan {

// mallopt(3): glibc gives threads up to eight arenas a core, and each keeps what was freed in it.
// On a large host memory would grow with the cores instead of with our caches. MALLOC_ARENA_MAX in
// the environment is overridden.
inline constexpr int kArenas = 2;

// First thing in main.
inline void limit_arenas() {
  mallopt(M_ARENA_MAX, kArenas);
}

}  // namespace linkspan
