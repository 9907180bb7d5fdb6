// /proc/self/mountinfo: what is mounted where, in this mount namespace.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::cli {

struct MountEntry {
  std::string device;                        // "0:57"
  std::string root;                          // within its filesystem
  std::string mountpoint;                    // unescaped
  std::string type;                          // "fuse.linkspan"
  std::string source;                        // "linkspan"
  std::optional<uid_t> user = std::nullopt;  // whose FUSE mount it is
};

inline constexpr const char* kFuseType = "fuse.linkspan";
inline constexpr const char* kCoverSource = "linkspan-cover";  // of our tmpfs covers

Result<std::vector<MountEntry>> read_mountinfo(const std::string& path = "/proc/self/mountinfo");
std::vector<MountEntry> parse_mountinfo(const std::string& text);

// The mount on top at exactly this path.
std::optional<MountEntry> mount_at(const std::vector<MountEntry>& mounts, const std::string& path);
bool is_ours(const MountEntry& entry);

}  // namespace linkspan::cli
