#include "fusefs/cli/instance.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "fusefs/cli/system.h"
#include "linkspan/limits.h"

namespace linkspan::cli {
namespace {

class Instance : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/linkspan-instance-test.XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    dir_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string dir_;
};

TEST_F(Instance, IsMadeOnceAndStays) {
  const std::string state = dir_ + "/deep/state";
  const auto first = instance_secret(state);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->size(), limits::kInstanceBytes);
  EXPECT_EQ(*instance_secret(state), *first);
  struct stat st;
  ASSERT_EQ(::stat((state + "/instance").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_NE(*instance_secret(dir_ + "/other"), *first);
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(state))
    files.push_back(entry.path().filename());
  EXPECT_EQ(files, std::vector<std::string>{"instance"});
}

TEST_F(Instance, OfTwoThatMakeItAtOnceBothHaveOne) {
  std::mutex mutex;
  std::set<std::string> seen;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      const auto secret = instance_secret(dir_);
      const std::lock_guard lock(mutex);
      seen.insert(secret.ok() ? *secret : secret.error().message);
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen.begin()->size(), limits::kInstanceBytes);
}

TEST_F(Instance, WhatOthersCanReadIsNoSecret) {
  ASSERT_TRUE(instance_secret(dir_).ok());
  ASSERT_EQ(::chmod((dir_ + "/instance").c_str(), 0640), 0);
  EXPECT_EQ(instance_secret(dir_).code(), Code::access_denied);
  ASSERT_TRUE(write_file(dir_ + "/instance", "short", 0600).ok());
  EXPECT_EQ(instance_secret(dir_).code(), Code::invalid);
  EXPECT_FALSE(instance_secret("/proc/nowhere").ok());
}

}  // namespace
}  // namespace linkspan::cli
