// Random edits against a plain array of bytes, and what a commit of the buffer would make of the
// content beneath, by the words of ops.h.
#include "fusefs/vfs/dirty_buffer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "fusefs/vfs/open_file.h"

namespace linkspan::vfs {
namespace {

std::string random_bytes(std::mt19937& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>('a' + random() % 26);
  return bytes;
}

// The store's side of CommitRequest.
std::string committed(const std::string& old, const CommitRequest& request) {
  std::string result = old;
  Extent extent;
  if (request.append) {
    const size_t end = old.size();
    for (;;) {
      const auto more = request.extents->next(&extent);
      if (!more.ok() || !*more) break;
      if (result.size() < end + extent.offset + extent.length)
        result.resize(end + extent.offset + extent.length);
      result.replace(end + extent.offset, extent.length, extent.data);
    }
    return result;
  }
  const size_t kept = std::min<uint64_t>(old.size(), request.keep_below);
  result.resize(kept);
  result.resize(std::max<size_t>(request.size, kept));
  uint64_t last = 0;
  for (;;) {
    const auto more = request.extents->next(&extent);
    EXPECT_TRUE(more.ok());
    if (!more.ok() || !*more) break;
    EXPECT_GE(extent.offset, last);
    EXPECT_GT(extent.length, 0u);
    EXPECT_LE(extent.data.size(), limits::kExtentBytes);
    last = extent.offset + extent.length;
    if (extent.data.empty()) extent.data.assign(extent.length, '\0');
    EXPECT_EQ(extent.data.size(), extent.length);
    EXPECT_LE(last, result.size());
    result.replace(extent.offset, extent.length, extent.data);
  }
  return result;
}

std::string view_of(const DirtyBuffer& buffer, const std::string& beneath, uint64_t offset,
                    size_t size) {
  std::string out(size, '\0');
  std::vector<Range> gaps;
  EXPECT_TRUE(buffer.read(beneath.size(), offset, out.data(), size, &gaps).ok());
  for (const Range& gap : gaps) {
    EXPECT_LE(gap.end, beneath.size());
    out.replace(gap.begin - offset, gap.end - gap.begin,
                beneath.substr(gap.begin, gap.end - gap.begin));
  }
  return out;
}

class Model {
 public:
  Model(std::mt19937& random, SpoolPlace* place, size_t span)
      : random_(random),
        span_(span),
        beneath_(random_bytes(random, random() % span)),
        expected_(beneath_),
        buffer_(std::make_shared<DirtyBuffer>(DirtyBuffer::Kind::overlay, place)) {}

  void step() {
    switch (random_() % 8) {
      case 0: {
        const size_t size = random_() % span_;
        buffer_->truncate(size, expected_.size());
        expected_.resize(size);
        break;
      }
      case 1: {
        const size_t begin = random_() % (expected_.size() + 1);
        const size_t end = begin + random_() % (expected_.size() - begin + 1);
        buffer_->punch(begin, end);
        std::fill(expected_.begin() + static_cast<long>(begin),
                  expected_.begin() + static_cast<long>(end), '\0');
        break;
      }
      case 2: {
        const size_t size = random_() % span_;
        buffer_->extend(size);
        if (expected_.size() < size) expected_.resize(size);
        break;
      }
      default: {
        const size_t offset = random_() % span_;
        const std::string data = random_bytes(random_, 1 + random_() % (span_ / 4));
        ASSERT_TRUE(buffer_->write(offset, data).ok());
        if (expected_.size() < offset + data.size()) expected_.resize(offset + data.size());
        expected_.replace(offset, data.size(), data);
      }
    }
  }

  void check() {
    ASSERT_EQ(buffer_->size_over(beneath_.size()), expected_.size());
    ASSERT_EQ(view_of(*buffer_, beneath_, 0, expected_.size()), expected_);
    if (!expected_.empty()) {
      const size_t offset = random_() % expected_.size();
      const size_t size = random_() % (expected_.size() - offset + 1);
      ASSERT_EQ(view_of(*buffer_, beneath_, offset, size), expected_.substr(offset, size));
    }
    CommitRequest request;
    DirtyBuffer::describe(buffer_, &request);
    ASSERT_EQ(committed(beneath_, request), expected_);
    request.extents->rewind();
    ASSERT_EQ(committed(beneath_, request), expected_);
  }

 private:
  std::mt19937& random_;
  const size_t span_;
  const std::string beneath_;
  std::string expected_;
  std::shared_ptr<DirtyBuffer> buffer_;
};

TEST(DirtyBuffer, RandomEditsLookAndCommitLikeAnArray) {
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    std::mt19937 random(seed);
    SpoolPlace place;
    Model model(random, &place, 64 + random() % 4000);
    for (int step = 0; step < 25; ++step) {
      model.step();
      if (step % 5 == 4) model.check();
      if (HasFatalFailure()) FAIL() << "seed " << seed << " step " << step;
    }
  }
}

TEST(DirtyBuffer, TheSameWhenItSpillsToDisk) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    SpoolPlace place;
    place.memory_each = 100 << 10;
    Model model(random, &place, 400 << 10);
    for (int step = 0; step < 25; ++step) {
      model.step();
      if (step % 6 == 5) model.check();
      if (HasFatalFailure()) FAIL() << "seed " << seed << " step " << step;
    }
    EXPECT_LE(place.used, 100u << 10);
  }
}

TEST(DirtyBuffer, MemoryIsCountedAndGivenBack) {
  SpoolPlace place;
  place.memory_total = 1 << 20;
  std::vector<std::unique_ptr<DirtyBuffer>> buffers;
  for (int i = 0; i < 64; ++i) {
    buffers.push_back(std::make_unique<DirtyBuffer>(DirtyBuffer::Kind::overlay, &place));
    ASSERT_TRUE(buffers.back()->write(0, std::string(100 << 10, 'x')).ok());
  }
  EXPECT_LE(place.used, 2u << 20);  // strings may have grown by more than their size
  buffers.clear();
  EXPECT_EQ(place.used, 0u);
}

TEST(DirtyBuffer, AnUnusableSpoolDirectoryIsAnErrorOfTheWrite) {
  SpoolPlace place;
  place.dir = "/nonexistent/spool";
  place.memory_each = 10;
  DirtyBuffer buffer(DirtyBuffer::Kind::overlay, &place);
  const auto written = buffer.write(0, std::string(20, 'x'));
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.code(), Code::io);
  EXPECT_NE(written.error().message.find("/nonexistent/spool"), std::string::npos);
}

TEST(DirtyBuffer, BytesOnDiskAreCountedAndGivenBack) {
  SpoolPlace place;
  place.memory_each = 10;
  auto buffer = std::make_unique<DirtyBuffer>(DirtyBuffer::Kind::overlay, &place);
  ASSERT_TRUE(buffer->write(0, std::string(5, 'x')).ok());
  EXPECT_EQ(place.on_disk, 0u);
  ASSERT_TRUE(buffer->write(100, std::string(50, 'x')).ok());
  ASSERT_TRUE(buffer->write(20, std::string(50, 'x')).ok());
  EXPECT_EQ(place.on_disk, 150u);
  buffer->truncate(70, 150);
  EXPECT_EQ(place.on_disk, 70u);
  buffer.reset();
  EXPECT_EQ(place.on_disk, 0u);
}

TEST(SpoolPlace, WritersPauseWhenLessIsLeftThanTheyHaveTaken) {
  SpoolPlace place;
  EXPECT_EQ(place.pause().count(), 0);
  place.on_disk = 1;
  EXPECT_EQ(place.pause().count(), 0);
  place.on_disk = uint64_t{1} << 60;  // more than any disk has left
  EXPECT_GT(place.pause(), kSpoolPause / 2);
  EXPECT_LE(place.pause(), kSpoolPause);
  place.dir = "/nonexistent/spool";
  EXPECT_EQ(place.pause().count(), 0);
}

TEST(SpoolPlace, RoomIsAwaitedForAWhile) {
  SpoolPlace place;
  const auto within = [](std::chrono::milliseconds time) {
    cache::Patience patience;
    patience.deadline = std::chrono::steady_clock::now() + time;
    return patience;
  };
  EXPECT_EQ(place.await_room(within(std::chrono::milliseconds(1))).code(), Code::timed_out);
  std::atomic<bool> there{false};
  std::thread commit([&] {
    while (!there) DirtyBuffer(DirtyBuffer::Kind::overlay, &place);
  });
  EXPECT_TRUE(place.await_room(within(std::chrono::seconds(60))).ok());
  there = true;
  commit.join();
}

TEST(DirtyBuffer, AppendsMoveWithTheEndBeneath) {
  SpoolPlace place;
  const auto buffer = std::make_shared<DirtyBuffer>(DirtyBuffer::Kind::append, &place);
  ASSERT_TRUE(buffer->append("one\n").ok());
  ASSERT_TRUE(buffer->append("two\n").ok());
  EXPECT_EQ(buffer->size_over(10), 18u);
  EXPECT_EQ(view_of(*buffer, "0123456789", 8, 8), "89one\ntw");
  EXPECT_EQ(view_of(*buffer, "", 0, 8), "one\ntwo\n");
  CommitRequest request;
  DirtyBuffer::describe(buffer, &request);
  EXPECT_TRUE(request.append);
  EXPECT_EQ(committed("head:", request), "head:one\ntwo\n");
}

// ---- layers ------------------------------------------------------------------------------------

Editor by(std::optional<uint64_t> base = 1, int64_t now = 1) {
  Editor editor;
  editor.base = [base] {
    return Basis{base ? std::optional(Base{Ino{16}, Version{*base}}) : std::nullopt, false};
  };
  editor.now = Time{now};
  return editor;
}

std::string local_view(OpenFile& file, const std::string& base, uint64_t offset, size_t size) {
  std::string out(size, '\0');
  ReadState read_state;
  const Reader nobody{{}, {}, [](const Base&, ReadOf) {}};
  const auto reading = file.read(nobody, offset, out.data(), size, &read_state);
  EXPECT_TRUE(reading.ok());
  if (!reading.ok() || !*reading) return "clean";
  for (const Range& gap : (*reading)->gaps)
    out.replace(gap.begin - offset, gap.end - gap.begin,
                base.substr(gap.begin, gap.end - gap.begin));
  out.resize((*reading)->bytes);
  return out;
}

Beneath beneath(const OpenFile& file, uint64_t version, uint64_t size) {
  return Beneath{file.moment(), Version{version}, size};
}

Attr result_of(uint64_t version, uint64_t size) {
  Attr attr;
  attr.version = Version{version};
  attr.size = size;
  return attr;
}

OpenFile::Outcome committed_as(OpenFile& file, const Layer& layer, const Attr& result) {
  return file.committed(layer, result, {}, [](const OpenFile::Outcome&) {});
}

TEST(OpenFile, KindsAndBasesSealLayers) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Beneath at = beneath(file, 1, 10);
  ASSERT_EQ(*file.write(at, by(1), 2, "AA", false), Edited::done);
  ASSERT_EQ(*file.write(at, by(1), 4, "BB", false), Edited::done);
  EXPECT_EQ(file.last_layer(), 1u);
  ASSERT_EQ(*file.write(at, by(1), 0, "tail", true), Edited::done);
  EXPECT_EQ(file.last_layer(), 2u);
  ASSERT_EQ(*file.write(at, by(2), 0, "x", false), Edited::done);
  EXPECT_EQ(file.last_layer(), 3u);
  EXPECT_EQ(local_view(file, "0123456789", 0, 100), "x1AABB6789tail");
  EXPECT_EQ(file.view()->size, 14u);
  EXPECT_EQ(file.view()->base, Version{1});
}

TEST(OpenFile, AWholeRewriteTakesAppendsAndWritersOfOtherBases) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Beneath at = beneath(file, 3, 10);
  ASSERT_EQ(*file.truncate(at, by(3), 0), Edited::done);
  EXPECT_TRUE(file.only_truncated());
  ASSERT_EQ(*file.write(at, by(std::nullopt), 0, "one\n", true), Edited::done);
  ASSERT_EQ(*file.write(at, by(2), 0, "two\n", true), Edited::done);
  EXPECT_FALSE(file.only_truncated());
  EXPECT_EQ(file.last_layer(), 1u);
  EXPECT_EQ(local_view(file, "0123456789", 0, 100), "one\ntwo\n");
  EXPECT_EQ(file.seal_lowest(99)->base, (Base{Ino{16}, Version{3}}));
}

// A truncation waits for its writer, but not one that is under way already.
TEST(OpenFile, ATruncationThatWasSentIsCommittedThoughAnotherWaitsBehindIt) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const CommitPart written{{}, /*bare=*/false};
  ASSERT_EQ(*file.truncate(beneath(file, 1, 4), by(1), 0), Edited::done);
  EXPECT_EQ(file.last_layer(written), 0u);
  ASSERT_TRUE(file.seal_lowest(1));
  ASSERT_EQ(*file.write(beneath(file, 1, 4), by(1), 0, "x", false), Edited::done);
  EXPECT_EQ(file.last_layer(written), 2u);
  ASSERT_EQ(*file.truncate(beneath(file, 1, 4), by(1), 0), Edited::done);
  EXPECT_EQ(file.last_layer(written), 1u);
}

TEST(OpenFile, ASealedLayerChangesNoMoreAndLaterOnesRestOnItsCommit) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  ASSERT_EQ(*file.write(beneath(file, 1, 4), by(1), 0, "AB", false), Edited::done);
  const auto layer = file.seal_lowest(file.last_layer());
  ASSERT_EQ(*file.write(beneath(file, 1, 4), by(1), 2, "CD", false), Edited::done);
  EXPECT_EQ(file.last_layer(), 2u);
  EXPECT_EQ(file.seal_lowest(1), layer);
  const auto outcome = committed_as(file, *layer, result_of(2, 4));
  EXPECT_TRUE(outcome.as_seen);
  EXPECT_EQ(outcome.before, Version{1});
  EXPECT_EQ(file.seal_lowest(1), nullptr);
  EXPECT_EQ(file.seal_lowest(2)->base, (Base{Ino{16}, Version{2}}));
  EXPECT_EQ(local_view(file, "AB..", 0, 9), "ABCD");
}

TEST(OpenFile, OthersChangesInTheResultAreSeen) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  ASSERT_EQ(*file.write(beneath(file, 1, 4), by(1), 0, "mine", true), Edited::done);
  const auto layer = file.seal_lowest(1);
  ASSERT_EQ(*file.write(beneath(file, 1, 4), by(1), 0, "X", false), Edited::done);
  // Another appended 3 bytes before us.
  EXPECT_FALSE(committed_as(file, *layer, result_of(3, 11)).as_seen);
  EXPECT_EQ(file.view()->size, 11u);
  EXPECT_EQ(file.seal_lowest(2)->base, (Base{Ino{16}, Version{1}}));  // it did not read theirs
}

TEST(OpenFile, AnEditOnAnOutdatedBaseIsDoneAgain) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Beneath before = beneath(file, 1, 4);
  ASSERT_EQ(*file.write(before, by(1), 0, "AB", false), Edited::done);
  committed_as(file, *file.seal_lowest(1), result_of(2, 4));
  EXPECT_EQ(*file.write(before, by(1), 0, "CD", false), Edited::outdated);
  EXPECT_FALSE(file.dirty());
}

TEST(OpenFile, RandomLayersLookLikeAnArray) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    SpoolPlace place;
    OpenFile file(Ino{16}, &place);
    std::string base = random_bytes(random, random() % 200);
    std::string expected = base;
    uint64_t version = 1;
    for (int step = 0; step < 60; ++step) {
      const Beneath at = beneath(file, version, base.size());
      const Editor editor = by(random() % 3 ? version : 0);
      const size_t offset = random() % 200;
      const std::string data = random_bytes(random, 1 + random() % 60);
      switch (random() % 10) {
        case 0:
          ASSERT_EQ(*file.truncate(at, editor, offset), Edited::done);
          expected.resize(offset);
          break;
        case 1:
        case 2:
          ASSERT_EQ(*file.write(at, editor, 12345, data, true), Edited::done);
          expected += data;
          break;
        case 3: {
          const auto layer = file.seal_lowest(file.last_layer());
          if (!layer) break;
          CommitRequest request;
          DirtyBuffer::describe(layer->buffer, &request);
          base = committed(base, request);
          ++version;
          EXPECT_TRUE(committed_as(file, *layer, result_of(version, base.size())).as_seen);
          break;
        }
        case 4: {
          const size_t end = std::min(expected.size(), offset + data.size());
          ASSERT_EQ(*file.punch(at, editor, offset, offset + data.size()), Edited::done);
          if (offset < end) expected.replace(offset, end - offset, std::string(end - offset, '\0'));
          break;
        }
        default:
          ASSERT_EQ(*file.write(at, editor, offset, data, false), Edited::done);
          if (expected.size() < offset + data.size()) expected.resize(offset + data.size());
          expected.replace(offset, data.size(), data);
      }
      if (!file.dirty()) {
        ASSERT_EQ(base, expected) << "seed " << seed;
        continue;
      }
      ASSERT_EQ(file.view()->size, expected.size()) << "seed " << seed << " step " << step;
      ASSERT_EQ(local_view(file, base, 0, 1000), expected) << "seed " << seed << " step " << step;
      const size_t from = random() % (expected.size() + 1);
      ASSERT_EQ(local_view(file, base, from, 40), expected.substr(from, 40));
    }
  }
}

TEST(OpenFile, SeekFindsHolesOfTheLocalView) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Beneath at = beneath(file, 1, 100);
  const DataMap all{Version{1}, 100, 0, 100, {{0, 100}}};
  EXPECT_FALSE(file.seek(0, true, all));  // clean
  ASSERT_EQ(*file.truncate(at, by(), 50), Edited::done);
  ASSERT_EQ(*file.write(at, by(), 200, std::string(10, 'x'), false), Edited::done);
  ASSERT_EQ(*file.punch(at, by(), 10, 20), Edited::done);
  const auto found = [](uint64_t there) { return Sought{Sought::What::found, there}; };
  const Sought nothing{};
  EXPECT_EQ(file.seek(0, false, all), found(10));
  EXPECT_EQ(file.seek(12, false, all), found(12));
  EXPECT_EQ(file.seek(12, true, all), found(20));
  EXPECT_EQ(file.seek(20, false, all), found(50));
  EXPECT_EQ(file.seek(60, true, all), found(200));
  EXPECT_EQ(file.seek(205, false, all), found(210));
  EXPECT_EQ(file.seek(210, false, all), nothing);
  EXPECT_EQ(file.seek(210, true, all), nothing);
  EXPECT_FALSE(file.seek(0, true, DataMap{Version{2}, 100, 0, 100, {}})) << "another base";
  // Over a base with a hole, and over one of which only the beginning is known.
  const DataMap sparse{Version{1}, 100, 0, 100, {{5, 8}, {30, 40}}};
  EXPECT_EQ(file.seek(0, true, sparse), found(5));
  EXPECT_EQ(file.seek(8, true, sparse), found(30));
  EXPECT_EQ(file.seek(30, false, sparse), found(40));
  EXPECT_EQ(file.seek(40, true, sparse), found(200));
  const DataMap part{Version{1}, 100, 0, 35, {{5, 8}, {30, 35}}};
  EXPECT_EQ(file.seek(8, true, part), found(30));
  EXPECT_EQ(file.seek(30, false, part), (Sought{Sought::What::unknown, 35}));
}

TEST(DataMap, SeeksWhatItKnows) {
  const auto found = [](uint64_t there) { return Sought{Sought::What::found, there}; };
  const Sought nothing{};
  const DataMap map{Version{1}, 100, 0, 100, {{10, 20}, {50, 90}}};
  EXPECT_EQ(map.seek(0, true), found(10));
  EXPECT_EQ(map.seek(0, false), found(0));
  EXPECT_EQ(map.seek(10, false), found(20));
  EXPECT_EQ(map.seek(19, true), found(19));
  EXPECT_EQ(map.seek(20, true), found(50));
  EXPECT_EQ(map.seek(60, false), found(90));
  EXPECT_EQ(map.seek(90, true), nothing);
  const DataMap page{Version{1}, 100, 20, 60, {{50, 60}}};
  EXPECT_FALSE(page.tells(19));
  EXPECT_FALSE(page.tells(60));
  EXPECT_EQ(page.seek(20, false), found(20));
  EXPECT_EQ(page.seek(20, true), found(50));
  EXPECT_EQ(page.seek(55, false), (Sought{Sought::What::unknown, 60}));
  const DataMap dense{Version{1}, 100, 0, 100, {{0, 100}}};
  EXPECT_EQ(dense.seek(3, false), found(100));
}

TEST(OpenFile, TheTurnIsOneThreadsAndAWaiterGivesUp) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  ASSERT_TRUE(file.take_turn(cache::Patience{}).ok());
  cache::Patience hasty;
  hasty.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
  EXPECT_EQ(file.take_turn(hasty).code(), Code::timed_out);
  file.end_turn();
  EXPECT_TRUE(file.take_turn(hasty).ok());
  file.end_turn();
}

TEST(OpenFile, FilesEndAtTheirLimit) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Beneath at = beneath(file, 1, 0);
  EXPECT_EQ(file.write(at, by(), limits::kFileBytes, "x", false).code(), Code::too_large);
  EXPECT_EQ(file.write(at, by(), UINT64_MAX - 1, "xyz", false).code(), Code::too_large);
  EXPECT_EQ(*file.write(at, by(), limits::kFileBytes - 1, "x", false), Edited::done);
  EXPECT_EQ(file.write(at, by(), 0, "x", true).code(), Code::too_large);
  EXPECT_EQ(file.truncate(at, by(), limits::kFileBytes + 1).code(), Code::too_large);
}

}  // namespace
}  // namespace linkspan::vfs
