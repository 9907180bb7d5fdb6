// sd_notify(3), for `Type=notify` units. Does nothing elsewhere.
#pragma once

#include <string>

namespace linkspan::cli {

void notify_ready(const std::string& dir);
void notify_stopping();

}  // namespace linkspan::cli
