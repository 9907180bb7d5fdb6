#include "fusefs/cli/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <thread>

namespace linkspan::cli {
namespace {

using ::testing::Contains;
using ::testing::Not;

bool has_sequence(const std::vector<std::string>& all, const std::vector<std::string>& part) {
  return std::search(all.begin(), all.end(), part.begin(), part.end()) != all.end();
}

SandboxOptions example_sandbox() {
  return {.tree = "/tmp/tree",
          .prefix = "/",
          .names = {"memory", "team/notes", ".linkspan"},
          .working_directory = "/workspace",
          .executable_fd = 7,
          .info_fd = 8,
          .command = {"sh", "-c", "--", "x"}};
}

TEST(SandboxTest, BindsTheTreeOverARootLikeTheMachines) {
  const auto arguments = bwrap_arguments(example_sandbox());
  ASSERT_TRUE(arguments.ok());
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind-try", "/usr", "/usr"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind", "/tmp/tree/memory", "/memory"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--dev-bind", "/tmp/tree/team/notes", "/team/notes"}));
  EXPECT_TRUE(has_sequence(*arguments, {"--chdir", "/workspace", "--", "/proc/self/fd/7"}));
  EXPECT_TRUE(has_sequence(*arguments, {"7", "sh", "-c", "--", "x"}));
  EXPECT_THAT(*arguments, Contains("--die-with-parent"));
  EXPECT_THAT(*arguments, Not(Contains("--new-session")));  // the terminal stays
}

TEST(SandboxTest, AnotherPrefixMustBeThere) {
  auto options = example_sandbox();
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

// Each start takes unlocked directories away, also one that another start has just made.
TEST(SandboxTest, StartsAtOnceKeepTheirDirectories) {
  char parent[] = "/tmp/linkspan-sandbox-test.XXXXXX";
  ASSERT_NE(::mkdtemp(parent), nullptr);
  const char* before = ::getenv("TMPDIR");
  const std::string saved = before ? before : "";
  ::setenv("TMPDIR", parent, 1);
  std::mutex mutex;
  std::vector<RunDirectory> directories;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int n = 0; n < 50; ++n) {
        auto made = make_run_directory();
        ASSERT_TRUE(made.ok()) << made.error().message;
        const std::lock_guard lock(mutex);
        directories.push_back(*std::move(made));
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& directory : directories) {
    struct stat st;
    EXPECT_EQ(::stat(directory.path.c_str(), &st), 0) << directory.path << " was taken away";
    ::rmdir(directory.path.c_str());
  }
  if (before)
    ::setenv("TMPDIR", saved.c_str(), 1);
  else
    ::unsetenv("TMPDIR");
  EXPECT_EQ(::rmdir(parent), 0);
}

}  // namespace
}  // namespace linkspan::cli
