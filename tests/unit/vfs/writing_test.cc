// Unsaved writes: what the own mount sees, and when others see it.
#include <linux/falloc.h>
#include <sys/stat.h>

#include <algorithm>
#include <random>
#include <thread>

#include "mounts.h"

namespace linkspan::vfs::testing {
namespace {

TEST_F(TwoMounts, AnOpenThatTruncatesTakesSetIdBitsUnlessRootAsks) {
  const auto after = [&](uint32_t mode, uint32_t uid) {
    EXPECT_OK(a.write("x", "program"));
    SetAttr set;
    set.mode = mode;
    EXPECT_OK(a.set("x", set));
    a.me.uid = uid;
    EXPECT_OK(a.write("x", "", O_WRONLY | O_TRUNC));
    a.me.uid = 0;
    return b.attr("x").mode;
  };
  EXPECT_EQ(after(06755, 1000), 0755u);
  EXPECT_EQ(after(06765, 1000), 02765u);  // without execution for the group it is no set-gid bit
  EXPECT_EQ(after(01755, 1000), 01755u);
  EXPECT_EQ(after(06755, 0), 06755u);
}

TEST_F(TwoMounts, UnsavedWritesAreSeenHereAtOnceAndThereWhenClosed) {
  a.clock.stop();
  ASSERT_OK(a.write("x", "0123456789"));
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(h);
  ASSERT_OK(a.pwrite(*h, 3, "abc"));
  ASSERT_OK(a.pwrite(*h, 10, "tail"));
  EXPECT_EQ(text(a.pread(*h, 0, 100)), "012abc6789tail");
  EXPECT_EQ(a.attr("x").size, 14u);
  EXPECT_EQ(a.find("x")->times.attr, 0);
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("x")), "012abc6789tail");
}

// What one process does to a file, by whichever call and thread, is never somebody else's change to
// itself, though commits overtake its edits. The kernel writes shared mappings back for nobody.
TEST_F(TwoMounts, AProcessNeverConflictsWithItself) {
  a.me.tid = ::getpid();
  ASSERT_OK(a.write("x", std::string(4096, '.')));
  const Ino ino = a.ino("x");
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(h);
  std::mutex inode;  // the kernel's: one write or truncation at a time
  const auto step = [&](std::mt19937& random) -> Status {
    const Caller nobody;
    SetAttr size;
    switch (random() % 8) {
      case 0:
        return a.vfs->fsync(a.me, ino, *h);
      case 1: {
        const auto opened = a.vfs->open(a.me, ino, O_RDONLY);
        if (!opened.ok()) return opened.error();
        a.vfs->release(ino, opened->handle);
        return ok();
      }
      case 2: {
        const auto read = a.vfs->read(a.me, ino, *h, random() % 4096, 100);
        return read.ok() ? ok() : Status(read.error());
      }
      case 3: {
        size.size = random() % 4096;
        const std::lock_guard lock(inode);
        const auto set = a.vfs->setattr(a.me, ino, size, {});
        return set.ok() ? ok() : Status(set.error());
      }
      default: {
        const bool mapped = random() % 2 == 0;
        const std::lock_guard lock(inode);
        const auto wrote =
            a.vfs->write(mapped ? nobody : a.me, ino, *h, random() % 4096, "bytes", false);
        return wrote.ok() ? ok() : Status(wrote.error());
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      for (int i = 0; i < 1000 && !HasFailure(); ++i) {
        const Status done = step(random);
        if (!done.ok()) ADD_FAILURE() << "step " << i << ": " << done.error().message;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_OK(a.close(*h));
  EXPECT_EQ(text(a.read("x")), text(b.read("x")));
}

TEST_F(TwoMounts, AHandleThatStaysOpenCommitsSoon) {
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(h);
  ASSERT_OK(a.pwrite(*h, 0, "soon"));
  EXPECT_TRUE(eventually([&] { return text(b.read("x")) == "soon"; }, 5s));
  const uint64_t commits = a.client.calls("commit");
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(a.client.calls("commit"), commits);  // an unchanged buffer sends nothing
}

TEST_F(TwoMounts, FsyncCommitsAndFlushOfAReaderSendsNothing) {
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  const auto reader = a.open("x", O_RDONLY);
  ASSERT_OK(a.pwrite(*h, 0, "1"));
  ASSERT_OK(a.fsync(*h));
  EXPECT_EQ(text(b.read("x")), "1");
  ASSERT_OK(a.pwrite(*h, 1, "2"));
  ASSERT_OK(a.close(*reader));
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("x")), "12");
}

// A reader elsewhere sees the old content or the new, never a part.
TEST_F(TwoMounts, ARewriteIsSeenWhole) {
  a.clock.stop();
  ASSERT_OK(a.write("x", std::string(1000, 'o')));
  const auto h = a.open("x", O_WRONLY | O_TRUNC);
  ASSERT_OK(h);
  EXPECT_EQ(a.attr("x").size, 0u);
  EXPECT_EQ(b.attr("x").size, 1000u);
  for (int i = 0; i < 10; ++i) ASSERT_OK(a.pwrite(*h, i * 100, std::string(100, 'n')));
  EXPECT_EQ(text(a.read("x")), std::string(1000, 'n'));
  EXPECT_EQ(text(b.read("x")), std::string(1000, 'o'));
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("x")), std::string(1000, 'n'));
  ASSERT_OK(a.close(*a.open("x", O_WRONLY | O_TRUNC)));  // a bare truncation, at close
  EXPECT_EQ(text(b.read("x")), "");
}

TEST_F(TwoMounts, AppendsFromBothSidesAllSurvive) {
  ASSERT_OK(a.write("log", ""));
  const auto ha = a.open("log", O_WRONLY | O_APPEND);
  const auto hb = b.open("log", O_RDWR | O_APPEND);
  for (int i = 0; i < 50; ++i) {
    ASSERT_OK(a.pwrite(*ha, 0, "a" + std::to_string(i) + "\n", true));
    ASSERT_OK(b.pwrite(*hb, 0, "b" + std::to_string(i) + "\n", true));
    if (i % 7 == 0) {
      ASSERT_OK(a.fsync(*ha));
    }
    if (i % 5 == 0) {
      ASSERT_OK(b.fsync(*hb));
    }
  }
  ASSERT_OK(a.close(*ha));
  ASSERT_OK(b.close(*hb));
  const std::string log = text(a.read("log"));
  EXPECT_EQ(log, text(b.read("log")));
  for (const char who : {'a', 'b'}) {
    size_t at = 0;
    for (int i = 0; i < 50; ++i) {
      const std::string line = who + std::to_string(i) + "\n";
      at = log.find(line, at);
      ASSERT_NE(at, std::string::npos) << line;
    }
  }
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 100);
}

// The local view said 5, the router placed it at 9: the kernel's pages are wrong.
TEST_F(TwoMounts, ARelocatedAppendDropsTheKernelsPages) {
  a.clock.stop();
  ASSERT_OK(a.write("log", "base\n"));
  const auto h = a.open("log", O_RDWR | O_APPEND);
  ASSERT_OK(a.pwrite(*h, 0, "mine\n", true));
  ASSERT_OK(b.append("log", "his\n"));
  EXPECT_EQ(text(a.pread(*h, 0, 100)), "base\nmine\n");  // one version and the own writes
  a.kernel.forget();
  ASSERT_OK(a.fsync(*h));
  EXPECT_TRUE(a.kernel.dropped_content(a.ino("log")));
  EXPECT_EQ(text(a.pread(*h, 0, 100)), "base\nhis\nmine\n");
  ASSERT_OK(a.close(*h));
}

TEST_F(TwoMounts, TruncationByHandleAndByPath) {
  ASSERT_OK(a.write("x", "0123456789"));
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(a.pwrite(*h, 8, "XYZ"));
  SetAttr four;
  four.size = 4;
  ASSERT_OK(a.set("x", four, *h));
  EXPECT_EQ(a.attr("x").size, 4u);
  EXPECT_EQ(a.client.calls("set_attributes"), 0u);
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("x")), "0123");
  const auto w = a.open("x", O_RDWR);
  ASSERT_OK(a.pwrite(*w, 4, "45"));
  SetAttr eight;
  eight.size = 8;
  ASSERT_OK(a.set("x", eight));  // the unsaved bytes come first
  EXPECT_EQ(text(b.read("x")), std::string("012345\0\0", 8));
  ASSERT_OK(a.pwrite(*w, 0, "Z"));
  EXPECT_EQ(text(a.pread(*w, 0, 10)), std::string("Z12345\0\0", 8));
  ASSERT_OK(a.close(*w));
  EXPECT_EQ(a.set("x", SetAttr{.size = limits::kFileBytes + 1}).code(), Code::too_large);
}

TEST_F(TwoMounts, TimesThatWereSetStickAfterTheClose) {
  const auto h = a.open("x", O_WRONLY | O_CREAT | O_EXCL);
  ASSERT_OK(a.pwrite(*h, 0, "data"));
  SetAttr times;
  times.atime = Time{1111};
  times.mtime = Time{2222};
  ASSERT_OK(a.set("x", times, *h));  // futimens before close, as tar, rsync and cp -p do
  EXPECT_EQ(a.attr("x").mtime, Time{2222});
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(a.attr("x").mtime, Time{2222});
  EXPECT_EQ(b.attr("x").mtime, Time{2222});
  EXPECT_EQ(b.attr("x").atime, Time{1111});
  // A write after it counts again.
  const auto w = a.open("x", O_WRONLY);
  ASSERT_OK(a.set("x", times, *w));
  ASSERT_OK(a.pwrite(*w, 0, "D"));
  ASSERT_OK(a.close(*w));
  EXPECT_GT(b.attr("x").mtime, Time{2222});
}

// What a read made of the access time is sent by another thread, which may be late.
TEST_F(TwoMounts, ATimeThatWasSetComesAfterThatOfAReadBefore) {
  ASSERT_OK(a.write("x", "data"));
  struct Requests {
    std::atomic<int> sent{0}, answered{0};
  };
  const auto seen = std::make_shared<Requests>();
  a.client.before = [seen](const std::string& what) {
    if (what == "set_attributes" && ++seen->sent == 1)
      eventually([&] { return seen->sent > 1; }, 300ms);  // the other may overtake it
  };
  a.client.after = [seen](const std::string& what) { seen->answered += what == "set_attributes"; };
  EXPECT_EQ(text(a.read("x")), "data");
  ASSERT_TRUE(eventually([&] { return seen->sent == 1; }));
  SetAttr times;
  times.atime = Time{1111};
  ASSERT_OK(a.set("x", times));
  ASSERT_TRUE(eventually([&] { return seen->answered == 2; }));
  EXPECT_EQ(b.attr("x").atime, Time{1111});
  EXPECT_EQ(a.attr("x").atime, Time{1111});
}

TEST_F(TwoMounts, RenameAndLinkCommitFirst) {
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(a.pwrite(*h, 0, "unsaved"));
  ASSERT_OK(a.rename("x", "y"));
  EXPECT_EQ(text(b.read("y")), "unsaved");
  ASSERT_OK(a.pwrite(*h, 7, "!"));
  ASSERT_OK(a.vfs->link(a.me, a.ino("y"), a.root, "z"));
  EXPECT_EQ(text(b.read("z")), "unsaved!");
  // The name of a file that is still written goes on to another version number.
  ASSERT_OK(a.write("target", "t1"));
  ASSERT_OK(a.write("target", "t2"));
  ASSERT_OK(a.rename("y", "target"));
  ASSERT_OK(a.pwrite(*h, 8, "!"));
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("target")), "unsaved!!");
  EXPECT_EQ(text(a.read("target")), "unsaved!!");
}

TEST_F(TwoMounts, FallocateAndHoles) {
  a.clock.stop();
  ASSERT_OK(a.write("x", "0123456789"));
  const auto h = a.open("x", O_RDWR);
  const Ino x = a.ino("x");
  ASSERT_OK(a.vfs->fallocate(a.me, x, *h, 0, 5, 15));
  EXPECT_EQ(a.attr("x").size, 20u);
  ASSERT_OK(a.vfs->fallocate(a.me, x, *h, FALLOC_FL_KEEP_SIZE, 0, 1000));
  EXPECT_EQ(a.attr("x").size, 20u);
  ASSERT_OK(a.vfs->fallocate(a.me, x, *h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 3));
  ASSERT_OK(a.vfs->fallocate(a.me, x, *h, FALLOC_FL_ZERO_RANGE, 18, 4));
  EXPECT_EQ(a.vfs->fallocate(a.me, x, *h, FALLOC_FL_COLLAPSE_RANGE, 0, 4096).code(),
            Code::unsupported);
  EXPECT_EQ(a.vfs->fallocate(a.me, x, *h, 0, 0, 0).code(), Code::invalid);
  EXPECT_EQ(a.vfs->fallocate(a.me, x, *h, 0, limits::kFileBytes, 1).code(), Code::too_large);
  const std::string expected =
      std::string("01") + std::string(3, '\0') + "56789" + std::string(12, '\0');
  EXPECT_EQ(text(a.pread(*h, 0, 100)), expected);
  EXPECT_EQ(*a.vfs->seek(a.me, x, *h, 0, false), 2u);
  EXPECT_EQ(*a.vfs->seek(a.me, x, *h, 2, true), 5u);
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(text(b.read("x")), expected);
  const auto r = b.open("x", O_RDONLY);
  EXPECT_EQ(*b.vfs->seek(b.me, x, *r, 3, true), 3u);  // a hole within a chunk counts as data
  EXPECT_EQ(*b.vfs->seek(b.me, x, *r, 3, false), 10u);
  EXPECT_EQ(*b.vfs->seek(b.me, x, *r, 10, true), std::nullopt);
  EXPECT_EQ(*b.vfs->seek(b.me, x, *r, 22, true), std::nullopt);
  ASSERT_OK(b.close(*r));
}

TEST_F(TwoMounts, SeekFindsHolesOfCommittedContent) {
  a.clock.stop();
  constexpr uint64_t kChunk = limits::kChunkBytes;
  const auto h = a.open("x", O_RDWR | O_CREAT);
  const Ino x = a.ino("x");
  const auto seek = [&](auto& mount, Handle handle, uint64_t offset, bool data) {
    const auto at = mount.vfs->seek(mount.me, x, handle, offset, data);
    EXPECT_TRUE(at.ok());
    return at.ok() ? *at : std::optional<uint64_t>(UINT64_MAX);
  };
  ASSERT_OK(a.pwrite(*h, 2 * kChunk, "two"));
  ASSERT_OK(a.pwrite(*h, 5 * kChunk, std::string(kChunk, '5')));
  ASSERT_OK(a.vfs->fallocate(a.me, x, *h, 0, 0, 9 * kChunk));
  ASSERT_OK(a.vfs->fsync(a.me, x, *h));
  // The same through another mount, and unsaved writes over it here.
  const auto r = b.open("x", O_RDONLY);
  EXPECT_EQ(seek(b, *r, 0, true), 2 * kChunk);
  EXPECT_EQ(seek(b, *r, 0, false), 0u);
  EXPECT_EQ(seek(b, *r, 2 * kChunk, false), 2 * kChunk + 3);
  EXPECT_EQ(seek(b, *r, 2 * kChunk + 3, true), 5 * kChunk);
  EXPECT_EQ(seek(b, *r, 5 * kChunk + 9, false), 6 * kChunk);
  EXPECT_EQ(seek(b, *r, 6 * kChunk, true), std::nullopt);
  EXPECT_EQ(seek(b, *r, 9 * kChunk, false), std::nullopt);
  ASSERT_OK(a.pwrite(*h, kChunk, "one"));
  ASSERT_OK(a.vfs->fallocate(a.me, x, *h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * kChunk,
                             kChunk / 2));
  EXPECT_EQ(seek(a, *h, 0, true), kChunk);
  EXPECT_EQ(seek(a, *h, kChunk, false), kChunk + 3);
  EXPECT_EQ(seek(a, *h, kChunk + 3, true), 2 * kChunk);
  EXPECT_EQ(seek(a, *h, 3 * kChunk, true), 5 * kChunk + kChunk / 2);
  // Committed by the close; the other mount sees it when it asks again.
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(seek(b, *r, 0, true), kChunk);
  EXPECT_EQ(seek(b, *r, 6 * kChunk, true), std::nullopt);
  ASSERT_OK(b.close(*r));
}

TEST_F(TwoMounts, SeekTellsNoHolesThatAnotherProcessMayHaveFilledThroughAMapping) {
  const auto h = a.open("x", O_RDWR | O_CREAT);
  const Ino x = a.ino("x");
  ASSERT_OK(a.pwrite(*h, 1 << 20, "x"));
  ASSERT_OK(a.vfs->fsync(a.me, x, *h));
  OtherProcess other;
  Caller copier = a.me;
  copier.tid = other.tid();
  const auto r = a.vfs->open(copier, x, O_RDONLY);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(*a.vfs->seek(copier, x, r->handle, 0, true), 0u);
  EXPECT_EQ(*a.vfs->seek(copier, x, r->handle, 0, false), (1u << 20) + 1);
  EXPECT_EQ(*a.vfs->seek(a.me, x, *h, 0, true), 1u << 20);
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(*a.vfs->seek(copier, x, r->handle, 0, true), 1u << 20);
  a.vfs->release(x, r->handle);
}

TEST_F(TwoMounts, CopyRange) {
  ASSERT_OK(a.write("from", "0123456789"));
  const auto from = a.open("from", O_RDWR);
  const auto to = a.open("to", O_RDWR | O_CREAT);
  ASSERT_OK(a.pwrite(*from, 0, "X"));  // unsaved bytes are copied, too
  const auto copied = a.vfs->copy_range(a.me, a.ino("from"), *from, 0, a.ino("to"), *to, 5, 4);
  EXPECT_EQ(*copied, 4u);
  EXPECT_EQ(*a.vfs->copy_range(a.me, a.ino("from"), *from, 10, a.ino("to"), *to, 9, 4), 0u);
  ASSERT_OK(a.close(*from));
  ASSERT_OK(a.close(*to));
  EXPECT_EQ(text(b.read("to")), std::string(5, '\0') + "X123");
}

TEST_F(TwoMounts, ABigFileGoesThroughTheSpoolAndBack) {
  std::string big(20 << 20, '\0');
  std::mt19937 random(1);
  for (size_t i = 0; i < big.size(); i += 97) big[i] = static_cast<char>(random());
  const auto h = a.open("big", O_WRONLY | O_CREAT);
  ASSERT_OK(h);
  for (size_t at = 0; at < big.size(); at += 1 << 20)
    ASSERT_OK(a.pwrite(*h, at, big.substr(at, 1 << 20)));
  ASSERT_OK(a.close(*h));
  EXPECT_TRUE(text(b.read("big")) == big);
  // In sequence a reader takes 1 MiB a fetch.
  EXPECT_LE(b.client.calls("read"), 30u);
  EXPECT_LE(b.vfs->stats().content_bytes, limits::kContentCacheBytes);
  // One changed byte sends one extent, not the file.
  const auto w = a.open("big", O_RDWR);
  ASSERT_OK(a.pwrite(*w, 12345678, "!"));
  big[12345678] = '!';
  ASSERT_OK(a.close(*w));
  EXPECT_TRUE(text(b.read("big")) == big);
}

TEST_F(TwoMounts, SyncAllCommitsEverything) {
  const auto h1 = a.open("x", O_WRONLY | O_CREAT);
  const auto h2 = a.open("y", O_WRONLY | O_CREAT);
  ASSERT_OK(a.pwrite(*h1, 0, "1"));
  ASSERT_OK(a.pwrite(*h2, 0, "2"));
  ASSERT_OK(a.vfs->sync_all(a.me));
  EXPECT_EQ(text(b.read("x")), "1");
  EXPECT_EQ(text(b.read("y")), "2");
  EXPECT_EQ(a.vfs->stats().dirty_files, 0u);
  ASSERT_OK(a.close(*h1));
  ASSERT_OK(a.close(*h2));
}

TEST_F(TwoMounts, ReleaseWithoutFlushStillCommits) {
  const auto h = a.open("x", O_WRONLY | O_CREAT);
  ASSERT_OK(a.pwrite(*h, 0, "kept"));
  a.vfs->release(a.ino("x"), *h);  // the process was killed: its flush was interrupted
  EXPECT_TRUE(eventually([&] { return text(b.read("x")) == "kept"; }));
}

// (That it waits while the process has another descriptor needs a real mount; see
// Processes.SeesWritableDescriptorsOfAnInode and tests/mount.)
TEST_F(TwoMounts, ABareTruncationIsCommittedByTheLastClose) {
  a.clock.stop();
  ASSERT_OK(a.write("x", "old"));
  a.me.tid = static_cast<int32_t>(::gettid());  // this process has no descriptor of it
  const auto h = a.open("x", O_WRONLY | O_TRUNC);
  EXPECT_EQ(b.attr("x").size, 3u);
  ASSERT_OK(a.close(*h));
  EXPECT_EQ(b.attr("x").size, 0u);
}

// ---- random edits against an array ----------------------------------------------------------

TEST_F(TwoMounts, RandomEditsOfOneFileLookLikeAnArrayOnBothSides) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    std::mt19937 random(seed);
    const std::string name = "f" + std::to_string(seed);
    std::string expected;
    auto h = a.open(name, O_RDWR | O_CREAT);
    ASSERT_OK(h);
    const Ino ino = a.ino(name);
    for (int step = 0; step < 60; ++step) {
      const size_t offset = random() % 3000;
      const std::string data(1 + random() % 800, static_cast<char>('a' + random() % 26));
      switch (random() % 9) {
        case 0: {
          SetAttr cut;
          cut.size = offset;
          ASSERT_OK(a.set(name, cut, random() % 2 ? std::optional<Handle>(*h) : std::nullopt));
          expected.resize(offset);
          break;
        }
        case 1:
          ASSERT_OK(a.pwrite(*h, 0, data, true));
          expected += data;
          break;
        case 2:
          ASSERT_OK(a.fsync(*h));
          ASSERT_EQ(text(b.read(name)), expected) << "seed " << seed << " step " << step;
          break;
        case 3:
          ASSERT_OK(a.close(*h));
          ASSERT_EQ(text(b.read(name)), expected) << "seed " << seed << " step " << step;
          h = a.open(name, O_RDWR);
          ASSERT_OK(h);
          break;
        case 4: {
          ASSERT_OK(a.vfs->fallocate(a.me, ino, *h, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     offset, data.size()));
          const size_t end = std::min(expected.size(), offset + data.size());
          if (offset < end) expected.replace(offset, end - offset, end - offset, '\0');
          break;
        }
        default:
          ASSERT_OK(a.pwrite(*h, offset, data));
          if (expected.size() < offset + data.size()) expected.resize(offset + data.size());
          expected.replace(offset, data.size(), data);
      }
      ASSERT_EQ(a.attr(name).size, expected.size()) << "seed " << seed << " step " << step;
      ASSERT_EQ(text(a.pread(*h, 0, 10000)), expected) << "seed " << seed << " step " << step;
    }
    ASSERT_OK(a.close(*h));
    ASSERT_EQ(text(b.read(name)), expected) << "seed " << seed;
  }
}

// The kernel had found the old file by the name when another process of this mount replaced it.
TEST_F(TwoMounts, WhoReadsAFileAsItIsReplacedHasNotReadTheNewOne) {
  ASSERT_OK(a.write("x", "one\ntwo\n"));
  const Ino old = a.ino("x");
  ASSERT_OK(a.write("temporary", "one\ntwo\nfirst\n"));
  ASSERT_OK(a.rename("temporary", "x"));
  OtherProcess other;
  Caller reader = a.me;
  reader.tid = other.tid();
  const auto h = a.vfs->open(reader, old, O_RDONLY);
  ASSERT_TRUE(h.ok());
  EXPECT_EQ(text(a.vfs->read(reader, old, h->handle, 0, 100)), "one\ntwo\n");
  a.vfs->release(old, h->handle);
  ASSERT_OK(a.write("temporary", "one\nsecond\ntwo\n"));
  const Status saved = a.vfs->rename(reader, a.root, "temporary", a.root, "x", 0);
  if (saved.ok()) {
    EXPECT_EQ(text(a.read("x")), "one\nsecond\ntwo\nfirst\n");
  } else {
    EXPECT_EQ(saved.code(), Code::conflict);
  }
}

// The link comes back without the lock while the write waits for it.
TEST_F(TwoMounts, AWriteThatOutlivesItsLockIsRefused) {
  ASSERT_OK(a.write("x", "old"));
  const Ino ino = a.ino("x");
  const auto h = a.open("x", O_RDWR);
  ASSERT_OK(h);
  const Lock lock{ino, LockKind::flock, 1, LockType::exclusive, {}, 1, false};
  ASSERT_OK(a.vfs->set_lock(a.me, *h, lock, false));
  SetAttr mode;
  mode.mode = 0600;
  ASSERT_OK(b.vfs->setattr(b.me, ino, mode, {}));  // so that the write asks
  a.client.before = [&](const std::string& what) {
    if (what == "getattr") a.vfs->on_locks_lost({lock});
  };
  const auto written = a.vfs->write(a.me, ino, *h, 0, "new", false);
  a.client.before = nullptr;
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.code(), Code::io);
  EXPECT_EQ(a.vfs->fsync(a.me, ino, *h).code(), Code::io);
  EXPECT_EQ(a.vfs->write(a.me, ino, *h, 0, "new", false).code(), Code::io)
      << "before it is open again";
  a.vfs->release(ino, *h);
  EXPECT_EQ(text(b.read("x")), "old");
  EXPECT_EQ(text(a.read("x")), "old");
}

}  // namespace
}  // namespace linkspan::vfs::testing
