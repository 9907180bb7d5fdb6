// Listings of directories, and replies that the kernel does not take.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "tests/wire/wire_fixture.h"

namespace linkspan::test {
namespace {

class Listing : public Wire {
 protected:
  static constexpr uint64_t kEntries = 5000;
  void SetUp() override {
    vfs.on_readdir = [this](uint64_t offset, size_t limit) {
      std::vector<vfs::DirItem> items;
      for (uint64_t i = offset + 1; i <= kEntries && items.size() < limit; ++i)
        items.push_back(item(i));
      return Result<std::vector<vfs::DirItem>>(items);
    };
  }
  vfs::DirItem item(uint64_t i) const {
    vfs::DirItem item;
    item.name = i == 1   ? "."
                : i == 2 ? ".."
                         : std::string(1 + i * 7 % 200, 'n') + std::to_string(i);
    item.offset = i;
    item.attr = file_attr(1000 + i);
    item.times = {double(kMinute), double(kMinute), vfs.gate.now()};
    return item;
  }
  std::vector<ListedEntry> read_directory(uint32_t opcode, uint32_t size) {
    std::vector<ListedEntry> all;
    for (uint64_t offset = 0;;) {
      Reply reply = kernel->call(opcode, 1, reading(offset, size));
      EXPECT_EQ(reply.error(), 0);
      EXPECT_LE(reply.body.size(), size);
      auto entries = parse_listing(reply.body, opcode == FUSE_READDIRPLUS);
      if (entries.empty()) return all;
      offset = entries.back().offset;
      all.insert(all.end(), entries.begin(), entries.end());
    }
  }
};

TEST_F(Listing, PagesOfAnySizeLoseAndRepeatNothing) {
  connect();
  for (uint32_t size : {512u, 4096u, 65536u}) {
    for (uint32_t opcode : {uint32_t{FUSE_READDIR}, uint32_t{FUSE_READDIRPLUS}}) {
      auto all = read_directory(opcode, size);
      ASSERT_EQ(all.size(), kEntries) << size;
      for (uint64_t i = 1; i <= kEntries; ++i) {
        EXPECT_EQ(all[i - 1].name, item(i).name);
        EXPECT_EQ(all[i - 1].ino, 1000 + i);
      }
    }
  }
}

TEST_F(Listing, PlusHandsOverAReferenceEachButOfDots) {
  connect();
  auto all = read_directory(FUSE_READDIRPLUS, 4096);
  EXPECT_EQ(all[0].nodeid, 0u);
  EXPECT_EQ(all[1].nodeid, 0u);
  EXPECT_EQ(notifier.known().size(), kEntries - 2);
  EXPECT_EQ(notifier.known().references(1003), 1u);
  (void)read_directory(FUSE_READDIR, 4096);
  EXPECT_EQ(notifier.known().references(1003), 1u);
}

TEST_F(Listing, BufferTooSmallForOneEntryIsAnErrorNotTheEnd) {
  connect();
  EXPECT_EQ(kernel->call(FUSE_READDIRPLUS, 1, reading(3, 32)).error(), EINVAL);
}

TEST_F(Listing, RevokedListingIsNotKept) {
  connect();
  auto script = vfs.on_readdir;
  vfs.on_readdir = [&, script](uint64_t offset, size_t limit) {
    auto items = script(offset, limit);
    vfs.gate.advance();
    return items;
  };
  auto entries = parse_listing(kernel->call(FUSE_READDIRPLUS, 1, reading(2, 4096)).body, true);
  ASSERT_FALSE(entries.empty());
  for (const auto& entry : entries) EXPECT_EQ(entry.entry.entry_valid + entry.entry.attr_valid, 0u);
  EXPECT_EQ(notifier.known().size(), entries.size());
}

// ---- failing replies ---------------------------------------------------------------------------

// Hangs up while the request is in the vfs; returns when the callback's reply has failed.
template <class Send>
void fail_reply(FakeKernel& kernel, Event& entered, Event& go_on, Send send) {
  send();
  ASSERT_TRUE(entered.wait());
  kernel.hang_up();
  go_on.set();
  (void)kernel.connection().close().ok();  // joins the callback
}

TEST_F(Wire, FailedReplyTakesReferenceAndHandleBack) {
  connect();
  Event entered, go_on;
  vfs.on_create = [&](const std::string&, uint32_t, int) {
    entered.set();
    EXPECT_TRUE(go_on.wait());
    return Result<std::pair<vfs::Entry, vfs::Opened>>({entry_of(vfs, 300), {7, false}});
  };
  fuse_create_in in = {};
  in.flags = O_RDWR;
  in.mode = S_IFREG | 0600;
  fail_reply(*kernel, entered, go_on,
             [&] { kernel->send(FUSE_CREATE, 1, Bytes().add(in).name("new").str()); });
  EXPECT_EQ(vfs.open_handles, 0);
  EXPECT_EQ(notifier.known().size(), 0u);
  EXPECT_EQ(counters().failed_replies, 1u);
}

TEST_F(Wire, FailedOpenReplyReleases) {
  connect();
  Event entered, go_on;
  vfs.on_open = [&](const vfs::Caller&, Ino, int) {
    entered.set();
    EXPECT_TRUE(go_on.wait());
    return Result<vfs::Opened>({7, false});
  };
  fail_reply(*kernel, entered, go_on, [&] { kernel->send(FUSE_OPEN, 300, opening(O_RDWR)); });
  EXPECT_EQ(vfs.open_handles, 0);
}

TEST_F(Listing, FailedListingTakesReferencesBack) {
  connect();
  Event entered, go_on;
  auto script = vfs.on_readdir;
  vfs.on_readdir = [&, script](uint64_t offset, size_t limit) {
    entered.set();
    EXPECT_TRUE(go_on.wait());
    return script(offset, limit);
  };
  fail_reply(*kernel, entered, go_on, [&] { kernel->send(FUSE_READDIRPLUS, 1, reading(0, 4096)); });
  EXPECT_EQ(notifier.known().size(), 0u);
}

}  // namespace
}  // namespace linkspan::test
