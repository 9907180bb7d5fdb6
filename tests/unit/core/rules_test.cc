// What a token's rights and patterns let be done: core/rules.h has the table.
#include "routerd/core/rules.h"

#include "routerd/core/glob.h"
#include "rules_fixture.h"

namespace linkspan::core::testing {
namespace {

Rules rules_of(std::vector<PolicyPattern> patterns, Access rights = Access::read_write) {
  Route route;
  route.rights = rights;
  route.patterns = std::move(patterns);
  Rules rules;
  rules.add(route);
  return rules;
}

Code code(const Status& status) {
  return status.ok() ? kDone : status.code();
}

TEST(Rules, TheFirstThatSpeaksOfItDecidesEachAspect) {
  PolicyPattern sized = with_access("journal/*.md", Access::append_only);
  sized.max_bytes = 10;
  PolicyPattern all{"**"};
  all.max_bytes = 20;
  all.no_exec = true;
  PolicyPattern tools{"tools/*"};
  tools.no_exec = false;
  const Rules rules = rules_of({PolicyPattern{"*.md", Policy::reject}, sized, tools, all,
                                with_access("journal/**", Access::none)});
  EXPECT_EQ(rules.at("journal/a.md").access, Access::append_only);
  EXPECT_EQ(rules.at("journal/a.md").max_bytes, 10u);
  EXPECT_TRUE(rules.at("journal/a.md").no_exec);
  EXPECT_EQ(rules.at("journal/a.txt").access, Access::none);
  EXPECT_EQ(rules.at("journal/a.txt").max_bytes, 20u);
  EXPECT_FALSE(rules.at("tools/x").no_exec);
  EXPECT_EQ(rules.at("x").access, Access::read_write);
  EXPECT_EQ(rules.at("").access, Access::read_write);
}

TEST(Rules, WhatADirectoryHasAllBelowItHasAtMost) {
  const Rules rules =
      rules_of({with_access("a/b/open", Access::read_write), with_access("a/b", Access::none),
                with_access("c", Access::read_only)});
  EXPECT_EQ(rules.at("a").access, Access::read_write);
  EXPECT_EQ(rules.at("a/b").access, Access::none);
  EXPECT_EQ(rules.at("a/b").above, Access::read_write);
  EXPECT_EQ(rules.at("a/b/open").access, Access::none);
  EXPECT_EQ(rules.at("a/b/open").above, Access::none);
  EXPECT_EQ(rules.at("x/c/d/e").access, Access::read_only) << "a bare name is one of any directory";
}

TEST(Rules, OfSeveralRoutesRightsAddUpAndPatternsDoToo) {
  Route reader, writer;
  reader.rights = Access::read_only;
  reader.patterns = {with_access("secret", Access::none)};
  writer.rights = Access::append_only;
  Rules rules;
  rules.add(reader);
  rules.add(writer);
  EXPECT_EQ(rules.at("x").access, Access::append_only);
  EXPECT_EQ(rules.at("secret").access, Access::none);
  EXPECT_FALSE(rules_of({}).restrict());
  EXPECT_FALSE(rules_of({PolicyPattern{"*.md", Policy::merge}}).restrict());
  EXPECT_FALSE(rules_of({}, Access::read_only).restrict());
  EXPECT_TRUE(rules_of({}, Access::append_only).restrict());
  EXPECT_FALSE(rules_of({}, Access::append_only).by_path());
}

TEST(Rules, OnlyAllowedNamesAreMade) {
  PolicyPattern notes{"notes/**"};
  notes.allowed = {"*.md", "README"};
  const Rules rules = rules_of({notes});
  EXPECT_TRUE(rules.allows_name("notes/a.md").ok());
  EXPECT_TRUE(rules.allows_name("notes/x/README").ok());
  EXPECT_TRUE(rules.allows_name("other.sh").ok());
  const Status refused = rules.allows_name("notes/a.sh");
  ASSERT_EQ(code(refused), Code::not_permitted);
  EXPECT_EQ(refused.error().message,
            "'notes/a.sh' may not be made, only names like '*.md', 'README' may, by the token's "
            "pattern 'notes/**'");
}

TEST(Rules, AGlobTellsDirectoriesApartOrNot) {
  const struct {
    const char *glob, *from, *to;
    bool apart;
  } rows[] = {
      {"*.key", "a", "b", false},        {"a/**", "a", "b", true},
      {"a/**", "b", "c", false},         {"a/**", "a/x", "a/y", false},
      {"a/**", "a/x", "x", true},        {"a/*", "a", "b", true},
      {"a/*", "a/x", "b/x", false},  // what is in them matches in neither
      {"**/s/*.md", "a", "b", false},    {"**/s/*.md", "a/s", "b/s", false},
      {"**/s/*.md", "a/s", "a/t", true}, {"a/b/c", "a/b", "a/d", true},
      {"a/b/c", "x", "a", true},         {"/a", "x", "y", false},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(tells_apart(row.glob, row.from, row.to), row.apart)
        << row.glob << " " << row.from << " " << row.to;
    EXPECT_EQ(tells_apart(row.glob, row.to, row.from), row.apart) << row.glob;
  }
}

// ---- every mutation under every right ----

TEST_F(RulesTest, EachMutationNeedsItsRight) {
  const auto resize = [](uint64_t size) {
    return [size](Scene& s) {
      auto request = attributes(s.m, s.ino);
      request.size = size;
      return s.m.start(request).get();
    };
  };
  const auto rename = [](const char* from, const char* to, bool exchange) {
    return [=](Scene& s) {
      RenameRequest request;
      request.op = s.m.op();
      request.from_parent = request.to_parent = s.dir;
      request.from_name = from;
      request.to_name = to;
      request.exchange = exchange;
      return s.m.start(request).get();
    };
  };
  const auto xattr = [](std::optional<std::string> value) {
    return [value](Scene& s) {
      return s.m.start(SetXattrRequest{s.m.op(), s.ino, "user.a", value, false, false}).get();
    };
  };
  const auto create = [](Kind kind) {
    return [kind](Scene& s) { return s.m.start_create(s.dir, "new", kind).get(); };
  };
  const Row rows[] = {
      {"create", create(Kind::file), Access::append_only},
      {"mkdir", create(Kind::directory), Access::append_only},
      {"mknod", create(Kind::fifo), Access::append_only},
      {"link",
       [](Scene& s) {
         return s.m.start(LinkRequest{s.m.op(), s.ino, s.dir, "new"}).get();
       },
       Access::append_only},
      {"append", [](Scene& s) { return s.m.start(appended(s.m, s.ino, "d")).get(); },
       Access::append_only},
      {"write behind the end",
       [](Scene& s) { return s.m.start(at_offset(s.m, s.ino, "d", 3)).get(); },
       Access::append_only},
      {"grow", resize(9), Access::append_only},
      {"no change of size", resize(3), Access::append_only},
      {"chmod",
       [](Scene& s) {
         auto request = attributes(s.m, s.ino);
         request.mode = 0600;
         return s.m.start(request).get();
       },
       Access::append_only},
      {"utimens",
       [](Scene& s) {
         auto request = attributes(s.m, s.ino);
         request.mtime_now = true;
         return s.m.start(request).get();
       },
       Access::append_only},
      {"write at the last byte",
       [](Scene& s) { return s.m.start(at_offset(s.m, s.ino, "cd", 2)).get(); }, Access::no_delete},
      {"write at the first byte",
       [](Scene& s) { return s.m.start(at_offset(s.m, s.ino, "X", 0)).get(); }, Access::no_delete},
      {"rewrite", [](Scene& s) { return s.m.start_write(s.ino, "abcdef").get(); },
       Access::no_delete},
      {"truncate", resize(2), Access::no_delete},
      {"setxattr", xattr("1"), Access::no_delete},
      {"removexattr", xattr({}), Access::no_delete},
      {"unlink", [](Scene& s) { return s.m.start_remove(s.dir, "old").get(); }, Access::read_write},
      {"rmdir", [](Scene& s) { return s.m.start_remove(s.dir, "sub", true).get(); },
       Access::read_write},
      {"rename", rename("old", "new", false), Access::read_write},
      {"rename a directory", rename("sub", "new", false), Access::read_write},
      {"replace", rename("old", "other", false), Access::read_write},
      {"exchange", rename("old", "other", true), Access::read_write},
  };
  for (const Access access : kAll)
    for (const Row& row : rows) {
      if (access != Access::none) try_row(row, access, false);
      try_row(row, access, true);
    }
}

TEST_F(RulesTest, ARefusalNamesTheRuleAndANameThatIsNotThereIsNotFound) {
  Mount all = mount();
  const Ino log = file(all, all.root(), "log");
  Mount m = ruled({}, Access::append_only);
  EXPECT_EQ(m.start_remove(m.root(), "log").get().error().message,
            "'log' may only be made and added to by the rights \"append\" of route 'memory'");
  EXPECT_EQ(m.start_write(log, "new").get().error().message,
            "the file may only be added to at its end by the rights \"append\" of route 'memory'");
  EXPECT_EQ(code(m.start_remove(m.root(), "none").get()), Code::not_found);
  EXPECT_EQ(code(m.start_rename(m.root(), "none", m.root(), "x").get()), Code::not_found);
  CreateRequest open;
  open.op = m.op();
  open.parent = m.root();
  open.name = "log";
  open.exclusive = false;
  Mount path = ruled({with_access("log", Access::read_only)});
  open.op = path.op();
  const Outcome opened = path.start(open).get();
  ASSERT_TRUE(opened.ok());
  EXPECT_FALSE(opened->created);
  EXPECT_EQ(opened->nodes[0].attr.access, Access::read_only);
}

TEST_F(RulesTest, WhatWasDoneIsToldToARetryThatWouldBeRefusedNow) {
  Mount m = ruled({}, Access::append_only);
  const Ino ino = m.create(m.root(), "log");
  auto request = at_offset(m, ino, "first", 0);
  ASSERT_TRUE(m.start(request).get().ok());
  request.op.retry = true;
  const Outcome again = m.start(request).get();
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->version, Version{2});
  Mount place = ruled({with_access("b", Access::read_only)});
  file(place, place.root(), "a");
  RenameRequest away;
  away.op = place.op();
  away.from_parent = away.to_parent = place.root();
  away.from_name = "a";
  away.to_name = "c";
  ASSERT_TRUE(place.start(away).get().ok());
  away.op.retry = true;
  EXPECT_TRUE(place.start(away).get().ok());
  away.op = place.op();
  away.op.retry = true;  // said of what was never done
  away.from_name = "c";
  away.to_name = "b";
  EXPECT_EQ(code(place.start(away).get()), Code::access_denied);
  EXPECT_TRUE(place.look(place.root(), "c").node);
}

TEST_F(RulesTest, TwoWhoAppendAtOnceBothStay) {
  Mount a = ruled({}, Access::append_only), b = ruled({}, Access::append_only);
  const Ino ino = a.create(a.root(), "log");
  ASSERT_TRUE(a.start(at_offset(a, ino, "one\n", 0)).get().ok());
  // b believes it to be empty still.
  EXPECT_EQ(code(b.start(at_offset(b, ino, "two\n", 0)).get()), Code::not_permitted);
  auto late = at_offset(b, ino, "two\n", 0);
  late.base = Version{1};
  EXPECT_EQ(code(b.start(late).get()), Code::conflict) << "kept, not merged";
  ASSERT_TRUE(b.start(appended(b, ino, "two\n")).get().ok());
  EXPECT_EQ(a.content(ino), "one\ntwo\n");
}

}  // namespace
}  // namespace linkspan::core::testing
