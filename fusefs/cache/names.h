// A name in a directory, as a key.
#pragma once

#include <string>

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

}  // namespace linkspan::cache
