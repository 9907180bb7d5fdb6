// Random sequences on the memory store and on the plain model.
#include <gtest/gtest.h>

#include "tests/model/campaign.h"
#include "tests/model/plain_model.h"
#include "tests/model/shrink.h"
#include "tests/model/store_subject.h"

namespace linkspan::test {
namespace {

TEST(Model, MemoryStoreDoesWhatThePlainModelDoes) {
  run_campaign({.sequences = 1000, .length = 60}, [](const std::vector<Op>& sequence) {
    PlainModel model;
    StoreSubject store(store::make_mem_store(), "model", false);
    return first_difference(sequence, model, store);
  });
}

// The shrinker itself: of 40 numbers only 3 matter.
TEST(Model, ShrinksToWhatMatters) {
  std::vector<int> numbers;
  for (int i = 0; i < 40; ++i) numbers.push_back(i);
  const std::function<bool(const std::vector<int>&)> fails = [](const std::vector<int>& some) {
    int hits = 0;
    for (const int n : some) hits += n == 3 || n == 20 || n == 39 ? 1 : 0;
    return hits == 3;
  };
  EXPECT_EQ(shrink(numbers, fails), (std::vector<int>{3, 20, 39}));
}

// A store that forgets a link count must be found, and shown in few lines.
class Forgetful final : public Subject {
 public:
  std::string apply(const Op& op, Time now) override {
    if (op.what == What::link) return "ok";
    return model_.apply(op, now);
  }
  Snapshot snapshot() override { return model_.snapshot(); }
  std::vector<std::string> epilogue() override { return model_.epilogue(); }

 private:
  PlainModel model_;
};

TEST(Model, FindsAPlantedFaultAndShrinksIt) {
  const std::function<bool(const std::vector<Op>&)> fails = [](const std::vector<Op>& sequence) {
    PlainModel model;
    Forgetful faulty;
    return first_difference(sequence, model, faulty).has_value();
  };
  uint64_t seed = 1;
  std::vector<Op> failing = random_sequence(seed, 60);
  while (!fails(failing)) failing = random_sequence(++seed, 60);
  const std::vector<Op> small = shrink(failing, fails);
  EXPECT_TRUE(fails(small));
  EXPECT_LE(small.size(), 3u);
}

}  // namespace
}  // namespace linkspan::test
