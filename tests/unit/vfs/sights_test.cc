// What counts as read, where an edit begins while it is being read.
#include "fusefs/vfs/sights.h"

#include <gtest/gtest.h>

#include "fusefs/vfs/open_file.h"

namespace linkspan::vfs {
namespace {

// It was clean when the reader looked, and is not when the answer comes: that is of what was there
// before, also for a read that seeks its end in what another writes now.
TEST(Sights, AnAnswerOfBeforeAnEditIsNoReadingOfTheEdit) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Process reader{100, 1}, writer{101, 1};
  const Editor rewriter{{writer, 1},
                        [] {
                          return Basis{Base{Ino{16}, Version{3}}, true};
                        },
                        Time{1}};
  std::vector<ReadOf> noted;
  const Reader reads{reader, {/*direct=*/true, false}, [&](const Base& base, ReadOf what) {
                       EXPECT_EQ(base, (Base{Ino{16}, Version{3}}));
                       noted.push_back(what);
                     }};
  ReadState state;
  std::string out(100, '\0');
  const auto clean = file.read(reads, 0, out.data(), out.size(), &state);
  ASSERT_TRUE(clean.ok() && !*clean);
  const Beneath beneath{file.moment(), Version{3}, 10};
  ASSERT_EQ(*file.truncate(beneath, rewriter, 0), Edited::done);
  ASSERT_EQ(*file.write(beneath, rewriter, 0, "shorter", false), Edited::done);
  file.read_committed(reads, {0, 10}, Version{3}, 10, &state);
  EXPECT_EQ(noted, std::vector{ReadOf::it});
  const auto end = file.read(reads, 10, out.data(), out.size(), &state);
  ASSERT_TRUE(end.ok() && *end);
  EXPECT_EQ((*end)->bytes, 0u);
  const auto layer = file.seal_lowest(file.last_layer());
  ASSERT_TRUE(layer);
  EXPECT_TRUE(layer->knows(writer));
  EXPECT_FALSE(layer->has_read(reader));
}

// The same where the edit has been committed by then: of the next version only a part was read.
TEST(Sights, AnAnswerOfBeforeACommitIsNoReadingOfTheCommit) {
  SpoolPlace place;
  OpenFile file(Ino{16}, &place);
  const Process reader{100, 1}, writer{101, 1};
  const Editor rewriter{{writer, 1},
                        [] {
                          return Basis{Base{Ino{16}, Version{3}}, true};
                        },
                        Time{1}};
  std::vector<std::pair<Version, ReadOf>> noted;
  const Reader reads{reader, {/*direct=*/true, false}, [&](const Base& base, ReadOf what) {
                       noted.emplace_back(base.version, what);
                     }};
  ReadState state;
  const Beneath beneath{file.moment(), Version{3}, 10};
  ASSERT_EQ(*file.truncate(beneath, rewriter, 0), Edited::done);
  ASSERT_EQ(*file.write(beneath, rewriter, 0, "of this length", false), Edited::done);
  const auto layer = file.seal_lowest(file.last_layer());
  Attr result;
  result.version = Version{4};
  result.size = 14;
  file.committed(*layer, result, {}, [](const OpenFile::Outcome&) {});
  file.read_committed(reads, {0, 5}, Version{3}, 10, &state);
  file.read_committed(reads, {5, 9}, Version{4}, 14, &state);
  EXPECT_EQ(noted, (std::vector<std::pair<Version, ReadOf>>{{Version{3}, ReadOf::it},
                                                            {Version{4}, ReadOf::half}}));
}

}  // namespace
}  // namespace linkspan::vfs
