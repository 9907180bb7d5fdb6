#include "routerd/rpc/log.h"

#include <spdlog/spdlog.h>

namespace linkspan::rpc {

void log_debug(const std::string& text) {
  spdlog::debug("{}", text);
}
void log_info(const std::string& text) {
  spdlog::info("{}", text);
}
void log_warning(const std::string& text) {
  spdlog::warn("{}", text);
}
void log_error(const std::string& text) {
  spdlog::error("{}", text);
}
bool logs_debug() {
  return spdlog::should_log(spdlog::level::debug);
}

}  // namespace linkspan::rpc
