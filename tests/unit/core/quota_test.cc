#include <thread>

#include "fixture.h"

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

}  // namespace
}  // namespace linkspan::core::testing
