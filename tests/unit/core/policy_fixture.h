// Tokens of each policy, files that have moved on, and saves as editors make them.
#pragma once

#include "fixture.h"

namespace linkspan::core::testing {

class PolicyTest : public CoreTest {
 protected:
  void SetUp() override {
    CoreTest::SetUp();
    add_token("reject", [](auto& t) { t.routes = {route("memory", true, Policy::reject)}; });
    add_token("lww", [](auto& t) { t.routes = {route("memory", true, Policy::last_writer_wins)}; });
    add_token("patterns", [](auto& t) {
      t.routes = {route("memory", true, Policy::merge)};
      t.routes[0].patterns = {{"*.csv", Policy::reject},
                              {"lists/*.json", Policy::merge},
                              {"journal/**/*.log", Policy::last_writer_wins}};
    });
    add_token("names", [](auto& t) {  // no pattern that needs a path
      t.routes = {route("memory", true, Policy::reject)};
      t.routes[0].patterns = {{"*.md", Policy::merge}, {"*.log", Policy::last_writer_wins}};
    });
    add_token("mixed", [](auto& t) {
      t.routes = {route("memory", true, Policy::reject), route("sessions", true, Policy::merge)};
    });
  }
  // A file of one line, and another's line behind it: base is version 2, the head 3.
  Ino moved_on(Mount& m, const std::string& name = "MEMORY.md", Ino dir = {}) {
    const Ino ino = m.create(dir ? dir : m.root(), name);
    EXPECT_TRUE(m.start_write(ino, "first\n").get().ok());
    EXPECT_TRUE(m.start_write(ino, "first\nother\n").get().ok());
    return ino;
  }
};

class SaveTest : public PolicyTest {
 protected:
  struct Saved {
    Ino ino;
    Outcome outcome;
  };
  // Reads are the caller's; this is temp file, write, rename.
  Saved save(Mount& m, const std::string& content, Ino base_ino, Version base,
             const std::string& name = "MEMORY.md") {
    const std::string temp = name + ".tmp" + std::to_string(m.operations);
    const Ino ino = m.create(m.root(), temp);
    EXPECT_TRUE(m.start_write(ino, content).get().ok());
    return {ino, m.start_rename(m.root(), temp, m.root(), name, base_ino, base).get()};
  }
  std::string head(Mount& m, const std::string& name = "MEMORY.md") {
    const auto found = m.look(m.root(), name);
    EXPECT_TRUE(found.node);
    return found.node ? m.content(found.node->attr.ino) : "";
  }
};

}  // namespace linkspan::core::testing
