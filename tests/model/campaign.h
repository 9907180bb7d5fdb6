// Many random sequences through one comparison; the first failing one is shrunk and shown as code.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/model/op.h"

namespace linkspan::test {

struct CampaignOptions {
  size_t sequences = 1000;  // a twentieth under a sanitizer; LINKSPAN_SEQUENCES overrides it
  size_t length = 60;
};

// `compare` runs one sequence on fresh subjects: the difference, or nothing. The seed is
// LINKSPAN_SEED or random, and printed; a failure says how to run that sequence alone.
void run_campaign(CampaignOptions options,
                  const std::function<std::optional<std::string>(const std::vector<Op>&)>& compare);

}  // namespace linkspan::test
