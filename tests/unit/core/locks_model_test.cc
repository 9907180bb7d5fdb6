// The table of locks at random: against a plain model that keeps the holder of every byte, and
// against mounts whose answers are lost.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <random>
#include <utility>
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

// Mounts whose answers are lost, whose leases run out, and who come back and ask again: no two that
// are there believe to hold what conflicts, and in the end nothing is held that nobody knows of.
class Unheard {
 public:
  explicit Unheard(uint32_t seed) : random_(seed) {
    for (Mount& mount : mounts_)
      table_.open(mount.session, {[&mount] { return mount.away; }, [] { return true; }, [] {}});
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      step(mounts_[random_() % mounts_.size()]);
      check();
    }
    for (Mount& mount : mounts_)
      if (mount.away) come_back(mount);
    for (Mount& mount : mounts_) {
      if (mount.asked) take_back(mount);
      unlock(mount);
    }
    EXPECT_EQ(table_.counts().held, 0u) << "nobody knows that it is held";
    EXPECT_EQ(table_.counts().waiting, 0u);
  }
  int broken_unheard = 0;

 private:
  struct Mount {
    explicit Mount(uint64_t id) : session{id} {}
    SessionId session;
    bool away = false;
    uint64_t number = 0;
    std::optional<Lock> asked, held;  // one lock at a time
    Asked answer;
  };

  bool one_in(unsigned n) { return random_() % n == 0; }
  void send(Mount& mount) {
    mount.answer = Asked();
    LockAnswers answers;
    table_.set(mount.session, {OpNumber{mount.number}, {}, *mount.asked, LockWait::stay},
               mount.answer.done(), &answers);
  }
  void hear(Mount& mount) {
    if (mount.answer.open()) return;
    ASSERT_TRUE(mount.answer.granted());
    mount.held = std::exchange(mount.asked, std::nullopt);
  }
  void take_back(Mount& mount) {
    LockAnswers answers;
    if (table_.cancel(mount.session, {OpNumber{mount.number}, {}}, &answers).granted)
      mount.held = mount.asked;
    mount.asked.reset();
  }
  void unlock(Mount& mount) {
    if (!mount.held) return;
    Lock lock = *std::exchange(mount.held, std::nullopt);
    lock.type = none;
    Asked done;
    LockAnswers answers;
    table_.set(mount.session, {OpNumber{++mount.number}, {}, lock, LockWait::no}, done.done(),
               &answers);
  }
  void come_back(Mount& mount) {
    mount.away = false;
    ReclaimLocksRequest told;
    if (mount.held) told.locks.push_back(*mount.held);
    LockAnswers answers;
    if (!table_.reclaim(mount.session, told, false, &answers).lost.empty()) mount.held.reset();
    answers.give();
    if (!mount.asked) return;
    const bool granted = mount.answer.granted();
    send(mount);
    if (granted && mount.answer.open()) ++broken_unheard;
  }
  void step(Mount& mount) {
    if (mount.away) {
      if (one_in(3)) come_back(mount);
    } else if (one_in(5)) {
      mount.away = true;
      LockAnswers answers;
      table_.lease_lost(mount.session, &answers);
    } else if (mount.asked) {
      if (one_in(6)) return take_back(mount);
      if (one_in(2)) hear(mount);
    } else if (mount.held) {
      unlock(mount);
    } else {
      const LockType type = one_in(3) ? shared : exclusive;
      const LockKind kind = one_in(2) ? LockKind::flock : LockKind::record;
      mount.asked = Lock{Ino{300}, kind, 1, type, {}, 0, false};
      ++mount.number;
      send(mount);
    }
  }
  void check() const {
    for (const Mount& a : mounts_)
      for (const Mount& b : mounts_)
        if (&a != &b && !a.away && !b.away && a.held && b.held && a.held->kind == b.held->kind) {
          EXPECT_FALSE(a.held->type == exclusive || b.held->type == exclusive) << "two hold it";
        }
  }

  std::mt19937 random_;
  std::array<Mount, 3> mounts_{Mount(1), Mount(2), Mount(3)};
  LockTable table_{0};
};

TEST(LockTableModel, GrantsThatNobodyHeardOf) {
  int broken_unheard = 0;
  for (uint32_t seed = 1; seed <= 300 / test::kSlowdown && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Unheard model(seed);
    model.run(200);
    broken_unheard += model.broken_unheard;
  }
  EXPECT_GT(broken_unheard, 100 / test::kSlowdown);
}

}  // namespace
}  // namespace linkspan::core::testing
