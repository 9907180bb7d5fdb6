#include "fusefs/cli/mountinfo.h"

#include <cstdlib>

#include "fusefs/cli/system.h"

namespace linkspan::cli {

namespace {

// \040 and the like.
std::string unescape(const std::string& text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](size_t k) { return text[k] >= '0' && text[k] <= '7'; };
    if (text[i] == '\\' && i + 3 < text.size() && digit(i + 1) && digit(i + 2) && digit(i + 3)) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 +
                                 (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// "rw,user_id=1000,group_id=1000"
std::optional<uid_t> user_of(const std::string& options) {
  for (const auto& option : split(options, ','))
    if (option.rfind("user_id=", 0) == 0)
      return static_cast<uid_t>(std::strtoul(option.c_str() + 8, nullptr, 10));
  return std::nullopt;
}

constexpr size_t kMountinfoBytes = 16 << 20;

}  // namespace

std::vector<MountEntry> parse_mountinfo(const std::string& text) {
  std::vector<MountEntry> mounts;
  for (const auto& line : split(text, '\n')) {
    // id parent major:minor root mountpoint options [optional...] - type source super-options
    const auto fields = split(line, ' ');
    size_t dash = 6;
    while (dash < fields.size() && fields[dash] != "-") ++dash;
    if (dash + 2 >= fields.size()) continue;
    mounts.push_back({fields[2], unescape(fields[3]), unescape(fields[4]),
                      unescape(fields[dash + 1]), unescape(fields[dash + 2]),
                      dash + 3 < fields.size() ? user_of(fields[dash + 3]) : std::nullopt});
  }
  return mounts;
}

Result<std::vector<MountEntry>> read_mountinfo(const std::string& path) {
  LINKSPAN_TRY(const auto text, read_file(path, kMountinfoBytes));
  return parse_mountinfo(text);
}

std::optional<MountEntry> mount_at(const std::vector<MountEntry>& mounts, const std::string& path) {
  for (auto it = mounts.rbegin(); it != mounts.rend(); ++it)
    if (it->mountpoint == path) return *it;
  return std::nullopt;
}

bool is_ours(const MountEntry& entry) {
  return entry.type == kFuseType || (entry.type == "tmpfs" && entry.source == kCoverSource);
}

}  // namespace linkspan::cli
