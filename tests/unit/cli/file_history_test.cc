#include "fusefs/cli/file_history.h"

#include <gtest/gtest.h>

namespace linkspan::cli {
namespace {

VersionInfo version_info(uint64_t number, uint64_t ino, int64_t at, const char* what = "write") {
  VersionInfo info;
  info.version = Version{number};
  info.ino = Ino{ino};
  info.at = Time{at};
  info.what = what;
  return info;
}

Change change_of(uint64_t seq, uint64_t ino, const char* what, const char* path,
                 const char* old_path = "") {
  Change change;
  change.seq = Seq{seq};
  change.at = Time{static_cast<int64_t>(seq)};
  change.ino = Ino{ino};
  change.what = what;
  change.path = path;
  change.old_path = old_path;
  change.version = Version{77};  // the number that it had then
  return change;
}

// "v1 v2 v2:x->y v3<tmp v3:deleted"
std::string told(const FileHistory& history) {
  std::string text;
  for (const auto& line : lines_of(history)) {
    const Version number = line.version ? line.version->version : line.change->version;
    text += (text.empty() ? "v" : " v") + std::to_string(number.value);
    if (!line.renamed_from.empty()) text += "<" + line.renamed_from;
    if (line.after_deletion) text += "!";
    if (!line.change) continue;
    text += line.change->what == "rename" ? ":" + line.change->old_path + "->" + line.change->path
                                          : ":deleted";
  }
  return text;
}

TEST(FileHistory, MovesAndTheDeletionStandBetweenTheVersions) {
  FileHistory history{
      "z", Ino{1}, {version_info(3, 1, 30), version_info(2, 1, 20), version_info(1, 1, 10)}};
  history.whole = true;
  EXPECT_EQ(told(history), "v1 v2 v3");
  history.renames = {change_of(35, 1, "rename", "z", "y"), change_of(25, 1, "rename", "y", "x")};
  history.deletion = change_of(40, 1, "unlink", "z");
  EXPECT_EQ(told(history), "v1 v2 v2:x->y v3 v3:y->z v3:deleted");
}

TEST(FileHistory, WhatWasWrittenAfterTheDeletionIsMarked) {
  FileHistory history{
      "z", Ino{1}, {version_info(3, 1, 30), version_info(2, 1, 20), version_info(1, 1, 10)}, true};
  history.deletion = change_of(25, 1, "unlink", "z");
  history.deletion->version = Version{2};
  EXPECT_EQ(told(history), "v1 v2 v2:deleted v3") << "under its other name, as far as is known";
  history.written_since = true;
  EXPECT_EQ(told(history), "v1 v2 v2:deleted v3!");
}

TEST(FileHistory, ASaveIsItsVersion) {
  FileHistory history{
      "z", Ino{2}, {version_info(3, 2, 30, "rename"), version_info(2, 1, 20)}, true};
  history.renames = {change_of(30, 2, "rename", "z", "z.tmp"),
                     change_of(25, 1, "rename", "z", "y")};
  EXPECT_EQ(told(history), "v2 v2:y->z v3<z.tmp");
}

TEST(FileHistory, ARestoreIsTheVersionThatItMovedHere) {
  const char* const temporary = ".linkspan-restore-7-deletion-5";
  FileHistory history{
      "z", Ino{2}, {version_info(2, 2, 20), version_info(1, 2, 10, "create")}, true};
  history.renames = {change_of(30, 2, "rename", "z", temporary)};
  EXPECT_EQ(told(history), std::string("v1 v2<") + temporary);
}

TEST(FileHistory, AnEditorsBackupIsNoMoveOfTheFile) {
  FileHistory history{"z", Ino{2}, {version_info(3, 2, 30), version_info(2, 1, 20)}, true};
  history.renames = {change_of(25, 1, "rename", "z~", "z")};
  EXPECT_EQ(told(history), "v2 v3");
}

TEST(FileHistory, WhatWasMovedOverAnotherHasItsMovesWhereItsVersionsAre) {
  // a (node 1) became b, and was moved over c (node 2), which had versions 1 to 3.
  FileHistory history{
      "c", Ino{1}, {version_info(5, 1, 50, "rename"), version_info(4, 1, 20)}, true};
  for (const uint64_t number : {3, 2, 1})
    history.versions.push_back(version_info(number, 2, static_cast<int64_t>(10 * number + 11)));
  history.renames = {change_of(50, 1, "rename", "c", "b"), change_of(45, 1, "rename", "b", "a")};
  EXPECT_EQ(told(history), "v1 v2 v3 v4 v4:a->b v5<b");
}

TEST(FileHistory, WhatTheMoverWroteIsNoVersionOfItsOwn) {
  // 1 was a, then b; 2 was saved over it, became c, and was moved over d, which is 3. Of 2 there is
  // only what the move made.
  FileHistory history{
      "d",
      Ino{2},
      {version_info(4, 2, 50, "rename"), version_info(3, 1, 10), version_info(2, 3, 45)},
      true};
  history.renames = {change_of(50, 2, "rename", "d", "c"), change_of(40, 2, "rename", "c", "b"),
                     change_of(30, 2, "rename", "b", "b.tmp"),
                     change_of(20, 1, "rename", "b", "a")};
  EXPECT_EQ(told(history), "v2 v3 v3:a->b v0:b.tmp->b v0:b->c v4<c");
}

TEST(FileHistory, WhatIsOlderThanTheVersionsIsToldOnlyIfTheyAreAll) {
  FileHistory history{"z", Ino{1}, {version_info(3, 1, 30)}};
  history.renames = {change_of(5, 1, "rename", "z", "x")};
  EXPECT_EQ(told(history), "v3");
  history.whole = true;
  EXPECT_EQ(told(history), "v0:x->z v3");
}

}  // namespace
}  // namespace linkspan::cli
