// Locks as the vfs gives them up: at once, later, and when somebody has taken them again meanwhile.
#include <condition_variable>
#include <future>

#include "fusefs/vfs/wal_refusals.h"
#include "tests/unit/vfs/mounts.h"

namespace linkspan::vfs {
namespace {

using namespace testing;

constexpr uint64_t kOwner = 0xABC;  // as the kernel numbers a process, or an open file

// What a mount's own threads ask of locks is held back, as on a busy machine.
class HeldBack {
 public:
  static std::shared_ptr<HeldBack> of(Mount& mount) {
    auto back = std::make_shared<HeldBack>();
    mount.client.before = [back](const std::string& what) { back->before(what); };
    mount.client.after = [back](const std::string& what) { back->after(what); };
    return back;
  }

  void let_go() {
    const std::lock_guard lock(mutex_);
    let_go_ = true;
    changed_.notify_all();
  }
  bool somebody() { return reaches(asked_, 1); }
  bool answered(int times) { return reaches(answered_, times); }

 private:
  bool counts(const std::string& what) const {
    return std::this_thread::get_id() != test_ && what.ends_with("_lock");
  }
  void before(const std::string& what) {
    if (!counts(what)) return;
    std::unique_lock lock(mutex_);
    ++asked_;
    changed_.notify_all();
    changed_.wait_for(lock, kPatience, [this] { return let_go_; });
  }
  void after(const std::string& what) {
    if (!counts(what)) return;
    const std::lock_guard lock(mutex_);
    ++answered_;
    changed_.notify_all();
  }
  bool reaches(const int& count, int wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return count >= wanted; });
  }

  static constexpr auto kPatience = 10s * test::kSlowdown;
  const std::thread::id test_ = std::this_thread::get_id();
  std::mutex mutex_;  // of what follows
  std::condition_variable changed_;
  bool let_go_ = false;
  int asked_ = 0, answered_ = 0;
};

class VfsLocks : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(a.write("f", "before"));
    ASSERT_OK(a.write("g", "before"));
    h = *a.open("f", O_RDWR);
    other = *b.open("f", O_RDWR);
  }

  static Status set(Mount& mount, Handle through, const std::string& path, LockKind kind,
                    uint64_t owner, LockType type) {
    const Lock lock{mount.ino(path), kind, owner, type, {}, 0, false};
    LINKSPAN_TRY(const auto queued, mount.vfs->set_lock(mount.me, through, lock, false));
    return queued ? Status(fail(Code::internal, "it was not to be queued")) : ok();
  }
  Status set(LockType type) { return set(a, h, "f", LockKind::record, kOwner, type); }
  Status of_other(LockType type) { return set(b, other, "f", LockKind::record, kOwner, type); }
  bool other_gets_it() {
    return eventually([&] { return of_other(LockType::exclusive).ok(); });
  }
  void close_last(Mount& mount, Handle of, const std::string& path) {
    mount.vfs->unlock_handle(mount.ino(path), of);
    mount.release(of);
  }

  // Does it while what is held back is under way: that goes on when it is done, or plainly waits.
  Status meanwhile(HeldBack& back, const std::function<Status()>& what) {
    std::promise<void> done;
    const auto opener = std::async(std::launch::async, [&] {
      (void)done.get_future().wait_for(100ms);
      back.let_go();
    });
    const Status status = what();
    done.set_value();
    return status;
  }
  void is_kept(HeldBack& back, int answers) {
    ASSERT_OK(meanwhile(back, [&] { return set(LockType::exclusive); }));
    ASSERT_TRUE(back.answered(answers));
    EXPECT_FALSE(of_other(LockType::shared).ok()) << "it was taken away";
    EXPECT_OK(set(LockType::none));
    EXPECT_TRUE(other_gets_it());
  }

  LocalRouter router;
  Mount a{&router, {.timeout_ms = static_cast<uint32_t>(500 * test::kSlowdown)}}, b{&router};
  Handle h = 0, other = 0;
};

TEST_F(VfsLocks, WhatAClosedFileGivesUpIsNotTheNextOnesOfTheSameOwner) {
  ASSERT_OK(set(LockType::exclusive));
  const auto back = HeldBack::of(a);
  close_last(a, h, "f");
  ASSERT_TRUE(back->somebody());
  h = *a.open("f", O_RDWR);  // the kernel puts it where the last one was
  is_kept(*back, 1);
}

TEST_F(VfsLocks, AnUnlockMadeUpForSparesWhatWasSetAfterIt) {
  ASSERT_OK(set(LockType::exclusive));
  const auto back = HeldBack::of(a);
  a.client.cut();
  EXPECT_EQ(a.vfs->unlock_owner(a.me, a.ino("f"), kOwner).code(), Code::timed_out);
  ASSERT_TRUE(back->somebody());
  a.client.join();
  is_kept(*back, 1);
}

TEST_F(VfsLocks, ARequestTakenBackSparesTheNext) {
  const auto back = HeldBack::of(a);
  a.client.lose_next_lock_reply();
  EXPECT_EQ(set(LockType::exclusive).code(), Code::unavailable);
  ASSERT_TRUE(back->somebody());
  is_kept(*back, 2);
}

TEST_F(VfsLocks, ARequestTakenBackGivesNothingToWhoIsGone) {
  ASSERT_OK(set(LockType::shared));
  const auto back = HeldBack::of(a);
  a.client.lose_next_lock_reply();
  EXPECT_EQ(set(LockType::exclusive).code(), Code::unavailable);
  ASSERT_TRUE(back->somebody());
  EXPECT_OK(meanwhile(*back, [&] { return a.vfs->unlock_owner(a.me, a.ino("f"), kOwner); }));
  ASSERT_TRUE(back->answered(2));
  EXPECT_TRUE(other_gets_it());
}

TEST_F(VfsLocks, AnUnlockThatWasNotEvenSentIsMadeUpFor) {
  for (const bool dirty : {false, true}) {
    ASSERT_OK(set(LockType::exclusive));
    if (dirty) {
      ASSERT_OK(a.pwrite(h, 0, "during"));
    }
    a.client.cut();
    EXPECT_EQ(set(LockType::none).code(), Code::timed_out);
    EXPECT_EQ(set(LockType::none).code(), Code::timed_out);
    a.client.join();
    EXPECT_TRUE(other_gets_it()) << "dirty: " << dirty;
    if (dirty) {
      EXPECT_EQ(text(b.read("f")), "during") << "what it protected goes first";
    }
    EXPECT_OK(of_other(LockType::none));
  }
}

TEST_F(VfsLocks, AFileWhoseCommitTakesLongHoldsUpNoOther) {
  std::promise<void> committing, go_on;
  std::once_flag once;
  Mount slow{&router, {.timeout_ms = 60000}};
  const Handle writer = *slow.open("f", O_RDWR), f = *slow.open("f", O_RDWR);
  const Handle g = *slow.open("g", O_RDWR), other_g = *b.open("g", O_RDWR);
  ASSERT_OK(set(slow, f, "f", LockKind::flock, f, LockType::exclusive));
  ASSERT_OK(set(slow, g, "g", LockKind::flock, g, LockType::exclusive));
  slow.client.before = [&](const std::string& what) {
    if (what != "commit") return;
    std::call_once(once, [&] {
      committing.set_value();
      go_on.get_future().wait();
    });
  };
  ASSERT_OK(slow.pwrite(writer, 0, "during"));
  auto saved = std::async(std::launch::async, [&] { return slow.fsync(writer); });
  committing.get_future().wait();
  close_last(slow, f, "f");
  close_last(slow, g, "g");
  const auto get = [&](Handle through, const std::string& path) {
    return set(b, through, path, LockKind::flock, through, LockType::exclusive);
  };
  EXPECT_TRUE(eventually([&] { return get(other_g, "g").ok(); }));
  EXPECT_FALSE(get(other, "f").ok()) << "before what it protected is committed";
  go_on.set_value();
  EXPECT_OK(saved.get());
  EXPECT_TRUE(eventually([&] { return get(other, "f").ok(); }));
  EXPECT_EQ(text(b.read("f")), "during");
}

// ---- SQLite in WAL mode ------------------------------------------------------------------------

class VfsWal : public VfsLocks {
 protected:
  void SetUp() override {
    ASSERT_OK(a.vfs->mkdir(a.me, a.root, "d", 0755));
    ASSERT_OK(a.write("d/x.db", "data"));
    ASSERT_OK(a.write("d/x.db-shm", "index"));
    h = *a.open("d/x.db", O_RDWR);
    other = *b.open("d/x.db", O_RDWR);
  }
  // As SQLite locks while it reads.
  static Status take(Mount& mount, Handle through, uint64_t owner, LockType type) {
    const Lock lock{mount.ino("d/x.db"), LockKind::record, owner, type, kShared, 0, false};
    LINKSPAN_TRY(const auto queued, mount.vfs->set_lock(mount.me, through, lock, false));
    return queued ? Status(fail(Code::internal, "it was not to be queued")) : ok();
  }
  Status of_other(LockType type) { return take(b, other, kOwner, type); }

  static constexpr LockRange kShared{0x40000002, 0x40000002 + 510};
};

TEST_F(VfsWal, WhoIsRefusedBecauseOfAnotherMountCanBeToldWhy) {
  ASSERT_OK(take(a, h, kOwner, LockType::shared));
  EXPECT_EQ(of_other(LockType::shared).code(), Code::would_block);
  EXPECT_EQ(of_other(LockType::shared).code(), Code::would_block);
  const Lock ask{b.ino("d/x.db"), LockKind::record, kOwner, LockType::exclusive, kShared, 0, false};
  ASSERT_TRUE(b.vfs->test_lock(b.me, ask).ok());
  const auto stats = b.vfs->stats();
  ASSERT_EQ(stats.wal_refusals.size(), 1u);
  EXPECT_EQ(stats.wal_refusals[0].file, "memory/d/x.db");
  EXPECT_EQ(stats.wal_refusals[0].times, 3u);
  EXPECT_LT(stats.wal_refusals[0].since.ns, stats.wal_refusals[0].last.ns);
  EXPECT_EQ(stats.wal_refused, 3u);
  ASSERT_EQ(b.told_of_wal.size(), 1u) << "not at each try";
  EXPECT_EQ(b.told_of_wal[0].find("memory/d/x.db: "), 0u);
  EXPECT_NE(b.told_of_wal[0].find("PRAGMA journal_mode=DELETE"), std::string::npos);
  EXPECT_TRUE(a.vfs->stats().wal_refusals.empty()) << "where it is in use, nothing was refused";
}

TEST_F(VfsWal, ProcessesOfOneMountThatWaitForEachOtherAreNoneOfThat) {
  ASSERT_OK(take(a, h, kOwner, LockType::exclusive));
  EXPECT_EQ(take(a, h, kOwner + 1, LockType::exclusive).code(), Code::would_block);
  EXPECT_TRUE(a.vfs->stats().wal_refusals.empty());
}

TEST_F(VfsWal, NorAreMountsThatWaitForEachOtherWithARollbackJournal) {
  ASSERT_OK(a.vfs->unlink(a.me, a.ino("d"), "x.db-shm"));
  ASSERT_OK(take(a, h, kOwner, LockType::exclusive));
  EXPECT_EQ(of_other(LockType::exclusive).code(), Code::would_block);
  EXPECT_TRUE(b.vfs->stats().wal_refusals.empty());
}

TEST(WalRefusals, AreShownForMinutesTheLatestFirst) {
  WalRefusals refusals;
  const auto at = [](int minutes) { return Time{minutes * 60'000'000'000}; };
  EXPECT_TRUE(refusals.note("a", at(100)));
  EXPECT_TRUE(refusals.note("b", at(105)));
  EXPECT_FALSE(refusals.note("a", at(110)));
  auto shown = refusals.recent(at(115));
  ASSERT_EQ(shown.size(), 2u);
  EXPECT_EQ(shown[0].file, "a");
  EXPECT_EQ(shown[0].times, 2u);
  EXPECT_EQ(shown[0].since, at(100));
  EXPECT_EQ(shown[0].last, at(110));
  EXPECT_EQ(refusals.recent(at(116)).size(), 1u);
  EXPECT_TRUE(refusals.recent(at(121)).empty());
  EXPECT_TRUE(refusals.note("a", at(122))) << "it is news again";
  for (size_t i = 0; i < 2 * kWalRefusalFiles; ++i) refusals.note("f" + std::to_string(i), at(123));
  EXPECT_EQ(refusals.recent(at(123)).size(), kWalRefusalFiles);
}

}  // namespace
}  // namespace linkspan::vfs
