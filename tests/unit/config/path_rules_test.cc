// What a token's route and its patterns say of rights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "routerd/config/config.h"
#include "routerd/config/token.h"

namespace linkspan::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The route's first line is 9, `rest` begins with line 11.
Parsed parse_route(const std::string& rest) {
  return parse(
      "[[tenant]]\nname = \"t\"\n[[tenant.volume]]\nname = \"memory\"\n[[tenant.token]]\n"
      "sha256 = \"" +
          to_hex(store::hash_token("lsp_test")) +
          "\"\nprincipal = \"agent\"\n[[tenant.token.route]]\npath = \"memory\"\nvolume = "
          "\"memory\"\n" +
          rest,
      "r.toml");
}

TEST(PathRules, RightsAndWhatPatternsSay) {
  const auto parsed = parse_route(R"(rights = "append"
[[tenant.token.route.pattern]]
glob = "journal/**"
policy = "reject"
access = "no-delete"
no_exec = true
max_bytes = 1048576
allowed = ["*.md", "README"]
[[tenant.token.route.pattern]]
glob = "*.key"
access = "deny"
)");
  EXPECT_THAT(parsed.problems, IsEmpty());
  const Route& route = parsed.config.tokens.at(0).routes.at(0);
  EXPECT_EQ(route.rights, Access::append_only);
  EXPECT_THAT(route.patterns, ElementsAre(PolicyPattern{.glob = "journal/**",
                                                        .policy = Policy::reject,
                                                        .access = Access::no_delete,
                                                        .no_exec = true,
                                                        .max_bytes = 1048576,
                                                        .allowed = {"*.md", "README"}},
                                          PolicyPattern{.glob = "*.key", .access = Access::none}));
  EXPECT_THAT(summary(parsed.config),
              HasSubstr("    memory -> memory (append, merge)\n"
                        "      journal/**: reject, no-delete, no execute bits, at most 1048576 "
                        "bytes a file, only names like *.md README\n"
                        "      *.key: deny\n"));
}

TEST(PathRules, ErrorsNameLineKeyAndMend) {
  const struct {
    const char *rule, *problem;
  } rows[] = {
      {"access = \"ro\"",
       "r.toml:14: access: \"ro\" is not one of \"deny\", \"read-only\", \"append-only\", "
       "\"no-delete\" or \"read-write\""},
      {"no_exec = 1",
       "r.toml:14: no_exec: expected true or false, found a whole number; write no_exec = true"},
      {"max_bytes = -1", "r.toml:14: max_bytes: -1 is not between 0 and 17179869184"},
      {"allowed = [\"a/*.md\"]",
       "r.toml:14: allowed: \"a/*.md\" is matched with names, which hold no '/'; put directories "
       "into glob"},
      {"allowed = \"*.md\"",
       "r.toml:14: allowed: expected an array of strings, found a string; write allowed = "
       "[\"*.md\"]"},
      {"acess = \"deny\"",
       "r.toml:14: unknown key 'acess' in [[tenant.token.route.pattern]]; did you mean 'access'?"},
  };
  for (const auto& row : rows)
    EXPECT_THAT(parse_route(std::string("rights = \"rw\"\n[[tenant.token.route.pattern]]\nglob = "
                                        "\"x\"\n") +
                            row.rule + "\n")
                    .problems,
                ElementsAre(row.problem));
}

}  // namespace
}  // namespace linkspan::config
