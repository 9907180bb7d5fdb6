// How content lies in the tables: what is written for a save, and what prune leaves.
#include <gtest/gtest.h>

#include <random>

#include "routerd/store/pg/pg_store.h"
#include "tests/support/world.h"
#include "tests/unit/pg/cluster.h"

namespace linkspan::test {
namespace {

constexpr uint64_t kChunk = limits::kChunkBytes;
constexpr int64_t kDay = 86400ll * 1000000000ll;

class PgContent : public ::testing::Test {
 protected:
  // Of all segments: rows, or bytes of data.
  uint64_t rows() { return number("count(*)"); }
  uint64_t bytes() { return number("coalesce(sum(octet_length(data)), 0)"); }
  uint64_t number(const std::string& what) {
    return std::stoull(outside_.run("SELECT " + what + " FROM linkspan.segment"));
  }
  void prune_all(Time now) {
    while (must(world_.store().prune(world_.state().id, now)) > 0) {
    }
  }
  void keep(uint32_t versions) {
    must(world_.store().provision({"tenant", {{"memory", 0, 0, versions, 90}}}, world_.now()));
  }

  const std::string database_ = new_database();
  World world_{must(store::make_pg_store({cluster().conninfo(database_), 4})), "tenant"};
  Outside outside_{database_};
};

TEST_F(PgContent, ASmallSaveIsOneSmallRow) {
  const Ino ino = world_.make_file(world_.root(), "file");
  EXPECT_EQ(rows(), 0u);
  must(world_.rewrite(ino, std::string(4096, 'x')));
  EXPECT_EQ(rows(), 1u);
  EXPECT_EQ(bytes(), 4096u);
  must(world_.append(ino, std::string(100, 'y')));
  EXPECT_EQ(rows(), 2u);
  EXPECT_EQ(bytes(), 4196u);
}

TEST_F(PgContent, OneByteOfALargeFileIsOneSmallRow) {
  const Ino ino = world_.make_file(world_.root(), "file", std::string(64 * kChunk, 'x'));
  EXPECT_EQ(rows(), 64u);
  must(world_.overwrite(ino, 40 * kChunk + 17, "y"));
  EXPECT_EQ(rows(), 65u);
  EXPECT_EQ(bytes(), 64 * kChunk + 1);
}

TEST_F(PgContent, AppendsToOneChunkAreReadInBoundedRows) {
  const Ino ino = world_.make_file(world_.root(), "log");
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    must(world_.append(ino, line));
    expected += line;
  }
  EXPECT_EQ(world_.content(ino), expected);
  EXPECT_EQ(world_.content(ino, Version{101}).size(), expected.find("line 100\n"));
  // What the newest state is laid from.
  const uint64_t chain = number(
      "count(*) FILTER (WHERE dver >= (SELECT base_dver FROM linkspan.segment "
      "ORDER BY dver DESC, part DESC LIMIT 1))");
  EXPECT_LE(chain, 40u);
  EXPECT_LT(bytes(), 20 * expected.size()) << "chunks are not written anew too often";
}

TEST_F(PgContent, SmallFilesLieInTheRowAndNothingIsCompressed) {
  world_.make_file(world_.root(), "small", std::string(6000, 'x'));
  EXPECT_EQ(outside_.run("SELECT pg_column_size(data) >= 6000 FROM linkspan.segment"), "t");
  EXPECT_EQ(outside_.run("SELECT pg_relation_size(reltoastrelid) = 0 FROM pg_class "
                         "WHERE oid = 'linkspan.segment'::regclass"),
            "t");
}

TEST_F(PgContent, PruneLeavesOnlyWhatTheHeadNeeds) {
  const Ino ino = world_.make_file(world_.root(), "file", std::string(3 * kChunk, 'a'));
  for (int i = 0; i < 5; ++i) must(world_.overwrite(ino, kChunk, std::string(kChunk, 'b')));
  EXPECT_EQ(rows(), 8u);
  keep(1);
  prune_all(world_.now());
  EXPECT_EQ(rows(), 3u);
  must(world_.rewrite(ino, "short"));
  prune_all(world_.now());
  EXPECT_EQ(rows(), 1u);
  EXPECT_EQ(world_.content(ino), "short");
}

TEST_F(PgContent, PruneLeavesNothingOfWhatIsGone) {
  for (int i = 0; i < 20; ++i) {
    const Ino temp = world_.make_file(world_.root(), "temp", "save " + std::to_string(i));
    if (i % 3 == 0) must(world_.rewrite(temp, "again " + std::to_string(i)));
    must(world_.rename(world_.root(), "temp", world_.root(), "MEMORY.md"));
  }
  must(world_.unlink(world_.root(), "MEMORY.md"));
  prune_all(Time{world_.now().ns + 200 * kDay});
  EXPECT_EQ(rows(), 0u);
  for (const char* table : {"version", "orphan", "lost_history", "garbage", "change", "dentry"})
    EXPECT_EQ(outside_.run("SELECT count(*) FROM linkspan." + std::string(table)), "0") << table;
  EXPECT_EQ(outside_.run("SELECT count(*) FROM linkspan.node"), "2") << "the two roots";
}

TEST_F(PgContent, ResultsAreForgottenWhenAnswered) {
  const Ino ino = world_.make_file(world_.root(), "file");
  for (uint64_t i = 1; i <= 300; ++i) {
    SetAttrRequest request;
    request.op = world_.op();
    request.op.answered_below = request.op.number;
    request.ino = ino;
    request.mode = 0600;
    must(world_.store().set_attributes(world_.next(), request));
  }
  EXPECT_LE(std::stoi(outside_.run("SELECT count(*) FROM linkspan.result")), 70);
  must(world_.store().end_session(world_.state().id, world_.session(), world_.state().epoch).ok()
           ? Result<int>(0)
           : Result<int>(1));
  EXPECT_EQ(outside_.run("SELECT count(*) FROM linkspan.result"), "0");
}

// Random pieces, holes, cuts and growth against a plain string, over several chunks; old versions
// too.
TEST_F(PgContent, RandomCommitsReadBack) {
  std::mt19937 random(20260101);
  const auto below = [&](uint64_t bound) { return bound == 0 ? 0 : random() % bound; };
  const Ino ino = world_.make_file(world_.root(), "file");
  std::string model;
  std::vector<std::string> versions{""};
  for (int round = 0; round < 150; ++round) {
    CommitRequest request;
    request.ino = ino;
    request.size = below(4 * kChunk);
    request.keep_below = below(3) == 0 ? below(model.size() + 1) : UINT64_MAX;
    const uint64_t kept = std::min<uint64_t>(request.keep_below, model.size());
    model.resize(kept);
    model.resize(std::max<uint64_t>(kept, request.size), '\0');
    std::vector<Extent> list;
    for (uint64_t at = below(kChunk); at < request.size && list.size() < 6;) {
      const uint64_t length =
          1 + below(std::min<uint64_t>(request.size - at, below(2) == 0 ? 200 : 2 * kChunk));
      Extent piece{at, length, {}};
      if (below(3) != 0) piece.data.assign(length, static_cast<char>('a' + below(26)));
      model.replace(at, length, piece.data.empty() ? std::string(length, '\0') : piece.data);
      list.push_back(std::move(piece));
      at += length + below(kChunk);
    }
    request.extents = extents(std::move(list));
    must(world_.commit(request));
    versions.push_back(model);
    ASSERT_EQ(world_.content(ino), model) << "round " << round;
  }
  for (size_t v = 1; v <= versions.size(); v += 7)
    EXPECT_EQ(world_.content(ino, Version{v}), versions[v - 1]) << "version " << v;
  keep(10);
  prune_all(world_.now());
  for (size_t v = versions.size() - 9; v <= versions.size(); ++v)
    EXPECT_EQ(world_.content(ino, Version{v}), versions[v - 1]) << "after prune, version " << v;
}

}  // namespace
}  // namespace linkspan::test
