// Answers and notices that pass each other on their way to a kernel: what it is told, and what its
// reads get meanwhile.
#include <stdio.h>

#include "fusefs/vfs/told_sizes.h"
#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

class Overtaken : public TwoMounts {};

// The kernel cuts a file to the size that it is told, and what is mapped beyond with it.
TEST_F(Overtaken, AnAnswerThatACommitOvertookIsNotShorterThanTheFile) {
  a.clock.stop();
  ASSERT_OK(a.write("x", "hello"));
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(h);
  ASSERT_OK(a.pwrite(*h, 5, ", world"));
  const Ino ino = a.ino("x");
  SetAttr chmod;
  chmod.mode = 0600;
  ASSERT_OK(b.set("x", chmod));  // now a has to ask for the attributes
  bool overtaken = false;
  a.client.after = [&](const std::string& what) {
    if (what != "getattr" || std::exchange(overtaken, true)) return;
    EXPECT_OK(a.fsync(*h));
  };
  const auto reply = a.vfs->getattr(a.me, ino, std::nullopt);
  a.client.after = nullptr;
  ASSERT_OK(reply);
  EXPECT_TRUE(overtaken);
  EXPECT_EQ(reply->attr.size, 12u);
  EXPECT_EQ(text(a.pread(*h, 0, 100)), "hello, world");
  EXPECT_OK(a.close(*h));
}

// The same when another mount's change makes this one forget what the commit made.
TEST_F(Overtaken, AnAnswerThatACommitAndAChangeOvertookIsNotShorterThanTheFile) {
  a.clock.stop();
  ASSERT_OK(a.write("x", "hello"));
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(h);
  const Ino ino = a.ino("x");
  const auto change = [&](uint32_t mode) {
    SetAttr chmod;
    chmod.mode = mode;
    EXPECT_OK(b.set("x", chmod));
  };
  const auto overtaken = [&](auto ask) {
    ASSERT_OK(a.pwrite(*h, a.attr("x").size, "!"));
    change(0600);  // now a has to ask for the attributes
    bool once = false;
    a.client.after = [&](const std::string& what) {
      if (what != "getattr" || std::exchange(once, true)) return;
      EXPECT_OK(a.fsync(*h));
      change(0640);
    };
    ask();
    a.client.after = nullptr;
    EXPECT_TRUE(once);
  };
  overtaken([&] { EXPECT_EQ(a.vfs->getattr(a.me, ino, *h)->attr.size, 6u); });
  overtaken([&] { EXPECT_EQ(a.vfs->lookup(a.me, a.root, "x")->attr.size, 7u); });
  EXPECT_OK(a.close(*h));
}

// A file that replaces another goes on with that one's history, in which its number of before is a
// version of the other. Who has it open, and was not told yet, must not read that.
TEST_F(Overtaken, ARenamedFileIsNotReadAsAVersionOfWhatItReplaced) {
  const std::string replaced(200'000, 'r'), mine(300'000, 'm');
  ASSERT_OK(a.write("x", replaced));
  ASSERT_OK(a.write("y", mine));
  ASSERT_EQ(a.attr("x").version, a.attr("y").version);
  const auto h = b.open("y", O_RDONLY);
  ASSERT_OK(h);
  EXPECT_EQ(b.attr("y").size, mine.size());
  b.client.hold_revocations();
  std::thread mover([&] { EXPECT_OK(a.rename("y", "x")); });
  Mount c(&router);
  EXPECT_TRUE(eventually([&] { return c.attr("x").size == mine.size(); }, 10s));
  for (const uint64_t offset : {0, 131'072, 262'144}) {
    const auto got = b.pread(*h, offset, 1000);
    if (got.ok())
      EXPECT_TRUE(*got == mine.substr(offset, 1000)) << offset << " has " << got->substr(0, 10);
    else
      EXPECT_EQ(got.code(), Code::busy) << offset;
  }
  b.client.let_revocations();
  mover.join();
  EXPECT_EQ(text(b.pread(*h, 262'144, 10)), mine.substr(262'144, 10));
  EXPECT_OK(b.close(*h));
}

// The kernel reads with the size that it was told; bytes of a newer version would be cut off at it.
TEST_F(Overtaken, WhoWasToldASizeReadsThatVersion) {
  ASSERT_OK(a.write("x", "first"));
  const auto h = b.open("x", O_RDONLY);
  ASSERT_OK(h);
  const Ino ino = b.ino("x");
  ASSERT_OK(b.vfs->getattr(b.me, ino, *h));
  ASSERT_OK(a.write("x", "the second"));
  const auto begun = std::chrono::steady_clock::now();
  const auto told = b.vfs->getattr(b.me, ino, *h);
  ASSERT_OK(told);
  EXPECT_EQ(told->attr.size, 10u);
  b.kernel.forget();
  Mount c(&router);
  std::thread writer([&] { EXPECT_OK(a.write("x", "the third, and longer")); });
  EXPECT_TRUE(eventually([&] { return c.attr("x").size == 21; }, 10s));
  const bool noticed = eventually([&] { return b.kernel.dropped_content(ino); }, 10ms);
  const auto got = text(b.pread(*h, 0, 100));
  if (std::chrono::steady_clock::now() - begun < 40ms) {
    EXPECT_FALSE(noticed) << "before the reader has come";
    EXPECT_EQ(got, "the second");
  } else {  // nobody waits so long for a reader; but what it gets is whole
    const std::set<std::string> whole = {"first", "the second", "the third, and longer"};
    EXPECT_TRUE(whole.count(got)) << got;
  }
  writer.join();
  EXPECT_TRUE(b.kernel.dropped_content(ino));
  // An answer that the notice after such a READ overtakes is not sure; the next one is.
  EXPECT_TRUE(eventually(
      [&] {
        return b.vfs->getattr(b.me, ino, *h).ok() &&
               text(b.pread(*h, 0, 100)) == "the third, and longer";
      },
      10s));
  EXPECT_OK(b.close(*h));
}

// After a notice the router counts this mount out, until it asks again: for a mapping that is when
// a page is missing.
TEST_F(Overtaken, AChangeOfAttributesDropsThePagesOfAnOpenFile) {
  ASSERT_OK(a.write("x", "first"));
  const Ino ino = b.ino("x");
  SetAttr mode;
  mode.mode = 0600;
  ASSERT_OK(a.vfs->setattr(a.me, ino, mode, {}));
  EXPECT_TRUE(b.kernel.dropped_attributes(ino));
  EXPECT_FALSE(b.kernel.dropped_content(ino));
  const auto h = b.open("x", O_RDONLY);
  ASSERT_OK(h);
  EXPECT_EQ(text(b.pread(*h, 0, 100)), "first");
  mode.mode = 0640;
  ASSERT_OK(a.vfs->setattr(a.me, ino, mode, {}));
  EXPECT_TRUE(b.kernel.dropped_content(ino));
  EXPECT_EQ(text(b.pread(*h, 0, 100)), "first");  // the mapping's fault
  b.kernel.forget();
  ASSERT_OK(a.write("x", "the second"));
  EXPECT_TRUE(b.kernel.dropped_content(ino));
  EXPECT_OK(b.close(*h));
}

// Another mount's save replaces the file just after a rewrite of it: neither is for a read that is
// under way.
TEST_F(Overtaken, WhoWasToldASizeReadsThatVersionOfAReplacedFile) {
  ASSERT_OK(a.write("x", "first"));
  const auto h = b.open("x", O_RDONLY);
  ASSERT_OK(h);
  const Ino old = b.ino("x");
  ASSERT_OK(b.vfs->getattr(b.me, old, *h));
  const auto begun = std::chrono::steady_clock::now();
  ASSERT_OK(a.write("x", "the second"));
  ASSERT_OK(a.write("temporary", "the third, and longer"));
  auto got = text(b.pread(*h, 0, 2));
  ASSERT_OK(a.rename("temporary", "x"));
  got += text(b.pread(*h, 2, 100));
  if (std::chrono::steady_clock::now() - begun < kUnderWay) {
    EXPECT_EQ(got, "first");
  }
  // An answer that the notice after such a READ overtakes is not sure; the next one is.
  EXPECT_TRUE(eventually(
      [&] {
        return b.vfs->getattr(b.me, old, *h).ok() && text(b.pread(*h, 0, 100)) == "the second";
      },
      10s));
  EXPECT_EQ(text(b.read("x")), "the third, and longer");
  EXPECT_OK(b.close(*h));
}

// A reply that a revocation overtakes on its way is answered, but neither cached nor left to the
// kernel.
TEST_F(Overtaken, AnOvertakenReplyIsNotCached) {
  ASSERT_OK(a.write("x", "old"));
  bool once = true;
  b.client.after = [&](const std::string& what) {
    if (what != "lookup" || !std::exchange(once, false)) return;
    EXPECT_OK(a.save("x", "newer"));  // returns: b acknowledged
  };
  const auto entry = b.find("x");
  ASSERT_OK(entry);
  EXPECT_EQ(entry->attr.size, 3u);
  EXPECT_EQ(entry->times.entry, 0);
  EXPECT_EQ(entry->times.attr, 0);
  EXPECT_EQ(b.attr("x").size, 5u);
  EXPECT_EQ(text(b.read("x")), "newer");
}

// The kernel ignores what it is told meanwhile, and would go on with what it has.
TEST_F(Overtaken, WhileATruncationIsUnderWayTheKernelHasToAskAgain) {
  ASSERT_OK(a.write("x", "old"));
  const Ino ino = a.ino("x");
  double timeout = -1;
  a.client.before = [&](const std::string& what) {
    if (what != "set_attributes") return;
    a.kernel.forget();
    const auto told = a.vfs->getattr(a.me, ino, {});
    timeout = told.ok() ? told->timeout : -1;
  };
  SetAttr size;
  size.size = 1;
  const auto set = a.vfs->setattr(a.me, ino, size, {});
  a.client.before = nullptr;
  ASSERT_OK(set);
  EXPECT_EQ(set->timeout, 0);
  EXPECT_EQ(timeout, 0);
  EXPECT_TRUE(a.kernel.dropped_attributes(ino));
  a.kernel.forget();
  const auto after = a.vfs->getattr(a.me, ino, {});
  ASSERT_OK(after);
  EXPECT_EQ(after->attr.size, 1u);
  EXPECT_FALSE(a.kernel.dropped_attributes(ino));
}

// A result counts only for calls that began before the last change that it was noted under.
TEST_F(Overtaken, AnAnswerThatWasRevokedSinceIsNotShared) {
  ASSERT_OK(a.write("x", "old"));
  const Ino ino = b.ino("x");
  SetAttr mode;
  mode.mode = 0600;
  ASSERT_OK(a.vfs->setattr(a.me, ino, mode, {}));  // b has to ask
  std::atomic<bool> asked{false};
  b.client.after = [&](const std::string& what) { asked = asked || what == "getattr"; };
  std::atomic<unsigned> leases{0};
  std::thread follower;
  // The fetch has noted its answer, and its thread does not run for a while.
  b.client.on_lease_valid = [&] {
    if (!asked || leases.fetch_add(1) != 0) return;
    EXPECT_OK(a.write("x", "newer"));
    follower = std::thread([&] {
      const auto seen = b.vfs->getattr(b.me, ino, {});
      ASSERT_OK(seen);
      EXPECT_EQ(seen->attr.size, 5u);
    });
    EXPECT_TRUE(eventually([&] { return leases > 1; })) << "the other looks what is cached";
    std::this_thread::sleep_for(20ms);  // and joins the fetch; nothing tells of it
  };
  EXPECT_OK(b.vfs->getattr(b.me, ino, {}));
  ASSERT_TRUE(follower.joinable());
  follower.join();
  b.client.on_lease_valid = nullptr;
  b.client.after = nullptr;
}

}  // namespace
}  // namespace linkspan::vfs::testing
