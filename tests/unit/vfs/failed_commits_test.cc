// Commits that fail: who is told, what is tried again, and that nothing is lost or sent twice.
#include <atomic>
#include <future>
#include <memory>

#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

class FailedCommit : public TwoMounts {};

TEST_F(FailedCommit, ARefusedCommitIsTheErrorOfClose) {
  a.clock.stop();
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(a.pwrite(*h, 0, "data"));
  a.client.refuse_next("commit", fail(Code::quota, "full"));
  EXPECT_EQ(a.flush(*h).code(), Code::quota);
  EXPECT_EQ(a.vfs->stats().refused, "full");
  EXPECT_NE(a.vfs->stats().refused_since.ns, 0);
  // The bytes are still there for who tries again.
  EXPECT_EQ(a.attr("x").size, 4u);
  ASSERT_OK(a.fsync(*h));
  EXPECT_EQ(a.vfs->stats().refused, "") << "one has succeeded since";
  EXPECT_EQ(text(b.read("x")), "data");
  ASSERT_OK(a.close(*h));
}

// A later write rests on the refused one: alone it would be a file with a hole that nobody wrote.
TEST_F(FailedCommit, RefusedBytesGoWholeWhenNobodyIsLeftToTryAgain) {
  a.client.refuse_all("commit", fail(Code::no_space, "full"));
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(a.pwrite(*h, 0, std::string(4096, '1')));
  ASSERT_TRUE(eventually([&] { return a.client.calls("commit") > 0; }));  // sealed, and refused
  ASSERT_OK(a.pwrite(*h, 8192, std::string(4096, '2')));
  EXPECT_EQ(a.close(*h).code(), Code::no_space);
  ASSERT_TRUE(eventually([&] { return a.vfs->stats().lost_commits == 1; }));
  a.client.refuse_none("commit");
  ASSERT_TRUE(eventually([&] { return a.vfs->stats().dirty_files == 0; }));
  ASSERT_OK(a.vfs->sync_all(a.me));
  EXPECT_EQ(text(a.read("x")), "");
  EXPECT_EQ(text(b.read("x")), "");
}

TEST_F(FailedCommit, ABackgroundErrorIsTheErrorOfTheNextFsync) {
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  a.client.refuse_next("commit", fail(Code::quota, "full"));
  ASSERT_OK(a.pwrite(*h, 0, "data"));
  EXPECT_TRUE(eventually([&] { return a.client.calls("commit") == 1; }));
  // The first call after it tells, even though it commits what was refused.
  EXPECT_TRUE(eventually([&] { return a.fsync(*h).ok() == false; }, 2s));
  EXPECT_OK(a.fsync(*h));
  EXPECT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("x")), "data");
}

TEST_F(FailedCommit, ALostReplyIsNotAppliedTwice) {
  a.clock.stop();
  ASSERT_OK(a.write("log", "one\n"));
  const auto h = a.open("log", O_WRONLY | O_APPEND);
  ASSERT_OK(a.pwrite(*h, 0, "two\n", true));
  a.client.lose_next_reply("commit");
  EXPECT_EQ(a.flush(*h).code(), Code::unavailable);
  ASSERT_OK(a.fsync(*h));  // the same operation
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("log")), "one\ntwo\n");
  EXPECT_EQ(text(a.read("log")), "one\ntwo\n");
  EXPECT_EQ(a.vfs->stats().dirty_files, 0u);
}

TEST_F(FailedCommit, WritesAfterALostReplyComeAfterIt) {
  a.clock.stop();
  ASSERT_OK(a.write("log", ""));
  const auto h = a.open("log", O_WRONLY | O_APPEND);
  ASSERT_OK(a.pwrite(*h, 0, "one\n", true));
  a.client.lose_next_reply("commit");
  EXPECT_FALSE(a.flush(*h).ok());
  ASSERT_OK(a.pwrite(*h, 0, "two\n", true));
  EXPECT_EQ(a.attr("log").size, 8u);
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("log")), "one\ntwo\n");
}

// Who closes last, without a flush (its process was killed), while the commit is under way.
TEST_F(FailedCommit, ARemovedFileIsForgottenAfterTheCommitThatIsUnderWay) {
  const auto entered = std::make_shared<std::promise<void>>();
  const auto proceed = std::make_shared<std::promise<void>>();
  const auto first = std::make_shared<std::atomic<bool>>(true);
  a.client.before = [=](const std::string& what) {
    if (what != "commit" || !first->exchange(false)) return;
    entered->set_value();
    proceed->get_future().wait();
  };
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(a.pwrite(*h, 0, "data"));
  entered->get_future().wait();
  ASSERT_OK(a.unlink("x"));
  a.release(*h);
  EXPECT_EQ(a.vfs->stats().dirty_files, 1u) << "its bytes are being sent";
  proceed->set_value();
  EXPECT_TRUE(eventually([&] { return a.vfs->stats().dirty_files == 0; }));
}

// Nobody is left who could read them.
TEST_F(FailedCommit, UnsavedBytesOfARemovedFileAreForgotten) {
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  a.client.refuse_all("commit", fail(Code::unavailable, "away"));
  ASSERT_OK(a.pwrite(*h, 0, "data"));
  EXPECT_EQ(a.close(*h).code(), Code::unavailable);
  EXPECT_EQ(a.vfs->stats().dirty_files, 1u);
  ASSERT_OK(a.unlink("x"));
  a.client.refuse_none("commit");
  EXPECT_TRUE(eventually([&] { return a.vfs->stats().dirty_files == 0; }));
}

// Nor do the questions that the kernel has before a write wait for the link.
TEST(WithoutALease, AWriteToAFileWithUnsavedOnesAsksNobody) {
  LocalRouter router(300ms * test::kSlowdown);
  Mount a(&router);
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(h);
  const Ino ino = a.ino("x");
  a.client.refuse_all("commit", fail(Code::unavailable, "away"));
  ASSERT_OK(a.pwrite(*h, 0, "data"));
  a.client.cut();
  ASSERT_TRUE(eventually([&] { return !a.client.lease_valid(); }));
  const uint64_t asked = a.client.calls("getattr");
  EXPECT_EQ(a.vfs->getxattr(a.me, ino, "security.capability").code(), Code::no_attribute);
  EXPECT_OK(a.pwrite(*h, 4, "more"));
  EXPECT_EQ(a.client.calls("getattr"), asked);
}

// What may yet be saved hides nothing of what cannot.
TEST_F(FailedCommit, AnAnswerThatMayStillComeHidesNoRefusal) {
  a.clock.stop();
  ASSERT_OK(a.write("x", "one\n"));
  EXPECT_EQ(text(a.read("x")), "one\n");
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(h);
  ASSERT_OK(b.write("x", "theirs\n"));
  ASSERT_OK(a.pwrite(*h, 0, "mine"));
  const auto other = a.open("x", O_RDWR);
  ASSERT_OK(other);
  EXPECT_EQ(a.fsync(*other).code(), Code::conflict);
  EXPECT_EQ(text(a.read("x")), "theirs\n");  // so that what follows is no conflict
  ASSERT_OK(a.pwrite(*h, 0, "again"));
  a.client.refuse_next("commit", fail(Code::unavailable, "away"));
  EXPECT_EQ(a.fsync(*h).code(), Code::unavailable);
  EXPECT_EQ(a.fsync(*h).code(), Code::conflict) << "of the first write";
  EXPECT_OK(a.fsync(*h));
  EXPECT_OK(a.close(*h));
  EXPECT_OK(a.close(*other));
}

}  // namespace
}  // namespace linkspan::vfs::testing
