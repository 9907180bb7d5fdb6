// What a policy refuses is kept, listed, and settled.
#include "policy_fixture.h"

namespace linkspan::core::testing {
namespace {

class KeptTest : public SaveTest {
 protected:
  std::vector<Conflict> listed(Mount& m) {
    const auto reply = router_->conflicts(m.who, {});
    EXPECT_TRUE(reply.ok());
    return reply.ok() ? reply->conflicts : std::vector<Conflict>{};
  }
  // The one that there is.
  Conflict only(Mount& m) {
    const auto all = listed(m);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Conflict{} : all.front();
  }
  Outcome settle(Mount& m, Seq number) {
    Pending p;
    router_->settle(m.who, {m.op(), number}, p.done());
    return p.get();
  }
};

TEST_F(KeptTest, ARefusedWriteIsKeptAndNamed) {
  Mount m = mount("reject");
  const Ino x = moved_on(m);
  const Outcome refused = m.start_write(x, "first\nmine\n", Version{2}).get();
  ASSERT_EQ(refused.code(), Code::conflict);
  const Conflict kept = only(m);
  EXPECT_EQ(kept.what, "write");
  EXPECT_EQ(kept.path, "MEMORY.md");
  EXPECT_EQ(kept.ino, x);
  EXPECT_EQ(kept.base_ino, x);
  EXPECT_EQ(kept.base, Version{2});
  EXPECT_EQ(kept.head, Version{3});
  EXPECT_EQ(kept.principal, "agent");
  EXPECT_EQ(kept.session, m.who.session);
  EXPECT_EQ(m.content(kept.theirs), "first\nmine\n");
  EXPECT_EQ(m.content(x), "first\nother\n");
  const std::string number = std::to_string(kept.number.value);
  for (const std::string& part : {"kept as conflict " + number, std::string(".linkspan/conflicts"),
                                  "linkspan resolve " + number, std::string("'MEMORY.md'")})
    EXPECT_NE(refused.error().message.find(part), std::string::npos) << refused.error().message;
  ASSERT_TRUE(settle(m, kept.number).ok());
  EXPECT_TRUE(listed(m).empty());
  EXPECT_EQ(settle(m, kept.number).code(), Code::not_found);
  EXPECT_EQ(m.content(kept.theirs), "first\nmine\n");
}

TEST_F(KeptTest, AFailedMergeOfAnEditInPlaceIsKeptOverItsBase) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x.md");
  ASSERT_TRUE(m.start_write(x, "one\ntwo\nthree\n").get().ok());
  ASSERT_TRUE(m.start_write(x, "1\ntwo\nthree\n").get().ok());
  CommitRequest edit = m.rewrite(x, "", Version{2});
  edit.keep_below = UINT64_MAX;
  edit.size = 14;
  edit.extents = bytes("ONE", 0);
  EXPECT_EQ(m.start(edit).get().code(), Code::conflict);
  EXPECT_EQ(m.content(only(m).theirs), "ONE\ntwo\nthree\n");
}

TEST_F(KeptTest, SoIsWhatIsNeverMerged) {
  Mount m = mount();
  const Ino json = moved_on(m, "state.json");
  EXPECT_EQ(m.start_write(json, "first\nmine\n", Version{2}).get().code(), Code::conflict);
  const Ino binary = moved_on(m, "data");
  const std::string noise("first\nmi\0ne\n", 12);
  EXPECT_EQ(m.start_write(binary, noise, Version{2}).get().code(), Code::conflict);
  const Ino large = moved_on(m, "large");
  const std::string much((1 << 20) + 1, 'x');
  CommitRequest request = m.rewrite(large, "", Version{2});
  request.size = much.size();
  request.extents = std::make_shared<ExtentList>(
      std::vector<Extent>{{0, 1 << 20, much.substr(1)}, {1 << 20, 1, "x"}});
  EXPECT_EQ(m.start(request).get().code(), Code::conflict);
  const auto all = listed(m);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(m.content(all[0].theirs), "first\nmine\n");
  EXPECT_EQ(m.content(all[1].theirs), noise);
  EXPECT_EQ(all[2].size, much.size());
  EXPECT_EQ(m.content(all[2].theirs), much.substr(0, limits::kReadBytes));
}

TEST_F(KeptTest, ARefusedSaveIsKeptThoughItsFileGoes) {
  Mount m = mount();
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  const Saved theirs = save(m, "theirs\n", first.ino, base);
  ASSERT_TRUE(theirs.outcome.ok());
  const std::string temp = "MEMORY.md.tmp" + std::to_string(m.operations);
  const Saved mine = save(m, "mine\n", first.ino, base);
  ASSERT_EQ(mine.outcome.code(), Code::conflict);
  ASSERT_TRUE(m.start_remove(m.root(), temp).get().ok());
  const Conflict kept = only(m);
  EXPECT_EQ(kept.what, "rename");
  EXPECT_EQ(kept.path, "MEMORY.md");
  EXPECT_EQ(kept.ino, theirs.ino);
  EXPECT_EQ(kept.base_ino, first.ino);
  EXPECT_EQ(kept.base, base);
  EXPECT_EQ(kept.head, Version{base.value + 1});
  EXPECT_EQ(m.content(kept.theirs), "mine\n");
  EXPECT_EQ(head(m), "theirs\n");
}

TEST_F(KeptTest, ASaveOverARemovedFileUnderReject) {
  Mount m = mount("reject");
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(m.start_remove(m.root(), "MEMORY.md").get().ok());
  ASSERT_EQ(save(m, "mine\n", first.ino, base).outcome.code(), Code::conflict);
  const Conflict kept = only(m);
  EXPECT_EQ(kept.path, "MEMORY.md");
  EXPECT_EQ(kept.ino, first.ino);
  EXPECT_EQ(kept.head, Version{0});
  EXPECT_EQ(m.content(kept.theirs), "mine\n");
}

// An exchange is not merged. Both files stay; what would have come under the name is kept, since
// whoever exchanges to save unlinks the other file next.
TEST_F(KeptTest, ARefusedExchange) {
  Mount m = mount();
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(m, "text\ntheirs\n", first.ino, base).outcome.ok());
  const Ino temp = m.create(m.root(), "temp");
  ASSERT_TRUE(m.start_write(temp, "text\nmine\n").get().ok());
  RenameRequest request{m.op(), m.root(), "temp",    m.root(), "MEMORY.md",
                        false,  true,     first.ino, base};
  EXPECT_EQ(m.start(request).get().code(), Code::conflict);
  EXPECT_EQ(m.content(only(m).theirs), "text\nmine\n");
  request.op = m.op();
  request.exchange = false;
  request.no_replace = true;
  EXPECT_EQ(m.start(request).get().code(), Code::exists);  // nothing was to be replaced
  EXPECT_EQ(listed(m).size(), 1u);
}

TEST_F(KeptTest, ARefusedSymlinkHasNothingToKeep) {
  Mount m = mount("reject");
  const Saved first = save(m, "text\n", {}, {});
  const Version base = m.look(m.root(), "MEMORY.md").node->attr.version;
  ASSERT_TRUE(save(m, "theirs\n", first.ino, base).outcome.ok());
  CreateRequest link;
  link.op = m.op();
  link.parent = m.root();
  link.name = "link";
  link.kind = Kind::symlink;
  link.target = "elsewhere";
  ASSERT_TRUE(m.start(link).get().ok());
  EXPECT_EQ(m.start_rename(m.root(), "link", m.root(), "MEMORY.md", first.ino, base).get().code(),
            Code::conflict);
  EXPECT_TRUE(listed(m).empty());
  EXPECT_TRUE(m.look(m.root(), "link").node);
}

// A retry is answered as the first try was, though the head would take a merge by now.
TEST_F(KeptTest, ARetryIsAnsweredAlike) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x.md");
  ASSERT_TRUE(m.start_write(x, "a\n").get().ok());
  ASSERT_TRUE(m.start_write(x, "theirs\n").get().ok());
  CommitRequest mine = m.rewrite(x, "mine\n", Version{2});
  const Outcome refused = m.start(mine).get();
  ASSERT_EQ(refused.code(), Code::conflict);
  ASSERT_TRUE(m.start_write(x, "a\nb\n").get().ok());
  mine.op.retry = true;
  const Outcome again = m.start(mine).get();
  ASSERT_EQ(again.code(), Code::conflict);
  EXPECT_EQ(again.error().message, refused.error().message);
  EXPECT_EQ(m.content(x), "a\nb\n");
  only(m);
}

// What could not be kept is not refused: the caller has the bytes, and tries again.
TEST_F(KeptTest, WithoutKeepingThereIsNoRefusal) {
  Mount m = mount("reject");
  const Ino x = moved_on(m);
  CommitRequest mine = m.rewrite(x, "mine\n", Version{2});
  store_->before("keep", [] { return fail(Code::unavailable, "the database is away"); });
  EXPECT_EQ(m.start(mine).get().code(), Code::unavailable);
  EXPECT_TRUE(listed(m).empty());
  // Kept, and the answer lost.
  store_->before("keep", {});
  store_->after("keep", [] { return fail(Code::timed_out, "no answer"); });
  EXPECT_EQ(m.start(mine).get().code(), Code::timed_out);
  store_->after("keep", {});
  mine.op.retry = true;
  EXPECT_EQ(m.start(mine).get().code(), Code::conflict);
  EXPECT_EQ(m.content(only(m).theirs), "mine\n");
}

TEST_F(KeptTest, WithoutTheBaseTheHeadIsWrittenOver) {
  Mount m = mount("reject");
  const Ino x = m.create(m.root(), "x.md");
  ASSERT_TRUE(m.start_write(x, "one two\n").get().ok());
  ASSERT_TRUE(m.start_write(x, "uno due\n").get().ok());
  provision({{"memory", 0, 0, 1, 90}});
  ASSERT_TRUE(memory_->prune(TenantId{1}, clock_.now()).ok());
  CommitRequest edit = m.rewrite(x, "", Version{2});
  edit.keep_below = UINT64_MAX;
  edit.size = 8;
  edit.extents = bytes("TWO", 4);
  ASSERT_EQ(m.start(edit).get().code(), Code::conflict);
  const Conflict kept = only(m);
  EXPECT_EQ(kept.base, Version{2});
  EXPECT_EQ(m.content(kept.theirs), "uno TWO\n");
}

// The name of a file decides whether it may be merged; the log that once told it may be cut.
TEST_F(KeptTest, JsonIsNotMergedThoughItsLogWasCut) {
  Mount m = mount();
  const Ino x = moved_on(m, "state.json");
  clock_.advance(std::chrono::hours(24 * 100));
  ASSERT_TRUE(memory_->prune(TenantId{1}, clock_.now()).ok());
  Mount later = mount();
  ASSERT_TRUE(later.start_write(x, "first\nx\n").get().ok());
  EXPECT_EQ(later.start_write(x, "first\nother\nmine\n", Version{3}).get().code(), Code::conflict);
}

TEST_F(KeptTest, LastWriterWinsKeepsBothInHistory) {
  Mount m = mount("lww");
  const Ino x = moved_on(m);
  ASSERT_TRUE(m.start_write(x, "mine\n", Version{2}).get().ok());
  EXPECT_TRUE(listed(m).empty());
  const auto old = router_->read(m.who, {x, Version{3}, 0, 100});
  ASSERT_TRUE(old.ok());
  EXPECT_EQ(old->data, "first\nother\n");
}

class FullTest : public KeptTest {
 protected:
  void SetUp() override {
    KeptTest::SetUp();
    provision({{"memory", 1000, 0}});
    router_.reset();
    start_router();
  }
};

// A quota is for what files hold; what was refused would otherwise be lost for want of it.
TEST_F(FullTest, KeepingNeedsNoQuota) {
  Mount m = mount("reject");
  const Ino x = m.create(m.root(), "x");
  ASSERT_TRUE(m.start_write(x, std::string(900, 'a')).get().ok());
  ASSERT_TRUE(m.start_write(x, std::string(900, 'b')).get().ok());
  const Outcome refused = m.start_write(x, std::string(950, 'm'), Version{2}).get();
  ASSERT_EQ(refused.code(), Code::conflict) << refused.error().message;
  EXPECT_EQ(m.content(only(m).theirs), std::string(950, 'm'));
  ASSERT_TRUE(m.start_write(x, std::string(1000, 'c')).get().ok());
}

}  // namespace
}  // namespace linkspan::core::testing
