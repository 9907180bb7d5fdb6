// Commits to a file that another's save replaced: what was written is in the file of that
// name, or kept.
#include "linkspan/forked.h"
#include "policy_fixture.h"

namespace linkspan::core::testing {
namespace {

const char* const kText = "one\ntwo\nthree\n";

class ReplacedTest : public SaveTest {
 protected:
  // A mount that acknowledges what it hears.
  struct Live {
    Mount m;
    std::shared_ptr<ScriptedSink> sink;
    std::vector<RevokedNode> heard;
  };
  // `saver_` has made MEMORY.md, version 2, which `holder` has open.
  Live& live(const std::string& token = "agent-token") {
    lives_.emplace_back(new Live{mount(token), {}, {}});
    Live& live = *lives_.back();
    live.sink = live.m.stream();
    EXPECT_EQ(live.sink->next().kind, Frame::welcome);
    return live;
  }
  Live& holder(const std::string& token = "agent-token") {
    saver_ = &live();
    old_ = saver_->m.create(saver_->m.root(), "MEMORY.md");
    EXPECT_TRUE(saver_->m.start_write(old_, kText).get().ok());
    Live& holder = live(token);
    EXPECT_EQ(holder.m.content(old_), kText);
    return holder;
  }
  Outcome done(const Pending& pending) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    do {
      for (auto& live : lives_)
        while (!live->sink->empty()) {
          const Frame frame = live->sink->next();
          const auto& nodes = frame.revocation.nodes;
          live->heard.insert(live->heard.end(), nodes.begin(), nodes.end());
          live->m.ack(frame.revocation.number);
        }
      std::this_thread::yield();
    } while (!pending.answered() && std::chrono::steady_clock::now() < end);
    return pending.get();
  }
  template <class Request>
  Outcome run(Live& by, Request request) {
    return done(by.m.start(std::move(request)));
  }
  Ino save_over(Live& by, const std::string& content) {
    const std::string temp = "tmp" + std::to_string(by.m.operations);
    const Ino ino = by.m.create(by.m.root(), temp);
    EXPECT_TRUE(by.m.start_write(ino, content).get().ok());
    EXPECT_TRUE(done(by.m.start_rename(by.m.root(), temp, by.m.root(), "MEMORY.md")).ok());
    return ino;
  }
  CommitRequest append(Live& by, const std::string& line) {
    CommitRequest request = by.m.rewrite(old_, line);
    request.append = true;
    return request;
  }
  CommitRequest edit(Live& by, uint64_t offset, const std::string& data, Version base) {
    CommitRequest request = by.m.rewrite(old_, "", base);
    request.keep_below = UINT64_MAX;
    request.size = offset + data.size();
    request.extents = bytes(data, offset);
    return request;
  }
  std::vector<Conflict> listed() {
    const auto reply = router_->conflicts(saver_->m.who, {});
    EXPECT_TRUE(reply.ok());
    return reply.ok() ? reply->conflicts : std::vector<Conflict>{};
  }

  Live* saver_ = nullptr;
  Ino old_;
  std::vector<std::unique_ptr<Live>> lives_;
};

TEST_F(ReplacedTest, AppendsAreInBothFiles) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  const Outcome first = run(holder, append(holder, "four\n"));
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->offset, 14u);
  EXPECT_FALSE(first->merged);
  ASSERT_EQ(first->nodes.size(), 2u);
  EXPECT_EQ(first->nodes[0].attr.ino, old_);
  EXPECT_EQ(first->nodes[1].attr.ino, now);
  ASSERT_TRUE(run(holder, append(holder, "five\n")).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nthree\nfour\nfive\n");
  EXPECT_EQ(holder.m.content(old_), std::string(kText) + "four\nfive\n");
  ChangesRequest newest;
  newest.newest = true;
  newest.limit = 1;
  const auto log = router_->changes(saver_->m.who, newest);
  ASSERT_TRUE(log.ok());
  ASSERT_EQ(log->changes.size(), 1u);
  EXPECT_EQ(log->changes[0].what, "append");
  EXPECT_EQ(log->changes[0].path, "MEMORY.md");
  EXPECT_EQ(log->changes[0].ino, now);
}

TEST_F(ReplacedTest, EditsAreMergedOneAfterAnother) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  const Outcome first = run(holder, edit(holder, 8, "THREE", Version{2}));
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->version, Version{kForked + 3});
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nTHREE\n");
  ASSERT_TRUE(run(holder, edit(holder, 14, "four\n", first->version)).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nTHREE\nfour\n");
  EXPECT_EQ(holder.m.content(old_), "one\ntwo\nTHREE\nfour\n");
  EXPECT_TRUE(listed().empty());
}

TEST_F(ReplacedTest, SoIsARewrite) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  ASSERT_TRUE(run(holder, holder.m.rewrite(old_, "one\ntwo\n3\n", Version{2})).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\n3\n");
}

// Of one's own session's saves, too, where the mount says so; but a part of what nobody has read
// would lie across what is there.
TEST_F(ReplacedTest, OnesOwnFollowsIfItFits) {
  holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  CommitRequest request = edit(*saver_, 8, "THREE", Version{2});
  request.follow = true;
  ASSERT_TRUE(run(*saver_, request).ok());
  EXPECT_EQ(saver_->m.content(now), "ONE\ntwo\nTHREE\n");
  request = edit(*saver_, 4, "2", {});
  request.base.reset();
  request.follow = true;
  const Outcome alone = run(*saver_, request);
  ASSERT_TRUE(alone.ok()) << alone.error().message;
  EXPECT_EQ(alone->nodes.size(), 1u);
  EXPECT_EQ(saver_->m.content(old_), "one\n2wo\nTHREE\n");
  EXPECT_EQ(saver_->m.content(now), "ONE\ntwo\nTHREE\n");
  EXPECT_TRUE(listed().empty());
}

TEST_F(ReplacedTest, PartsOfADatabaseStayWhereTheyWereWritten) {
  holder();
  const std::string pages("page 1\0page 2\0", 14);
  ASSERT_TRUE(run(*saver_, saver_->m.rewrite(old_, pages)).ok());
  const Ino now = save_over(*saver_, "another");
  CommitRequest request = edit(*saver_, 0, "PAGE", Version{3});
  request.follow = true;
  const Outcome part = run(*saver_, request);
  ASSERT_TRUE(part.ok()) << part.error().message;
  EXPECT_EQ(saver_->m.content(now), "another");
  EXPECT_EQ(saver_->m.content(old_).substr(0, 6), "PAGE 1");
  CommitRequest whole = saver_->m.rewrite(old_, pages, Version{3});
  whole.follow = true;
  EXPECT_EQ(run(*saver_, whole).code(), Code::conflict);
  EXPECT_EQ(listed().size(), 1u);
}

// The version that it has read is of the new file; and another mount's saves are no local disk.
TEST_F(ReplacedTest, APartThatDoesNotFitIsRefusedAndKept) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  CommitRequest request = edit(*saver_, 4, "2", Version{3});
  request.follow = true;
  EXPECT_EQ(run(*saver_, request).code(), Code::conflict);
  request = edit(holder, 4, "2", {});
  request.base.reset();
  EXPECT_EQ(run(holder, request).code(), Code::conflict);
  EXPECT_EQ(saver_->m.content(now), "ONE\ntwo\nthree\n");
  EXPECT_EQ(listed().size(), 2u);
}

// Who could write to the old file could not open the new one.
TEST_F(ReplacedTest, NobodyWritesToWhatHeCouldNotOpen) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  SetAttrRequest closed;
  closed.ino = now;
  for (const uint32_t mode : {0444u, 04755u}) {
    closed.op = saver_->m.op();
    closed.mode = mode;
    ASSERT_TRUE(run(*saver_, closed).ok());
    EXPECT_EQ(run(holder, append(holder, "four\n")).code(), Code::conflict);
    CommitRequest own = append(*saver_, "five\n");
    own.follow = true;
    EXPECT_TRUE(run(*saver_, own).ok());
    EXPECT_EQ(saver_->m.content(now), "ONE\ntwo\nthree\n");
  }
  EXPECT_EQ(listed().size(), 2u);
}

TEST_F(ReplacedTest, WhatCannotBeMergedIsKept) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  const Outcome refused = run(holder, edit(holder, 0, "1st", Version{2}));
  ASSERT_EQ(refused.code(), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 3u);
  ASSERT_EQ(listed().size(), 1u);
  EXPECT_EQ(holder.m.content(listed()[0].theirs), "1st\ntwo\nthree\n");
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nthree\n");
  EXPECT_EQ(holder.m.content(old_), kText);
}

TEST_F(ReplacedTest, UnderRejectAllEditsAreKept) {
  Live& holder = this->holder("reject");
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  CommitRequest request = edit(holder, 8, "THREE", Version{2});
  const Outcome refused = run(holder, request);
  ASSERT_EQ(refused.code(), Code::conflict);
  request.op.retry = true;
  const Outcome again = run(holder, request);
  ASSERT_EQ(again.code(), Code::conflict);
  EXPECT_EQ(again.error().message, refused.error().message);
  ASSERT_EQ(listed().size(), 1u);
  const Conflict kept = listed()[0];
  EXPECT_EQ(kept.path, "MEMORY.md");
  EXPECT_EQ(kept.ino, now);
  EXPECT_EQ(kept.base_ino, old_);
  EXPECT_EQ(kept.base, Version{2});
  EXPECT_EQ(kept.head, Version{3});
  EXPECT_EQ(holder.m.content(kept.theirs), "one\ntwo\nTHREE\n");
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nthree\n");
  ASSERT_TRUE(run(holder, append(holder, "four\n")).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nthree\nfour\n");
}

TEST_F(ReplacedTest, TheLastWriterAndWhoReadNothingWriteOverTheHead) {
  Live& holder = this->holder("lww");
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\nfour\n");
  ASSERT_TRUE(run(holder, edit(holder, 0, "1st", Version{2})).ok());
  EXPECT_EQ(holder.m.content(now), "1st\ntwo\nthree\nfour\n");
  Live& blind = live();
  ASSERT_TRUE(run(blind, blind.m.rewrite(old_, "new\n")).ok());
  EXPECT_EQ(holder.m.content(now), "new\n");
}

TEST_F(ReplacedTest, WithoutASuccessorItIsKeptUnderItsLastName) {
  Live& holder = this->holder();
  save_over(*saver_, "ONE\n");
  ASSERT_TRUE(done(saver_->m.start_remove(saver_->m.root(), "MEMORY.md")).ok());
  CommitRequest request = append(holder, "four\n");
  ASSERT_EQ(run(holder, request).code(), Code::conflict);
  request.op.retry = true;
  ASSERT_EQ(run(holder, request).code(), Code::conflict);
  ASSERT_EQ(listed().size(), 1u);
  EXPECT_EQ(listed()[0].path, "MEMORY.md");
  EXPECT_EQ(holder.m.content(listed()[0].theirs), std::string(kText) + "four\n");
  ASSERT_EQ(run(holder, edit(holder, 0, "1st", Version{2})).code(), Code::conflict);
  ASSERT_EQ(listed().size(), 2u);
  EXPECT_EQ(holder.m.content(listed()[1].theirs), "1st\ntwo\nthree\n");
}

// Its own session's that do not follow are as on a local disk; and so it is where a file was
// removed.
TEST_F(ReplacedTest, ByItsOwnMountOrRemovedItIsAsOnALocalDisk) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\n");
  ASSERT_TRUE(run(*saver_, append(*saver_, "four\n")).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\n");
  EXPECT_EQ(holder.m.content(old_), std::string(kText) + "four\n");
  old_ = now;
  ASSERT_TRUE(done(saver_->m.start_remove(saver_->m.root(), "MEMORY.md")).ok());
  ASSERT_TRUE(run(holder, append(holder, "two\n")).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\n");
  EXPECT_TRUE(listed().empty());
}

TEST_F(ReplacedTest, ARetryAppendsNothingTwice) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\n");
  int commits = 0;
  store_->after("commit", [&]() -> Status {
    if (++commits == 2) return fail(Code::timed_out, "no answer");
    return ok();
  });
  CommitRequest request = append(holder, "four\n");
  ASSERT_EQ(run(holder, request).code(), Code::timed_out);
  request.op.retry = true;
  saver_->heard.clear();
  EXPECT_EQ(saver_->m.content(now), "ONE\nfour\n");
  const Outcome again = run(holder, request);
  ASSERT_TRUE(again.ok()) << again.error().message;
  ASSERT_EQ(again->nodes.size(), 2u);
  EXPECT_EQ(again->nodes[0].attr.ino, old_);
  EXPECT_EQ(holder.m.content(now), "ONE\nfour\n");
  const RevokedNode revoked{now, true, false};
  EXPECT_EQ(std::count(saver_->heard.begin(), saver_->heard.end(), revoked), 1);
}

// To the caches of who wrote through the old file the new one was changed by another.
TEST_F(ReplacedTest, AllWhoCacheTheSuccessorForgetIt) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\n");
  EXPECT_EQ(holder.m.content(now), "ONE\n");
  EXPECT_EQ(saver_->m.content(now), "ONE\n");
  holder.heard.clear();
  saver_->heard.clear();
  Seq asked;  // when the file is about to change
  int commits = 0;
  Live& reader = live();
  store_->before("commit", [&] {
    if (++commits == 2) asked = router_->getattr(reader.m.who, {now})->as_of;
    return ok();
  });
  const Outcome appended = run(holder, append(holder, "four\n"));
  ASSERT_TRUE(appended.ok());
  EXPECT_EQ(appended->as_of, Seq{0});
  const RevokedNode revoked{now, true, false};
  for (Live* live : {&holder, saver_, &reader})
    EXPECT_EQ(std::count(live->heard.begin(), live->heard.end(), revoked), 1);
  EXPECT_NE(asked, Seq{0});
  EXPECT_LT(asked, appended->seq);
}

TEST_F(ReplacedTest, ItIsTheSuccessorOfThatMoment) {
  Live& holder = this->holder();
  save_over(*saver_, "ONE\n");
  int commits = 0;
  Ino last;
  store_->before("commit", [&] {
    if (++commits != 2) return ok();
    const Ino temp = saver_->m.create(saver_->m.root(), "last");
    EXPECT_TRUE(saver_->m.start_write(temp, "last\n").get().ok());
    last = temp;
    EXPECT_TRUE(
        done(saver_->m.start_rename(saver_->m.root(), "last", saver_->m.root(), "MEMORY.md")).ok());
    return ok();
  });
  ASSERT_TRUE(run(holder, append(holder, "four\n")).ok());
  EXPECT_EQ(holder.m.content(last), "last\nfour\n");
}

// A mount tells versions, not of which file: what was read of the old file after it was replaced is
// no version of the new one, or a merge would take away what was not read.
TEST_F(ReplacedTest, AVersionOfTheOldFileIsNoneOfTheNewOne) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "saved\none\ntwo\nthree\n");
  const Outcome appended = run(holder, append(holder, "four\n"));
  ASSERT_TRUE(appended.ok());
  CommitRequest mine = holder.m.rewrite(now, "one\ntwo\nthree\nfour\nmine\n", appended->version);
  EXPECT_EQ(run(holder, mine).code(), Code::conflict);
  EXPECT_EQ(holder.m.content(now), "saved\none\ntwo\nthree\nfour\n");
  ASSERT_EQ(listed().size(), 1u);
  EXPECT_EQ(holder.m.content(listed()[0].theirs), "one\ntwo\nthree\nfour\nmine\n");
}

class ReplacedQuotaTest : public ReplacedTest {
 protected:
  void SetUp() override {
    ReplacedTest::SetUp();
    provision({{"memory", 40, 0}, {"skills"}, {"sessions"}});
  }
};

TEST_F(ReplacedQuotaTest, TheSuccessorIsWhatCounts) {
  Live& holder = this->holder();
  const Ino now = save_over(*saver_, "ONE\ntwo\nthree\n");
  EXPECT_EQ(run(holder, append(holder, std::string(30, 'x'))).code(), Code::quota);
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nthree\n");
  ASSERT_TRUE(run(holder, append(holder, "four\n")).ok());
  EXPECT_EQ(router_->statfs(holder.m.who, holder.m.root())->used_bytes, 19u);
  ASSERT_TRUE(run(holder, edit(holder, 8, "THREE", Version{2})).ok());
  EXPECT_EQ(holder.m.content(now), "ONE\ntwo\nTHREE\nfour\n");
  EXPECT_EQ(router_->statfs(holder.m.who, holder.m.root())->used_bytes, 19u);
}

}  // namespace
}  // namespace linkspan::core::testing
