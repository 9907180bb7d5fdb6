// JSON as text. Names and paths are bytes, JSON wants UTF-8: what is none is replaced, never thrown
// at.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace linkspan::cli {

// Indented, for people and files; both end with a newline.
inline std::string dump_text(const nlohmann::json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}
inline std::string dump_line(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace linkspan::cli
