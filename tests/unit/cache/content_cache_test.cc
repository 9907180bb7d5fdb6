#include "fusefs/cache/content_cache.h"

#include <gtest/gtest.h>

namespace linkspan::cache {
namespace {

constexpr ContentId kContent{Ino{16}, Version{1}};

std::string pattern(size_t size, char seed = 'a') {
  std::string s(size, '\0');
  for (size_t i = 0; i < size; ++i) s[i] = static_cast<char>(seed + i % 23);
  return s;
}

TEST(ContentCache, ReadsAcrossBlocksAndStopsAtTheShortOne) {
  ContentCache cache;
  const std::string data = pattern(kBlockBytes * 2 + 100);
  cache.put(cache.moment(), kContent, 0, data);
  std::string out(data.size() + 50, '\0');
  EXPECT_EQ(cache.read(kContent, 0, out.data(), out.size()), data.size());
  EXPECT_EQ(out.substr(0, data.size()), data);
  EXPECT_EQ(cache.read(kContent, kBlockBytes - 5, out.data(), 10), 10u);
  EXPECT_EQ(out.substr(0, 10), data.substr(kBlockBytes - 5, 10));
  EXPECT_EQ(cache.read(kContent, data.size(), out.data(), 10), 0u);
}

TEST(ContentCache, VersionsAreApart) {
  ContentCache cache;
  cache.put(cache.moment(), kContent, 0, "one");
  std::string out(3, '\0');
  EXPECT_EQ(cache.read({Ino{16}, Version{2}}, 0, out.data(), 3), 0u);
  cache.put(cache.moment(), {Ino{16}, Version{2}}, 0, "two");
  cache.drop(Ino{16}, Version{2});
  EXPECT_EQ(cache.read(kContent, 0, out.data(), 3), 0u);
  EXPECT_EQ(cache.read({Ino{16}, Version{2}}, 0, out.data(), 3), 3u);
  EXPECT_EQ(out, "two");
}

TEST(ContentCache, WhatWasAskedForBeforeADropStaysOut) {
  ContentCache cache;
  const uint64_t asked = cache.moment();
  cache.drop(Ino{16});
  cache.put(asked, kContent, 0, "old");
  std::string out(3, '\0');
  EXPECT_EQ(cache.read(kContent, 0, out.data(), 3), 0u);
  cache.put(cache.moment(), kContent, 0, "new");
  EXPECT_EQ(cache.read(kContent, 0, out.data(), 3), 3u);
}

TEST(ContentCache, ARenumberedVersionTakesItsBlocksAlong) {
  ContentCache cache;
  cache.put(cache.moment(), kContent, 0, "abc");
  cache.renumbered(Ino{16}, Version{1}, Version{7});
  std::string out(3, '\0');
  EXPECT_EQ(cache.read(kContent, 0, out.data(), 3), 0u);
  EXPECT_EQ(cache.read({Ino{16}, Version{7}}, 0, out.data(), 3), 3u);
}

TEST(ContentCache, IsBoundedAndForgetsTheLeastRecentlyUsed) {
  ContentCache cache(3 * (kBlockBytes + kBlockOverhead));
  const std::string block = pattern(kBlockBytes);
  for (uint64_t i = 0; i < 3; ++i) cache.put(cache.moment(), {Ino{16 + i}, Version{1}}, 0, block);
  std::string out(10, '\0');
  EXPECT_EQ(cache.read({Ino{16}, Version{1}}, 0, out.data(), 10), 10u);  // the youngest now
  cache.put(cache.moment(), {Ino{30}, Version{1}}, 0, block);
  EXPECT_EQ(cache.read({Ino{17}, Version{1}}, 0, out.data(), 10), 0u);
  EXPECT_EQ(cache.read({Ino{16}, Version{1}}, 0, out.data(), 10), 10u);
  EXPECT_LE(cache.bytes(), 3 * (kBlockBytes + kBlockOverhead));
  for (uint64_t i = 0; i < 100000; ++i)
    cache.put(cache.moment(), {Ino{100 + i}, Version{1}}, 0, "x");
  EXPECT_LE(cache.bytes(), 3 * (kBlockBytes + kBlockOverhead));  // small blocks cost, too
}

}  // namespace
}  // namespace linkspan::cache
