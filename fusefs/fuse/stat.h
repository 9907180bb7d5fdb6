// Between the domain's attributes and stat(2)'s.
#pragma once

#include <sys/stat.h>

#include <ctime>
#include <optional>

#include "linkspan/types.h"

namespace linkspan::fuse {

timespec to_timespec(Time time);
Time to_time(const timespec& ts);

mode_t file_type(Kind kind);               // S_IFREG, ...
std::optional<Kind> kind_of(mode_t mode);  // none for devices
struct stat to_stat(const Attr& attr);     // st_ino: the real Ino

}  // namespace linkspan::fuse
