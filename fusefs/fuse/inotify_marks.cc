#include "fusefs/fuse/inotify_marks.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>

namespace linkspan::fuse {
namespace {

constexpr const char* kInotify = "anon_inode:inotify";

struct DirCloser {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using Directory = std::unique_ptr<DIR, DirCloser>;

bool is_number(const char* name) {
  return std::isdigit(static_cast<unsigned char>(*name)) != 0;
}

void read_marks(const std::string& fdinfo, const std::vector<dev_t>& devices, size_t* room,
                Marks* marks) {
  std::ifstream file(fdinfo);
  Mark mark;
  for (std::string line; *room > 0 && std::getline(file, line);) {
    if (!parse_mark(line, &mark)) continue;
    if (std::find(devices.begin(), devices.end(), mark.device) == devices.end()) continue;
    if ((*marks)[mark.device].insert(mark.ino).second) --*room;
  }
}

}  // namespace

// "inotify wd:1 ino:1a sdev:800001 mask:fce ignored_mask:0 fhandle-bytes:..."; the kernel's own
// form of device numbers: 20 bits of minor.
bool parse_mark(const std::string& line, Mark* mark) {
  uint64_t ino = 0;
  uint32_t device = 0;
  if (std::sscanf(line.c_str(), "inotify wd:%*x ino:%" SCNx64 " sdev:%" SCNx32, &ino, &device) != 2)
    return false;
  *mark = {makedev(device >> 20, device & 0xFFFFF), Ino(ino)};
  return true;
}

Marks scan_marks(const std::vector<dev_t>& devices, const std::string& proc) {
  Marks marks;
  size_t room = kMarks;
  const Directory processes(::opendir(proc.c_str()));
  if (!processes) return marks;
  while (const dirent* process = ::readdir(processes.get())) {
    if (!is_number(process->d_name)) continue;
    const std::string base = proc + "/" + process->d_name;
    const Directory descriptors(::opendir((base + "/fd").c_str()));
    if (!descriptors) continue;  // not ours to look into, or gone
    while (const dirent* descriptor = ::readdir(descriptors.get())) {
      if (!is_number(descriptor->d_name)) continue;
      char target[64];
      const ssize_t n =
          ::readlinkat(::dirfd(descriptors.get()), descriptor->d_name, target, sizeof target);
      if (n != static_cast<ssize_t>(std::strlen(kInotify)) ||
          std::memcmp(target, kInotify, static_cast<size_t>(n)) != 0)
        continue;
      read_marks(base + "/fdinfo/" + descriptor->d_name, devices, &room, &marks);
    }
  }
  return marks;
}

}  // namespace linkspan::fuse
