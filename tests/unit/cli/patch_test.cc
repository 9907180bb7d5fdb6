#include "fusefs/cli/patch.h"

#include <gtest/gtest.h>

namespace linkspan::cli {
namespace {

std::string changed(const std::string& from, const std::string& to) {
  const auto text = unified_diff("a@1", from, "a@2", to, false);
  return text.ok() ? *text : text.error().message;
}

TEST(Patch, WhatIsNoTextIsNotPrinted) {
  const std::string differ = "Binary files a@1 and a@2 differ\n";
  const std::string text(100000, 'x');  // more than libgit2 looks at
  EXPECT_EQ(changed("a\n", std::string("\0b", 2)), differ);
  EXPECT_EQ(changed("a\n", text + std::string("\0b", 2)), differ);
  EXPECT_EQ(changed("\x93\x01\xFF", "a\n"), differ);
  EXPECT_EQ(changed("\x93\x01\xFF", "\x93\x01\xFF"), "");
}

TEST(Patch, TextInAnyEncodingIs) {
  const std::string head = "--- a@1\n+++ a@2\n@@ -1 +1 @@\n";
  EXPECT_EQ(changed("a\n", "caf\xC3\xA9\t\n"), head + "-a\n+caf\xC3\xA9\t\n");
  EXPECT_EQ(changed("a\n", "caf\xE9\n"), head + "-a\n+caf\xE9\n");
}

}  // namespace
}  // namespace linkspan::cli
