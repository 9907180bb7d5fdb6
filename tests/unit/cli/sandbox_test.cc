#include "fusefs/cli/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

namespace linkspan::cli {
namespace {

using ::testing::Contains;
using ::testing::Not;

bool has_sequence(const std::vector<std::string>& all, const std::vector<std::string>& part) {
  return std::search(all.begin(), all.end(), part.begin(), part.end()) != all.end();
}

SandboxOptions example() {
  return {.tree = "/tmp/tree",
          .prefix = "/",
          .names = {"memory", "team/notes", ".linkspan"},
          .working_directory = "/workspace",
          .executable_fd = 7,
          .info_fd = 8,
          .ignored_signals = 1,
          .command = {"sh", "-c", "--", "x"}};
}

TEST(SandboxTest, BindsTheTreeOverARootLikeTheMachines) {
  const auto arguments = bwrap_arguments(example());
  ASSERT_TRUE(arguments.ok());
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind-try", "/usr", "/usr"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind", "/tmp/tree/memory", "/memory"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind", "/tmp/tree/team/notes", "/team/notes"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--chdir", "/workspace", "--", "/proc/self/fd/7"}));
  EXPECT_TRUE(has_sequence(*arguments, {"7", "0000000000000001", "sh", "-c", "--", "x"}));
  EXPECT_THAT(*arguments, Contains("--die-with-parent"));
  EXPECT_THAT(*arguments, Not(Contains("--new-session")));  // the terminal stays
}

TEST(SandboxTest, AnotherPrefixMustBeThere) {
  auto options = example();
  options.prefix = "/nonexistent";
  EXPECT_FALSE(bwrap_arguments(options).ok());
  options.prefix = "/tmp";
  const auto arguments = bwrap_arguments(options);
  ASSERT_TRUE(arguments.ok());
  EXPECT_TRUE(has_sequence(*arguments, {"--tmpfs", "/tmp"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind", "/tmp/tree/memory", "/tmp/memory"}));
}

TEST(SandboxTest, NobodySeesADeviceThatIsNotMounted) {
  EXPECT_TRUE(processes_seeing({"0:999999"}).empty());
}

}  // namespace
}  // namespace linkspan::cli
