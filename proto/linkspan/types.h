// Strong domain types: an inode is not an int. Shared by both halves; depends on nothing but the
// standard library (and limits.h, which does likewise).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/limits.h"

namespace linkspan {

// A number with a meaning. Comparable and hashable, never converted silently.
template <class Tag>
struct Strong {
  uint64_t value = 0;
  constexpr Strong() = default;
  constexpr explicit Strong(uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr explicit operator bool() const { return value != 0; }
};

using Ino = Strong<struct InoTag>;              // node, unique in its tenant, never reused; 0: none
using Version = Strong<struct VersionTag>;      // of a file's content, from 1; 0: none or the head
using Seq = Strong<struct SeqTag>;              // of a change in a tenant's log, from 1
using OpNumber = Strong<struct OpNumberTag>;    // of a mutation within its session, from 1
using SessionId = Strong<struct SessionIdTag>;  // random, never 0
using TenantId = Strong<struct TenantIdTag>;
using VolumeId = Strong<struct VolumeIdTag>;
using Cookie = Strong<struct CookieTag>;  // of a directory entry: its stable position, from 1
using Epoch = Strong<struct EpochTag>;    // of a router's ownership of a tenant

// The version of a file that a change rests on. Another file may have it in its history by now.
struct Base {
  Ino ino;
  Version version;
  bool operator==(const Base&) const = default;
};

// Nanoseconds since 1970-01-01T00:00:00Z; negative before it. Never a duration.
struct Time {
  int64_t ns = 0;
  constexpr auto operator<=>(const Time&) const = default;
};

enum class Kind : uint8_t { file = 1, directory = 2, symlink = 3, fifo = 4, socket = 5 };

// What may be done with a file; each allows all that the one before it does. What each call needs:
// routerd/core/rules.h. The numbers are stored and sent: never renumber.
enum class Access : uint8_t {
  none = 0,         // it is listed, no more
  read_only = 1,    // read it
  append_only = 2,  // make it, and add to its end
  no_delete = 3,    // write it; neither remove nor rename it, nor another over it
  read_write = 4,
};
std::string_view to_string(Access access);    // "deny", "read-only", ...: of a path
std::string_view rights_word(Access rights);  // "ro", "append", "no-delete", "rw": of a route

// As stat(2) reports it; the fields are described in v1/types.proto.
struct Attr {
  Ino ino;
  Kind kind = Kind::file;
  uint32_t mode = 0;  // 07777 bits only
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  uint64_t size = 0;
  uint64_t allocated = 0;
  Time atime, mtime, ctime, btime;
  Version version;
  Seq seq;
  bool has_xattrs = false;
  Ino parent;  // directories only
  // By the path rules of whoever is told, so that `open` can refuse; set by the router's core.
  Access access = Access::read_write;
  bool operator==(const Attr&) const = default;
};

struct Node {
  Attr attr;
  std::string target;                  // symlinks
  std::optional<std::string> content;  // files <= limits::kInlineContent, when asked for; whole
  bool operator==(const Node&) const = default;
};

// What happens when a commit's base is not the head any more (DESIGN 4, "No lost update").
enum class Policy : uint8_t { merge, reject, last_writer_wins };

// What a route says of certain files apart; whatever is left out, it does not speak of. A glob
// without '/' is matched with the file's name in any directory; one with '/' with its path from the
// volume's root (a leading '/' is that root), where `*`, `?` and [...] do not cross a '/', and a
// part that is `**` is any number of directories, also none (as the last part: all that is below).
// Bytes, with regard to case; `\` takes the next one as it is.
struct PolicyPattern {
  std::string glob;  // "*.csv", "journal/**/*.log"
  std::optional<Policy> policy = {};
  std::optional<Access> access = {};  // of a directory: of all below it, too
  std::optional<bool> no_exec = {};   // files get no execute bits
  std::optional<uint64_t> max_bytes = {};
  std::vector<std::string> allowed = {};  // globs of names: others are not made here; empty: any

  // Does it say more than what becomes of conflicts?
  bool restricts() const { return access || no_exec || max_bytes || !allowed.empty(); }
  bool operator==(const PolicyPattern&) const = default;
};

// A path under the mountpoint and what it leads to, as the grant says.
struct Route {
  std::string path;    // "memory"; no leading slash
  std::string volume;  // name, for people
  VolumeId volume_id;  // router side only
  Access rights = Access::read_only;
  Policy policy = Policy::merge;
  std::vector<PolicyPattern> patterns;  // the first that matches and speaks of it decides
  uint32_t timeout_ms = static_cast<uint32_t>(limits::kRouteTimeout.count());
  Ino root;
  // Paths from the volume's root on, to which a narrowed token is held: what is neither there nor
  // below, nor above on the way, is denied. Empty: the whole volume.
  std::vector<std::string> reaches = {};
  bool writable() const { return rights > Access::read_only; }
  bool operator==(const Route&) const = default;
};

}  // namespace linkspan

template <class Tag>
struct std::hash<linkspan::Strong<Tag>> {
  size_t operator()(const linkspan::Strong<Tag>& s) const noexcept {
    return std::hash<uint64_t>{}(s.value * 0x9E3779B97F4A7C15ull);
  }
};
