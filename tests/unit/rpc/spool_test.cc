#include "routerd/rpc/spool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace linkspan::rpc {
namespace {

const std::string kDir = "/tmp";

Extent extent(uint64_t offset, size_t size, char fill) {
  return {offset, size, std::string(size, fill)};
}

std::vector<Extent> drain(Spool* spool) {
  std::vector<Extent> out;
  Extent next;
  while (true) {
    const auto more = spool->next(&next);
    EXPECT_TRUE(more.ok());
    if (!more.ok() || !*more) return out;
    out.push_back(next);
  }
}

// Adds as an upload does.
Status add(Spool* spool, Extent one) {
  if (spool->keep(&one)) return ok();
  return spool->write(one);
}

void expect_same(const std::vector<Extent>& read, const std::vector<Extent>& written) {
  ASSERT_EQ(read.size(), written.size());
  for (size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].offset, written[i].offset);
    EXPECT_EQ(read[i].length, written[i].length);
    EXPECT_EQ(read[i].data, written[i].data);
  }
}

TEST(Spool, StaysInMemoryWhileItIsSmall) {
  SpoolBudget budget(1 << 20, 1 << 20);
  {
    Spool spool(&budget, {kDir, 1000});
    const std::vector<Extent> all = {extent(0, 100, 'a'), {200, 50, {}}, extent(300, 5, 'b')};
    for (const Extent& one : all) ASSERT_TRUE(add(&spool, one).ok());
    EXPECT_FALSE(spool.on_disk());
    EXPECT_EQ(spool.bytes(), 105u);
    EXPECT_GT(budget.memory(), 105u);
    expect_same(drain(&spool), all);
    spool.rewind();
    expect_same(drain(&spool), all);
  }
  EXPECT_EQ(budget.memory(), 0u);
}

TEST(Spool, GoesToAnUnlinkedFileAndReadsBackInOrder) {
  SpoolBudget budget(1 << 20, 1 << 20);
  {
    Spool spool(&budget, {kDir, 1000});
    std::vector<Extent> all;
    for (size_t i = 0; i < 30; ++i)
      all.push_back(i % 3 == 2 ? Extent{i * 1000, 10, {}}
                               : extent(i * 1000, 100 + i, static_cast<char>('a' + i)));
    for (const Extent& one : all) ASSERT_TRUE(add(&spool, one).ok());
    EXPECT_TRUE(spool.on_disk());
    EXPECT_EQ(budget.memory(), 0u);
    EXPECT_GT(budget.disk(), 0u);
    spool.rewind();
    expect_same(drain(&spool), all);
    spool.rewind();
    expect_same(drain(&spool), all);
  }
  EXPECT_EQ(budget.disk(), 0u);
}

TEST(Spool, AllUploadsTogetherAreBounded) {
  SpoolBudget budget(0, 8000);  // no memory: to disk at once
  Spool one(&budget, {kDir, 1000}, TenantId(1)), other(&budget, {kDir, 1000}, TenantId(2));
  ASSERT_TRUE(add(&one, extent(0, 3500, 'a')).ok());
  ASSERT_TRUE(add(&other, extent(0, 3500, 'a')).ok());
  Spool two(&budget, {kDir, 1000}, TenantId(3));
  const auto refused = add(&two, extent(0, 1000, 'b'));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.code(), Code::busy);
  EXPECT_EQ(refused.error().message,
            "the uploads under way fill the router's spool space; try again later");
}

TEST(Spool, ATenantLeavesTheOthersTheirs) {
  SpoolBudget budget(0, 8000);
  Spool one(&budget, {kDir, 1000}, TenantId(1)), two(&budget, {kDir, 1000}, TenantId(1));
  ASSERT_TRUE(add(&one, extent(0, 3500, 'a')).ok());
  EXPECT_EQ(add(&two, extent(0, 1000, 'b')).code(), Code::busy);
  Spool other(&budget, {kDir, 1000}, TenantId(2));
  EXPECT_TRUE(add(&other, extent(0, 3500, 'c')).ok());
}

TEST(Spool, NamesTheDirectoryItCannotUse) {
  SpoolBudget budget(0, 5000);
  Spool spool(&budget, {"/nowhere", 0});
  const auto failed = add(&spool, extent(0, 10, 'a'));
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.code(), Code::io);
  EXPECT_EQ(failed.error().message,
            "the router cannot keep an upload in /nowhere: open: No such file or directory; see "
            "spool_dir");
}

// In a child process: a disk of 64 KiB, in a mount namespace of its own.
void fill_small_disk() {
  const uid_t uid = ::geteuid();
  if (::unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0) ::_exit(10);
  if (uid != 0) std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1" << std::flush;
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) ::_exit(11);
  if (::mount("small", kDir.c_str(), "tmpfs", 0, "size=64k") != 0) ::_exit(12);
  SpoolBudget budget(0, 1 << 30);
  Spool spool(&budget, {kDir, 0});
  for (uint64_t n = 0; n < 100; ++n) {
    const auto added = add(&spool, extent(n * 4096, 4096, 'a'));
    if (added.ok()) continue;
    const bool named = added.error().message.find("spool_dir") != std::string::npos;
    ::_exit(added.code() == Code::no_space && named ? 0 : 13);
  }
  ::_exit(14);
}

TEST(SpoolDeathTest, AFullDiskIsNoSpace) {
  EXPECT_EXIT(fill_small_disk(), ::testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace linkspan::rpc
