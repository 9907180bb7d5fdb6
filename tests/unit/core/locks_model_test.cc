// The table of locks at random, against a plain model that keeps the holder of every byte.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <random>
#include <vector>

#include "routerd/core/locks.h"
#include "tests/support/slowdown.h"
#include "tests/unit/core/lock_asked.h"

namespace linkspan::core::testing {
namespace {

using enum LockType;

constexpr uint64_t kBytes = 8;
constexpr int kFiles = 2, kOwners = 6;

// Each owner is one thread: while it waits it asks for nothing else.
class Model {
 public:
  explicit Model(uint32_t seed) : random_(seed) {
    for (uint64_t s = 1; s <= 3; ++s)
      table_.open(SessionId{s}, {[] { return false; }, [] { return true; }, [] {}});
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      step();
      settle();
    }
    // Nobody asks for anything more: everyone gets what he waits for.
    for (int round = 0; waiting() != 0 && round < 100; ++round)
      for (int o = 0; o < kOwners; ++o)
        if (!owners_[o].waits) {
          release(o);
          settle();
        }
    EXPECT_EQ(waiting(), 0) << "somebody waits for ever";
  }
  int deadlocks = 0, granted_late = 0;

 private:
  struct Wait {
    Lock lock;
    Asked asked;
    uint64_t arrival;
  };
  struct OwnerState {
    std::array<std::array<LockType, kBytes>, kFiles> bytes{};
    std::optional<Wait> waits;
  };

  static SessionId session(int o) { return SessionId{1 + static_cast<uint64_t>(o) / 2}; }
  static Ino ino(int file) { return Ino{200 + static_cast<uint64_t>(file)}; }
  static int file_of(const Lock& lock) { return static_cast<int>(lock.ino.value - 200); }
  int number(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
  int waiting() const {
    int count = 0;
    for (const auto& owner : owners_) count += owner.waits.has_value();
    return count;
  }

  Lock some_lock(int o) {
    const uint64_t begin = random_() % kBytes;
    const uint64_t end = begin + 1 + random_() % (kBytes - begin);
    return {ino(number(kFiles)),
            LockKind::record,
            100 + static_cast<uint64_t>(o),
            static_cast<LockType>(number(3)),
            {begin, end},
            0,
            false};
  }
  static bool conflict(LockType a, LockType b) {
    return (a == exclusive && b != none) || (b == exclusive && a != none);
  }
  std::set<int> holders(int asker, const Lock& lock) const {
    std::set<int> found;
    for (int o = 0; o < kOwners; ++o)
      for (uint64_t b = lock.range.begin; b < lock.range.end; ++b)
        if (o != asker && conflict(lock.type, owners_[o].bytes[file_of(lock)][b])) found.insert(o);
    return found;
  }
  bool circle(int start, const Lock& lock) const {
    std::set<int> seen, open = holders(start, lock);
    while (!open.empty()) {
      const int o = *open.begin();
      open.erase(open.begin());
      if (o == start) return true;
      if (!seen.insert(o).second || !owners_[o].waits) continue;
      open.merge(holders(o, owners_[o].waits->lock));
    }
    return false;
  }
  void apply(int o, const Lock& lock) {
    EXPECT_TRUE(holders(o, lock).empty()) << "granted though another holds it";
    for (uint64_t b = lock.range.begin; b < lock.range.end; ++b)
      owners_[o].bytes[file_of(lock)][b] = lock.type;
  }

  Asked send(int o, const Lock& lock, LockWait wait) {
    Asked asked;
    asked.number = OpNumber{++numbers_[session(o)]};
    LockAnswers answers;
    table_.set(session(o), {asked.number, {}, lock, wait}, asked.done(), &answers);
    return asked;
  }
  void release(int o) {
    for (int f = 0; f < kFiles; ++f) {
      Lock all{ino(f), LockKind::record, 100 + static_cast<uint64_t>(o), none, {}, 0, false};
      EXPECT_TRUE(send(o, all, LockWait::no).granted());
      all.range = {0, kBytes};
      apply(o, all);
      settle();
    }
  }

  void step() {
    const int o = number(kOwners);
    OwnerState& owner = owners_[o];
    if (owner.waits) {
      if (number(8) == 0) {
        LockAnswers answers;
        EXPECT_FALSE(table_.cancel(session(o), {owner.waits->asked.number, {}}, &answers).granted);
        answers.give();
        EXPECT_EQ(owner.waits->asked.code(), Code::interrupted);
        owner.waits.reset();
      }
      return;
    }
    if (number(4) == 0) return release(o);
    const Lock lock = some_lock(o);
    const bool wait = number(2) == 0;
    const bool free = holders(o, lock).empty();
    const bool stuck = circle(o, lock);
    const Asked asked = send(o, lock, wait ? LockWait::stay : LockWait::no);
    if (asked.granted()) {
      apply(o, lock);
    } else if (!wait) {
      EXPECT_FALSE(free) << "refused though nobody holds it";
      EXPECT_EQ(asked.code(), Code::would_block);
    } else if (asked.open()) {
      EXPECT_FALSE(stuck) << "waits though it can never end";
      owner.waits = Wait{lock, asked, ++arrivals_};
    } else {
      EXPECT_EQ(asked.code(), Code::deadlock);
      EXPECT_TRUE(stuck) << "called a deadlock, which it is not";
      ++deadlocks;
    }
  }
  // Takes in what was granted meanwhile; then nobody waits whom nothing and nobody is before.
  void settle() {
    std::map<uint64_t, int> granted;  // in the order in which they were
    for (int o = 0; o < kOwners; ++o) {
      if (!owners_[o].waits || owners_[o].waits->asked.open()) continue;
      ASSERT_TRUE(owners_[o].waits->asked.granted());
      granted[(*owners_[o].waits->asked.answer)->value().order] = o;
    }
    for (const auto& [order, o] : granted) {
      apply(o, owners_[o].waits->lock);
      owners_[o].waits.reset();
      ++granted_late;
    }
    for (int o = 0; o < kOwners; ++o) {
      if (!owners_[o].waits || !holders(o, owners_[o].waits->lock).empty()) continue;
      bool behind = false;
      for (int other = 0; other < kOwners; ++other) {
        if (other == o || !owners_[other].waits) continue;
        const Wait &mine = *owners_[o].waits, &theirs = *owners_[other].waits;
        behind = behind || (theirs.arrival < mine.arrival && theirs.lock.ino == mine.lock.ino &&
                            theirs.lock.range.overlaps(mine.lock.range) &&
                            conflict(theirs.lock.type, mine.lock.type));
      }
      EXPECT_TRUE(behind) << "owner " << o << " waits for nothing";
    }
    for (int o = 0; o < kOwners; ++o)
      for (int f = 0; f < kFiles; ++f)
        for (const LockType type : {shared, exclusive}) {
          Lock probe{ino(f), LockKind::record, 100 + static_cast<uint64_t>(o), type, {0, kBytes}, 0,
                     0};
          EXPECT_EQ(table_.test(session(o), probe).blocker.has_value(), !holders(o, probe).empty());
        }
  }

  std::mt19937 random_;
  LockTable table_{0};
  std::map<SessionId, uint64_t> numbers_;
  std::array<OwnerState, kOwners> owners_;
  uint64_t arrivals_ = 0;
};

TEST(LockTableModel, AgreesWithBytes) {
  int deadlocks = 0, late = 0;
  for (uint32_t seed = 1; seed <= 300 / test::kSlowdown && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model model(seed);
    model.run(200);
    deadlocks += model.deadlocks;
    late += model.granted_late;
  }
  EXPECT_GT(deadlocks, 100 / test::kSlowdown);
  EXPECT_GT(late, 1000 / test::kSlowdown);
}

}  // namespace
}  // namespace linkspan::core::testing
