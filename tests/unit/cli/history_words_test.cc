#include "fusefs/cli/history_words.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <ctime>

#include "fusefs/cli/patch.h"

namespace linkspan::cli {
namespace {

TEST(PathVersion, TheDigitsAfterTheLastAtCount) {
  const auto parsed = [](const std::string& text) {
    const auto found = parse_path_version(text);
    return found.path + " " + std::to_string(found.version.value);
  };
  EXPECT_EQ(parsed("memory/MEMORY.md@7"), "memory/MEMORY.md 7");
  EXPECT_EQ(parsed("me@home/notes@2@13"), "me@home/notes@2 13");
  EXPECT_EQ(parsed("me@home/notes"), "me@home/notes 0");
  EXPECT_EQ(parsed("notes@"), "notes@ 0");
  EXPECT_EQ(parsed("notes@0"), "notes@0 0");
  EXPECT_EQ(parsed("notes@7x"), "notes@7x 0");
  EXPECT_EQ(parsed("notes@-7"), "notes@-7 0");
  EXPECT_EQ(parsed("notes@+7"), "notes@+7 0");
  EXPECT_EQ(parsed("@7"), "@7 0");
  EXPECT_EQ(parsed(""), " 0");
  EXPECT_EQ(parsed("notes@99999999999999999999"), "notes@99999999999999999999 0");
  EXPECT_EQ(parsed("dir@3/notes"), "dir@3/notes 0");
}

class Since : public ::testing::Test {
 protected:
  void SetUp() override {
    ::setenv("TZ", "Europe/Berlin", 1);
    ::tzset();
  }
  void TearDown() override {
    ::unsetenv("TZ");
    ::tzset();
  }
  static constexpr int64_t kNow = 1763762400;  // 2025-11-21T22:00:00Z, 23:00 in Berlin
  int64_t seconds(const std::string& text) {
    const auto time = parse_since(text, Time{kNow * 1000000000});
    return time.ok() ? time->ns / 1000000000 : -1;
  }
};

TEST_F(Since, Durations) {
  EXPECT_EQ(seconds("90s"), kNow - 90);
  EXPECT_EQ(seconds("15m"), kNow - 900);
  EXPECT_EQ(seconds("2h"), kNow - 7200);
  EXPECT_EQ(seconds("3d"), kNow - 3 * 86400);
  EXPECT_EQ(seconds("1w"), kNow - 7 * 86400);
  EXPECT_EQ(seconds("0s"), kNow);
}

TEST_F(Since, UntilGoesAhead) {
  const Time now{kNow * 1000000000};
  const auto until = [&](const std::string& text) {
    const auto time = parse_until(text, now);
    return time.ok() ? time->ns / 1000000000 : -1;
  };
  EXPECT_EQ(until("90s"), kNow + 90);
  EXPECT_EQ(until("2h"), kNow + 7200);
  EXPECT_EQ(until("2030-01-01T00:00Z"), 1893456000);
  EXPECT_EQ(until("today"), -1);
  EXPECT_EQ(until("-2h"), -1);
}

TEST_F(Since, DatesAreLocalUnlessAZEndsThem) {
  EXPECT_EQ(seconds("2025-11-21T22:00:00Z"), kNow);
  EXPECT_EQ(seconds("2025-11-21T23:00:00"), kNow);
  EXPECT_EQ(seconds("2025-11-21 23:00"), kNow);
  EXPECT_EQ(seconds("2025-11-21"), kNow - 23 * 3600);
  EXPECT_EQ(seconds("2025-11-21Z"), kNow - 22 * 3600);
  EXPECT_EQ(seconds("today"), kNow - 23 * 3600);
  EXPECT_EQ(seconds("yesterday"), kNow - 47 * 3600);
  EXPECT_EQ(seconds("2025-07-01T12:00"), 1751364000);  // summer time
}

TEST_F(Since, WhatIsNoTimeIsSaidSo) {
  for (const char* text : {"",
                           "x",
                           "h",
                           "2",
                           "2y",
                           "-2h",
                           "+2h",
                           "2 h",
                           "2h ",
                           "1e3h",
                           "99999999999999999999h",
                           "999999999999999999w",
                           "2025-13-01",
                           "2025-02-30",
                           "2262-12-31",
                           "9999-12-31",
                           "2025-11-21T25:00",
                           "2025-11-21T10",
                           "2025-11-21x",
                           "25-11-21",
                           "2025-11-21T10:00:00ZZ",
                           "Z",
                           "tomorrow",
                           "2025/11/21"})
    EXPECT_EQ(parse_since(text, Time{kNow * 1000000000}).code(), Code::invalid) << text;
  EXPECT_NE(parse_since("soon", Time{}).error().message.find("2h"), std::string::npos);
}

TEST(ShellWord, IsOneWordForAShell) {
  EXPECT_EQ(shell_word("/mnt/memory/a.md"), "/mnt/memory/a.md");
  EXPECT_EQ(shell_word("two words"), "'two words'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("$(rm -rf x)"), "'$(rm -rf x)'");
  EXPECT_EQ(shell_word("-n"), "'-n'");
  EXPECT_EQ(shell_word("a\nb's\\"), "$'a\\x0Ab\\'s\\\\'");
  EXPECT_EQ(shell_word(""), "''");
}

std::string diff(const std::string& a, const std::string& b, bool colours = false) {
  const auto text = unified_diff("f@1", a, "f@2", b, colours);
  return text.ok() ? *text : text.error().message;
}

TEST(UnifiedDiff, IsAsDiffWritesIt) {
  EXPECT_EQ(diff("same\n", "same\n"), "");
  EXPECT_EQ(diff("", ""), "");
  EXPECT_EQ(diff("a\nb\nc\n", "a\nB\nc\n"), "--- f@1\n+++ f@2\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
  EXPECT_EQ(diff("", "new\n"), "--- f@1\n+++ f@2\n@@ -0,0 +1 @@\n+new\n");
  EXPECT_EQ(diff("old\n", ""), "--- f@1\n+++ f@2\n@@ -1 +0,0 @@\n-old\n");
  EXPECT_EQ(diff("a", "a\n"),
            "--- f@1\n+++ f@2\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
}

TEST(UnifiedDiff, BinaryFilesOnlyDiffer) {
  EXPECT_EQ(diff(std::string("a\0b", 3), std::string("a\0c", 3)),
            "Binary files f@1 and f@2 differ\n");
}

TEST(UnifiedDiff, ColoursEndWithTheirLine) {
  const auto text = diff("a\n", "b\n", true);
  EXPECT_NE(text.find("\033[31m-a\033[m\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\033[32m+b\033[m\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace linkspan::cli
