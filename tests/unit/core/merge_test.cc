#include "routerd/core/merge.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "routerd/core/conflict.h"
#include "routerd/core/glob.h"
#include "routerd/core/policy.h"

namespace linkspan::core {
namespace {

using Text = std::vector<std::string>;

std::string join(const Text& lines) {
  std::string out;
  for (const auto& line : lines) out += line + "\n";
  return out;
}

Text split(const std::string& text) {
  Text lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

TEST(Merge, OneSideOnly) {
  EXPECT_EQ(merge3("a\nb\n", "a\nb\n", "a\nx\n"), "a\nx\n");
  EXPECT_EQ(merge3("a\nb\n", "a\nx\n", "a\nb\n"), "a\nx\n");
  EXPECT_EQ(merge3("a\nb\n", "x\n", "x\n"), "x\n");
  EXPECT_EQ(merge3("", "", ""), "");
  EXPECT_EQ(merge3("a\n", "", ""), "");
}

TEST(Merge, AdditionsAtOnePlaceKeepBoth) {
  EXPECT_EQ(merge3("# Memory\n", "# Memory\n- head\n", "# Memory\n- mine\n"),
            "# Memory\n- head\n- mine\n");
  EXPECT_EQ(merge3("a\nz\n", "a\nh1\nh2\nz\n", "a\nm\nz\n"), "a\nh1\nh2\nm\nz\n");
  EXPECT_EQ(merge3("z\n", "h\nz\n", "m\nz\n"), "h\nm\nz\n");
  EXPECT_EQ(merge3("", "h\n", "m\n"), "h\nm\n");
}

TEST(Merge, ALineThatBothAddedIsOneLine) {
  EXPECT_EQ(merge3("a\n", "a\nsame\n", "a\nsame\n"), "a\nsame\n");
  EXPECT_EQ(merge3("a\n", "a\nsame\nh\n", "a\nsame\nm\n"), "a\nsame\nh\nm\n");
  EXPECT_EQ(merge3("a\n", "a\nh\nsame\n", "a\nsame\nm\n"), "a\nh\nsame\nm\n");
}

TEST(Merge, ParagraphsThatBothAddedStayWhole) {
  EXPECT_EQ(merge3("# Memory\n", "# Memory\n\n## A\n\ntext a\n", "# Memory\n\n## B\n\ntext b\n"),
            "# Memory\n\n## A\n\ntext a\n\n## B\n\ntext b\n");
  EXPECT_EQ(merge3("{\n}\n", "{\nf() {\n  a;\n}\n}\n", "{\ng() {\n  b;\n}\n}\n"),
            "{\nf() {\n  a;\n}\ng() {\n  b;\n}\n}\n");
  // And once they are in, they are known again.
  EXPECT_EQ(merge3("x\n", "x\n\nhead\n\nmine\n", "x\n\nmine\n\nmore\n"),
            "x\n\nhead\n\nmine\n\nmore\n");
}

TEST(Merge, ParagraphsThatHappenToShareLinesStayWhole) {
  const std::string a = "def a():\n    x = 1\n    return x\n",
                    b = "def b():\n    x = 1\n    return x\n";
  EXPECT_EQ(merge3("import os\n", "import os\n" + a, "import os\n" + b), "import os\n" + a + b);
  const std::string alice = "## Alice\n- done\n- see log\n", bob = "## Bob\n- done\n- see log\n";
  EXPECT_EQ(merge3("# Log\n", "# Log\n" + alice, "# Log\n" + bob), "# Log\n" + alice + bob);
  EXPECT_EQ(merge3("k,v\n", "k,v\na\nsame\n", "k,v\nb\nsame\n"), "k,v\na\nsame\nb\nsame\n");
  EXPECT_EQ(merge3("x\n", "x\n---\nfrom A\n---\n", "x\n---\nfrom B\n---\n"),
            "x\n---\nfrom A\n---\n---\nfrom B\n---\n");
  const std::string block = "if [ -f a ]; then\n  h\nfi\n", other = "if [ -f a ]; then\n  m\nfi\n";
  EXPECT_EQ(merge3("x\n", "x\n" + block, "x\n" + other), "x\n" + block + other);
  EXPECT_EQ(merge3("x\n", "x\n#[test]\nfn a() {\n}\n", "x\n#[test]\nfn b() {\n}\n"),
            "x\n#[test]\nfn a() {\n}\n#[test]\nfn b() {\n}\n");
  // Under the heading that both made, and where the one has all that the other has.
  EXPECT_EQ(merge3("x\n", "x\n## Log\n- a\n", "x\n## Log\n- b\n"), "x\n## Log\n- a\n- b\n");
  EXPECT_EQ(merge3("x\n", "x\na\nb\nc\n", "x\na\nc\n"), "x\na\nb\nc\n");
  EXPECT_EQ(merge3("x\n", "x\nsame\nh\n", "x\nm\nsame\n"), "x\nm\nsame\nh\n");
}

// A writer that did not read its merged file back saves once more: what others added stays, what it
// added before is not doubled.
TEST(Merge, SavingAgainOverAnOwnMerge) {
  const std::string base = "a\nz\n", first = "a\nm1\nz\n", head = "a\nh\nm1\nz\n";
  EXPECT_EQ(merge3(base, "a\nh\nz\n", first), head);
  EXPECT_EQ(merge3(base, head, "a\nm1\nm2\nz\n"), "a\nh\nm1\nm2\nz\n");
  EXPECT_EQ(merge3(base, head, first), head);
}

// It added a line, which was merged, and then changed the one beside it.
TEST(Merge, ALineThatBothAddedBesideAReplacementIsOneLine) {
  EXPECT_EQ(merge3("a\nb\n", "a\nX\nb\n", "a\nX\nc\n"), "a\nX\nc\n");
  EXPECT_EQ(merge3("a\nb\n", "a\nX\nc\n", "a\nX\nb\n"), "a\nX\nc\n");
  EXPECT_EQ(merge3("b\na\n", "b\nX\na\n", "c\nX\na\n"), "c\nX\na\n");
  EXPECT_EQ(merge3("a\nb\n", "a\nX\nh\nb\n", "a\nX\nc\n"), "a\nX\nh\nc\n");
  EXPECT_EQ(merge3("b0\nb1\nb2\n", "b1\nb0\nb2\n", "b1\nb0\nm0\n"), "b1\nb0\nm0\n");
  // What one side changed within, too, is an overlap.
  EXPECT_EQ(merge3("a\nb\nc\nd\ne\n", "a\nX\nb\nC\nd\ne\n", "a\nX\nY\nZ\ne\n"), std::nullopt);
  // Blank lines say nothing of that.
  EXPECT_EQ(merge3("a\nb\n", "a\n\nh\nb\n", "a\n\nc\n"), "a\n\nh\n\nc\n");
  // Which of two replacements a common line is of, nobody can tell.
  EXPECT_EQ(merge3("a\nb\n", "h\nX\nb\n", "a\nX\nm\n"), std::nullopt);
  EXPECT_EQ(merge3("a\nb\n", "h\nb\n", "a\nm\n"), "h\nm\n");
}

TEST(Merge, EditsApartBothApply) {
  EXPECT_EQ(merge3("a\nb\nc\nd\ne\n", "a\nB\nc\nd\ne\n", "a\nb\nc\nD\ne\n"), "a\nB\nc\nD\ne\n");
  EXPECT_EQ(merge3("a\nb\nc\n", "b\nc\n", "a\nb\nc\nd\n"), "b\nc\nd\n");
}

TEST(Merge, AnAdditionBesideAnEditStaysOnItsSide) {
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nB\nc\n", "a\nb\nm\nc\n"), "a\nB\nm\nc\n");
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nB\nc\n", "a\nm\nb\nc\n"), "a\nm\nB\nc\n");
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nm\nb\nc\n", "a\nc\n"), "a\nm\nc\n");
}

TEST(Merge, OverlappingEditsConflict) {
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nH\nc\n", "a\nM\nc\n"), std::nullopt);
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nc\n", "a\nM\nc\n"), std::nullopt);
  EXPECT_EQ(merge3("a\nb\nc\nd\n", "a\nH\nd\n", "a\nb\nm\nc\nd\n"), std::nullopt);
  EXPECT_EQ(merge3("a\n", "h\n", "m\n"), std::nullopt);
}

TEST(Merge, TheLastLineNeedsNoNewline) {
  EXPECT_EQ(merge3("a\nb", "a\nb\nh", "a\nb\nm"), "a\nb\nh\nm");
  EXPECT_EQ(merge3("a\nb", "a\nb\nh\n", "a\nb\nm"), "a\nb\nh\nm\n");
  EXPECT_EQ(merge3("a\nb\n", "a\nb\nh", "a\nb\nm\n"), "a\nb\nh\nm");
  EXPECT_EQ(merge3("a\nb", "H\nb", "a\nb\n"), "H\nb\n");
}

TEST(Merge, AnEmptyLastLineIsNotTakenForAMissingNewline) {
  EXPECT_EQ(merge3("a\n", "a\nh", "a\nm\n\n"), "a\nh\nm\n\n");
}

TEST(Merge, CarriageReturnsAtAnEndWithoutNewline) {
  EXPECT_EQ(merge3("a\r\nb", "a\r\nb\r\nh", "a\r\nb\r\nm"), "a\r\nb\r\nh\r\nm");
  EXPECT_EQ(merge3("a\r\nb", "a\r\nb\r\nh\r\n", "a\r\nb\r\nm"), "a\r\nb\r\nh\r\nm\r\n");
  EXPECT_EQ(merge3("a", "a\r\nh", "a\r\nm"), "a\r\nh\r\nm");
  EXPECT_EQ(merge3("a", "a\nh", "a\nm"), "a\nh\nm");
}

TEST(Merge, ADeletionAgainstAnEditIsAConflict) {
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nc\n", "a\nB\nc\n"), std::nullopt);
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nB\nc\n", "a\nc\n"), std::nullopt);
  EXPECT_EQ(merge3("a\nb\n", "", "a\nB\n"), std::nullopt);
  EXPECT_EQ(merge3("a\nb\nc\nd\n", "d\n", "a\nb\nm\nc\nd\n"), std::nullopt);
  // What both deleted is gone.
  EXPECT_EQ(merge3("a\nb\nc\n", "a\nc\n", "a\nc\nm\n"), "a\nc\nm\n");
}

TEST(Merge, CarriageReturnsBelongToTheirLines) {
  EXPECT_EQ(merge3("a\r\nb\r\n", "a\r\nh\r\nb\r\n", "a\r\nb\r\nm\r\n"), "a\r\nh\r\nb\r\nm\r\n");
}

TEST(Merge, LargeTexts) {
  Text lines;
  for (int i = 0; i < 60000; ++i) lines.push_back("line " + std::to_string(i));
  Text head = lines, mine = lines;
  head.insert(head.begin() + 10, "head");
  mine.push_back("mine");
  Text both = head;
  both.push_back("mine");
  EXPECT_EQ(merge3(join(lines), join(head), join(mine)), join(both));
}

// ---- random ----

// Edits of one side: which base lines go, and what is added before each base line (and at the end).
struct Script {
  std::set<size_t> removed;
  std::map<size_t, Text> added;

  Text apply(const Text& base) const {
    Text out;
    for (size_t i = 0; i <= base.size(); ++i) {
      if (const auto at = added.find(i); at != added.end())
        out.insert(out.end(), at->second.begin(), at->second.end());
      if (i < base.size() && !removed.count(i)) out.push_back(base[i]);
    }
    return out;
  }
};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  size_t below(size_t n) { return engine_() % n; }

  // Lines of its own: "h17". Never the same twice.
  Script script(const std::string& name, size_t base_size, bool only_additions) {
    Script script;
    for (size_t edits = below(5); edits > 0; --edits) {
      const size_t at = below(base_size + 1);
      if (!only_additions && at < base_size && below(2) == 0) {
        for (size_t i = at; i < std::min(base_size, at + 1 + below(3)); ++i)
          script.removed.insert(i);
      }
      if (only_additions || below(3) != 0)
        for (size_t lines = 1 + below(3); lines > 0; --lines)
          script.added[at].push_back(name + std::to_string(count_++));
    }
    return script;
  }

 private:
  std::mt19937 engine_;
  size_t count_ = 0;
};

Text without(const Text& lines, const std::set<std::string>& gone) {
  Text out;
  for (const auto& line : lines)
    if (!gone.count(line)) out.push_back(line);
  return out;
}

std::set<std::string> lines_removed(const Text& base, const Script& script) {
  std::set<std::string> lines;
  for (const size_t i : script.removed) lines.insert(base[i]);
  return lines;
}

std::set<std::string> lines_added(const Script& script) {
  std::set<std::string> lines;
  for (const auto& [at, added] : script.added) lines.insert(added.begin(), added.end());
  return lines;
}

// With lines that are all different the result can be told exactly: restricted to what one side
// knows it is that side's text less what the other removed.
void check_merge(const Text& base, const Script& head, const Script& mine, const Text& merged) {
  std::set<std::string> removed = lines_removed(base, head);
  removed.merge(lines_removed(base, mine));
  EXPECT_EQ(without(merged, lines_added(mine)), without(head.apply(base), removed));
  EXPECT_EQ(without(merged, lines_added(head)), without(mine.apply(base), removed));
}

class RandomMerge : public ::testing::TestWithParam<bool> {};

TEST_P(RandomMerge, HasEveryChangeOfEitherSideOnce) {
  const bool only_additions = GetParam();
  int merges = 0;
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    Text base;
    for (size_t i = random.below(12); i > 0; --i) base.push_back("b" + std::to_string(i));
    const Script head = random.script("h", base.size(), only_additions);
    const Script mine = random.script("m", base.size(), only_additions);
    const auto merged = merge3(join(base), join(head.apply(base)), join(mine.apply(base)));
    if (only_additions) {
      ASSERT_TRUE(merged.has_value());
    }
    if (!merged) continue;
    ++merges;
    check_merge(base, head, mine, split(*merged));
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(merges, 1000);
}

INSTANTIATE_TEST_SUITE_P(, RandomMerge, ::testing::Bool());

// Few different lines, so that they repeat: nobody's is lost, and none comes from nowhere.
TEST(Merge, RandomAdditionsOfRepeatedLines) {
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    const auto letters = [&](size_t most) {
      Text text;
      for (size_t i = random.below(most); i > 0; --i)
        text.push_back(std::string(1, static_cast<char>('a' + random.below(3))));
      return text;
    };
    const auto add = [&](Text text) {
      for (const auto& line : letters(4))
        text.insert(text.begin() + static_cast<long>(random.below(text.size() + 1)), line);
      return text;
    };
    const Text base = letters(8), head = add(base), mine = add(base);
    const auto merged = merge3(join(base), join(head), join(mine));
    ASSERT_TRUE(merged.has_value());
    const Text result = split(*merged);
    for (const std::string line : {"a", "b", "c"}) {
      const auto count = [&](const Text& text) {
        return std::count(text.begin(), text.end(), line);
      };
      EXPECT_GE(count(result), std::max(count(head), count(mine)));
      EXPECT_LE(count(result), count(head) + count(mine) - count(base));
    }
    ASSERT_FALSE(HasFailure());
  }
}

TEST(Merge, NeverReadsOutsideAndIsDeterministic) {
  std::mt19937 engine(7);
  for (int i = 0; i < 3000; ++i) {
    const auto noise = [&] {
      std::string text;
      for (size_t n = engine() % 20; n > 0; --n) text += "ab\n\r"[engine() % 4];
      return text;
    };
    const std::string base = noise(), head = noise(), mine = noise();
    const auto merged = merge3(base, head, mine);
    EXPECT_EQ(merged, merge3(base, head, mine));
    EXPECT_EQ(merged.has_value(), merge3(base, mine, head).has_value());
  }
}

// ---- what is merged at all ----

Route of(Policy policy, std::vector<PolicyPattern> patterns = {}) {
  Route route;
  route.policy = policy;
  route.patterns = std::move(patterns);
  return route;
}

TEST(Policy, StructuredFilesAreNeverMerged) {
  for (const char* path :
       {"a.json", "x/y/A.JSON", "notes.sqlite", "n.sqlite3-wal", "s.db", "t.db-wal"})
    EXPECT_EQ(effective_policy(of(Policy::merge), path), Policy::reject) << path;
  for (const char* path :
       {"MEMORY.md~", "x/a.json~", "a.md.~1~", ".git/COMMIT_EDITMSG", "x/.git/a.json"})
    EXPECT_EQ(effective_policy(of(Policy::merge), path), Policy::last_writer_wins) << path;
  for (const char* path :
       {"MEMORY.md", "", "json", "x.json/notes.md", "db", ".git", "a.git/x", ".gitignore"})
    EXPECT_EQ(effective_policy(of(Policy::merge), path), Policy::merge) << path;
  EXPECT_EQ(effective_policy(of(Policy::last_writer_wins), "a.json"), Policy::last_writer_wins);
}

TEST(Policy, TheFirstPatternThatMatchesDecides) {
  const Route route = of(Policy::merge, {{"notes/*.json", Policy::merge},
                                         {"*.csv", Policy::reject},
                                         {"*.c*", Policy::last_writer_wins},
                                         {"journal/**", Policy::last_writer_wins}});
  const auto decided = [&](const char* path) { return effective_policy(route, path); };
  EXPECT_EQ(decided("a.csv"), Policy::reject);
  EXPECT_EQ(decided("journal/2026/a.csv"), Policy::reject) << "the first, not the last";
  EXPECT_EQ(decided("a.cc"), Policy::last_writer_wins);
  EXPECT_EQ(decided("journal/a.md"), Policy::last_writer_wins);
  EXPECT_EQ(decided("notes/a.json"), Policy::merge) << "it beats the built-in list";
  EXPECT_EQ(decided("journal/a.json"), Policy::last_writer_wins) << "so does this";
  EXPECT_EQ(decided("a.json"), Policy::reject) << "no pattern matches: the built-in list";
  EXPECT_EQ(decided("a.md"), Policy::merge) << "the route's";
  EXPECT_EQ(decided(""), Policy::merge) << "not known: the route's";
  EXPECT_EQ(effective_policy(of(Policy::reject, {{"*", Policy::merge}}), ""), Policy::reject);
  EXPECT_EQ(effective_policy(of(Policy::last_writer_wins, {{"*.md", Policy::merge}}), "a.json"),
            Policy::last_writer_wins);
}

TEST(Policy, OnlyASlashAsksForThePath) {
  const auto reject = Policy::reject, merge = Policy::merge;
  EXPECT_FALSE(by_path(of(reject)));
  EXPECT_FALSE(by_path(of(reject, {{"*.csv", merge}, {"**", merge}})));
  EXPECT_TRUE(by_path(of(reject, {{"*.csv", merge}, {"/a", merge}})));
  EXPECT_TRUE(by_path(of(merge))) << "for .git";
}

TEST(Policy, Globs) {
  const struct {
    const char* glob;
    std::vector<std::string> yes, no;
  } kTable[] = {
      {"*.csv", {"a.csv", ".csv", "x/y/a.csv"}, {"a.CSV", "a.csv.bak", "a.csv/b", "acsv"}},
      {"MEMORY.md", {"MEMORY.md", "a/b/MEMORY.md"}, {"memory.md", "MEMORY.md/a", "xMEMORY.md"}},
      {"?.[ch]", {"a.c", "x/b.h"}, {"ab.c", ".c", "a.d"}},
      {"\\*", {"*", "a/*"}, {"a", "**"}},
      {"**", {"a", ".a", "a/b"}, {""}},
      {"/a.md", {"a.md"}, {"x/a.md", "/a.md"}},
      {"/*", {"a", ".a"}, {"a/b"}},
      {"/**", {"a", "a/b/c"}, {""}},
      {"notes/*.md", {"notes/a.md", "notes/.md"}, {"a.md", "notes/x/a.md", "x/notes/a.md"}},
      {"notes/?b", {"notes/ab"}, {"notes//b", "notes/b"}},
      {"a?b/c", {"axb/c"}, {"a/b/c", "a/b"}},
      {"a[/]b", {}, {"a/b"}},
      {"journal/**/*.log",
       {"journal/a.log", "journal/x/a.log", "journal/x/y/z/a.log", "journal/x.log/a.log"},
       {"a.log", "x/journal/a.log", "journal/x/a.log/b", "journal", "journals/a.log"}},
      {"journal/**", {"journal/a", "journal/a/b"}, {"journal", "journals/a", "x/journal/a"}},
      {"**/cache/*", {"cache/a", "x/cache/a", "x/y/cache/a"}, {"cache", "cache/x/a", "xcache/a"}},
      {"**/a/**/b/*", {"a/b/c", "x/a/b/c", "a/a/x/b/b/c", "a/b/b/b/c"}, {"b/a/c", "a/b", "a/c/b"}},
      {"**/a/b/c", {"a/b/a/b/c", "a/a/b/c"}, {"a/b/a/c"}},
      {"a/**/**/b", {"a/b", "a/x/y/b"}, {"a", "a/b/c"}},
      {"caf\xc3\xa9/*", {"caf\xc3\xa9/a"}, {"cafe/a"}},
      {"*.\xff", {"a.\xff"}, {"a.\xfe"}},
  };
  for (const auto& row : kTable) {
    for (const auto& path : row.yes)
      EXPECT_TRUE(matches(row.glob, path)) << row.glob << " " << path;
    for (const auto& path : row.no)
      EXPECT_FALSE(matches(row.glob, path)) << row.glob << " " << path;
  }
}

// As many `**` as a glob can hold, and a path that matches but for its end: no time at all.
TEST(Policy, ManyStarsCostNothing) {
  std::string glob, path;
  while (glob.size() + 6 < limits::kGlobBytes) glob += "**/a/";
  while (path.size() + 2 < limits::kPathBytes) path += "a/";
  EXPECT_FALSE(matches(glob + "b", path + "a"));
  EXPECT_TRUE(matches(glob + "b", path + "b"));
}

TEST(Policy, BinaryIsSeenByItsNul) {
  EXPECT_TRUE(looks_binary(std::string("a\0b", 3)));
  EXPECT_FALSE(looks_binary("text"));
  EXPECT_FALSE(looks_binary(std::string(9000, 'x') + std::string(1, '\0')));
}

CommitRequest commit_of(uint64_t keep_below, uint64_t size, std::vector<Extent> extents) {
  CommitRequest request;
  request.keep_below = keep_below;
  request.size = size;
  request.extents = std::make_shared<ExtentList>(std::move(extents));
  return request;
}

TEST(ApplyCommit, IsWhatTheStoreWouldMake) {
  EXPECT_EQ(apply_commit("old text", commit_of(0, 3, {{0, 3, "new"}})), "new");
  EXPECT_EQ(apply_commit("old text", commit_of(UINT64_MAX, 8, {{0, 3, "new"}})), "new text");
  EXPECT_EQ(apply_commit("old text", commit_of(UINT64_MAX, 3, {{0, 3, "new"}})), "new text");
  EXPECT_EQ(apply_commit("old", commit_of(UINT64_MAX, 5, {{4, 1, "x"}})), std::string("old\0x", 5));
  EXPECT_EQ(apply_commit("old", commit_of(UINT64_MAX, 3, {{1, 1, ""}})), std::string("o\0d", 3));
  EXPECT_EQ(apply_commit("old", commit_of(1, 2, {})), std::string("o\0", 2));
  EXPECT_EQ(apply_commit("old", commit_of(0, 2 << 20, {})), std::nullopt);
  EXPECT_EQ(apply_commit("old", commit_of(0, 3, {{2, 2, "xx"}})), std::nullopt);
}

}  // namespace
}  // namespace linkspan::core
