#include "tests/model/campaign.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <random>

#include "tests/model/shrink.h"
#include "tests/support/slowdown.h"

namespace linkspan::test {
namespace {

// Of the sequences under a sanitizer, which takes as much longer.
constexpr size_t kSanitizedPart = 20;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::strtoull(value, nullptr, 10);
}

}  // namespace

void run_campaign(
    CampaignOptions options,
    const std::function<std::optional<std::string>(const std::vector<Op>&)>& compare) {
  const uint64_t seed = from_environment("LINKSPAN_SEED", std::random_device{}());
  const uint64_t usual = test::kSanitized ? options.sequences / kSanitizedPart : options.sequences;
  const uint64_t sequences = from_environment("LINKSPAN_SEQUENCES", usual);
  std::cout << "LINKSPAN_SEED=" << seed << " LINKSPAN_SEQUENCES=" << sequences << std::endl;
  for (uint64_t i = 0; i < sequences; ++i) {
    const std::vector<Op> sequence = random_sequence(seed + i, options.length);
    if (!compare(sequence)) continue;
    const std::vector<Op> small = shrink<Op>(
        sequence, [&](const std::vector<Op>& part) { return compare(part).has_value(); });
    std::string text;
    for (const Op& op : small) text += "  " + to_code(op) + "\n";
    FAIL() << "run it alone with LINKSPAN_SEED=" << seed + i << " LINKSPAN_SEQUENCES=1\n"
           << text << compare(small).value_or("(it did not fail again)");
  }
}

}  // namespace linkspan::test
