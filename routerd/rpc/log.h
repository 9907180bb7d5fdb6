// What this folder tells the operator. One place includes spdlog, so that the others build fast.
#pragma once

#include <string>

namespace linkspan::rpc {

// Never a token, never a secret, never content.
void log_debug(const std::string& text);
void log_info(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

}  // namespace linkspan::rpc
