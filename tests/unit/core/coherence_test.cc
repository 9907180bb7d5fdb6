// Who is told of what, and when the writer gets its answer.
#include <thread>

#include "fixture.h"

namespace linkspan::core::testing {
namespace {

TEST_F(CoreTest, WithoutOtherHoldersTheAnswerComesAtOnce) {
  Mount a = mount();
  mount();
  const Pending made = a.start_create(a.root(), "x");
  EXPECT_TRUE(made.answered());
  ASSERT_TRUE(made.get().ok());
  EXPECT_EQ(made.get()->as_of, made.get()->seq);
}

TEST_F(CoreTest, TheWriterIsAnsweredOnlyAfterTheHolderAcknowledged) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  EXPECT_EQ(sink->next().kind, Frame::welcome);
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());

  const Pending written = a.start_write(x, "new");
  const Frame revoke = sink->next();
  EXPECT_EQ(revoke.kind, Frame::revoke);
  EXPECT_EQ(revoke.revocation.number, 1u);
  EXPECT_EQ(revoke.revocation.nodes, (std::vector<RevokedNode>{{x, true, false}}));
  EXPECT_TRUE(revoke.revocation.names.empty());
  EXPECT_FALSE(written.answered());
  b.ack(1);
  EXPECT_TRUE(written.answered());
  ASSERT_TRUE(written.get().ok());
  EXPECT_EQ(revoke.revocation.seq, written.get()->seq);
}

TEST_F(CoreTest, AfterARevocationNothingIsSentUntilTheHolderReadsAgain) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  const Pending first = a.start_write(x, "1");
  EXPECT_EQ(sink->next().revocation.number, 1u);
  b.ack(1);
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(a.start_write(x, "2").answered());
  EXPECT_TRUE(sink->empty());
  EXPECT_EQ(b.content(x), "2");
  EXPECT_FALSE(a.start_write(x, "3").answered());
  EXPECT_EQ(sink->next().revocation.number, 2u);
}

// B has not acknowledged the revocation for A's write yet, so it may still answer from its cache:
// C's write must wait for it too.
TEST_F(CoreTest, ASecondWriterWaitsForTheFirstOnesRevocation) {
  Mount a = mount(), b = mount(), c = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  const Pending first = a.start_write(x, "1");
  const Pending second = c.start_write(x, "2");
  sink->next();
  EXPECT_FALSE(first.answered());
  EXPECT_FALSE(second.answered());
  b.ack(2);
  EXPECT_TRUE(first.answered());
  // C's write also took A's entry: A has written, so it may know the node.
  a.stream();
  a.ack(1);
  EXPECT_TRUE(second.get().ok());
}

TEST_F(CoreTest, ASaveRevokesThatFileAndItsNameOnly) {
  Mount a = mount(), b = mount();
  const Ino dir = a.create(a.root(), "d", Kind::directory);
  const Ino old_file = a.create(dir, "MEMORY.md");
  const Ino other = a.create(dir, "other.md");
  const auto sink = b.stream();
  sink->next();
  b.look(b.root(), "d");
  b.look(dir, "MEMORY.md");
  b.look(dir, "other.md");
  ASSERT_TRUE(router_->getattr(b.who, {dir}).ok());
  ASSERT_TRUE(router_->readdir(b.who, {dir, {}, 100, false}).ok());

  const Pending temp = a.start_create(dir, "tmp");
  Frame revoke = sink->next();
  EXPECT_EQ(revoke.revocation.nodes, (std::vector<RevokedNode>{{dir, false, true}}));
  EXPECT_EQ(revoke.revocation.names, (std::vector<RevokedName>{{dir, "tmp"}}));
  b.ack(1);
  const Ino moved = temp.get()->nodes.front().attr.ino;
  EXPECT_TRUE(a.start_write(moved, "text").answered());
  ASSERT_TRUE(router_->getattr(b.who, {moved}).ok());
  const Pending renamed = a.start_rename(dir, "tmp", dir, "MEMORY.md");
  revoke = sink->next();
  // The directory's attributes and listing are gone from B already. The moved file's versions are
  // renumbered; the old one lost a name.
  EXPECT_EQ(revoke.revocation.nodes,
            (std::vector<RevokedNode>{{moved, true, false}, {old_file, false, false}}));
  EXPECT_EQ(revoke.revocation.names, (std::vector<RevokedName>{{dir, "tmp"}, {dir, "MEMORY.md"}}));
  for (const RevokedNode& node : revoke.revocation.nodes) EXPECT_NE(node.ino, other);
  b.ack(2);
  EXPECT_TRUE(renamed.get().ok());
}

TEST_F(CoreTest, NegativeNamesAreRevoked) {
  Mount a = mount(), b = mount();
  const auto sink = b.stream();
  sink->next();
  EXPECT_FALSE(b.look(b.root(), "x").node);
  const Pending made = a.start_create(a.root(), "x");
  const Frame revoke = sink->next();
  EXPECT_EQ(revoke.revocation.names, (std::vector<RevokedName>{{a.root(), "x"}}));
  EXPECT_TRUE(revoke.revocation.nodes.empty());
  b.ack(1);
  EXPECT_TRUE(made.get().ok());
}

TEST_F(CoreTest, RemovingANameTellsHoldersOfTheNode) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  ASSERT_TRUE(a.start(LinkRequest{a.op(), x, a.root(), "y"}).get().ok());
  const auto sink = b.stream();
  sink->next();
  ASSERT_EQ(router_->getattr(b.who, {x})->node.attr.nlink, 2u);
  const Pending removed = a.start_remove(a.root(), "y");
  EXPECT_EQ(sink->next().revocation.nodes, (std::vector<RevokedNode>{{x, false, false}}));
  b.ack(1);
  EXPECT_TRUE(removed.get().ok());
}

TEST_F(CoreTest, RelaxedAccessTimesRevokeNothing) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  SetAttrRequest request;
  request.op = a.op();
  request.ino = x;
  request.atime = Time{5};
  request.relaxed = true;
  EXPECT_TRUE(a.start(request).answered());
  EXPECT_TRUE(sink->empty());
  request.op = a.op();
  request.relaxed = false;
  const Pending loud = a.start(request);
  EXPECT_EQ(sink->next().revocation.nodes, (std::vector<RevokedNode>{{x, false, false}}));
  b.ack(1);
  EXPECT_TRUE(loud.get().ok());
}

TEST_F(CoreTest, AFailedMutationRevokesNothing) {
  Mount a = mount(), b = mount();
  a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  b.look(b.root(), "x");
  EXPECT_EQ(a.start_create(a.root(), "x").get().code(), Code::exists);
  EXPECT_EQ(a.start_remove(a.root(), "y").get().code(), Code::not_found);
  EXPECT_TRUE(sink->empty());
}

TEST_F(CoreTest, AnUnknownOutcomeRevokesWhatItMayHaveChanged) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  b.look(b.root(), "x");
  store_->after("commit", [] { return Status(fail(Code::io, "connection lost")); });
  CommitRequest request = a.rewrite(x, "text");
  const Pending lost = a.start(request);
  EXPECT_EQ(sink->next().revocation.nodes, (std::vector<RevokedNode>{{x, true, false}}));
  EXPECT_FALSE(lost.answered());
  b.ack(1);
  EXPECT_EQ(lost.get().code(), Code::io);
  // The retry is the same operation: applied once, revoked again from who read meanwhile.
  store_->after("commit", nullptr);
  EXPECT_EQ(b.content(x), "text");
  request.op.retry = true;
  const Pending again = a.start(request);
  const Frame revoke = sink->next();
  EXPECT_EQ(revoke.revocation.number, 2u);
  b.ack(2);
  ASSERT_TRUE(again.get().ok());
  EXPECT_GT(revoke.revocation.seq, again.get()->seq);
  EXPECT_EQ(again.get()->version, Version{2});
}

TEST_F(CoreTest, AnExpiredLeaseReleasesTheWriter) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());  // no stream: the attach's lease counts
  const Pending written = a.start_write(x, "new");
  EXPECT_FALSE(written.answered());
  clock_.advance(kLease);
  EXPECT_TRUE(written.get().ok());
  // B hears on its next contact that its caches are void.
  EXPECT_EQ(router_->getattr(b.who, {x})->as_of, Seq{0});
  const auto sink = b.stream();
  const Frame welcome = sink->next();
  EXPECT_EQ(welcome.kind, Frame::welcome);
  EXPECT_FALSE(welcome.resumed);
  EXPECT_TRUE(sink->next().revocation.everything);
  EXPECT_TRUE(router_->getattr(b.who, {x})->as_of);
}

TEST_F(CoreTest, RenewalKeepsTheLease) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  for (uint64_t i = 1; i <= 4; ++i) {
    clock_.advance(kLease / 2);
    a.renew();
    b.renew(i);
    const Frame renewed = sink->next();
    EXPECT_EQ(renewed.kind, Frame::renewed);
    EXPECT_EQ(renewed.nonce, i);
  }
  EXPECT_TRUE(router_->getattr(b.who, {x})->as_of);
  const Pending written = a.start_write(x, "new");
  EXPECT_FALSE(written.answered());
  b.ack(sink->next().revocation.number);
  EXPECT_TRUE(written.get().ok());
}

TEST_F(CoreTest, RenewingALostLeaseSaysSo) {
  Mount b = mount();
  const auto sink = b.stream();
  sink->next();
  clock_.advance(kLease);
  while (router_->getattr(b.who, {b.root()})->as_of) std::this_thread::yield();
  b.renew(7);
  const Frame welcome = sink->next();
  EXPECT_EQ(welcome.kind, Frame::welcome);
  EXPECT_FALSE(welcome.resumed);
  const Frame everything = sink->next();
  EXPECT_TRUE(everything.revocation.everything);
  EXPECT_EQ(sink->next().nonce, 7u);
  b.ack(everything.revocation.number);
  EXPECT_TRUE(resume(b, everything.revocation.number)->resumed);
}

// It renews, so it lives; but a writer must not wait for it for ever.
TEST_F(CoreTest, WhoRenewsWithoutAcknowledgingLosesItsLease) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  const Pending written = a.start_write(x, "new");
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (!written.answered()) {
    ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    clock_.advance(kLease / 20);
    b.renew();
    std::this_thread::sleep_for(1ms);
  }
}

TEST_F(CoreTest, ABrokenStreamMissesNothing) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const Ino y = a.create(a.root(), "y");
  const auto first = b.stream();
  first->next();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  ASSERT_TRUE(router_->getattr(b.who, {y}).ok());
  const Pending one = a.start_write(x, "1");
  EXPECT_EQ(first->next().revocation.number, 1u);
  router_->stream_closed(b.who.session, first.get());
  const Pending two = a.start_write(y, "2");

  EXPECT_TRUE(resume(b, 1)->resumed);
  EXPECT_TRUE(one.answered());  // "processed up to 1" acknowledges it
  EXPECT_FALSE(two.answered());
  const auto second = b.stream(1);
  EXPECT_TRUE(second->next().resumed);
  EXPECT_EQ(second->next().revocation.number, 2u);
  b.ack(2);
  EXPECT_TRUE(two.answered());
}

TEST_F(CoreTest, ASecondStreamReplacesTheFirst) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto first = b.stream();
  first->next();
  const auto second = b.stream();
  EXPECT_EQ(first->next().kind, Frame::end);
  EXPECT_TRUE(second->next().resumed);
  router_->stream_closed(b.who.session, first.get());  // late; not the one that is up
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  const Pending written = a.start_write(x, "1");
  EXPECT_EQ(second->next().kind, Frame::revoke);
  b.ack(1);
  EXPECT_TRUE(written.get().ok());
}

TEST_F(CoreTest, ANumberThatWasNeverSentProvesNothing) {
  Mount b = mount();
  const auto sink = b.stream(99);
  EXPECT_FALSE(sink->next().resumed);
  const Frame everything = sink->next();
  EXPECT_TRUE(everything.revocation.everything);
  EXPECT_EQ(everything.revocation.number, 100u);
}

// The window between a read of the store and its answer: a mutation in it must find the reader.
TEST_F(CoreTest, AReaderUnderWayIsRevoked) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  Barrier barrier;
  store_->after("getattr", [&] {
    barrier.pass();
    return ok();
  });
  Result<NodeReply> read = fail(Code::internal);
  std::thread reader([&] { read = router_->getattr(b.who, {x}); });
  barrier.await_arrivals(1);
  const Pending written = a.start_write(x, "new");
  const Frame revoke = sink->next();
  EXPECT_FALSE(written.answered());
  barrier.open();
  reader.join();
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->node.attr.size, 0u);
  EXPECT_LT(read->as_of, revoke.revocation.seq);  // so the mount will not cache it
  b.ack(1);
  EXPECT_TRUE(written.get().ok());
}

// The same for a node that the reader learns of only from the reply: it reads once more.
TEST_F(CoreTest, ALookupThatWasOvertakenReadsAgain) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  Barrier barrier;
  store_->after("lookup", [&] {
    barrier.pass();
    return ok();
  });
  LookupReply found;
  std::thread reader([&] { found = b.look(b.root(), "x"); });
  barrier.await_arrivals(1);
  const Outcome written = a.start_write(x, "new").get();  // nobody holds x yet
  ASSERT_TRUE(written.ok());
  barrier.open();
  reader.join();
  ASSERT_TRUE(found.node);
  EXPECT_EQ(found.node->attr.size, 3u);
  EXPECT_GE(found.as_of, written->seq);
  EXPECT_EQ(store_->calls("lookup"), 2);
}

TEST_F(CoreTest, AMutationUnderWayHoldsAsOfBackOnlyForItsNodes) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const Ino y = a.create(a.root(), "y");
  Barrier barrier;
  store_->before("commit", [&] {
    barrier.pass();
    return ok();
  });
  Pending slow;
  std::thread writer([&] { slow = a.start_write(x, "new"); });
  barrier.await_arrivals(1);
  const Pending creating = b.start_create(b.root(), "z");
  a.ack(1);  // who created x and y knows names in the root
  const Outcome quick = creating.get();
  ASSERT_TRUE(quick.ok());
  EXPECT_LT(router_->getattr(b.who, {x})->as_of, quick->seq);
  EXPECT_EQ(router_->getattr(b.who, {y})->as_of, quick->seq);
  barrier.open();
  writer.join();
  b.ack(1);  // of the revocation of x
  ASSERT_TRUE(slow.get().ok());
  EXPECT_EQ(router_->getattr(b.who, {x})->as_of, quick->seq);
}

TEST_F(CoreTest, ARetryJoinsItsFirstTry) {
  Mount a = mount();
  const Ino x = a.create(a.root(), "x");
  Barrier barrier;
  store_->before("commit", [&] {
    barrier.pass();
    return ok();
  });
  CommitRequest request;
  request.op = a.op();
  request.ino = x;
  request.append = true;
  request.extents = bytes("once\n");
  Pending first;
  std::thread writer([&] { first = a.start(request); });
  barrier.await_arrivals(1);
  CommitRequest retry = request;
  retry.op.retry = true;
  retry.extents = bytes("once\n");
  const Pending second = a.start(retry);
  EXPECT_FALSE(second.answered());
  barrier.open();
  writer.join();
  ASSERT_TRUE(first.get().ok());
  ASSERT_TRUE(second.get().ok());
  EXPECT_EQ(first.get()->seq, second.get()->seq);
  EXPECT_EQ(store_->calls("commit"), 1);
  EXPECT_EQ(a.content(x), "once\n");
  // And long after: the stored result.
  retry.extents = bytes("once\n");
  EXPECT_EQ(a.start(retry).get()->seq, first.get()->seq);
  EXPECT_EQ(a.content(x), "once\n");
}

TEST_F(CoreTest, ARetryWaitsForTheFirstTrysRevocations) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto sink = b.stream();
  sink->next();
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  CommitRequest request = a.rewrite(x, "1");
  const Pending first = a.start(request);
  request.op.retry = true;
  const Pending second = a.start(request);
  EXPECT_FALSE(second.answered());
  b.ack(sink->next().revocation.number);
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
}

// Both hold what the other changes; neither acknowledges before it got its own answer... and both
// do get it, because acknowledging never waits for an answer.
TEST_F(CoreTest, TwoMountsThatSaveTheSameFileDoNotWaitForEachOther) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  const auto a_sink = a.stream(), b_sink = b.stream();
  a_sink->next();
  b_sink->next();
  a.look(a.root(), "x");
  b.look(b.root(), "x");
  const Pending from_a = a.start_write(x, "a");
  const Pending from_b = b.start_write(x, "b");
  EXPECT_FALSE(from_a.answered());
  EXPECT_FALSE(from_b.answered());
  a.ack(a_sink->next().revocation.number);
  b.ack(b_sink->next().revocation.number);
  EXPECT_TRUE(from_a.get().ok());
  EXPECT_TRUE(from_b.get().ok());
}

TEST_F(CoreTest, AfterARestartMutationsWaitForTheSessionsOfBefore) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  router_.reset();
  start_router();
  ASSERT_TRUE(resume(a, 0).ok());
  a.router = b.router = router_.get();
  a.stream();
  const Pending written = a.start_write(x, "new");
  EXPECT_FALSE(written.answered());
  EXPECT_EQ(store_->calls("commit"), 0);
  EXPECT_TRUE(router_->getattr(a.who, {x}).ok());  // reads go on
  ASSERT_TRUE(resume(b, 0).ok());
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(written.answered()) << "that reply may be lost, and B still read its caches";
  b.stream();
  EXPECT_TRUE(written.get().ok());
}

TEST_F(CoreTest, AfterARestartMutationsWaitForOneLeaseAtMost) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  router_.reset();
  start_router();
  ASSERT_TRUE(resume(a, 0).ok());
  a.router = router_.get();
  const Pending written = a.start_write(x, "new");
  EXPECT_FALSE(written.answered());
  clock_.advance(kLease);
  EXPECT_TRUE(written.get().ok());
}

TEST_F(CoreTest, StoppingAnswersWhatIsHeldBack) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  router_.reset();
  start_router();
  ASSERT_TRUE(resume(a, 0).ok());
  a.router = router_.get();
  const Pending written = a.start_write(x, "new");
  EXPECT_FALSE(written.answered());
  router_->stop();
  ASSERT_TRUE(written.answered());
  EXPECT_EQ(written.get().code(), Code::unavailable);
  EXPECT_EQ(store_->calls("commit"), 0);
}

TEST_F(CoreTest, DetachingReleasesWritersThatWaitForIt) {
  Mount a = mount(), b = mount();
  const Ino x = a.create(a.root(), "x");
  ASSERT_TRUE(router_->getattr(b.who, {x}).ok());
  const Pending written = a.start_write(x, "new");
  EXPECT_FALSE(written.answered());
  ASSERT_TRUE(router_->detach(b.who).ok());
  EXPECT_TRUE(written.answered());
}

}  // namespace
}  // namespace linkspan::core::testing
