#include "fusefs/cli/usage_words.h"

#include <gtest/gtest.h>

namespace linkspan::cli {
namespace {

TEST(UsageWords, TheNearestIsWhatWasMeant) {
  const std::vector<std::string> commands{"mount", "umount", "run", "status", "log", "cat", "diff"};
  EXPECT_EQ(nearest_word("mont", commands), "mount");
  EXPECT_EQ(nearest_word("unmount", commands), "umount");
  EXPECT_EQ(nearest_word("stauts", commands), "status");
  EXPECT_EQ(nearest_word("stat", commands), "status");
  EXPECT_EQ(nearest_word("logs", commands), "log");
  EXPECT_EQ(nearest_word("frobnicate", commands), "");
  EXPECT_EQ(nearest_word("ps", commands), "");
  EXPECT_EQ(nearest_word("x", commands), "");
  EXPECT_EQ(nearest_word("", commands), "");
  EXPECT_EQ(nearest_word(std::string(100000, 'm'), commands), "");
  EXPECT_EQ(nearest_word("--readonly", {"--router", "--read-only"}), "--read-only");
}

TEST(UsageWords, TheCommandBeginsWhereTheOptionsEnd) {
  const auto begin = [](const std::vector<std::string>& words) {
    return command_begin(words, 1, [](const std::string& name) { return name == "--router"; });
  };
  EXPECT_EQ(begin({"run", "--local", "bash", "-c", "x"}), 2u);
  EXPECT_EQ(begin({"run", "--local", "--", "bash", "--"}), 2u);
  EXPECT_EQ(begin({"run", "--router", "host:1", "bash"}), 3u);
  EXPECT_EQ(begin({"run", "--router=host:1", "bash"}), 2u);
  EXPECT_EQ(begin({"run", "--router", "--", "--", "bash"}), 3u);
  EXPECT_EQ(begin({"run", "-"}), 1u);
  EXPECT_EQ(begin({"run", "--local"}), 2u);
  EXPECT_EQ(begin({"run", "--router"}), 2u);
  EXPECT_EQ(begin({"run"}), 1u);
}

}  // namespace
}  // namespace linkspan::cli
