// A name in a directory, as a key.
#pragma once

#include <string>
#include <vector>

#include "linkspan/types.h"

namespace linkspan::cache {

struct Name {
  Ino parent;
  std::string name;
  bool operator==(const Name&) const = default;
};

struct NameHash {
  size_t operator()(const Name& n) const noexcept {
    return std::hash<Ino>{}(n.parent) ^ (std::hash<std::string>{}(n.name) * 0x9E3779B97F4A7C15ull);
  }
};

// By which names a node was found, the newest first.
struct FoundNames {
  std::vector<Name> now;     // not known to lead elsewhere; survive revocations (base_versions.h)
  std::vector<Name> former;  // given to other nodes since

  std::vector<Name> all() const {
    std::vector<Name> names = now;
    names.insert(names.end(), former.begin(), former.end());
    return names;
  }
};

}  // namespace linkspan::cache
