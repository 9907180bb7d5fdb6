// What watchers are told, from what was there, what is there, and what was revoked.
#include "fusefs/fuse/watched_route.h"

#include <gtest/gtest.h>

namespace linkspan::fuse {
namespace {

constexpr Ino kRoot{16}, kDir{20};

class FakeTree final : public vfs::Observer {
 public:
  std::map<Ino, Attr> nodes;
  std::map<std::pair<Ino, std::string>, Ino> names;
  std::map<Ino, RevokedName> last;
  bool away = false;

  Attr& put(Ino dir, const std::string& name, Ino ino, Kind kind = Kind::file,
            uint64_t version = 1) {
    Attr attr;
    attr.ino = ino;
    attr.kind = kind;
    attr.mode = 0644;
    attr.nlink = 1;
    attr.version = Version(version);
    attr.seq = Seq(++seq_);
    if (kind == Kind::directory) attr.parent = dir;
    names[{dir, name}] = ino;
    return nodes[ino] = attr;
  }
  void remove(Ino dir, const std::string& name) {
    nodes.erase(names.at({dir, name}));
    names.erase({dir, name});
  }

  Result<Attr> node(const vfs::Caller&, Ino ino) override {
    if (away) return fail(Code::timed_out, "away");
    const auto at = nodes.find(ino);
    if (at == nodes.end()) return fail(Code::stale_node, "gone");
    return at->second;
  }
  Result<std::optional<Attr>> name(const vfs::Caller&, Ino dir, const std::string& name) override {
    if (away) return fail(Code::timed_out, "away");
    const auto at = names.find({dir, name});
    if (at == names.end()) return std::optional<Attr>();
    return std::optional<Attr>(nodes.at(at->second));
  }
  Result<Page> page(const vfs::Caller&, Ino dir, Cookie after, size_t) override {
    if (away) return fail(Code::timed_out, "away");
    // One entry a page.
    Page page;
    uint64_t cookie = 0;
    for (const auto& [key, ino] : names)
      if (key.first == dir && ++cookie == after.value + 1)
        page.entries.push_back({key.second, Cookie(cookie), nodes.at(ino)});
    page.end = page.entries.empty();
    return page;
  }
  std::optional<Ino> known_name(Ino, const std::string&) override { return std::nullopt; }
  std::optional<RevokedName> last_name(Ino ino) override {
    const auto at = last.find(ino);
    return at == last.end() ? std::nullopt : std::optional<RevokedName>(at->second);
  }

 private:
  uint64_t seq_ = 0;
};

class Recorder final : public Nudges {
 public:
  std::vector<std::string> told;
  bool busy = false;

  Status created(Ino, const std::string& name, const Attr&) override {
    return say("created", name);
  }
  Status removed(Ino, const std::string& name, const Attr&, bool gone) override {
    return say(gone ? "removed" : "moved away", name);
  }
  Status replaced(Ino, const std::string& name, const Attr&) override {
    return say("replaced", name);
  }
  Status modified(Ino, const std::string& name, const Attr&) override {
    return say("modified", name);
  }
  Status attributes(Ino, const std::string& name) override { return say("attributes", name); }
  Status node_modified(const Attr& now) override { return say("node modified", now.ino); }
  Status node_attributes(const Attr& now) override { return say("node attributes", now.ino); }
  Status node_lost(const Attr& before) override { return say("node lost", before.ino); }
  Status directory_attributes(Ino dir) override { return say("directory attributes", dir); }
  Status directory_lost(const Attr& before) override { return say("directory lost", before.ino); }

 private:
  Status say(const std::string& what, const std::string& whom) {
    if (busy) return fail(Code::busy, "it changes");
    told.push_back(what + " " + whom);
    return Done{};
  }
  Status say(const std::string& what, Ino ino) { return say(what, std::to_string(ino.value)); }
};

class WatchedRouteTest : public ::testing::Test {
 protected:
  void SetUp() override {
    tree.put(kRoot, "dir", kDir, Kind::directory);
    tree.put(kDir, "a", Ino(30));
    tree.put(kDir, "sub", Ino(31), Kind::directory);
  }
  void watch(std::set<Ino> marks, bool changing = false) {
    route.set_marks(caller, marks, changing);
  }
  std::vector<std::string> tell(std::vector<NameChange> names, std::vector<NodeChange> nodes = {}) {
    again = {};
    route.tell(caller, names, nodes, nudges, &again);
    route.settled();
    return std::exchange(nudges.told, {});
  }
  NameChange name(const std::string& name, std::optional<Ino> before = std::nullopt) {
    return {kDir, name, before, 0};
  }
  NodeChange content(Ino ino) { return {ino, true, false, Seq(1), 0}; }
  NodeChange attributes(Ino ino) { return {ino, false, false, Seq(1), 0}; }
  using Told = std::vector<std::string>;

  vfs::Caller caller;
  FakeTree tree;
  Recorder nudges;
  Unfinished again;
  WatchedRoute route{&tree};
};

TEST_F(WatchedRouteTest, NamesThatCameWentAndWereReplaced) {
  watch({kDir});
  tree.put(kDir, "b", Ino(32));
  EXPECT_EQ(tell({name("b")}), Told{"created b"});
  tree.put(kDir, "b", Ino(33));
  tree.nodes.erase(Ino(32));
  EXPECT_EQ(tell({name("b"), name("tmp")}), Told{"replaced b"});
  tree.remove(kDir, "b");
  EXPECT_EQ(tell({name("b")}), Told{"removed b"});
  EXPECT_EQ(tell({name("b")}), Told{});
  tree.names.erase({kDir, "a"});  // elsewhere now
  EXPECT_EQ(tell({name("a")}), Told{"moved away a"});
}

TEST_F(WatchedRouteTest, ContentAndAttributesOfAnEntryOnce) {
  watch({kDir, Ino(30)});
  tree.nodes[Ino(30)].version = Version(2);
  EXPECT_EQ(tell({}, {content(Ino(30))}), Told{"modified a"});
  tree.nodes[Ino(30)].mode = 0600;
  EXPECT_EQ(tell({}, {attributes(Ino(30))}), Told{"attributes a"});
  EXPECT_EQ(tell({}, {attributes(Ino(30))}), Told{});
  // A directory's time moves with what is in it: nobody is told of that.
  tree.nodes[Ino(31)].mtime = Time{5};
  EXPECT_EQ(tell({}, {attributes(Ino(31))}), Told{});
}

TEST_F(WatchedRouteTest, AFileOfItsOwn) {
  watch({Ino(30)});
  EXPECT_EQ(tell({}, {content(Ino(30))}), Told{"node modified 30"});
  tree.nodes[Ino(30)].mode = 0600;
  EXPECT_EQ(tell({}, {attributes(Ino(30))}), Told{"node attributes 30"});
  tree.remove(kDir, "a");
  EXPECT_EQ(tell({}, {attributes(Ino(30))}), Told{"node lost 30"});
  EXPECT_TRUE(route.empty());
}

TEST_F(WatchedRouteTest, AWatchedDirectoryGoes) {
  watch({Ino(31)});
  tree.remove(kDir, "sub");
  EXPECT_EQ(tell({}, {attributes(Ino(31))}), Told{"directory lost 31"});
  EXPECT_TRUE(route.empty());
}

TEST_F(WatchedRouteTest, TheDirectoryAndItsParentAreWatched) {
  watch({kDir, Ino(31)});
  tree.remove(kDir, "sub");
  EXPECT_EQ(tell({name("sub")}, {attributes(Ino(31)), attributes(kDir)}), Told{"removed sub"});
}

TEST_F(WatchedRouteTest, WhatWasMadeHereIsKnownByTheCaches) {
  watch({kDir});
  tree.put(kDir, "mine", Ino(40));
  tree.last[Ino(40)] = {kDir, "mine"};
  EXPECT_TRUE(route.concerns(content(Ino(40))));
  EXPECT_EQ(tell({}, {content(Ino(40))}), Told{"modified mine"});
  tree.put(kDir, "other", Ino(41));
  tree.remove(kDir, "other");
  EXPECT_EQ(tell({name("other", Ino(41))}), Told{"moved away other"});
}

TEST_F(WatchedRouteTest, AWatchThatIsYoungerThanTheChange) {
  tree.put(kDir, "b", Ino(32));
  watch({kDir}, /*changing=*/true);
  EXPECT_EQ(tell({name("b")}), Told{"replaced b"});
  EXPECT_EQ(tell({name("b")}), Told{});
}

TEST_F(WatchedRouteTest, NamesThatNobodyHadAskedFor) {
  const Seq before = tree.put(kDir, "b", Ino(32)).seq;
  watch({kDir}, true);
  EXPECT_EQ(tell({}, {{kDir, false, true, before, 0}}), Told{"replaced b"});
  FakeTree other;
  WatchedRoute empty(&tree);
  empty.set_marks(caller, {kDir}, true);
  Unfinished ignored;
  empty.tell(caller, {}, {{kDir, false, true, Seq(1000), 0}}, nudges, &ignored);
  EXPECT_EQ(nudges.told, Told{"directory attributes 20"});
}

TEST_F(WatchedRouteTest, WhatCannotBeToldIsTriedAgain) {
  watch({kDir});
  tree.put(kDir, "b", Ino(32));
  nudges.busy = true;
  EXPECT_EQ(tell({name("b")}), Told{});
  ASSERT_EQ(again.names.size(), 1u);
  nudges.busy = false;
  EXPECT_EQ(tell(again.names), Told{"created b"});
  tree.away = true;
  EXPECT_EQ(tell({name("b")}, {content(Ino(30))}), Told{});
  EXPECT_EQ(again.names.size(), 1u);
  EXPECT_EQ(again.nodes.size(), 1u);
}

TEST_F(WatchedRouteTest, AfterALossAllThatDiffers) {
  watch({kDir, Ino(30)});
  tree.nodes[Ino(30)].version = Version(7);
  tree.put(kDir, "b", Ino(32));
  tree.remove(kDir, "sub");
  fuse::Told told;
  EXPECT_TRUE(route.tell_all(caller, nudges, &told));
  EXPECT_EQ(nudges.told, (Told{"removed sub", "modified a", "created b"}));
  EXPECT_EQ(told.raised, 3u);
  nudges.told.clear();
  EXPECT_TRUE(route.tell_all(caller, nudges, &told));
  EXPECT_EQ(nudges.told, Told{});
  tree.away = true;
  EXPECT_FALSE(route.tell_all(caller, nudges, &told));
}

TEST_F(WatchedRouteTest, WhoNoLongerWatchesIsForgotten) {
  watch({kDir, Ino(30)});
  EXPECT_EQ(route.names(), 2u);
  watch({});
  EXPECT_TRUE(route.empty());
  EXPECT_EQ(route.names(), 0u);
  EXPECT_FALSE(route.concerns(content(Ino(30))));
}

TEST_F(WatchedRouteTest, PathsByListing) {
  tree.put(kRoot, "", kRoot, Kind::directory);
  tree.names.erase({kRoot, ""});
  EXPECT_EQ(route.path_of(caller, Ino(31), kRoot), "dir/sub");
  EXPECT_EQ(route.path_of(caller, kRoot, kRoot), "");
  EXPECT_EQ(route.path_of(caller, Ino(99), kRoot), std::nullopt);
}

}  // namespace
}  // namespace linkspan::fuse
