// The small languages of the history commands: PATH@V and "since when".
#pragma once

#include <optional>
#include <string>

#include "linkspan/error.h"
#include "linkspan/types.h"

namespace linkspan::cli {

struct PathVersion {
  std::string path;
  Version version;  // 0: none was named
};
// The digits after the last '@' are the version; without such an end all of it is a path.
PathVersion parse_path_version(const std::string& text);

// Whether a change's path is that of `dir` in the volume, or within; an empty `dir` is its top.
bool is_below(const std::string& path, const std::string& dir);

// A duration back from `now` (90s, 15m, 2h, 3d, 1w), "today", "yesterday", or a date: 2026-11-20,
// with 14:30 or 14:30:05 after a 'T' or a space, in local time unless a 'Z' ends it. `invalid`.
Result<Time> parse_since(const std::string& text, Time now);

// A duration from `now` on (90s, 15m, 2h, 3d, 1w), or a date as parse_since() takes it. `invalid`.
Result<Time> parse_until(const std::string& text, Time now);

// As a shell takes it for one word.
std::string shell_word(const std::string& text);

}  // namespace linkspan::cli
