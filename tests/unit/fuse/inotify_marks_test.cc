// Who watches, from a made-up /proc.
#include "fusefs/fuse/inotify_marks.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace linkspan::fuse {
namespace {

TEST(InotifyMarks, ALine) {
  Mark mark;
  ASSERT_TRUE(
      parse_mark("inotify wd:2 ino:7fe1 sdev:80010a mask:fce ignored_mask:0 "
                 "fhandle-bytes:c fhandle-type:81 f_handle:00",
                 &mark));
  EXPECT_EQ(mark.ino, Ino(0x7fe1));
  EXPECT_EQ(mark.device, makedev(8, 0x10a));
  EXPECT_FALSE(parse_mark("flags:\t02004000", &mark));
  EXPECT_FALSE(parse_mark("inotify wd:2", &mark));
  EXPECT_FALSE(parse_mark("", &mark));
}

class FakeProc : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/linkspan-proc-XXXXXX";
    proc = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(proc); }
  void descriptor(const std::string& process, int fd, const std::string& target,
                  const std::string& info) {
    const std::string base = proc + "/" + process;
    std::filesystem::create_directories(base + "/fd");
    std::filesystem::create_directories(base + "/fdinfo");
    ASSERT_EQ(::symlink(target.c_str(), (base + "/fd/" + std::to_string(fd)).c_str()), 0);
    std::ofstream(base + "/fdinfo/" + std::to_string(fd)) << info;
  }
  std::string proc;
};

TEST_F(FakeProc, MarksOfOurFilesystemsOfAllProcesses) {
  descriptor("17", 3, "anon_inode:inotify",
             "pos:\t0\ninotify wd:1 ino:a sdev:22 mask:2\ninotify wd:2 ino:b sdev:99 mask:2\n");
  descriptor("17", 4, "/tmp/file", "inotify wd:1 ino:c sdev:22 mask:2\n");
  descriptor("18", 12, "anon_inode:inotify",
             "inotify wd:1 ino:a sdev:22 mask:2\ninotify wd:7 ino:d sdev:23 mask:2\n");
  descriptor("self", 3, "anon_inode:inotify", "inotify wd:1 ino:e sdev:22 mask:2\n");
  std::filesystem::create_directories(proc + "/19");
  const Marks marks = scan_marks({makedev(0, 0x22), makedev(0, 0x23)}, proc);
  const Marks wanted = {{makedev(0, 0x22), {Ino(0xa)}}, {makedev(0, 0x23), {Ino(0xd)}}};
  EXPECT_EQ(marks, wanted);
}

TEST_F(FakeProc, NoProcessNoMark) {
  EXPECT_TRUE(scan_marks({makedev(0, 0x22)}, proc).empty());
  EXPECT_TRUE(scan_marks({makedev(0, 0x22)}, proc + "/missing").empty());
}

}  // namespace
}  // namespace linkspan::fuse
