#include <thread>

#include "fixture.h"
#include "routerd/core/usage.h"

namespace linkspan::core::testing {
namespace {

class QuotaTest : public CoreTest {
 protected:
  void SetUp() override {
    memory_ = store::make_mem_store();
    provision({{"memory", 1000, 5}, {"skills"}, {"sessions"}});
    add_token("agent-token", {});
    start_router();
  }
  StatFsReply statfs(const Mount& m, const std::string& path = "memory") {
    const auto reply = router_->statfs(m.who, m.root(path));
    EXPECT_TRUE(reply.ok());
    return reply.ok() ? *reply : StatFsReply{};
  }
};

TEST_F(QuotaTest, StatfsCountsWhatIsThere) {
  Mount m = mount();
  EXPECT_EQ(statfs(m).total_bytes, 1000u);
  EXPECT_EQ(statfs(m).total_files, 5u);
  const Ino x = m.create(m.root(), "x");
  ASSERT_TRUE(m.start_write(x, std::string(300, 'x')).get().ok());
  EXPECT_EQ(statfs(m).used_bytes, 300u);
  EXPECT_EQ(statfs(m).used_files, 1u);
  ASSERT_TRUE(m.start_remove(m.root(), "x").get().ok());
  EXPECT_EQ(statfs(m).used_bytes, 0u);
  EXPECT_EQ(statfs(m).used_files, 0u);
}

TEST_F(QuotaTest, WithoutAQuotaTheTotalStaysAndTheRestGoesDown) {
  Mount m = mount();
  const StatFsReply empty = statfs(m, "sessions");
  EXPECT_GT(empty.total_bytes, 1ull << 30);
  const Ino x = m.create(m.root("sessions"), "x");
  ASSERT_TRUE(m.start_write(x, std::string(300, 'x')).get().ok());
  const StatFsReply full = statfs(m, "sessions");
  EXPECT_EQ(full.total_bytes, empty.total_bytes);
  EXPECT_EQ(full.total_files, empty.total_files);
  EXPECT_EQ(full.used_bytes, empty.used_bytes + 300);
  EXPECT_EQ(full.used_files, empty.used_files + 1);
}

TEST_F(QuotaTest, FilesArebounded) {
  Mount m = mount();
  for (int i = 0; i < 5; ++i) m.create(m.root(), std::to_string(i));
  EXPECT_EQ(m.start_create(m.root(), "6").get().code(), Code::quota);
  ASSERT_TRUE(m.start_remove(m.root(), "0").get().ok());
  EXPECT_TRUE(m.start_create(m.root(), "6").get().ok());
  m.create(m.root("sessions"), "elsewhere");
}

TEST_F(QuotaTest, BytesAreBoundedExactly) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x"), y = m.create(m.root(), "y");
  EXPECT_EQ(m.start_write(x, std::string(1001, 'x')).get().code(), Code::quota);
  ASSERT_TRUE(m.start_write(x, std::string(900, 'x')).get().ok());
  EXPECT_EQ(m.start_write(y, std::string(101, 'y')).get().code(), Code::quota);
  ASSERT_TRUE(m.start_write(y, std::string(100, 'y')).get().ok());
  // What is rewritten makes room for itself.
  ASSERT_TRUE(m.start_write(x, std::string(900, 'z')).get().ok());
  EXPECT_EQ(m.start_write(x, std::string(901, 'z')).get().code(), Code::quota);
  EXPECT_EQ(m.content(x), std::string(900, 'z'));
  ASSERT_TRUE(m.start_write(x, "").get().ok());
  EXPECT_EQ(statfs(m).used_bytes, 100u);
}

// Its first try took the last of the room.
TEST_F(QuotaTest, ARetryOfWhatIsAppliedIsAnsweredWithThat) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x");
  for (int i = 0; i < 3; ++i) m.create(m.root(), std::to_string(i));
  CreateRequest last;
  last.parent = m.root();
  last.name = "last";
  last.mode = 0644;
  last.op = m.op();
  const auto made = m.start(last).get();
  ASSERT_TRUE(made.ok());
  last.op.retry = true;
  const auto again = m.start(last).get();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->nodes.front().attr.ino, made->nodes.front().attr.ino);

  CommitRequest append = m.rewrite(x, "");
  append.append = true;
  append.extents = bytes(std::string(600, 'a'));
  ASSERT_TRUE(m.start(append).get().ok());
  append.op.retry = true;
  append.extents = bytes(std::string(600, 'a'));
  EXPECT_TRUE(m.start(append).get().ok());
  EXPECT_EQ(m.content(x).size(), 600u);
}

TEST_F(QuotaTest, AppendsAreBounded) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x");
  CommitRequest append = m.rewrite(x, "");
  append.append = true;
  append.extents = bytes(std::string(600, 'a'));
  ASSERT_TRUE(m.start(append).get().ok());
  append.op = m.op();
  append.extents->rewind();
  EXPECT_EQ(m.start(append).get().code(), Code::quota);
  append.op = m.op();
  append.extents = bytes(std::string(400, 'a'));
  EXPECT_TRUE(m.start(append).get().ok());
}

TEST_F(QuotaTest, HolesAreFree) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x");
  SetAttrRequest grow;
  grow.op = m.op();
  grow.ino = x;
  grow.size = 1 << 20;
  EXPECT_TRUE(m.start(grow).get().ok());
}

// The writers stand in the store at the same time: what one was promised the other does not get.
TEST_F(QuotaTest, RacingWritersDoNotPassItTogether) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x"), y = m.create(m.root(), "y");
  std::vector<Code> codes(2);
  Barrier barrier;
  store_->after("commit", [&] {
    barrier.pass();
    return ok();
  });
  Pending first, second;
  std::thread one([&] { first = m.start_write(x, std::string(600, 'x')); });
  barrier.await_arrivals(1);
  std::thread two([&] { second = m.start_write(y, std::string(600, 'y')); });
  barrier.await_arrivals(2);
  barrier.open();
  one.join();
  two.join();
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(second.get().code(), Code::quota);
  EXPECT_EQ(statfs(m).used_bytes, 600u);
}

// Where the first try does not fit, the second goes by the policy all the same.
TEST_F(QuotaTest, InAFullVolumeThePolicyDecides) {
  add_token("last", [](auto& token) { token.routes[0].policy = Policy::last_writer_wins; });
  add_token("reject", [](auto& token) { token.routes[0].policy = Policy::reject; });
  add_token("pattern", [](auto& token) {
    token.routes[0].patterns = {{"*.md", Policy::last_writer_wins}};
  });
  const auto gone = [&](const Mount& m) { ASSERT_TRUE(router_->detach(m.who).ok()); };
  Mount merging = mount();
  const std::string top(300, 't'), bottom(300, 'b');
  const Ino x = merging.create(merging.root(), "x.md");
  ASSERT_TRUE(merging.start_write(x, top + "\nmiddle\n" + bottom + "\n").get().ok());
  const Version base = router_->getattr(merging.who, {x})->node.attr.version;
  ASSERT_TRUE(merging.start_write(x, top + "!\nmiddle\n" + bottom + "\n", base).get().ok());

  Mount rejecting = mount("reject");
  EXPECT_EQ(rejecting.start_write(x, top + "\nmiddle\n" + bottom + "?\n", base).get().code(),
            Code::conflict);
  gone(rejecting);
  const Outcome merged = merging.start_write(x, top + "\nmiddle\n" + bottom + "?\n", base).get();
  ASSERT_TRUE(merged.ok()) << merged.error().message;
  EXPECT_TRUE(merged->merged);
  EXPECT_EQ(merging.content(x), top + "!\nmiddle\n" + bottom + "?\n");
  gone(merging);
  Mount last = mount("last");
  const std::string mine(900, 'm');
  const Outcome over = last.start_write(x, mine, base).get();
  ASSERT_TRUE(over.ok()) << over.error().message;
  EXPECT_EQ(last.content(x), mine);
  EXPECT_EQ(statfs(last).used_bytes, 900u);
  gone(last);
  Mount pattern = mount("pattern");
  const Outcome again = pattern.start_write(x, std::string(950, 'p'), base).get();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(pattern.content(x), std::string(950, 'p'));
  EXPECT_EQ(statfs(pattern).used_bytes, 950u);
}

// Another's change between the look at the file and the commit costs another look, no more.
TEST_F(QuotaTest, AnOverwriteIsNotRefusedForAChangeMeanwhile) {
  Mount m = mount();
  const Ino x = m.create(m.root(), "x");
  ASSERT_TRUE(m.start_write(x, std::string(900, 'a')).get().ok());
  int looks = 0;
  store_->after("getattr", [&] {
    if (++looks > 1) return ok();
    EXPECT_TRUE(m.start_write(x, "b").get().ok());
    return ok();
  });
  EXPECT_TRUE(m.start_write(x, std::string(950, 'c')).get().ok());
  EXPECT_GE(looks, 1);
  EXPECT_EQ(statfs(m).used_bytes, 950u);
}

// Answers come in no fixed order: a removal may be counted before the commit that it follows.
TEST(Usage, TakesDeltasInAnyOrder) {
  store::Volume volume;
  volume.id = VolumeId{1};
  volume.quota_bytes = 1000;
  Usage usage({volume});
  usage.apply({volume.id, -700, -1});
  EXPECT_EQ(usage.statfs(volume.id).used_bytes, 0u);
  usage.apply({volume.id, 700, 1});
  EXPECT_EQ(usage.statfs(volume.id).used_bytes, 0u);
  EXPECT_EQ(usage.statfs(volume.id).used_files, 0u);
  Usage::Reservation all(&usage, volume.id);
  EXPECT_TRUE(all.grow(1000, 0).ok());
}

}  // namespace
}  // namespace linkspan::core::testing
