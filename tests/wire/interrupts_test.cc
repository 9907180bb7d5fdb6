// Signals of callers, while their requests are under way.
#include <cerrno>

#include "tests/wire/wire_fixture.h"

namespace linkspan::test {
namespace {

// Blocks until its caller is cancelled.
Result<vfs::Entry> until_cancelled(const vfs::Caller& c, Event* entered) {
  Event cancelled;
  c.cancel->set([&] { cancelled.set(); });
  entered->set();
  bool was = cancelled.wait();
  c.cancel->set({});
  if (!was) return fail(Code::timed_out);
  return fail(Code::interrupted);
}

TEST_F(Wire, DyingCallerIsAnsweredAtOnce) {
  connect();
  Event entered;
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    return until_cancelled(c, &entered);
  };
  uint64_t unique = kernel->send(FUSE_LOOKUP, 1, named("x"), dead_pid());
  ASSERT_TRUE(entered.wait());
  kernel->interrupt(unique);
  auto reply = kernel->reply_within(unique, 1s * test::kSlowdown);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error(), EINTR);
  EXPECT_EQ(counters().cancelled, 1u);
}

TEST_F(Wire, InterruptThatOvertakesItsRequestCounts) {
  connect();
  Event entered;
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    return until_cancelled(c, &entered);
  };
  // The next request's number is the last one's plus 2.
  uint64_t last = kernel->send(FUSE_STATFS, 1);
  (void)kernel->reply(last);
  kernel->interrupt(last + 2);
  uint64_t unique = kernel->send(FUSE_LOOKUP, 1, named("x"), dead_pid());
  ASSERT_EQ(unique, last + 2);
  auto reply = kernel->reply_within(unique, 2s * test::kSlowdown);
  // The two messages may be taken by two threads in either order; both ways it ends at once.
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error(), EINTR);
}

TEST_F(Wire, SignalThatDoesNotKillEndsNothing) {
  connect();
  Event entered, go_on;
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    entered.set();
    EXPECT_TRUE(go_on.wait());
    return c.cancel->cancelled() ? Result<vfs::Entry>(fail(Code::interrupted))
                                 : Result<vfs::Entry>(entry_of(vfs, 200));
  };
  uint64_t unique = kernel->send(FUSE_LOOKUP, 1, named("x"), getpid());
  ASSERT_TRUE(entered.wait());
  kernel->interrupt(unique);
  EXPECT_FALSE(kernel->reply_within(unique, 100ms));
  go_on.set();
  EXPECT_EQ(kernel->reply(unique).error(), 0);
}

// More blocked requests than threads: the loop still reads INTERRUPTs, and what waits in the
// backlog is answered once threads are free.
TEST_F(Wire, InterruptIsReadWhileEveryThreadBlocks) {
  constexpr unsigned kThreads = 4, kRequests = 12;
  FakeKernel::Options options;
  options.max_threads = kThreads;
  connect(options);
  std::atomic<unsigned> running{0};
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    Event ignored;
    ++running;
    return until_cancelled(c, &ignored);
  };
  int32_t pid = dead_pid();
  std::vector<uint64_t> uniques;
  for (unsigned i = 0; i < kRequests; ++i)
    uniques.push_back(kernel->send(FUSE_LOOKUP, 1, named("x"), pid));
  for (uint64_t unique : uniques) kernel->interrupt(unique);
  for (uint64_t unique : uniques) EXPECT_EQ(kernel->reply(unique).error(), EINTR);
  EXPECT_EQ(running, kRequests);
}

}  // namespace
}  // namespace linkspan::test
