// Many threads at once: nothing is lost, nothing is counted wrong, nothing waits for ever.
#include <functional>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

constexpr int kThreads = 8;

class Concurrency : public StoreTest {
 protected:
  int rounds() const { return slow_tests() ? 400 : 40; }

  // Runs `work` on kThreads threads, each with a session of its own; what they throw is a failure.
  void run(const std::function<void(World&, int)>& work) {
    std::vector<World> worlds;
    for (int i = 0; i < kThreads; ++i) worlds.push_back(world().fork());
    std::vector<std::string> errors(kThreads);
    std::vector<std::thread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        try {
          work(worlds[i], i);
        } catch (const std::exception& e) {
          errors[i] = e.what();
        }
      });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& error : errors) EXPECT_EQ(error, "");
  }
};
LINKSPAN_CONFORMANCE(Concurrency);

TEST_P(Concurrency, NoAppendIsLost) {
  const Ino ino = world().make_file(root(), "log");
  run([&](World& w, int id) {
    for (int i = 0; i < rounds(); ++i)
      must(w.append(ino, "<" + std::to_string(id) + ":" + std::to_string(i) + ">"));
  });
  const std::string text = world().content(ino);
  std::map<int, int> next;
  size_t at = 0;
  int count = 0;
  while (at < text.size()) {
    int id = -1, i = -1, length = 0;
    ASSERT_EQ(std::sscanf(text.c_str() + at, "<%d:%d>%n", &id, &i, &length), 2)
        << text.substr(at, 40);
    EXPECT_EQ(i, next[id]++) << "in each writer's order";
    at += static_cast<size_t>(length);
    ++count;
  }
  EXPECT_EQ(count, kThreads * rounds());
  EXPECT_EQ(world().attr(ino).version.value, 1u + static_cast<uint64_t>(count));
}

TEST_P(Concurrency, OneCreatorWins) {
  std::atomic<int> won{0}, lost{0};
  run([&](World& w, int) {
    for (int i = 0; i < rounds(); ++i) {
      const auto result = w.create(root(), "file-" + std::to_string(i));
      if (!result.ok() && result.code() != Code::exists) must(result);
      ++(result.ok() ? won : lost);
    }
  });
  EXPECT_EQ(won, rounds());
  EXPECT_EQ(lost, rounds() * (kThreads - 1));
  EXPECT_EQ(world().names(root()).size(), static_cast<size_t>(rounds()));
}

TEST_P(Concurrency, ManyNamesInOneDirectory) {
  run([&](World& w, int id) {
    for (int i = 0; i < rounds(); ++i) {
      const std::string name = std::to_string(id) + "-" + std::to_string(i);
      must(w.create(root(), name, i % 2 == 0 ? Kind::directory : Kind::file));
      if (i % 4 == 0) must(w.rmdir(root(), name));
      if (i % 4 == 1) must(w.unlink(root(), name));
    }
  });
  const auto entries = world().list(root());
  std::set<Cookie> cookies;
  uint32_t directories = 0;
  for (const DirEntry& entry : entries) {
    cookies.insert(entry.cookie);
    directories += entry.node.attr.kind == Kind::directory ? 1 : 0;
  }
  EXPECT_EQ(cookies.size(), entries.size());
  EXPECT_EQ(world().attr(root()).nlink, 2 + directories);
}

TEST_P(Concurrency, OneBaseOneWinner) {
  const Ino ino = world().make_file(root(), "counter", "0");
  std::atomic<int> conflicts{0};
  run([&](World& w, int) {
    for (int done = 0; done < rounds() / 4;) {
      const ReadReply read = must(w.store().read(w.scope, {ino, {}, 0, 100}));
      const std::string next = std::to_string(std::stoi(read.data) + 1);
      CommitRequest request;
      request.ino = ino;
      request.keep_below = 0;
      request.size = next.size();
      request.extents = extent(0, next);
      request.base = read.version;
      const auto result = w.commit(request);
      if (result.ok()) {
        ++done;
      } else if (result.code() == Code::conflict) {
        ++conflicts;
      } else {
        must(result);
      }
    }
  });
  EXPECT_EQ(world().content(ino), std::to_string(kThreads * (rounds() / 4)));
}

TEST_P(Concurrency, AtomicSavesOfOneName) {
  world().make_file(root(), "MEMORY.md", "start");
  run([&](World& w, int id) {
    for (int i = 0; i < rounds() / 2; ++i) {
      const std::string temp = "temp" + std::to_string(id);
      w.make_file(root(), temp, "save " + std::to_string(id) + " " + std::to_string(i));
      must(w.rename(root(), temp, root(), "MEMORY.md"));
      const auto found = w.find(root(), "MEMORY.md", true);
      if (!found || !found->content || found->content->empty())
        throw std::runtime_error("the name was missing or empty");
    }
  });
  const Node head = *world().find(root(), "MEMORY.md");
  const uint64_t saves = static_cast<uint64_t>(kThreads) * static_cast<uint64_t>(rounds() / 2);
  EXPECT_EQ(head.attr.version.value, 2 + saves);
  EXPECT_EQ(head.attr.nlink, 1u);
  const auto versions = world().versions(head.attr.ino, {}, limits::kHistoryPage);
  ASSERT_EQ(versions.size(), 2 + saves);
  std::set<std::string> contents;
  for (const VersionInfo& info : versions)
    contents.insert(world().content(head.attr.ino, info.version));
  EXPECT_EQ(contents.size(), 2 + saves) << "every save is in the history";
}

TEST_P(Concurrency, ARetryBesideItsFirstTry) {
  const Ino ino = world().make_file(root(), "file");
  std::atomic<int> fresh{0};
  const store::Author author = world().author;
  for (int i = 0; i < rounds() / 4; ++i) {
    const OpHeader op = world().op();
    run([&](World& w, int) {
      CommitRequest request;
      request.op = op;
      request.ino = ino;
      request.append = true;
      request.extents = extent(0, "x");
      store::Mutation m = w.next();
      m.author = author;
      if (!must(w.store().commit(m, request)).replayed) ++fresh;
    });
  }
  EXPECT_EQ(fresh, rounds() / 4);
  EXPECT_EQ(world().attr(ino).size, static_cast<uint64_t>(rounds() / 4));
}

// Renames across a few directories in both directions, exchanges, links and removals: the pattern
// of lock-order deadlocks and of cycles. Then the tree is walked and everything counted.
TEST_P(Concurrency, RenamesKeepATree) {
  std::vector<Ino> dirs = {root()};
  for (int i = 0; i < 5; ++i)
    dirs.push_back(world().make_dir(dirs[static_cast<size_t>(i) / 2], "d" + std::to_string(i)));
  run([&](World& w, int id) {
    std::mt19937 random(static_cast<unsigned>(id));
    const auto pick = [&] { return dirs[random() % dirs.size()]; };
    const auto name = [&] { return "d" + std::to_string(random() % 8); };
    const auto accept = [](const Result<store::Applied>& result) {
      if (result.ok()) return;
      for (const Code expected : {Code::not_found, Code::exists, Code::not_empty, Code::loop,
                                  Code::is_directory, Code::not_directory, Code::not_permitted})
        if (result.code() == expected) return;
      must(result);
    };
    for (int i = 0; i < rounds() * 3; ++i) {
      switch (random() % 8) {
        case 0:
          accept(w.create(pick(), name(), Kind::directory));
          break;
        case 1:
          accept(w.create(pick(), name()));
          break;
        case 2:
          accept(w.unlink(pick(), name()));
          break;
        case 3:
          accept(w.exchange(pick(), name(), pick(), name()));
          break;
        case 4: {
          const auto node = w.find(pick(), name());
          if (node) accept(w.link(node->attr.ino, pick(), name()));
          break;
        }
        default:
          accept(w.rename(pick(), name(), pick(), name()));
          break;
      }
    }
  });

  std::map<Ino, uint32_t> names;
  int64_t files = 0;
  std::set<Ino> counted;
  const std::function<void(Ino, Ino)> walk = [&](Ino dir, Ino parent) {
    ASSERT_LT(counted.size(), 100000u);
    EXPECT_EQ(world().attr(dir).parent, parent);
    uint32_t subdirectories = 0;
    for (const DirEntry& entry : world().list(dir)) {
      const Ino ino = entry.node.attr.ino;
      ++names[ino];
      if (counted.insert(ino).second) ++files;
      if (entry.node.attr.kind != Kind::directory) continue;
      ++subdirectories;
      ASSERT_EQ(names[ino], 1u) << "a directory has one name";
      walk(ino, dir);
    }
    EXPECT_EQ(world().attr(dir).nlink, 2 + subdirectories);
  };
  walk(root(), root());
  for (const auto& [ino, count] : names) {
    const Attr attr = world().attr(ino);
    if (attr.kind != Kind::directory) {
      EXPECT_EQ(attr.nlink, count);
    }
  }
  for (const Ino dir : dirs)
    EXPECT_TRUE(names.count(dir) > 0 || dir == root() || world().attr(dir).nlink == 0)
        << "no directory is cut off from the root";
  World again = World::reopen(store_, tenant_);
  EXPECT_EQ(again.state().volumes[0].used_files, static_cast<uint64_t>(files));
}

TEST_P(Concurrency, AReaderSeesWholeRewrites) {
  constexpr size_t kSize = 100000;
  const Ino ino = world().make_file(root(), "file", std::string(kSize, 'a'));
  run([&](World& w, int id) {
    for (int i = 0; i < rounds() / 2; ++i) {
      if (id < 2) {
        must(w.rewrite(
            ino, std::string(kSize + static_cast<size_t>(i), static_cast<char>('a' + i % 26))));
        continue;
      }
      const ReadReply reply = must(w.store().read(w.scope, {ino, {}, 0, kSize * 2}));
      if (reply.data.size() != reply.size ||
          reply.data.find_first_not_of(reply.data[0]) != std::string::npos)
        throw std::runtime_error("half of a rewrite was read");
    }
  });
}

TEST_P(Concurrency, PruneBesideTraffic) {
  must(store_->provision({tenant_, {{"memory", 0, 0, 2, 90}}}, world().now()));
  std::atomic<int> busy{kThreads - 1};
  run([&](World& w, int id) {
    if (id == 0) {
      while (busy > 0) must(w.store().prune(w.state().id, w.now()));
      return;
    }
    const std::shared_ptr<void> done(nullptr, [&](void*) { --busy; });
    const std::string name = "name" + std::to_string(id % 3), temp = "temp" + std::to_string(id);
    for (int i = 0; i < rounds(); ++i) {
      const std::string text = std::string(70000, static_cast<char>('a' + id)) + std::to_string(i);
      const Ino ino = w.make_file(root(), temp, text);
      if (i % 3 == 0) must(w.overwrite(ino, 5, "x"));
      must(w.rename(root(), temp, root(), name));
      const Node found = *w.find(root(), name);
      const std::string read = w.content(found.attr.ino);
      if (read.size() <= 70000 || read.find('\0') != std::string::npos)
        throw std::runtime_error("content was pruned that somebody needs");
    }
  });
  for (int i = 0; i < 1000 && must(store_->prune(world().state().id, world().now())) > 0; ++i) {
  }
  for (const std::string& name : world().names(root())) {
    const Ino ino = world().find(root(), name)->attr.ino;
    EXPECT_EQ(world().versions(ino).size(), 2u) << name;
    for (const VersionInfo& info : world().versions(ino))
      EXPECT_EQ(world().content(ino, info.version).size(), info.size) << name;
  }
}

TEST_P(Concurrency, TakeOverDuringMutations) {
  const Ino ino = world().make_file(root(), "file");
  std::atomic<uint64_t> acknowledged{0};
  std::atomic<bool> taken{false};
  auto other = engine().open();
  run([&](World& w, int id) {
    if (id == 0) {
      while (acknowledged < 20) std::this_thread::yield();
      must(other->open_tenant(tenant_, limits::kLease));
      taken = true;
      return;
    }
    for (int i = 0; i < 100000; ++i) {
      const bool after = taken;
      const auto result = w.append(ino, "x");
      if (!result.ok()) {
        if (result.code() != Code::fenced) must(result);
        return;
      }
      if (after) throw std::runtime_error("an old owner's mutation came after the take-over");
      ++acknowledged;
    }
  });
  EXPECT_EQ(world().attr(ino).size, acknowledged.load());
}

}  // namespace
}  // namespace linkspan::test
