#include "fusefs/cache/tree_cache.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace linkspan::cache {
namespace {

constexpr Ino kDir{16};
constexpr Ino kFile{17};

Node node(Ino ino, uint64_t size = 0, uint64_t version = 1, Kind kind = Kind::file) {
  Node n;
  n.attr.ino = ino;
  n.attr.kind = kind;
  n.attr.size = size;
  n.attr.version = Version{version};
  n.attr.nlink = 1;
  return n;
}

Revocation revocation(uint64_t seq, std::vector<RevokedNode> nodes,
                      std::vector<RevokedName> names = {}) {
  Revocation r;
  r.seq = Seq{seq};
  r.nodes = std::move(nodes);
  r.names = std::move(names);
  return r;
}

ReadDirReply page(std::vector<std::pair<std::string, uint64_t>> entries, bool end, uint64_t as_of,
                  uint64_t first_cookie) {
  ReadDirReply reply;
  for (auto& [name, ino] : entries)
    reply.entries.push_back({name, Cookie{first_cookie++}, node(Ino{ino})});
  reply.end = end;
  reply.dir = node(kDir, 0, 0, Kind::directory);
  reply.as_of = Seq{as_of};
  return reply;
}

TEST(TreeCache, ARevokedNodeIsGoneAndAnOvertakenReplyStaysOut) {
  TreeCache cache;
  const Ticket ticket = cache.ticket();
  EXPECT_TRUE(cache.put_node(ticket, node(kFile, 5), Seq{10}));
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.size, 5u);
  cache.revoke(revocation(12, {{kFile, true, false}}));
  EXPECT_FALSE(cache.node(kFile, Use::current));
  EXPECT_FALSE(cache.put_node(ticket, node(kFile, 5), Seq{11}));
  EXPECT_TRUE(cache.put_node(ticket, node(kFile, 6, 2), Seq{12}));
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.size, 6u);
}

TEST(TreeCache, EachChangeIsAMoment) {
  TreeCache cache;
  uint64_t before = cache.moment();
  const auto later = [&] { return cache.moment() > std::exchange(before, cache.moment()); };
  cache.put_node(cache.ticket(), node(kFile, 5), Seq{10});
  EXPECT_FALSE(later());
  cache.revoke(revocation(12, {{kFile, true, false}}));
  EXPECT_TRUE(later());
  MutationReply own;
  own.seq = own.as_of = Seq{13};
  own.nodes = {node(kFile, 7, 3)};
  cache.absorb(cache.ticket(), own, {});
  EXPECT_TRUE(later());
  cache.lose(false);
  EXPECT_TRUE(later());
}

TEST(TreeCache, AnOlderReplyDoesNotReplaceANewerOne) {
  TreeCache cache;
  EXPECT_TRUE(cache.put_node(cache.ticket(), node(kFile, 6, 2), Seq{12}));
  EXPECT_FALSE(cache.put_node(cache.ticket(), node(kFile, 5, 1), Seq{11}));
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.size, 6u);
}

TEST(TreeCache, NamesAreKnownAlsoNotToBeThere) {
  TreeCache cache;
  const Name name{kDir, "x"};
  EXPECT_FALSE(cache.name(name, Use::current));
  EXPECT_TRUE(cache.put_name(cache.ticket(), name, Ino{}, Seq{3}));
  ASSERT_TRUE(cache.name(name, Use::current));
  EXPECT_EQ(*cache.name(name, Use::current), Ino{});
  cache.revoke(revocation(4, {}, {{kDir, "x"}}));
  EXPECT_FALSE(cache.name(name, Use::current));
  EXPECT_FALSE(cache.put_name(cache.ticket(), name, Ino{}, Seq{3}));
  EXPECT_TRUE(cache.put_name(cache.ticket(), name, kFile, Seq{4}));
  EXPECT_EQ(*cache.name(name, Use::current), kFile);
}

TEST(TreeCache, NothingIsUsedWithoutALease) {
  TreeCache cache;
  cache.put_node(cache.ticket(), node(kFile), Seq{3});
  EXPECT_FALSE(cache.node(kFile, Use::nothing));
}

TEST(TreeCache, RepliesBegunBeforeALossStayOut) {
  TreeCache cache;
  const Ticket before = cache.ticket();
  cache.put_node(before, node(kFile), Seq{3});
  const Evicted known = cache.lose(false);
  EXPECT_EQ(known.nodes, std::vector<Ino>{kFile});
  EXPECT_FALSE(cache.node(kFile, Use::current));
  EXPECT_FALSE(cache.put_node(before, node(kFile), Seq{30}));
  EXPECT_FALSE(cache.put_name(before, {kDir, "x"}, kFile, Seq{30}));
  EXPECT_TRUE(cache.put_node(cache.ticket(), node(kFile), Seq{30}));
}

TEST(TreeCache, AReadOnlyRouteKeepsStaleFactsApart) {
  TreeCache cache;
  cache.put_node(cache.ticket(), node(kFile, 1), Seq{3});
  cache.lose(true);
  EXPECT_FALSE(cache.node(kFile, Use::current));
  EXPECT_EQ(cache.node(kFile, Use::stale)->attr.size, 1u);
  // What is told after the loss wins, whatever its as_of.
  EXPECT_TRUE(cache.put_node(cache.ticket(), node(kFile, 2), Seq{1}));
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.size, 2u);
}

TEST(TreeCache, PagesMakeAListingOnlyWithoutAGap) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  EXPECT_TRUE(cache.put_page(t, {kDir, {}, 2, false}, page({{"a", 20}, {"b", 21}}, false, 5, 1)));
  EXPECT_FALSE(cache.listed_absent({kDir, "zz"}, Use::current));
  auto known = cache.page(kDir, Cookie{}, 10, Use::current);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->entries.size(), 2u);
  EXPECT_FALSE(known->end);
  EXPECT_FALSE(cache.page(kDir, Cookie{2}, 10, Use::current));  // not known that far
  cache.put_page(t, {kDir, Cookie{7}, 2, false}, page({{"q", 29}}, true, 5, 8));  // a gap
  EXPECT_FALSE(cache.listed_absent({kDir, "zz"}, Use::current));
  cache.put_page(t, {kDir, Cookie{2}, 2, false}, page({{"c", 22}}, true, 6, 3));
  known = cache.page(kDir, Cookie{1}, 10, Use::current);
  ASSERT_TRUE(known);
  ASSERT_EQ(known->entries.size(), 2u);
  EXPECT_EQ(known->entries[1].name, "c");
  EXPECT_TRUE(known->end);
  EXPECT_TRUE(cache.listed_absent({kDir, "zz"}, Use::current));
  EXPECT_FALSE(cache.listed_absent({kDir, "c"}, Use::current));
  known = cache.page(kDir, Cookie{3}, 10, Use::current);
  ASSERT_TRUE(known);
  EXPECT_TRUE(known->entries.empty());
  EXPECT_TRUE(known->end);
}

TEST(TreeCache, ARevokedListingDoesNotGrowOn) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  cache.put_page(t, {kDir, {}, 1, false}, page({{"a", 20}}, false, 5, 1));
  cache.revoke(revocation(6, {{kDir, false, true}}));
  EXPECT_FALSE(cache.page(kDir, Cookie{}, 10, Use::current));
  EXPECT_FALSE(cache.put_page(t, {kDir, Cookie{1}, 1, false}, page({{"b", 21}}, true, 5, 2)));
  cache.put_page(t, {kDir, Cookie{1}, 1, false}, page({{"b", 21}}, true, 7, 2));
  EXPECT_FALSE(cache.page(kDir, Cookie{}, 10, Use::current));
  // Its attributes alone may change without the listing.
  cache.put_page(t, {kDir, {}, 2, false}, page({{"a", 20}}, true, 7, 1));
  cache.revoke(revocation(8, {{kDir, false, false}}));
  EXPECT_TRUE(cache.page(kDir, Cookie{}, 10, Use::current));
}

MutationReply reply(uint64_t seq, uint64_t as_of, std::vector<Node> nodes) {
  MutationReply r;
  r.seq = Seq{seq};
  r.as_of = Seq{as_of};
  r.nodes = std::move(nodes);
  return r;
}

TEST(TreeCache, AnOwnMutationEntersAndMakesOlderRepliesOld) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  cache.put_node(t, node(kFile, 1, 1), Seq{10});
  cache.put_name(t, {kDir, "x"}, Ino{}, Seq{10});
  cache.put_page(t, {kDir, {}, 5, false}, page({}, true, 10, 1));
  // The reply knows others' changes up to 11; its own is 15.
  cache.absorb(t, reply(15, 11, {node(kFile, 2, 2)}), {{{Name{kDir, "x"}, kFile}}, {kDir}});
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.size, 2u);
  EXPECT_EQ(*cache.name({kDir, "x"}, Use::current), kFile);
  EXPECT_FALSE(cache.page(kDir, Cookie{}, 10, Use::current));
  // A lookup that the router answered before the change arrives late.
  EXPECT_FALSE(cache.put_node(t, node(kFile, 1, 1), Seq{14}));
  EXPECT_FALSE(cache.put_name(t, {kDir, "x"}, Ino{}, Seq{14}));
}

TEST(TreeCache, AnOwnMutationThatWasOvertakenOnlyDrops) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  cache.put_node(t, node(kFile, 1, 1), Seq{10});
  cache.revoke(revocation(16, {{kFile, true, false}}));
  cache.absorb(t, reply(15, 14, {node(kFile, 2, 2)}), {});
  EXPECT_FALSE(cache.node(kFile, Use::current));
  // Two own ones at once: the first reply to come need not know the other.
  TreeCache other;
  other.absorb(other.ticket(), reply(61, 59, {node(kFile, 2, 2)}), {});
  other.absorb(other.ticket(), reply(60, 59, {node(kFile, 3, 3)}), {});
  EXPECT_FALSE(other.node(kFile, Use::current));
  // A replay's reply may not be cached at all.
  TreeCache third;
  third.absorb(third.ticket(), reply(15, 0, {node(kFile, 2, 2)}), {});
  EXPECT_FALSE(third.node(kFile, Use::current));
}

std::vector<std::string> words(const std::vector<Name>& names) {
  std::vector<std::string> words;
  for (const Name& name : names) words.push_back(name.name);
  return words;
}
using Words = std::vector<std::string>;

TEST(TreeCache, KnowsTheNamesByWhichAFileWasFound) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  const Name x{kDir, "x"}, y{kDir, "y"};
  cache.put_name(t, x, kFile, Seq{1});
  cache.put_name(t, y, kFile, Seq{1});
  EXPECT_EQ(words(cache.found_names(kFile).now), (Words{"y", "x"}));
  cache.revoke(revocation(5, {}, {{kDir, "x"}}));
  EXPECT_EQ(words(cache.found_names(kFile).now), (Words{"y", "x"}));
  cache.put_name(t, x, Ino{99}, Seq{5});
  EXPECT_EQ(words(cache.found_names(kFile).now), (Words{"y"}));
  EXPECT_EQ(words(cache.found_names(kFile).former), (Words{"x"}));
  // Its own mount has given y away, but then x stays.
  cache.absorb(t, reply(9, 9, {node(Ino{98}, 1, 1)}), {{{y, Ino{98}}}, {}});
  EXPECT_EQ(words(cache.found_names(kFile).now), (Words{}));
  EXPECT_EQ(words(cache.found_names(kFile).former), (Words{"x"}));
  EXPECT_EQ(words(cache.found_names(Ino{98}).now), (Words{"y"}));
}

// An answer knows all changes up to its as_of, and may know later ones, too.
TEST(TreeCache, AnAnswerAfterAnOwnChangeTellsTheNameWhateverItIsAsOf) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  const Name x{kDir, "x"};
  cache.absorb(t, reply(10, 10, {node(kFile, 1, 1)}), {{{x, kFile}}, {}});
  cache.revoke(revocation(11, {}, {{kDir, "x"}}));
  EXPECT_FALSE(cache.put_name(t, x, Ino{99}, Seq{9}));
  EXPECT_EQ(words(cache.found_names(Ino{99}).now), (Words{"x"}));
}

TEST(TreeCache, WhatHasNoNameLeftIsKnownByItsFormerOne) {
  TreeCache cache;
  const Ticket t = cache.ticket();
  const Name x{kDir, "x"};
  cache.put_name(t, x, kFile, Seq{1});
  Node gone = node(kFile, 2, 2);
  gone.attr.nlink = 0;
  cache.absorb(t, reply(10, 10, {node(Ino{98}, 1, 1), gone}), {{{x, Ino{98}}}, {}});
  EXPECT_EQ(words(cache.found_names(kFile).now), (Words{}));
  EXPECT_EQ(words(cache.found_names(kFile).former), (Words{"x"}));
}

TEST(TreeCache, IsBoundedAndTellsWhatFellOut) {
  TreeCache cache(10);
  for (uint64_t i = 0; i < 25; ++i) cache.put_node(cache.ticket(), node(Ino{100 + i}), Seq{1});
  EXPECT_EQ(cache.sizes().nodes, 10u);
  const Evicted out = cache.take_evicted();
  EXPECT_EQ(out.nodes.size(), 15u);
  EXPECT_EQ(out.nodes.front(), Ino{100});
  EXPECT_TRUE(cache.take_evicted().nodes.empty());
}

TEST(TreeCache, AnOwnAccessTimeSurvivesARefetchThatDoesNotKnowIt) {
  TreeCache cache;
  cache.put_node(cache.ticket(), node(kFile), Seq{1});
  cache.set_atime(kFile, Time{500});
  cache.put_node(cache.ticket(), node(kFile), Seq{2});
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.atime, Time{500});
  Node changed = node(kFile);
  changed.attr.seq = Seq{3};  // utimensat elsewhere
  cache.put_node(cache.ticket(), changed, Seq{3});
  EXPECT_EQ(cache.node(kFile, Use::current)->attr.atime, Time{0});
}

TEST(TreeCache, RevokedEverythingKeepsOlderRepliesOut) {
  TreeCache cache;
  Revocation all = revocation(50, {});
  all.everything = true;
  cache.revoke(all);
  EXPECT_FALSE(cache.put_node(cache.ticket(), node(kFile), Seq{49}));
  EXPECT_TRUE(cache.put_node(cache.ticket(), node(kFile), Seq{50}));
}

}  // namespace
}  // namespace linkspan::cache
