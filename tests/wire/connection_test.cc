// The callbacks and the loop against a kernel that misbehaves on purpose.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "fusefs/fuse/statx.h"
#include "fusefs/fuse/vfs_ops.h"
#include "tests/support/fake_kernel.h"
#include "tests/support/scripted_vfs.h"
#include "tests/support/slowdown.h"

namespace linkspan::test {
namespace {

constexpr uint64_t kMinute = 60;

Attr file_attr(uint64_t ino) {
  Attr attr;
  attr.ino = Ino(ino);
  attr.mode = 0644;
  attr.nlink = 1;
  attr.size = 5;
  attr.mtime = Time{1'500'000'000'123'456'789};
  return attr;
}

vfs::Entry entry_of(const ScriptedVfs& vfs, uint64_t ino) {
  vfs::Entry entry;
  entry.attr = file_attr(ino);
  entry.times = {double(kMinute), double(kMinute), vfs.gate.now()};
  return entry;
}

class Wire : public ::testing::Test {
 protected:
  void connect(FakeKernel::Options options = FakeKernel::Options()) {
    kernel = std::make_unique<FakeKernel>(operations.get(), &notifier, options);
  }
  void TearDown() override { kernel.reset(); }
  void answer_lookups() {
    vfs.on_lookup = [this](const vfs::Caller&, Ino, const std::string& name) {
      return Result<vfs::Entry>(entry_of(vfs, 100 + name.size()));
    };
  }
  static std::string named(const std::string& name) { return Bytes().name(name).str(); }
  static std::string opening(uint32_t flags) {
    fuse_open_in in = {};
    in.flags = flags;
    return Bytes().add(in).str();
  }
  static std::string reading(uint64_t offset, uint32_t size) {
    fuse_read_in in = {};
    in.fh = 1;
    in.offset = offset;
    in.size = size;
    return Bytes().add(in).str();
  }
  const fuse::Counters& counters() { return kernel->connection().counters(); }

  ScriptedVfs vfs;
  fuse::Notifier notifier{fuse::NotifierOptions{.root = kRoot}};
  std::unique_ptr<fuse::Operations> operations = fuse::make_vfs_operations(&vfs, &notifier, {});
  std::unique_ptr<FakeKernel> kernel;
};

TEST_F(Wire, HandshakeAsksForWhatTheDesignNeeds) {
  connect();
  const auto& init = kernel->init();
  for (uint32_t flag :
       {FUSE_ATOMIC_O_TRUNC, FUSE_ASYNC_READ, FUSE_PARALLEL_DIROPS, FUSE_CACHE_SYMLINKS,
        FUSE_DO_READDIRPLUS, FUSE_READDIRPLUS_AUTO, FUSE_AUTO_INVAL_DATA})
    EXPECT_TRUE(init.flags & flag) << flag;
  for (uint32_t flag : {FUSE_WRITEBACK_CACHE, FUSE_POSIX_ACL, FUSE_HANDLE_KILLPRIV,
                        FUSE_EXPLICIT_INVAL_DATA})
    EXPECT_FALSE(init.flags & flag) << flag;
  EXPECT_EQ(init.max_write, 1u << 20);
  EXPECT_EQ(init.time_gran, 1u);
  EXPECT_GE(init.max_background, 64);
}

TEST_F(Wire, RootIsOneOutsideAndItsOwnNumberInside) {
  connect();
  Ino asked;
  vfs.on_getattr = [&](const vfs::Caller& c, Ino ino) {
    asked = ino;
    EXPECT_EQ(c.tid, 77);
    return Result<vfs::AttrReply>({file_attr(ino.value), double(kMinute), vfs.gate.now()});
  };
  auto out = kernel->call(FUSE_GETATTR, FUSE_ROOT_ID, Bytes().add(fuse_getattr_in{}).str(), 77)
                 .as<fuse_attr_out>();
  EXPECT_EQ(asked, kRoot);
  EXPECT_EQ(out.attr.ino, kRoot.value);
  EXPECT_EQ(out.attr_valid, kMinute);
  EXPECT_EQ(out.attr.mtimensec, 123456789u);
}

TEST_F(Wire, StatxBringsTheBirthTime) {
  connect();
  vfs.on_getattr = [&](const vfs::Caller&, Ino ino) {
    Attr attr = file_attr(ino.value);
    attr.btime = Time{1'400'000'000'000'000'001};
    return Result<vfs::AttrReply>({attr, 1.5, vfs.gate.now()});
  };
  fuse::StatxIn in = {};
  auto reply = kernel->call(fuse::kOpStatx, 300, Bytes().add(in).str());
  EXPECT_EQ(reply.error(), 0);
  ASSERT_EQ(reply.body.size(), sizeof(fuse::StatxOut));
  auto out = reply.as<fuse::StatxOut>();
  EXPECT_EQ(out.stat.btime.seconds, 1'400'000'000);
  EXPECT_EQ(out.stat.btime.nanoseconds, 1u);
  EXPECT_EQ(out.stat.ino, 300u);
  EXPECT_EQ(out.stat.mode, S_IFREG | 0644);
  EXPECT_EQ(out.attr_valid, 1u);
  EXPECT_EQ(out.attr_valid_nsec, 500'000'000u);
  auto plain = kernel->call(FUSE_GETATTR, 300, Bytes().add(fuse_getattr_in{}).str());
  EXPECT_EQ(plain.body.size(), sizeof(fuse_attr_out));
}

TEST_F(Wire, EntriesAreCountedUntilForgotten) {
  connect();
  answer_lookups();
  for (int i = 0; i < 3; ++i) {
    auto out = kernel->call(FUSE_LOOKUP, 1, named("file")).as<fuse_entry_out>();
    EXPECT_EQ(out.nodeid, 104u);
    EXPECT_EQ(out.entry_valid, kMinute);
  }
  EXPECT_EQ(notifier.known().references(104), 3u);
  kernel->forget(104, 2);
  (void)kernel->call(FUSE_LOOKUP, 1, named("other"));  // the forget was read before it
  kernel->forget(104, 1);
  fuse_batch_forget_in batch = {};
  batch.count = 1;
  kernel->send(FUSE_BATCH_FORGET, 0, Bytes().add(batch).add(fuse_forget_one{105, 1}).str());
  for (int i = 0; i < 1000 && notifier.known().size() != 0; ++i) (void)kernel->call(FUSE_STATFS, 1);
  EXPECT_EQ(notifier.known().size(), 0u);
}

// FORGET of one lookup races with the reply of the next; the sum must come out right.
TEST_F(Wire, ForgetRacesWithLookups) {
  connect();
  answer_lookups();
  constexpr int kRounds = 300;
  std::vector<uint64_t> pending;
  for (int i = 0; i < kRounds; ++i) {
    pending.push_back(kernel->send(FUSE_LOOKUP, 1, named("name")));
    if (pending.size() < 8) continue;
    for (uint64_t unique : pending) EXPECT_EQ(kernel->reply(unique).error(), 0);
    kernel->forget(104, pending.size());
    pending.clear();
  }
  for (uint64_t unique : pending) EXPECT_EQ(kernel->reply(unique).error(), 0);
  kernel->forget(104, pending.size());
  for (int i = 0; i < 1000 && notifier.known().references(104) != 0; ++i)
    (void)kernel->call(FUSE_STATFS, 1);
  EXPECT_EQ(notifier.known().references(104), 0u);
}

TEST_F(Wire, NegativeEntryIsKeptWithoutAReference) {
  connect();
  vfs.on_lookup = [this](const vfs::Caller&, Ino, const std::string&) {
    vfs::Entry entry;
    entry.negative = true;
    entry.times = {double(kMinute), 0, vfs.gate.now()};
    return Result<vfs::Entry>(entry);
  };
  Reply reply = kernel->call(FUSE_LOOKUP, 1, named("none"));
  EXPECT_EQ(reply.error(), 0);
  EXPECT_EQ(reply.as<fuse_entry_out>().nodeid, 0u);
  EXPECT_EQ(reply.as<fuse_entry_out>().entry_valid, kMinute);
  EXPECT_EQ(notifier.known().size(), 0u);
}

TEST_F(Wire, ReplyThatARevocationOvertookIsNotKept) {
  connect();
  vfs.on_lookup = [this](const vfs::Caller&, Ino, const std::string&) {
    vfs::Entry entry = entry_of(vfs, 200);
    vfs.gate.advance();
    return Result<vfs::Entry>(entry);
  };
  auto out = kernel->call(FUSE_LOOKUP, 1, named("x")).as<fuse_entry_out>();
  EXPECT_EQ(out.nodeid, 200u);
  EXPECT_EQ(out.entry_valid, 0u);
  EXPECT_EQ(out.attr_valid, 0u);
}

// ---- interrupts --------------------------------------------------------------------------------

// Blocks until its caller is cancelled.
Result<vfs::Entry> until_cancelled(const vfs::Caller& c, Event* entered) {
  Event cancelled;
  c.cancel->set([&] { cancelled.set(); });
  entered->set();
  bool was = cancelled.wait();
  c.cancel->set({});
  if (!was) return fail(Code::timed_out);
  return fail(Code::interrupted);
}

TEST_F(Wire, DyingCallerIsAnsweredAtOnce) {
  connect();
  Event entered;
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    return until_cancelled(c, &entered);
  };
  uint64_t unique = kernel->send(FUSE_LOOKUP, 1, named("x"), dead_pid());
  ASSERT_TRUE(entered.wait());
  kernel->interrupt(unique);
  auto reply = kernel->reply_within(unique, 1s * test::kSlowdown);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error(), EINTR);
  EXPECT_EQ(counters().cancelled, 1u);
}

TEST_F(Wire, InterruptThatOvertakesItsRequestCounts) {
  connect();
  Event entered;
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    return until_cancelled(c, &entered);
  };
  // The next request's number is the last one's plus 2.
  uint64_t last = kernel->send(FUSE_STATFS, 1);
  (void)kernel->reply(last);
  kernel->interrupt(last + 2);
  uint64_t unique = kernel->send(FUSE_LOOKUP, 1, named("x"), dead_pid());
  ASSERT_EQ(unique, last + 2);
  auto reply = kernel->reply_within(unique, 2s * test::kSlowdown);
  // The two messages may be taken by two threads in either order; both ways it ends at once.
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->error(), EINTR);
}

TEST_F(Wire, SignalThatDoesNotKillEndsNothing) {
  connect();
  Event entered, go_on;
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    entered.set();
    EXPECT_TRUE(go_on.wait());
    return c.cancel->cancelled() ? Result<vfs::Entry>(fail(Code::interrupted))
                                 : Result<vfs::Entry>(entry_of(vfs, 200));
  };
  uint64_t unique = kernel->send(FUSE_LOOKUP, 1, named("x"), getpid());
  ASSERT_TRUE(entered.wait());
  kernel->interrupt(unique);
  EXPECT_FALSE(kernel->reply_within(unique, 100ms));
  go_on.set();
  EXPECT_EQ(kernel->reply(unique).error(), 0);
}

// More blocked requests than threads: the loop still reads INTERRUPTs, and what waits in the
// backlog is answered once threads are free.
TEST_F(Wire, InterruptIsReadWhileEveryThreadBlocks) {
  constexpr unsigned kThreads = 4, kRequests = 12;
  FakeKernel::Options options;
  options.max_threads = kThreads;
  connect(options);
  std::atomic<unsigned> running{0};
  vfs.on_lookup = [&](const vfs::Caller& c, Ino, const std::string&) {
    Event ignored;
    ++running;
    return until_cancelled(c, &ignored);
  };
  int32_t pid = dead_pid();
  std::vector<uint64_t> uniques;
  for (unsigned i = 0; i < kRequests; ++i)
    uniques.push_back(kernel->send(FUSE_LOOKUP, 1, named("x"), pid));
  for (uint64_t unique : uniques) kernel->interrupt(unique);
  for (uint64_t unique : uniques) EXPECT_EQ(kernel->reply(unique).error(), EINTR);
  EXPECT_EQ(running, kRequests);
}

// ---- directories -------------------------------------------------------------------------------

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

// ---- files -------------------------------------------------------------------------------------

TEST_F(Wire, OpenSaysWhatTheKernelMayKeepAndSkip) {
  connect();
  vfs.on_open = [](const vfs::Caller&, Ino, int flags) {
    return Result<vfs::Opened>({9, flags == O_RDONLY});
  };
  // A close gives record locks up, also that of a descriptor which only reads.
  auto reading = kernel->call(FUSE_OPEN, 300, opening(O_RDONLY)).as<fuse_open_out>();
  EXPECT_EQ(reading.fh, 9u);
  EXPECT_EQ(reading.open_flags, uint32_t{FOPEN_KEEP_CACHE});
  auto writing = kernel->call(FUSE_OPEN, 300, opening(O_RDWR)).as<fuse_open_out>();
  EXPECT_EQ(writing.open_flags, 0u);
  kernel.reset();
  operations = fuse::make_vfs_operations(&vfs, &notifier, {.read_only = true});
  connect();
  reading = kernel->call(FUSE_OPEN, 300, opening(O_RDONLY)).as<fuse_open_out>();
  EXPECT_EQ(reading.open_flags, uint32_t{FOPEN_KEEP_CACHE | FOPEN_NOFLUSH});
}

TEST_F(Wire, WriteSaysWhetherItAppends) {
  connect();
  std::vector<bool> appends;
  vfs.on_write = [&](uint64_t, std::string_view data, bool append) {
    appends.push_back(append);
    return Result<size_t>(data.size());
  };
  auto write = [&](uint32_t flags, uint32_t write_flags) {
    fuse_write_in in = {};
    in.flags = flags;
    in.write_flags = write_flags;
    in.size = 4;
    Reply reply = kernel->call(FUSE_WRITE, 300, Bytes().add(in).raw("data").str());
    EXPECT_EQ(reply.as<fuse_write_out>().size, 4u);
  };
  write(O_RDWR, 0);
  write(O_RDWR | O_APPEND, 0);
  write(O_RDWR | O_APPEND, FUSE_WRITE_CACHE);  // a page of a mapping
  EXPECT_EQ(appends, (std::vector<bool>{false, true, false}));
}

TEST_F(Wire, SetattrTellsNowFromOmitFromATime) {
  connect();
  vfs::SetAttr seen;
  vfs.on_setattr = [&](const vfs::Caller&, Ino ino, const vfs::SetAttr& set) {
    seen = set;
    return Result<vfs::AttrReply>({file_attr(ino.value), 0, 0});
  };
  fuse_setattr_in in = {};
  in.valid = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME;
  in.mtime = static_cast<uint64_t>(-2);
  in.mtimensec = 500'000'000;
  EXPECT_EQ(kernel->call(FUSE_SETATTR, 300, Bytes().add(in).str()).error(), 0);
  EXPECT_TRUE(seen.atime_now);
  EXPECT_FALSE(seen.atime || seen.mtime_now || seen.mode || seen.uid || seen.gid || seen.size);
  EXPECT_EQ(seen.mtime, Time{-1'500'000'000});
}

TEST_F(Wire, ExtendedAttributesProbeSizes) {
  connect();
  vfs.on_getxattr = [](const std::string&) { return Result<std::string>("12345"); };
  vfs.on_listxattr = [] {
    return Result<std::vector<std::string>>(std::vector<std::string>{"user.a", "user.b"});
  };
  auto get = [&](uint32_t size) {
    fuse_getxattr_in in = {};
    in.size = size;
    return kernel->call(FUSE_GETXATTR, 300, Bytes().add(in).name("user.a").str());
  };
  EXPECT_EQ(get(0).as<fuse_getxattr_out>().size, 5u);
  EXPECT_EQ(get(4).error(), ERANGE);
  EXPECT_EQ(get(5).body, "12345");
  fuse_getxattr_in in = {};
  in.size = 100;
  EXPECT_EQ(kernel->call(FUSE_LISTXATTR, 300, Bytes().add(in).str()).body,
            std::string("user.a\0user.b\0", 14));
}

TEST_F(Wire, DevicesAreRefused) {
  connect();
  fuse_mknod_in in = {};
  in.mode = S_IFCHR | 0600;
  EXPECT_EQ(kernel->call(FUSE_MKNOD, 1, Bytes().add(in).name("tty").str()).error(), EPERM);
}

// ---- what must not happen ----------------------------------------------------------------------

TEST_F(Wire, ExceptionIsEioAndTheNextRequestWorks) {
  connect();
  vfs.on_lookup = [](const vfs::Caller&, Ino, const std::string&) -> Result<vfs::Entry> {
    throw std::runtime_error("planted");
  };
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, 1, named("x")).error(), EIO);
  EXPECT_EQ(counters().unexpected_errors, 1u);
  EXPECT_EQ(kernel->call(FUSE_STATFS, 1).error(), 0);
}

TEST_F(Wire, UnknownOpcodeIsEnosys) {
  connect();
  EXPECT_EQ(kernel->call(4242, 1).error(), ENOSYS);
  EXPECT_EQ(kernel->call(FUSE_STATFS, 1).error(), 0);
}

TEST_F(Wire, TruncatedMessageIsRefusedAndSurvived) {
  connect();
  kernel->send_raw("short");
  EXPECT_EQ(kernel->call(FUSE_LOOKUP, 1).error(), EINVAL);  // a name is missing
  EXPECT_EQ(kernel->call(FUSE_STATFS, 1).error(), 0);
}

TEST_F(Wire, ManyRequestsAtOnceAreAllAnswered) {
  FakeKernel::Options options;
  options.max_threads = 8;
  options.idle_threads = 1;
  connect(options);
  answer_lookups();
  std::vector<uint64_t> uniques;
  for (int i = 0; i < 2000; ++i)
    uniques.push_back(kernel->send(FUSE_LOOKUP, 1, named("n" + std::to_string(i))));
  for (uint64_t unique : uniques) EXPECT_EQ(kernel->reply(unique).error(), 0);
}

TEST_F(Wire, UnmountFromOutsideEndsTheConnection) {
  connect();
  EXPECT_FALSE(kernel->connection().ended());
  kernel->hang_up();
  kernel->connection().wait();
  EXPECT_TRUE(kernel->connection().ended());
  EXPECT_TRUE(kernel->connection().close().ok());
}

}  // namespace
}  // namespace linkspan::test
