// One step of a random sequence: plain values, so that a sequence can be shrunk, printed, and
// applied to anything. Paths are "/a/b"; "@2" is the node that slot 2 holds open, "@2/b" a name in
// it.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace linkspan::test {

enum class What : uint8_t {
  create,        // a: path, x: mode, flag: exclusive
  mkdir,         // a: path, x: mode
  symlink,       // a: path, b: target
  fifo,          // a: path, x: mode
  unlink,        // a: path
  rmdir,         // a: path
  rename,        // a: from, b: to, x: a Base for the target, flag: no_replace
  exchange,      // a, b: paths
  link,          // a: node, b: path
  chmod,         // a: node, x: mode
  chown,         // a: node, x: uid, y: gid
  utimes,        // a: node, x: atime, y: mtime (nanoseconds), flag: the time of now
  relax,         // a: node, x: atime
  truncate,      // a: node, x: size
  rewrite,       // a: node, x: length, y: seed of the bytes
  overwrite,     // a: node, x: offset, y: length, z: a Base
  punch,         // a: node, x: offset, y: length
  keep_below,    // a: node, x: keep_below, y: size
  append,        // a: node, x: length, y: seed of the bytes
  set_xattr,     // a: node, b: name, x: length, y: 0 either, 1 create, 2 replace
  remove_xattr,  // a: node, b: name
  open,          // a: path, x: slot
  retry,         // the last mutation once more, under its number
  prune,         // what ended x steps ago or earlier is past its days
  count_,
};

// Which base a commit or rename carries.
enum class Base : uint64_t { none, head, stale, count_ };

struct Op {
  What what = What::create;
  std::string a, b;
  uint64_t x = 0, y = 0, z = 0;
  bool flag = false;
};

constexpr size_t kSlots = 3;
constexpr uint32_t kKeepVersions = 6, kKeepDays = 90;  // of the volume

std::vector<Op> random_sequence(uint64_t seed, size_t length);
// As a line of code: rename("/a", "/b/c", base::none, no_replace).
std::string to_code(const Op& op);
// The bytes of rewrite and append.
std::string bytes_of(uint64_t seed, uint64_t length);

}  // namespace linkspan::test
