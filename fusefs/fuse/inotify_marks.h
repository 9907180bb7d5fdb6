// Who watches: the inotify marks of all processes that this one may look into, as /proc/*/fdinfo
// shows them.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "linkspan/types.h"

namespace linkspan::fuse {

inline constexpr size_t kMarks = 65536;  // of one scan; further ones are not nudged

using Marks = std::map<dev_t, std::set<Ino>>;

// Of these filesystems. Reads a file for each inotify descriptor, and the links of all others.
Marks scan_marks(const std::vector<dev_t>& devices, const std::string& proc = "/proc");

// One line of fdinfo; nothing where it is no mark.
struct Mark {
  dev_t device = 0;
  Ino ino;
};
bool parse_mark(const std::string& line, Mark* mark);

}  // namespace linkspan::fuse
