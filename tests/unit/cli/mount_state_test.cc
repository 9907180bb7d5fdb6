#include "fusefs/cli/mount_state.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace linkspan::cli {
namespace {

using Kind = MountStep::Kind;

MountState example_state() {
  return {"/mnt/a \"quoted\"",
          {1234, 567890},
          "unix:/r.sock",
          "/work",
          "2026-01-01T00:00:00.000Z",
          {{Kind::cover, "/mnt/a"},
           {Kind::fuse, "/mnt/a"},
           {Kind::symlink, "/skills", "/mnt/a/skills"},
           {Kind::directory, "/memory"},
           {Kind::mode, "/mnt/b", "", 0750}}};
}

TEST(MountStateTest, RoundTrip) {
  const auto state = example_state();
  const auto again = state_from_json(to_json(state));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->dir, state.dir);
  EXPECT_EQ(again->process, state.process);
  EXPECT_EQ(again->steps, state.steps);
  EXPECT_EQ(again->workspace, state.workspace);
}

TEST(MountStateTest, RefusesWhatItDoesNotKnow) {
  for (const char* text :
       {"", "[]", "{", "{\"dir\": 1}", "{\"dir\": \"/x\", \"pid\": 1, \"pid_start\": 2}",
        R"({"dir": "/x", "pid": 1, "pid_start": 2, "steps": [{"kind": "format", "path": "/"}]})"})
    EXPECT_FALSE(state_from_json(text).ok()) << text;
}

TEST(MountStateTest, Files) {
  char name[] = "/tmp/linkspan-state-test.XXXXXX";
  ASSERT_NE(::mkdtemp(name), nullptr);
  const std::string dir = name;
  const auto state = example_state();
  EXPECT_FALSE(load_state(dir, state.dir));
  ASSERT_TRUE(save_state(dir, state).ok());
  struct stat st;
  ASSERT_EQ(::stat(state_file(dir, state.dir).c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_EQ(load_state(dir, state.dir)->steps.size(), 5u);
  EXPECT_FALSE(load_state(dir, "/mnt/other"));
  EXPECT_EQ(load_all_states(dir).size(), 1u);
  leave_failure(dir, state.dir, "lost");
  EXPECT_EQ(load_all_states(dir).size(), 1u);
  EXPECT_EQ(take_failure(dir, state.dir), "lost");
  EXPECT_FALSE(take_failure(dir, state.dir));
  for (const char* end : {".abcDEF", ".lock"}) std::ofstream(state_file(dir, state.dir) + end);
  remove_half_written(dir, state.dir);
  EXPECT_NE(::unlink((state_file(dir, state.dir) + ".abcDEF").c_str()), 0) << "it is gone";
  EXPECT_EQ(::unlink((state_file(dir, state.dir) + ".lock").c_str()), 0) << "it is no such file";
  EXPECT_EQ(load_all_states(dir).size(), 1u);
  forget_state(dir, state.dir);
  EXPECT_TRUE(load_all_states(dir).empty());
  EXPECT_EQ(::rmdir(name), 0);
}

}  // namespace
}  // namespace linkspan::cli
