// Listings: pages, cookies that stay, bounds of bytes, many entries.
#include <atomic>
#include <set>
#include <thread>

#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

class ReadDir : public StoreTest {
 protected:
  ReadDirReply page(Ino dir, Cookie after, uint32_t limit, bool want_content = false) {
    return must(store_->readdir(world().scope, {dir, after, limit, want_content}));
  }
};
LINKSPAN_CONFORMANCE(ReadDir);

TEST_P(ReadDir, TellsTheDirectoryAndItsEntries) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino file = world().make_file(dir, "file", "small");
  must(world().symlink(dir, "link", "target"));
  world().make_dir(dir, "sub");
  const ReadDirReply reply = page(dir, {}, 100);
  EXPECT_TRUE(reply.end);
  EXPECT_EQ(reply.dir.attr, world().attr(dir));
  ASSERT_EQ(reply.entries.size(), 3u);
  EXPECT_EQ(reply.entries[0].name, "file");
  EXPECT_EQ(reply.entries[0].node.attr, world().attr(file));
  EXPECT_EQ(reply.entries[0].node.content, std::nullopt);
  EXPECT_EQ(reply.entries[1].node.target, "target");
  EXPECT_EQ(reply.entries[2].node.attr.kind, Kind::directory);
  EXPECT_GE(reply.entries[0].cookie.value, 1u);
  EXPECT_LT(reply.entries[0].cookie, reply.entries[1].cookie);
  EXPECT_LT(reply.entries[1].cookie, reply.entries[2].cookie);
  EXPECT_EQ(page(dir, {}, 100, true).entries[0].node.content, "small");
}

TEST_P(ReadDir, Pages) {
  for (int i = 0; i < 10; ++i) world().make_file(root(), std::to_string(i));
  for (const uint32_t limit : {1u, 3u, 5u, 9u, 10u, 11u, 4096u}) {
    const auto entries = world().list(root(), limit);
    ASSERT_EQ(entries.size(), 10u) << limit;
    for (int i = 0; i < 10; ++i) EXPECT_EQ(entries[i].name, std::to_string(i));
  }
  EXPECT_TRUE(page(root(), {}, 10).end) << "an exact page knows that it is the last";
  EXPECT_FALSE(page(root(), {}, 9).end);
  const Cookie last = world().list(root()).back().cookie;
  EXPECT_TRUE(page(root(), last, 5).end);
  EXPECT_TRUE(page(root(), last, 5).entries.empty());
  EXPECT_TRUE(page(root(), Cookie{INT64_MAX}, 5).end);
}

TEST_P(ReadDir, CookiesStayWhileOthersComeAndGo) {
  std::set<std::string> stay;
  for (int i = 0; i < 60; ++i) {
    const std::string name = "f" + std::to_string(i);
    world().make_file(root(), name);
    if (i % 3 != 0) stay.insert(name);
  }
  std::multiset<std::string> seen;
  std::set<Cookie> cookies;
  Cookie after;
  for (int round = 0; round < 200; ++round) {
    const ReadDirReply reply = page(root(), after, 4);
    for (const DirEntry& entry : reply.entries) {
      seen.insert(entry.name);
      EXPECT_TRUE(cookies.insert(entry.cookie).second);
      EXPECT_GT(entry.cookie, after);
      after = entry.cookie;
    }
    if (reply.end) break;
    if (round < 20) must(world().unlink(root(), "f" + std::to_string(round * 3)));
    if (round < 10) {
      world().make_file(root(), "temp");
      must(world().rename(root(), "temp", root(), "f" + std::to_string(round * 3 + 1)));
    }
  }
  for (const std::string& name : stay) EXPECT_EQ(seen.count(name), 1u) << name;
}

TEST_P(ReadDir, CookiesAreNeverReused) {
  world().make_file(root(), "a");
  const Cookie first = page(root(), {}, 1).entries[0].cookie;
  must(world().unlink(root(), "a"));
  world().make_file(root(), "a");
  EXPECT_GT(page(root(), {}, 1).entries[0].cookie, first);
  const Cookie second = page(root(), {}, 1).entries[0].cookie;
  must(world().rename(root(), "a", root(), "b"));
  EXPECT_GT(page(root(), {}, 1).entries[0].cookie, second);
}

TEST_P(ReadDir, PagesAreBoundedInBytes) {
  const Ino dir = world().make_dir(root(), "dir");
  const std::string target(limits::kSymlinkBytes, 't');
  constexpr int kLinks = 600;  // more than 2 MiB of targets
  for (int i = 0; i < kLinks; ++i) must(world().symlink(dir, "link" + std::to_string(i), target));
  Cookie after;
  int entries = 0, pages = 0;
  for (bool end = false; !end; ++pages) {
    const ReadDirReply reply = page(dir, after, 4096);
    size_t bytes = 0;
    for (const DirEntry& entry : reply.entries)
      bytes += entry.name.size() + entry.node.target.size();
    EXPECT_LE(bytes, limits::kPageBytes);
    ASSERT_TRUE(reply.end || !reply.entries.empty());
    entries += static_cast<int>(reply.entries.size());
    if (!reply.entries.empty()) after = reply.entries.back().cookie;
    end = reply.end;
  }
  EXPECT_EQ(entries, kLinks);
  EXPECT_GE(pages, 3);
}

TEST_P(ReadDir, InlineContentIsBoundedInBytes) {
  const Ino dir = world().make_dir(root(), "dir");
  constexpr int kFiles = 40;  // 2.5 MiB
  for (int i = 0; i < kFiles; ++i)
    world().make_file(dir, "f" + std::to_string(i),
                      std::string(limits::kInlineContent, 'a' + i % 26));
  world().make_file(dir, "large", std::string(limits::kInlineContent + 1, 'x'));
  size_t inlined = 0;
  int entries = 0;
  Cookie after;
  for (bool end = false; !end;) {
    const ReadDirReply reply = page(dir, after, 4096, true);
    size_t bytes = 0;
    for (const DirEntry& entry : reply.entries) {
      if (!entry.node.content) continue;
      EXPECT_EQ(entry.node.content->size(), entry.node.attr.size);
      EXPECT_NE(entry.name, "large");
      bytes += entry.node.content->size();
      ++inlined;
    }
    EXPECT_LE(bytes, limits::kPageBytes);
    entries += static_cast<int>(reply.entries.size());
    ASSERT_TRUE(reply.end || !reply.entries.empty());
    if (!reply.entries.empty()) after = reply.entries.back().cookie;
    end = reply.end;
  }
  EXPECT_EQ(entries, kFiles + 1);
  EXPECT_GE(inlined, 14u) << "a first page holds nearly 1 MiB of them";
}

TEST_P(ReadDir, Errors) {
  const Ino file = world().make_file(root(), "file");
  const auto readdir = [&](Ino ino, uint32_t limit) {
    return store_->readdir(world().scope, {ino, {}, limit, false});
  };
  EXPECT_EQ(code_of(readdir(file, 1)), Code::not_directory);
  EXPECT_EQ(code_of(readdir(Ino{999999999}, 1)), Code::stale_node);
  EXPECT_EQ(code_of(readdir(root(), 0)), Code::invalid);
  EXPECT_EQ(code_of(readdir(root(), limits::kPageEntries + 1)), Code::invalid);
  EXPECT_EQ(code_of(store_->lookup(world().scope, {file, "x", false})), Code::not_directory);
  EXPECT_EQ(code_of(store_->lookup(world().scope, {Ino{999999999}, "x", false})), Code::stale_node);
  EXPECT_EQ(code_of(store_->lookup(world().scope, {root(), "..", false})), Code::invalid);
  EXPECT_EQ(code_of(store_->lookup(world().scope, {root(), std::string(256, 'x'), false})),
            Code::name_too_long);
  EXPECT_EQ(code_of(store_->getattr(world().scope, {Ino{999999999}, false})), Code::stale_node);
}

TEST_P(ReadDir, ManyEntries) {
  const size_t count = slow_tests() || !engine().durable() ? 100000 : 2000;
  constexpr size_t kMakers = 8;
  const Ino dir = world().make_dir(root(), "dir");
  std::vector<std::thread> makers;
  std::atomic<size_t> failed{0};
  for (size_t maker = 0; maker < kMakers; ++maker)
    makers.emplace_back([&, maker, own = world().fork()]() mutable {
      for (size_t i = maker; i < count; i += kMakers)
        failed += own.create(dir, "entry-" + std::to_string(i)).ok() ? 0 : 1;
    });
  for (std::thread& maker : makers) maker.join();
  EXPECT_EQ(failed, 0u);
  std::set<std::string> names;
  Cookie last;
  for (const DirEntry& entry :
       world().list(dir, count > limits::kPageEntries ? limits::kPageEntries : 300)) {
    EXPECT_GT(entry.cookie, last);
    last = entry.cookie;
    names.insert(entry.name);
  }
  EXPECT_EQ(names.size(), count);
  EXPECT_TRUE(world().find(dir, "entry-" + std::to_string(count / 2)).has_value());
}

}  // namespace
}  // namespace linkspan::test
