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

}  // namespace linkspan::rpc
