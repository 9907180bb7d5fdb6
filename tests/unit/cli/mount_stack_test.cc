#include "fusefs/cli/mount_stack.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace linkspan::cli {
namespace {

using Kind = MountStep::Kind;

bool exists(const std::string& path) {
  struct stat st;
  return ::lstat(path.c_str(), &st) == 0;
}

class MountStackTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_NE(::mkdtemp(dir_.data()), nullptr); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  MountStack stack(std::vector<MountStep> inherited = {}) {
    return MountStack([this](const auto& steps) { saved_ = steps; }, std::move(inherited));
  }

  std::string dir_ = "/tmp/linkspan-stack-XXXXXX";
  std::vector<MountStep> saved_;  // as the state file has them
};

TEST_F(MountStackTest, UndoesInReverseWhatItMade) {
  auto made = stack();
  ASSERT_TRUE(made.make_parents(dir_ + "/a/b").ok());
  ASSERT_TRUE(made.symlink("/target", dir_ + "/a/b").ok());
  EXPECT_EQ(saved_.size(), 2u);
  EXPECT_TRUE(made.undo().empty());
  EXPECT_FALSE(exists(dir_ + "/a"));
  EXPECT_TRUE(saved_.empty());
}

TEST_F(MountStackTest, WhatWasInheritedIsTakenOverAndUndoneInTheEnd) {
  const std::vector<MountStep> before{{Kind::directory, dir_ + "/a"},
                                      {Kind::symlink, dir_ + "/a/b", "/target"}};
  ::mkdir((dir_ + "/a").c_str(), 0755);
  ASSERT_EQ(::symlink("/target", (dir_ + "/a/b").c_str()), 0);
  auto heir = stack(before);
  ASSERT_TRUE(heir.make_parents(dir_ + "/a/b").ok());
  ASSERT_TRUE(heir.symlink("/target", dir_ + "/a/b").ok());
  EXPECT_FALSE(heir.inherits());
  EXPECT_EQ(saved_, before);
  EXPECT_TRUE(heir.settle().empty());
  EXPECT_TRUE(heir.undo().empty());
  EXPECT_FALSE(exists(dir_ + "/a"));
}

TEST_F(MountStackTest, WhatWasInheritedStaysWhenTheNewMountFails) {
  const std::vector<MountStep> before{{Kind::directory, dir_ + "/a"},
                                      {Kind::directory, dir_ + "/c"}};
  ::mkdir((dir_ + "/a").c_str(), 0755);
  ::mkdir((dir_ + "/c").c_str(), 0755);
  auto heir = stack(before);
  ASSERT_TRUE(heir.make_directory(dir_ + "/a").ok());
  ASSERT_TRUE(heir.make_directory(dir_ + "/a/new").ok());
  EXPECT_TRUE(heir.undo().empty());
  EXPECT_TRUE(exists(dir_ + "/a"));
  EXPECT_FALSE(exists(dir_ + "/a/new"));
  EXPECT_TRUE(heir.inherits());
  EXPECT_EQ(saved_, before);
}

TEST_F(MountStackTest, WhatNobodyTookOverGoesWhenTheNewMountIsThere) {
  ::mkdir((dir_ + "/a").c_str(), 0755);
  auto heir = stack({{Kind::directory, dir_ + "/a"}});
  ASSERT_TRUE(heir.make_directory(dir_ + "/b").ok());
  EXPECT_TRUE(heir.settle().empty());
  EXPECT_FALSE(exists(dir_ + "/a"));
  EXPECT_EQ(saved_, (std::vector<MountStep>{{Kind::directory, dir_ + "/b"}}));
  EXPECT_TRUE(heir.undo().empty());
}

TEST_F(MountStackTest, WhatOthersPutThereIsNotTakenOver) {
  ::mkdir((dir_ + "/a").c_str(), 0755);
  auto made = stack();
  EXPECT_FALSE(made.make_directory(dir_ + "/a").ok());
  EXPECT_TRUE(made.undo().empty());
  EXPECT_TRUE(exists(dir_ + "/a"));
}

}  // namespace
}  // namespace linkspan::cli
