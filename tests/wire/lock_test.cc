// Locks between a fake kernel and a scripted vfs: what is asked, waits that hold no thread,
// signals.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "fusefs/fuse/vfs_ops.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/scripted_vfs.h"

namespace linkspan::test {
namespace {

constexpr uint64_t kEnd = INT64_MAX;  // OFFSET_MAX: to the end of all files

class Locks : public ::testing::Test {
 protected:
  void connect(FakeKernel::Options options = FakeKernel::Options()) {
    kernel = std::make_unique<FakeKernel>(operations.get(), &notifier, options);
  }
  void TearDown() override { kernel.reset(); }

  static std::string lock(uint32_t type, uint64_t start, uint64_t end, uint32_t flags = 0) {
    fuse_lk_in in = {};
    in.fh = 3;
    in.owner = 0xABCDEF;
    in.lk = {start, end, type, 4711};
    in.lk_flags = flags;
    return Bytes().add(in).str();
  }
  void queue_everything() {
    vfs.on_set_lock = [](const Lock&, bool wait) {
      return wait ? Result<std::optional<OpNumber>>(OpNumber(1))
                  : Result<std::optional<OpNumber>>(fail(Code::would_block));
    };
  }

  ScriptedVfs vfs;
  fuse::Notifier notifier{fuse::NotifierOptions{.root = kRoot}};
  std::unique_ptr<fuse::Operations> operations = fuse::make_vfs_operations(&vfs, &notifier, {});
  std::unique_ptr<FakeKernel> kernel;
};

TEST_F(Locks, AreAskedForOnlyWhereFilesMayBeWritten) {
  connect();
  EXPECT_TRUE(kernel->init().flags & FUSE_POSIX_LOCKS);
  EXPECT_TRUE(kernel->init().flags & FUSE_FLOCK_LOCKS);
  kernel.reset();
  operations = fuse::make_vfs_operations(&vfs, &notifier, {.read_only = true});
  connect();
  EXPECT_FALSE(kernel->init().flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS));
}

TEST_F(Locks, SayWhatTheKernelSaid) {
  std::vector<Lock> seen;
  vfs.on_set_lock = [&](const Lock& lock, bool) {
    seen.push_back(lock);
    return Result<std::optional<OpNumber>>(std::optional<OpNumber>());
  };
  connect();
  EXPECT_EQ(kernel->call(FUSE_SETLK, 100, lock(F_WRLCK, 10, 19)).error(), 0);
  EXPECT_EQ(kernel->call(FUSE_SETLK, 100, lock(F_UNLCK, 5, kEnd)).error(), 0);
  EXPECT_EQ(kernel->call(FUSE_SETLKW, 100, lock(F_RDLCK, 0, kEnd, FUSE_LK_FLOCK)).error(), 0);
  ASSERT_EQ(seen.size(), 3u);
  EXPECT_EQ(
      seen[0],
      (Lock{Ino(100), LockKind::record, 0xABCDEF, LockType::exclusive, {10, 20}, 4711, false}));
  EXPECT_EQ(seen[1].type, LockType::none);
  EXPECT_EQ(seen[1].range, (LockRange{5, limits::kLockEnd}));
  EXPECT_EQ(seen[2].kind, LockKind::flock);
  EXPECT_EQ(seen[2].type, LockType::shared);
  EXPECT_EQ(seen[2].owner, 3u) << "the handle: the kernel's number may be another file's soon";
}

TEST_F(Locks, ErrorsHaveTheirErrno) {
  connect();
  const std::pair<Code, int> expected[] = {{Code::would_block, EAGAIN},
                                           {Code::deadlock, EDEADLK},
                                           {Code::no_space, ENOLCK},
                                           {Code::timed_out, ETIMEDOUT}};
  for (const auto& [code, error] : expected) {
    vfs.on_set_lock = [c = code](const Lock&, bool) {
      return Result<std::optional<OpNumber>>(fail(c));
    };
    EXPECT_EQ(kernel->call(FUSE_SETLK, 100, lock(F_WRLCK, 0, 1)).error(), error);
  }
}

TEST_F(Locks, TestTellsRangeAndProcess) {
  Lock found{Ino(100), LockKind::record, 0, LockType::shared, {7, limits::kLockEnd}, 99, false};
  bool same = true;
  vfs.on_test_lock = [&](const Lock&) { return TestLockReply{found, same}; };
  connect();
  auto reply = kernel->call(FUSE_GETLK, 100, lock(F_WRLCK, 0, 99)).as<fuse_lk_out>();
  EXPECT_EQ(reply.lk.type, uint32_t{F_RDLCK});
  EXPECT_EQ(reply.lk.start, 7u);
  EXPECT_EQ(reply.lk.end, kEnd);
  EXPECT_EQ(reply.lk.pid, 99u);
  same = false;
  found.range.end = 9;
  reply = kernel->call(FUSE_GETLK, 100, lock(F_WRLCK, 0, 99)).as<fuse_lk_out>();
  EXPECT_EQ(reply.lk.end, 8u);
  EXPECT_EQ(reply.lk.pid, 0u) << "a process of another machine";
  vfs.on_test_lock = [](const Lock&) { return TestLockReply{}; };
  reply = kernel->call(FUSE_GETLK, 100, lock(F_WRLCK, 0, 99)).as<fuse_lk_out>();
  EXPECT_EQ(reply.lk.type, uint32_t{F_UNLCK});
}

TEST_F(Locks, WaitsHoldNoThread) {
  constexpr unsigned kThreads = 2, kWaits = 50;
  queue_everything();
  std::mutex mutex;
  std::vector<vfs::Vfs::LockDone> waiting;
  vfs.on_await_lock = [&](const Lock&, vfs::Vfs::LockDone done) {
    const std::lock_guard guard(mutex);
    waiting.push_back(std::move(done));
  };
  vfs.on_lookup = [](const vfs::Caller&, Ino, const std::string&) {
    vfs::Entry entry;
    entry.negative = true;
    return Result<vfs::Entry>(entry);
  };
  FakeKernel::Options options;
  options.max_threads = kThreads;
  connect(options);
  std::vector<uint64_t> uniques;
  for (unsigned i = 0; i < kWaits; ++i)
    uniques.push_back(kernel->send(FUSE_SETLKW, 100, lock(F_WRLCK, 0, 9)));
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, 1, Bytes().name("x").str()).error(), 0) << "still served";
  for (const uint64_t unique : uniques) EXPECT_FALSE(kernel->reply_within(unique, 0ms));
  for (;;) {
    const std::lock_guard guard(mutex);
    if (waiting.size() == kWaits) break;
  }
  for (const auto& done : waiting) done(ok());
  for (const uint64_t unique : uniques) EXPECT_EQ(kernel->reply(unique).error(), 0);
}

TEST_F(Locks, AnySignalEndsAWait) {
  queue_everything();
  connect();
  // Of this process, which is not dying.
  const uint64_t unique = kernel->send(FUSE_SETLKW, 100, lock(F_WRLCK, 0, 9), ::getpid());
  EXPECT_FALSE(kernel->reply_within(unique, 50ms));
  kernel->interrupt(unique);
  EXPECT_EQ(kernel->reply(unique).error(), EINTR);
  // Also one that is read before the wait has begun.
  for (int i = 0; i < 200; ++i) {
    const uint64_t early = kernel->send(FUSE_SETLKW, 100, lock(F_WRLCK, 0, 9), ::getpid());
    kernel->interrupt(early);
    EXPECT_EQ(kernel->reply(early).error(), EINTR);
  }
}

TEST_F(Locks, AConnectionEndsWithItsWaits) {
  queue_everything();
  connect();
  kernel->send(FUSE_SETLKW, 100, lock(F_WRLCK, 0, 9));
  EXPECT_EQ(kernel->call(FUSE_SETLK, 100, lock(F_WRLCK, 0, 9)).error(), EAGAIN);
  kernel.reset();  // hangs if the wait is forgotten
}

TEST_F(Locks, ClosingTellsWhoseLocksGo) {
  connect();
  fuse_flush_in flush = {};
  flush.fh = 3;
  flush.lock_owner = 77;
  EXPECT_EQ(kernel->call(FUSE_FLUSH, 100, Bytes().add(flush).str()).error(), 0);
  fuse_release_in release = {};
  release.fh = 3;
  release.release_flags = FUSE_RELEASE_FLOCK_UNLOCK;
  release.lock_owner = 88;
  vfs.open_handles = 1;
  EXPECT_EQ(kernel->call(FUSE_RELEASE, 100, Bytes().add(release).str()).error(), 0);
  EXPECT_EQ(vfs.closed_owners, std::vector<uint64_t>{77});
  EXPECT_EQ(vfs.released_locks, std::vector<uint64_t>{3});
  EXPECT_EQ(kernel->call(FUSE_SETLK, 100, "short").error(), EINVAL);
}

}  // namespace
}  // namespace linkspan::test
