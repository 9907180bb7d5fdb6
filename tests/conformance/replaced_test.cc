// Commits to a file that a rename replaced: another session's, or one's own that the writer had no
// part in.
#include <optional>

#include "linkspan/forked.h"
#include "tests/conformance/commits.h"

namespace linkspan::test {
namespace {

// A file that another session's rename replaces while it is held open.
class Replaced : public Commit {
 protected:
  void SetUp() override {
    Commit::SetUp();
    if (HasFatalFailure()) return;
    old_ = world().make_file(root(), "file", "old");
    other_.emplace(world().fork());
    now_ = replace("now");
  }
  Ino replace(const std::string& content) {
    const Ino temp = other_->make_file(root(), "temp", content);
    must(other_->rename(root(), "temp", root(), "file"));
    return temp;
  }
  Ino successor(Ino ino) { return must(store_->successor(world().scope, ino)); }
  CommitRequest append(Ino ino, const std::string& bytes) {
    CommitRequest r = request(ino, 0, 0, {data(0, bytes)});
    r.append = true;
    return r;
  }
  // To both.
  Result<store::Applied> commit(CommitRequest request, CommitRequest there) {
    store::Mutation m = world().next();
    m.successor = std::move(there);
    if (!request.op.number) request.op = world().op();
    return store_->commit(m, request);
  }

  Ino old_, now_;
  std::optional<World> other_;
};
LINKSPAN_CONFORMANCE(Replaced);

TEST_P(Replaced, ACommitToItAloneIsRefused) {
  EXPECT_EQ(successor(old_), now_);
  for (CommitRequest r : {append(old_, "!"), request(old_, 0, 1, {data(0, "!")})}) {
    for (const auto& base : {std::optional<Version>(), std::optional(Version{2})}) {
      r.base = base;
      const auto refused = world().commit(r);
      ASSERT_EQ(code_of(refused), Code::conflict);
      EXPECT_EQ(refused.error().head_version, 0u);
    }
  }
  EXPECT_EQ(world().content(old_), "old");
  EXPECT_EQ(world().content(now_), "now");
}

TEST_P(Replaced, SoIsOnesOwnWhoseWriterHadNoPartInTheRename) {
  CommitRequest r = append(old_, "!");
  r.follow = true;
  const auto refused = other_->commit(r);
  ASSERT_EQ(code_of(refused), Code::conflict);
  EXPECT_EQ(refused.error().head_version, 0u);
  must(other_->commit(append(old_, "!")));
  EXPECT_EQ(world().content(old_), "old!");
  EXPECT_EQ(world().attr(old_).version, Version{kForked + 3});  // 3 is the new one's
  EXPECT_EQ(world().content(now_), "now");
  // Where nothing was replaced it says nothing.
  r = append(now_, "!");
  r.follow = true;
  must(other_->commit(r));
  EXPECT_EQ(world().content(now_), "now!");
}

TEST_P(Replaced, ACommitToBothIsOneOperation) {
  CommitRequest first = append(old_, "!");
  first.op = world().op();
  CommitRequest there = request(now_, UINT64_MAX, 4, {data(0, "NO"), data(3, "?")});
  there.base = Version{3};
  there.mtime = Time{42};
  const store::Applied applied = must(commit(first, there));
  ASSERT_EQ(applied.reply.nodes.size(), 2u);
  EXPECT_EQ(attr_of(applied), world().attr(old_));
  EXPECT_EQ(attr_of(applied, 1), world().attr(now_));
  EXPECT_EQ(attr_of(applied, 1).mtime, Time{42});
  EXPECT_EQ(applied.reply.offset, 3u);
  EXPECT_EQ(applied.reply.version, Version{kForked + 3});
  EXPECT_EQ(applied.usage.bytes, 1);
  EXPECT_EQ(applied.usage.files, 0);
  EXPECT_EQ(world().content(old_), "old!");
  EXPECT_EQ(world().content(old_, Version{2}), "old");
  EXPECT_EQ(code_of(store_->read(world().scope, {now_, Version{kForked + 3}, 0, 1})),
            Code::not_found);
  EXPECT_EQ(world().content(now_), "NOw?");
  EXPECT_EQ(world().content(now_, Version{3}), "now");
  EXPECT_EQ(world().attr(now_).version, Version{4});
  const Change logged = world().changes().back();
  EXPECT_EQ(logged.seq, applied.reply.seq);
  EXPECT_EQ(logged.what, "write");
  EXPECT_EQ(logged.ino, now_);
  EXPECT_EQ(logged.path, "file");
  EXPECT_EQ(logged.version, Version{4});

  first.op.retry = true;
  const store::Applied again = must(commit(first, there));
  EXPECT_TRUE(again.replayed);
  EXPECT_EQ(again.reply, applied.reply);
  // Also where the first try was not to both: its result comes before any refusal.
  EXPECT_EQ(must(world().store().commit(world().next(), first)).reply, applied.reply);
  EXPECT_EQ(world().content(now_), "NOw?");

  // And on.
  EXPECT_EQ(successor(old_), now_);
  must(commit(append(old_, "!"), append(now_, "!")));
  EXPECT_EQ(world().content(old_), "old!!");
  EXPECT_EQ(world().attr(old_).version, Version{kForked + 4});
  EXPECT_EQ(world().content(now_), "NOw?!");
}

TEST_P(Replaced, BothKeepSoManyVersions) {
  for (int i = 0; i < 20; ++i) must(commit(append(old_, "!"), append(now_, "!")));
  EXPECT_GT(world().versions(old_).size(), 20u);
  must(store_->provision({tenant_, {{"memory", 0, 0, 3, 90}}}, world().now()));
  while (must(store_->prune(world().state().id, world().now())) > 0) {
  }
  EXPECT_EQ(world().versions(now_).size(), 3u);
  EXPECT_EQ(world().versions(old_).size(), 3u);
}

TEST_P(Replaced, TheSuccessorMustBeWhatItWas) {
  CommitRequest there = request(now_, 0, 1, {data(0, "!")});
  there.base = Version{2};
  const auto moved_on = commit(append(old_, "!"), there);
  ASSERT_EQ(code_of(moved_on), Code::conflict);
  EXPECT_EQ(moved_on.error().head_version, 3u);
  EXPECT_EQ(world().content(old_), "old");

  const Ino newest = replace("newest");
  EXPECT_EQ(successor(old_), newest);
  EXPECT_EQ(successor(now_), newest);
  const auto replaced = commit(append(old_, "!"), append(now_, "!"));
  ASSERT_EQ(code_of(replaced), Code::conflict);
  EXPECT_EQ(replaced.error().head_version, 0u);
  must(world().rename(root(), "file", root(), "moved"));
  must(commit(append(old_, "!"), append(newest, "!")));
  EXPECT_EQ(world().content(newest), "newest!");

  // Goes on with another history.
  const Ino third = world().make_file(root(), "third", "3");
  must(world().rename(root(), "moved", root(), "third"));
  EXPECT_EQ(successor(third), newest);
  EXPECT_EQ(successor(old_), Ino{});
  EXPECT_EQ(code_of(commit(append(old_, "!"), append(newest, "!"))), Code::conflict);
  must(world().unlink(root(), "third"));
  EXPECT_EQ(successor(third), Ino{});
  EXPECT_EQ(world().content(newest), "newest!");
}

TEST_P(Replaced, ByItsOwnSessionOrRemovedItIsAFileLikeAnyOther) {
  must(other_->append(old_, "!"));
  EXPECT_EQ(world().content(old_), "old!");
  EXPECT_EQ(world().content(now_), "now");
  // It has a history of its own by now; that of its name still goes on.
  EXPECT_EQ(successor(old_), now_);
  EXPECT_EQ(code_of(world().append(old_, "!")), Code::conflict);
  must(other_->unlink(root(), "file"));
  must(world().append(now_, "!"));
  EXPECT_EQ(world().content(now_), "now!");
  EXPECT_EQ(successor(now_), Ino{});

  const Ino linked = world().make_file(root(), "file", "linked");
  must(world().link(linked, root(), "link"));
  replace("instead");
  EXPECT_EQ(successor(linked), Ino{});
  must(world().append(linked, "!"));
  EXPECT_EQ(world().content(linked), "linked!");
}

}  // namespace
}  // namespace linkspan::test
