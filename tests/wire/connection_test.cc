// The callbacks and the loop against a kernel that misbehaves on purpose.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <set>

#include "fusefs/fuse/statx.h"
#include "tests/wire/wire_fixture.h"

namespace linkspan::test {
namespace {

TEST_F(Wire, HandshakeAsksForWhatTheDesignNeeds) {
  connect();
  const auto& init = kernel->init();
  for (uint32_t flag : {FUSE_ATOMIC_O_TRUNC, FUSE_ASYNC_READ, FUSE_PARALLEL_DIROPS,
                        FUSE_CACHE_SYMLINKS, FUSE_AUTO_INVAL_DATA})
    EXPECT_TRUE(init.flags & flag) << flag;
  for (uint32_t flag :
       {FUSE_WRITEBACK_CACHE, FUSE_POSIX_ACL, FUSE_HANDLE_KILLPRIV, FUSE_EXPLICIT_INVAL_DATA})
    EXPECT_FALSE(init.flags & flag) << flag;
  EXPECT_EQ(init.max_write, 1u << 20);
  EXPECT_EQ(init.time_gran, 1u);
  EXPECT_GE(init.max_background, 64);
}

// The epoch call overtakes names that a listing is about to bring (vfs_ops.cc).
TEST_F(Wire, ListingsBringNamesOnlyWhereTheyAreDroppedOneByOne) {
  constexpr uint32_t kPlus = FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO;
  connect();
  EXPECT_EQ(kernel->init().flags & kPlus, 0u) << "of a route that may be written to";
  kernel.reset();
  operations = fuse::make_vfs_operations(&vfs, &notifier, {.read_only = true});
  connect();
  EXPECT_EQ(kernel->init().flags & kPlus, kPlus) << "of a read-only one";
}

TEST_F(Wire, RootIsOneOutsideAndItsOwnNumberInside) {
  connect();
  Ino asked;
  vfs.on_getattr = [&](const vfs::Caller& c, Ino ino, std::optional<vfs::Handle>) {
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

// The kernel names the handle when a read(2) asks, and only then the answer is waited for.
TEST_F(Wire, WhoAsksThroughAHandleIsToldApart) {
  connect();
  std::optional<vfs::Handle> through;
  vfs.on_getattr = [&](const vfs::Caller&, Ino ino, std::optional<vfs::Handle> handle) {
    through = handle;
    return Result<vfs::AttrReply>({file_attr(ino.value), 0, vfs.gate.now()});
  };
  fuse_getattr_in in = {};
  in.fh = 5;
  EXPECT_EQ(kernel->call(FUSE_GETATTR, 300, Bytes().add(in).str()).error(), 0);
  EXPECT_EQ(through, std::nullopt);
  in.getattr_flags = FUSE_GETATTR_FH;
  EXPECT_EQ(kernel->call(FUSE_GETATTR, 300, Bytes().add(in).str()).error(), 0);
  EXPECT_EQ(through, 5u);
}

TEST_F(Wire, StatxBringsTheBirthTime) {
  connect();
  vfs.on_getattr = [&](const vfs::Caller&, Ino ino, std::optional<vfs::Handle>) {
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
