// A store whose files' versions the test counts.
#pragma once

#include <vector>

#include "tests/conformance/suite.h"

namespace linkspan::test {

class Versioned : public StoreTest {
 protected:
  std::vector<uint64_t> numbers(Ino ino) {
    std::vector<uint64_t> out;
    for (const VersionInfo& info : world().versions(ino)) out.push_back(info.version.value);
    return out;
  }
};

}  // namespace linkspan::test
