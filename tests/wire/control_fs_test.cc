#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <semaphore>

#include "fusefs/fuse/control_fs.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/scripted_vfs.h"

namespace linkspan::test {
namespace {

// Folders 1..count, each with `text` in its only file; or an error.
class ScriptedFolders final : public fuse::LiveFolders {
 public:
  Result<std::vector<Folder>> list(const vfs::Caller&, uint64_t after, size_t limit) override {
    if (error) return *error;
    std::vector<Folder> found;
    for (uint64_t n = after + 1; n <= count && found.size() < limit; ++n)
      found.push_back({n, std::to_string(n) + "-x", Time{5}});
    return found;
  }
  Result<Folder> find(const vfs::Caller& c, const std::string& name) override {
    auto found = folder(c, static_cast<uint64_t>(std::atoi(name.c_str())));
    if (found.ok() && found->name != name) return fail(Code::not_found);
    return found;
  }
  Result<Folder> folder(const vfs::Caller&, uint64_t number) override {
    if (error) return *error;
    if (number == 0 || number > count) return fail(Code::not_found);
    return Folder{number, std::to_string(number) + "-x", Time{5}};
  }
  Result<std::vector<File>> files(const vfs::Caller& c, uint64_t number) override {
    LINKSPAN_TRY(const Folder found, folder(c, number));
    File file{"text", 2, text.size(), found.changed, true, {}};
    file.read = [this](const vfs::Caller&, uint64_t offset, size_t size) -> Result<std::string> {
      if (error) return *error;
      return text.substr(offset, size);
    };
    return std::vector<File>{file};
  }

  uint64_t count = 0;
  std::string text = "refused";
  std::optional<Error> error;
};

class ControlWire : public ::testing::Test {
 protected:
  void SetUp() override {
    fuse::ControlTree tree;
    tree.add_directory("memory", true);
    tree.add_directory("workspace");
    tree.add_symlink("link", "/somewhere");
    tree.add_file(".linkspan/status", [this] { return content; });
    tree.add_file(".linkspan/broken", []() -> std::string { throw std::runtime_error("planted"); });
    tree.add_query(
        ".linkspan/query",
        [this](const vfs::Caller& caller, const std::string& request) {
          return on_query(caller, request);
        },
        [] { return std::string("help\n"); });
    tree.add_live(".linkspan/conflicts", live);
    operations = fuse::make_control_operations(std::move(tree), {.uid = 7, .gid = 8});
    kernel = std::make_unique<FakeKernel>(operations.get(), nullptr);
  }
  void TearDown() override { kernel.reset(); }
  fuse_entry_out lookup(uint64_t parent, const std::string& name) {
    return kernel->call(FUSE_LOOKUP, parent, Bytes().name(name).str()).as<fuse_entry_out>();
  }
  std::string read(uint64_t fh, uint64_t offset, uint32_t size) {
    fuse_read_in in = {};
    in.fh = fh;
    in.offset = offset;
    in.size = size;
    return kernel->call(FUSE_READ, 0, Bytes().add(in).str()).body;
  }

  uint64_t control(const std::string& name) {
    return lookup(lookup(1, ".linkspan").nodeid, name).nodeid;
  }
  Reply open(uint64_t nodeid, uint32_t flags) {
    fuse_open_in in = {};
    in.flags = flags;
    return kernel->call(FUSE_OPEN, nodeid, Bytes().add(in).str());
  }
  uint64_t open_query() { return open(control("query"), O_RDWR).as<fuse_open_out>().fh; }
  Reply write(uint64_t fh, uint64_t offset, const std::string& data) {
    fuse_write_in in = {};
    in.fh = fh;
    in.offset = offset;
    in.size = static_cast<uint32_t>(data.size());
    return kernel->call(FUSE_WRITE, 0, Bytes().add(in).raw(data).str());
  }
  uint64_t send_read(uint64_t fh, uint64_t offset) {
    fuse_read_in in = {};
    in.fh = fh;
    in.offset = offset;
    in.size = 4096;
    return kernel->send(FUSE_READ, 0, Bytes().add(in).str());
  }
  void release(uint64_t nodeid, uint64_t fh) {
    fuse_release_in in = {};
    in.fh = fh;
    EXPECT_EQ(kernel->call(FUSE_RELEASE, nodeid, Bytes().add(in).str()).error(), 0);
  }
  Reply list(uint64_t nodeid, uint64_t offset, uint32_t size = 4096) {
    fuse_read_in in = {};
    in.size = size;
    in.offset = offset;
    return kernel->call(FUSE_READDIRPLUS, nodeid, Bytes().add(in).str());
  }

  std::string content = "healthy\n";
  std::function<std::string(const vfs::Caller&, const std::string&)> on_query;
  std::shared_ptr<ScriptedFolders> live = std::make_shared<ScriptedFolders>();
  std::unique_ptr<fuse::Operations> operations;
  std::unique_ptr<FakeKernel> kernel;
};

TEST_F(ControlWire, TreeIsListedWithItsTypes) {
  fuse_read_in in = {};
  in.size = 4096;
  auto entries = parse_listing(kernel->call(FUSE_READDIRPLUS, 1, Bytes().add(in).str()).body, true);
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{".", "..", ".linkspan", "link", "memory", "workspace"}));
  EXPECT_EQ(lookup(1, "memory").attr.mode, uint32_t{S_IFDIR | 0755});
  EXPECT_EQ(lookup(1, "workspace").attr.mode, uint32_t{S_IFDIR | 0555});
  EXPECT_EQ(lookup(1, "memory").attr.uid, 7u);
  EXPECT_EQ(lookup(1, "link").attr.mode & S_IFMT, uint32_t{S_IFLNK});
  EXPECT_EQ(kernel->call(FUSE_READLINK, lookup(1, "link").nodeid).body, "/somewhere");
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, 1, Bytes().name("none").str()).error(), ENOENT);
}

TEST_F(ControlWire, ContentIsOfTheOpenWholeAndFresh) {
  uint64_t status = lookup(lookup(1, ".linkspan").nodeid, "status").nodeid;
  fuse_open_in in = {};
  auto opened = kernel->call(FUSE_OPEN, status, Bytes().add(in).str()).as<fuse_open_out>();
  EXPECT_TRUE(opened.open_flags & FOPEN_DIRECT_IO);
  content = "stale, and longer\n";
  EXPECT_EQ(read(opened.fh, 0, 4096), "healthy\n");
  EXPECT_EQ(read(opened.fh, 3, 2), "lt");
  EXPECT_EQ(read(opened.fh, 100, 10), "");
  auto attr = kernel->call(FUSE_GETATTR, status, Bytes().add(fuse_getattr_in{}).str());
  EXPECT_EQ(attr.as<fuse_attr_out>().attr.size, content.size());
  EXPECT_EQ(attr.as<fuse_attr_out>().attr_valid, 0u);
  fuse_release_in release = {};
  release.fh = opened.fh;
  EXPECT_EQ(kernel->call(FUSE_RELEASE, status, Bytes().add(release).str()).error(), 0);
}

TEST_F(ControlWire, EveryChangeIsErofs) {
  auto error = [&](uint32_t opcode, const std::string& body) {
    return kernel->call(opcode, 1, body).error();
  };
  EXPECT_EQ(error(FUSE_UNLINK, Bytes().name("memory").str()), EROFS);
  EXPECT_EQ(error(FUSE_RMDIR, Bytes().name("memory").str()), EROFS);
  EXPECT_EQ(error(FUSE_MKDIR, Bytes().add(fuse_mkdir_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_MKNOD, Bytes().add(fuse_mknod_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_CREATE, Bytes().add(fuse_create_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_SYMLINK, Bytes().name("x").name("y").str()), EROFS);
  EXPECT_EQ(error(FUSE_LINK, Bytes().add(fuse_link_in{}).name("x").str()), EROFS);
  EXPECT_EQ(error(FUSE_RENAME, Bytes().add(fuse_rename_in{}).name("x").name("y").str()), EROFS);
  EXPECT_EQ(error(FUSE_SETATTR, Bytes().add(fuse_setattr_in{}).str()), EROFS);
  fuse_open_in writing = {};
  writing.flags = O_WRONLY;
  uint64_t status = lookup(lookup(1, ".linkspan").nodeid, "status").nodeid;
  EXPECT_EQ(kernel->call(FUSE_OPEN, status, Bytes().add(writing).str()).error(), EROFS);
}

TEST_F(ControlWire, AQueryIsAWriteAndTheReadsAfterIt) {
  int asked = 0;
  on_query = [&](const vfs::Caller&, const std::string& request) {
    ++asked;
    return "to " + request + " an answer";
  };
  const uint64_t fh = open_query();
  EXPECT_EQ(kernel->reply(send_read(fh, 0)).error(), EINVAL) << "nothing was asked";
  EXPECT_EQ(write(fh, 0, "{}").as<fuse_write_out>().size, 2u);
  EXPECT_EQ(asked, 0) << "asked by the first read";
  EXPECT_EQ(read(fh, 2, 5), "to {}");
  EXPECT_EQ(read(fh, 7, 100), " an answer");
  EXPECT_EQ(read(fh, 100, 100), "");
  EXPECT_EQ(read(fh, 2, 5), "to {}") << "the same answer again";
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(kernel->reply(send_read(fh, 1)).error(), EINVAL);
  write(fh, 50, "more");
  EXPECT_EQ(read(fh, 54, 7), "to more");
  EXPECT_EQ(write(fh, 0, std::string(fuse::kQueryBytes + 1, 'x')).error(), EMSGSIZE);
  release(control("query"), fh);
}

TEST_F(ControlWire, AQueryOpenedOtherwise) {
  const uint64_t query = control("query");
  const auto opened = open(query, O_RDONLY);
  EXPECT_EQ(opened.error(), 0);
  EXPECT_EQ(read(opened.as<fuse_open_out>().fh, 0, 100), "help\n");
  EXPECT_EQ(write(opened.as<fuse_open_out>().fh, 0, "{}").error(), EROFS);
  EXPECT_EQ(open(query, O_WRONLY).error(), EINVAL);
  EXPECT_EQ(open(query, O_WRONLY | O_TRUNC).error(), EINVAL);
}

TEST_F(ControlWire, QueriesThatWaitLeaveRoomForTheRest) {
  Event go;
  std::counting_semaphore<> asked{0};
  on_query = [&](const vfs::Caller&, const std::string&) {
    asked.release();
    go.wait();
    return std::string("late");
  };
  std::vector<uint64_t> handles, reads;
  for (int i = 0; i < fuse::kQueryHandles; ++i) {
    handles.push_back(open_query());
    write(handles.back(), 0, "?");
  }
  EXPECT_EQ(open(control("query"), O_RDWR).error(), EBUSY) << "one too many";
  for (int i = 0; i < fuse::kSlowRequests; ++i) reads.push_back(send_read(handles[i], 1));
  for (int i = 0; i < fuse::kSlowRequests; ++i)
    ASSERT_TRUE(asked.try_acquire_for(10s * test::kSlowdown));
  for (size_t i = fuse::kSlowRequests; i < handles.size(); ++i)
    EXPECT_EQ(kernel->reply(send_read(handles[i], 1)).error(), EBUSY);
  EXPECT_EQ(list(control("conflicts"), 0).error(), EBUSY);
  const auto status = open(control("status"), O_RDONLY);
  EXPECT_EQ(read(status.as<fuse_open_out>().fh, 0, 100), "healthy\n");
  EXPECT_EQ(kernel->reply(send_read(handles[0], 1)).error(), EBUSY) << "it is being asked";
  EXPECT_EQ(write(handles[0], 0, "again").error(), EBUSY);
  go.set();
  for (const uint64_t unique : reads) EXPECT_EQ(kernel->reply(unique).body, "late");
  EXPECT_FALSE(asked.try_acquire()) << "the others were not asked";
  EXPECT_EQ(read(handles.back(), 1, 100), "late") << "the request was kept";
  for (const uint64_t fh : handles) release(control("query"), fh);
  EXPECT_EQ(open(control("query"), O_RDWR).error(), 0);
}

TEST_F(ControlWire, AQueryEndsWithItsCaller) {
  Event asked;
  on_query = [&](const vfs::Caller& caller, const std::string&) {
    Event cancelled;
    caller.cancel->set([&] { cancelled.set(); });
    asked.set();
    const bool ended = cancelled.wait();
    caller.cancel->set({});
    return std::string(ended ? "cancelled" : "not cancelled");
  };
  const uint64_t fh = open_query();
  write(fh, 0, "?");
  fuse_read_in in = {};
  in.fh = fh;
  in.offset = 1;
  in.size = 100;
  const uint64_t unique = kernel->send(FUSE_READ, 0, Bytes().add(in).str(), dead_pid());
  ASSERT_TRUE(asked.wait());
  kernel->interrupt(unique);
  EXPECT_EQ(kernel->reply(unique).body, "cancelled");
}

TEST_F(ControlWire, AQueryThatThrowsIsEioAndTheNextOneWorks) {
  on_query = [](const vfs::Caller&, const std::string& request) -> std::string {
    if (request == "throw") throw std::runtime_error("planted");
    return "fine";
  };
  const uint64_t fh = open_query();
  write(fh, 0, "throw");
  EXPECT_EQ(kernel->reply(send_read(fh, 5)).error(), EIO);
  write(fh, 0, "x");
  EXPECT_EQ(read(fh, 1, 100), "fine");
}

TEST_F(ControlWire, LiveFoldersAreListedPageByPage) {
  live->count = 150;
  const uint64_t conflicts = control("conflicts");
  std::vector<std::string> names;
  for (uint64_t offset = 0;;) {
    const auto entries = parse_listing(list(conflicts, offset, 1000).body, true);
    if (entries.empty()) break;
    for (const auto& entry : entries) names.push_back(entry.name);
    offset = entries.back().offset;
  }
  ASSERT_EQ(names.size(), 152u);
  EXPECT_EQ(names[2], "1-x");
  EXPECT_EQ(names[151], "150-x");
  live->count = 0;
  EXPECT_EQ(parse_listing(list(conflicts, 0).body, true).size(), 2u);
}

TEST_F(ControlWire, LiveFilesAreReadInParts) {
  live->count = 2;
  const auto folder = lookup(control("conflicts"), "2-x");
  EXPECT_EQ(folder.attr.mode, uint32_t{S_IFDIR | 0555});
  EXPECT_EQ(folder.entry_valid, 0u);
  const auto file = lookup(folder.nodeid, "text");
  EXPECT_EQ(file.attr.mode, uint32_t{S_IFREG | 0400});
  EXPECT_EQ(file.attr.size, 7u);
  const uint64_t fh = open(file.nodeid, O_RDONLY).as<fuse_open_out>().fh;
  EXPECT_EQ(read(fh, 0, 3), "ref");
  EXPECT_EQ(read(fh, 3, 100), "used");
  EXPECT_EQ(read(fh, 7, 100), "");
  EXPECT_EQ(open(file.nodeid, O_RDWR).error(), EROFS);
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, folder.nodeid, Bytes().name("none").str()).error(), ENOENT);
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, control("conflicts"), Bytes().name("3-x").str()).error(),
            ENOENT);
  live->count = 1;
  const auto get = Bytes().add(fuse_getattr_in{}).str();
  EXPECT_EQ(kernel->call(FUSE_GETATTR, file.nodeid, get).error(), ENOENT);
  EXPECT_EQ(kernel->call(FUSE_GETATTR, folder.nodeid, get).error(), ENOENT);
  EXPECT_EQ(list(folder.nodeid, 0).error(), ENOENT);
}

TEST_F(ControlWire, WithoutTheRouterFoldersAreAnErrorNotEmpty) {
  live->count = 2;
  const uint64_t conflicts = control("conflicts");
  const auto folder = lookup(conflicts, "2-x");
  const auto file = lookup(folder.nodeid, "text");
  const uint64_t fh = open(file.nodeid, O_RDONLY).as<fuse_open_out>().fh;
  live->error = fail(Code::timed_out);
  EXPECT_EQ(list(conflicts, 0).error(), ETIMEDOUT);
  EXPECT_EQ(list(folder.nodeid, 0).error(), ETIMEDOUT);
  EXPECT_EQ(kernel->reply(send_read(fh, 0)).error(), ETIMEDOUT);
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, conflicts, Bytes().name("1-x").str()).error(), ETIMEDOUT);
  const auto get = Bytes().add(fuse_getattr_in{}).str();
  EXPECT_EQ(kernel->call(FUSE_GETATTR, conflicts, get).error(), 0);
}

TEST_F(ControlWire, BrokenContentIsEio) {
  uint64_t dir = lookup(1, ".linkspan").nodeid;
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, dir, Bytes().name("broken").str()).error(), EIO);
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, dir, Bytes().name("status").str()).error(), 0);
}

}  // namespace
}  // namespace linkspan::test
