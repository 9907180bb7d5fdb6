// Commits as the conformance tests make them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/suite.h"

namespace linkspan::test {

class Commit : public StoreTest {
 protected:
  CommitRequest request(Ino ino, uint64_t keep_below, uint64_t size, std::vector<Extent> list) {
    CommitRequest r;
    r.ino = ino;
    r.keep_below = keep_below;
    r.size = size;
    r.extents = extents(std::move(list));
    return r;
  }
  static Extent data(uint64_t offset, const std::string& bytes) {
    return Extent{offset, bytes.size(), bytes};
  }
};

}  // namespace linkspan::test
