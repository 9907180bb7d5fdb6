// The router's log: lines of text or of JSON to stderr, through spdlog's default logger.
#pragma once

#include <string>

#include "routerd/config/config.h"

namespace linkspan::daemon {

// Once, before any thread logs. `level` as config::is_log_level has it.
void set_up_log(const std::string& level, config::LogFormat format);
// {"time":"2026-01-01T00:00:00.000Z","level":"info","message":"..."}, valid whatever the bytes are.
std::string json_line(int64_t unix_ms, const std::string& level, const std::string& message);

// A message as the text log has it: nobody's bytes begin a new line or move a terminal's cursor.
std::string one_line(std::string_view message);

}  // namespace linkspan::daemon
