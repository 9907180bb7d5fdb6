#include "fusefs/fuse/log.h"

#include <spdlog/spdlog.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <string>

#include "fusefs/fuse/lowlevel.h"

namespace linkspan::fuse {
namespace {

constexpr size_t kLineBytes = 1024;  // of one libfuse message; longer ones are cut

LogLevel level_of(enum fuse_log_level level) {
  if (level <= FUSE_LOG_ERR) return LogLevel::error;
  if (level == FUSE_LOG_WARNING) return LogLevel::warning;
  return level == FUSE_LOG_DEBUG ? LogLevel::debug : LogLevel::info;
}

__attribute__((format(printf, 2, 0))) void from_libfuse(enum fuse_log_level level,
                                                        const char* format, va_list args) {
  char line[kLineBytes];
  int n = std::vsnprintf(line, sizeof line, format, args);
  if (n < 0) return;
  std::string_view text(line, std::min<size_t>(static_cast<size_t>(n), sizeof line - 1));
  while (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  log(level_of(level), text);
}

}  // namespace

void log(LogLevel level, std::string_view text) {
  static constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                          spdlog::level::warn, spdlog::level::err};
  spdlog::log(kLevels[static_cast<int>(level)], "{}", text);
}

void capture_libfuse_log() {
  static std::once_flag once;
  std::call_once(once, [] { fuse_set_log_func(from_libfuse); });
}

}  // namespace linkspan::fuse
