// Log lines of the FUSE layer, and where libfuse's own go. spdlog stays in log.cc.
#pragma once

#include <string_view>

namespace linkspan::fuse {

enum class LogLevel { debug, info, warning, error };

// Any thread.
void log(LogLevel level, std::string_view text);

// Sends libfuse's messages through log(); idempotent.
void capture_libfuse_log();

}  // namespace linkspan::fuse
