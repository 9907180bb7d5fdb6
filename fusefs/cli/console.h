// What the program says: answers on stdout, everything else on stderr as "linkspan: ...".
#pragma once

#include <string>

#include "linkspan/error.h"

namespace linkspan::cli {

enum Exit : int { kSuccess = 0, kFailure = 1, kUsage = 2 };

// "linkspan: message" on stderr; answers kFailure, so that a command can end with it.
int complain(const std::string& message);
int complain(const Error& error);
void say(const std::string& message);  // progress and warnings, on stderr

enum class Colour { plain, good, bad, dim, bold };
// With escape codes only if `fd` is a terminal, NO_COLOR is unset and TERM is not "dumb".
std::string coloured(int fd, Colour colour, const std::string& text);

}  // namespace linkspan::cli
