#include "routerd/store/mem/content.h"

#include <gtest/gtest.h>

#include <random>

#include "linkspan/limits.h"

namespace linkspan::store::mem {
namespace {

constexpr uint64_t kChunk = limits::kChunkBytes;

// Against a plain string, with lengths around the pieces' bounds.
TEST(Content, BehavesLikeAString) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 50; ++round) {
    Content content;
    std::string model;
    for (int step = 0; step < 40; ++step) {
      const uint64_t size = random() % (3 * kChunk) + 1;
      const uint64_t offset = random() % 3 == 0 ? random() % 3 * kChunk : random() % size;
      const uint64_t length = random() % (kChunk + 3);
      switch (random() % 3) {
        case 0:
          content.resize(size);
          model.resize(size, '\0');
          break;
        case 1: {
          const std::string data(length, static_cast<char>('a' + step % 26));
          const uint64_t end = std::max<uint64_t>(model.size(), offset + length);
          content.resize(end);
          model.resize(end, '\0');
          content.write(offset, data);
          model.replace(offset, length, data);
          break;
        }
        default:
          if (offset + length > model.size()) break;
          content.zero(offset, length);
          model.replace(offset, length, length, '\0');
          break;
      }
      ASSERT_EQ(content.size(), model.size());
      ASSERT_EQ(content.read(0, model.size() + 5), model);
      ASSERT_EQ(content.read(offset, length),
                offset < model.size() ? model.substr(offset, length) : "");
      ASSERT_LE(content.stored(), model.size());
    }
    const Content copy = content;
    content.resize(0);
    EXPECT_EQ(content.stored(), 0u);
    EXPECT_EQ(copy.read(0, model.size()), model) << "copies share pieces, not fate";
  }
}

TEST(Content, HolesAreNotStored) {
  Content content;
  content.resize(1ull << 34);
  EXPECT_EQ(content.stored(), 0u);
  content.write((1ull << 34) - 1, "x");
  EXPECT_LE(content.stored(), kChunk);
  content.zero(0, 1ull << 34);
  EXPECT_EQ(content.stored(), 0u);
}

}  // namespace
}  // namespace linkspan::store::mem
