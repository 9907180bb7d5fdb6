// Processes, locks and bounded reads.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>

#include "fusefs/cli/bounded_read.h"
#include "fusefs/cli/file_lock.h"
#include "fusefs/cli/system.h"

namespace linkspan::cli {
namespace {

using namespace std::chrono_literals;

TEST(ProcessTest, IdentityEndsWithTheProcess) {
  EXPECT_TRUE(is_alive(this_process()));
  EXPECT_FALSE(is_alive({::getpid(), this_process().start + 1}));
  auto child = spawn({.argv = {"sleep", "100"}});
  ASSERT_TRUE(child.ok()) << child.error().message;
  const auto watch = open_process(*child);
  ASSERT_TRUE(watch);
  EXPECT_FALSE(wait_for_end(watch, 10ms));
  EXPECT_TRUE(signal_process(watch, SIGKILL));
  EXPECT_TRUE(wait_for_end(watch, 10s));
  EXPECT_FALSE(is_alive(*child));  // a zombie is not alive
  EXPECT_EQ(wait_child(child->pid).value(), 128 + SIGKILL);
  EXPECT_FALSE(open_process(*child));
}

TEST(ProcessTest, AnExecThatFailsIsAnError) {
  auto none = spawn({.argv = {"/nonexistent/program"}});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.error().message.find("/nonexistent/program"), std::string::npos);
}

TEST(ProcessTest, OutputStatusAndTimeout) {
  auto output = run_program(
      {.argv = {"sh", "-c", "echo $ADDED; echo err >&2; exit 3"}, .environment = {"ADDED=value"}},
      10s);
  ASSERT_TRUE(output.ok());
  EXPECT_EQ(output->status, 3);
  EXPECT_EQ(output->text, "value\nerr\n");
  auto late = run_program({.argv = {"sleep", "100"}}, 50ms);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.code(), Code::timed_out);
}

TEST(ProcessTest, BoundedReadGivesUp) {
  char name[] = "/tmp/linkspan-read-test.XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string fifo = std::string(name) + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(read_within(fifo, 100ms).code(), Code::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
  EXPECT_EQ(read_within(std::string(name) + "/none", 5s).code(), Code::not_found);
  ASSERT_TRUE(write_file(std::string(name) + "/file", "content", 0600).ok());
  EXPECT_EQ(read_within(std::string(name) + "/file", 5s).value(), "content");
  ::unlink((std::string(name) + "/file").c_str());
  ::unlink(fifo.c_str());
  ::rmdir(name);
}

TEST(FileLockTest, SharedExclusiveAndDeadline) {
  char name[] = "/tmp/linkspan-lock-test.XXXXXX";
  const UniqueFd made(::mkostemp(name, O_CLOEXEC));
  const auto first = open_lock(name), second = open_lock(name);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_TRUE(try_lock(*first, LOCK_SH));
  EXPECT_TRUE(try_lock(*second, LOCK_SH));
  EXPECT_EQ(lock_holders(name).size(), 2u);
  EXPECT_FALSE(lock_within(*second, LOCK_EX, 150ms).value());
  unlock(*first);
  EXPECT_TRUE(lock_within(*second, LOCK_EX, 5s).value());
  EXPECT_FALSE(try_lock(*first, LOCK_SH));
  unlock(*second);
  EXPECT_TRUE(lock_holders(name).empty());
  ::unlink(name);
}

TEST(TextTest, PathsAndSplitting) {
  EXPECT_EQ(absolute_path("/a/../b//c/"), "/b/c");
  EXPECT_EQ(absolute_path("/"), "/");
  EXPECT_EQ(dir_name("/a"), "/");
  EXPECT_EQ(dir_name("/a/b"), "/a");
  EXPECT_EQ(base_name("/a/b"), "b");
  EXPECT_EQ(base_name("b"), "b");
  EXPECT_EQ(split("a,,b", ','), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_EQ(trim("  x \n"), "x");
  EXPECT_EQ(trim(" \n"), "");
}

TEST(ProcessTest, TheEndOfALogOfAnySize) {
  char path[] = "/tmp/linkspan-log-XXXXXX";
  const UniqueFd fd(::mkstemp(path));
  ASSERT_TRUE(fd);
  EXPECT_EQ(tail_of_file(path), "");
  ASSERT_TRUE(write_all(fd.get(), "short\n").ok());
  EXPECT_EQ(tail_of_file(path), "short");
  ASSERT_EQ(::ftruncate(fd.get(), 200 << 20), 0);
  ASSERT_EQ(::lseek(fd.get(), 0, SEEK_END), 200 << 20);
  ASSERT_TRUE(write_all(fd.get(), "the reason\n").ok());
  EXPECT_EQ(tail_of_file(path, 11), "the reason");
  EXPECT_EQ(tail_of_file("/nonexistent"), "");
  ::unlink(path);
}

}  // namespace
}  // namespace linkspan::cli
