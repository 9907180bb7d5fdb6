#include "fusefs/cli/restore_origin.h"

#include <gtest/gtest.h>

#include "fusefs/cli/conflict_choice.h"

namespace linkspan::cli {
namespace {

TEST(RestoreOrigin, ThereAndBack) {
  for (const auto kind : {Origin::Kind::version, Origin::Kind::copy, Origin::Kind::deletion,
                          Origin::Kind::conflict, Origin::Kind::merged}) {
    const Origin origin{kind, 1048619};
    const auto name = restore_temporary(origin, 77);
    EXPECT_EQ(origin_of(name), origin) << name;
    EXPECT_EQ(origin_of("some/dir/" + name), origin) << name;
    EXPECT_NE(origin_words(origin).find("1048619"), std::string::npos);
  }
  EXPECT_EQ(origin_words({Origin::Kind::version, 5}), "version 5");
  const Origin older{Origin::Kind::deletion, 57, 2};
  EXPECT_EQ(origin_of(restore_temporary(older, 77)), older);
  EXPECT_EQ(origin_words(older), "version 2 of what change 57 deleted");
}

TEST(RestoreOrigin, OtherNamesHaveNone) {
  for (const char* name :
       {"", "notes.md", ".linkspan-restore-", ".linkspan-restore-77", ".linkspan-restore-77-",
        ".linkspan-restore-77-version-", ".linkspan-restore-77-version-0",
        ".linkspan-restore-77-version-5x", ".linkspan-restore--version-5",
        ".linkspan-restore-77-other-5", ".linkspan-restore-77-version-99999999999999999999999",
        ".linkspan-restore-77-deletion-5-version-0", ".linkspan-restore-77-version-5-version-2",
        ".linkspan-restore-77-deletion-5-version-", ".linkspan-restore-77-version-5/notes.md",
        "x.linkspan-restore-77-version-5"})
    EXPECT_FALSE(origin_of(name)) << name;
}

TEST(ConflictName, ANumberOrAFolder) {
  const auto number = [](const std::string& text) {
    const auto named = parse_conflict(text);
    return named.ok() ? named->number : 0;
  };
  EXPECT_EQ(number("1048619"), 1048619u);
  EXPECT_EQ(number("17-MEMORY.md"), 17u);
  EXPECT_EQ(number("/m/.linkspan/conflicts/17-MEMORY.md/"), 17u);
  EXPECT_EQ(parse_conflict("/m/.linkspan/conflicts/17-a")->folder, "/m/.linkspan/conflicts/17-a");
  EXPECT_EQ(parse_conflict("17")->folder, "");
  for (const char* text : {"", "/", "0", "-1", "17x", "x-17", "0-a", "99999999999999999999",
                           "/m/.linkspan/conflicts/*-MEMORY.md", "/m/17"})
    EXPECT_EQ(number(text), 0u) << text;
}

}  // namespace
}  // namespace linkspan::cli
