// Locks as the vfs gives them up: at once, later, and when somebody has taken them again meanwhile.
#include <condition_variable>
#include <future>

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

}  // namespace
}  // namespace linkspan::vfs
