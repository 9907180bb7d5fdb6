#include "fusefs/vfs/tree.h"

#include <algorithm>

#include "linkspan/limits.h"

namespace linkspan::vfs {
namespace {

constexpr uint32_t kFetchEntries = 1024;  // of one page of a directory

Node without_content(const Node& node) {
  Node bare;
  bare.attr = node.attr;
  bare.target = node.target;
  return bare;
}

}  // namespace

cache::Use Tree::use() const {
  if (lease()) return cache::Use::current;
  // A read-only route goes on with what it has while the router is away; not when the session was
  // ended, for that takes the right to read away.
  if (!options_->route.writable() && client_->link().link != client::Link::ended)
    return cache::Use::stale;
  return cache::Use::nothing;
}

void Tree::keep_content(uint64_t asked, const Node& node) {
  if (node.content)
    content_->put(asked, cache::ContentId{node.attr.ino, node.attr.version}, 0, *node.content);
}

// ---- nodes ----------------------------------------------------------------------------------

std::optional<KnownNode> Tree::known_node(Ino ino) {
  const cache::Use allowed = use();
  auto node = cache_.node(ino, allowed);
  if (!node) return std::nullopt;
  return KnownNode{std::move(*node), allowed == cache::Use::current};
}

Result<KnownNode> Tree::node(const Doing& doing, Ino ino, bool want_content) {
  const uint64_t since = cache_.moment();
  if (auto known = known_node(ino)) {
    counters_.attr_hits.fetch_add(1, std::memory_order_relaxed);
    return std::move(*known);
  }
  counters_.attr_misses.fetch_add(1, std::memory_order_relaxed);
  const auto fetch = [&] { return fetch_node(doing, ino, want_content); };
  return node_flights_.run(ino, doing.patience(), fetch, since);
}

cache::Fetched<KnownNode> Tree::fetch_node(const Doing& doing, Ino ino, bool want_content) {
  const cache::Ticket ticket = cache_.ticket();
  const uint64_t asked = content_->moment();
  auto reply = client_->getattr(doing.call(), GetAttrRequest{ino, want_content});
  if (!reply.ok()) return {reply.error(), false};
  keep_content(asked, reply->node);
  const uint64_t moment = cache_.moment();
  const bool cached = cache_.put_node(ticket, reply->node, reply->as_of) && lease();
  return {KnownNode{without_content(reply->node), cached}, cached, moment};
}

// ---- names ----------------------------------------------------------------------------------

std::optional<Ino> Tree::known_name(const cache::Name& name) {
  return cache_.name(name, use());
}

std::optional<Ino> Tree::sure_name(const cache::Name& name) {
  if (const auto ino = known_name(name)) return ino;
  return cache_.listed_absent(name, use()) ? std::optional<Ino>(Ino{}) : std::nullopt;
}

std::optional<cache::Name> Tree::last_name(Ino ino) {
  auto names = cache_.found_names(ino).now;
  return names.empty() ? std::nullopt : std::optional<cache::Name>(std::move(names.front()));
}

Result<KnownName> Tree::lookup(const Doing& doing, const cache::Name& name) {
  const uint64_t since = cache_.moment();
  const cache::Use allowed = use();
  const bool lasting = allowed == cache::Use::current;
  if (const auto ino = cache_.name(name, allowed)) {
    counters_.name_hits.fetch_add(1, std::memory_order_relaxed);
    if (!*ino) return KnownName{std::nullopt, lasting, false};
    auto known = node(doing, *ino, true);
    if (known.ok()) return KnownName{std::move(known->node), lasting, known->cached};
    if (known.code() != Code::stale_node && known.code() != Code::not_found) return known.error();
  } else if (cache_.listed_absent(name, allowed)) {
    // Whoever was told of a directory's entries is told of each change of a name in it.
    counters_.name_hits.fetch_add(1, std::memory_order_relaxed);
    return KnownName{std::nullopt, lasting, false};
  }
  counters_.name_misses.fetch_add(1, std::memory_order_relaxed);
  const auto fetch = [&] { return fetch_name(doing, name); };
  return name_flights_.run(name, doing.patience(), fetch, since);
}

cache::Fetched<KnownName> Tree::fetch_name(const Doing& doing, const cache::Name& name) {
  const cache::Ticket ticket = cache_.ticket();
  const uint64_t asked = content_->moment();
  auto reply = client_->lookup(doing.call(), LookupRequest{name.parent, name.name, true});
  if (!reply.ok()) return {reply.error(), false};
  KnownName known;
  const uint64_t moment = cache_.moment();
  if (reply->node) {
    keep_content(asked, *reply->node);
    known.node_cached = cache_.put_node(ticket, *reply->node, reply->as_of) && lease();
    known.node = without_content(*reply->node);
  }
  const Ino ino = known.node ? known.node->attr.ino : Ino{};
  known.name_cached = cache_.put_name(ticket, name, ino, reply->as_of) && lease();
  const bool current = known.name_cached && (!known.node || known.node_cached);
  return {std::move(known), current, moment};
}

// ---- directories ----------------------------------------------------------------------------

std::optional<KnownPage> Tree::known_page(Ino dir, Cookie after, size_t limit) {
  const cache::Use allowed = use();
  auto listed = cache_.page(dir, after, limit, allowed);
  if (!listed) return std::nullopt;
  KnownPage page;
  page.end = listed->end;
  for (cache::ListedEntry& entry : listed->entries) {
    auto known = known_node(entry.ino);
    if (!known) return std::nullopt;
    const bool name_cached = allowed == cache::Use::current &&
                             cache_.name(cache::Name{dir, entry.name}, allowed) == entry.ino;
    page.entries.push_back(
        {std::move(entry.name), entry.cookie, std::move(known->node), name_cached, known->cached});
  }
  return page;
}

Result<KnownPage> Tree::page(const Doing& doing, Ino dir, Cookie after, size_t limit) {
  const uint64_t since = cache_.moment();
  if (auto known = known_page(dir, after, limit)) return std::move(*known);
  const auto fetch = [&] { return fetch_page(doing, dir, after); };
  auto fetched = page_flights_.run(PageKey{dir, after}, doing.patience(), fetch, since);
  if (fetched.ok() && fetched->entries.size() > limit) {
    fetched->entries.resize(limit);
    fetched->end = false;
  }
  return fetched;
}

cache::Fetched<KnownPage> Tree::fetch_page(const Doing& doing, Ino dir, Cookie after) {
  const cache::Ticket ticket = cache_.ticket();
  const ReadDirRequest request{dir, after, kFetchEntries, true};
  const uint64_t asked = content_->moment();
  auto reply = client_->readdir(doing.call(), request);
  if (!reply.ok()) return {reply.error(), false};
  for (const DirEntry& entry : reply->entries) keep_content(asked, entry.node);
  const uint64_t moment = cache_.moment();
  bool current = cache_.put_page(ticket, request, *reply) && lease();
  KnownPage page;
  page.end = reply->end;
  for (DirEntry& entry : reply->entries) {
    const Ino ino = entry.node.attr.ino;
    // Kept, and by this reply: then what the cache says of it is what is handed out.
    const auto node = cache_.node(ino, use());
    const bool node_cached = lease() && node && node->attr == entry.node.attr;
    const bool name_cached = lease() && cache_.name({dir, entry.name}, use()) == ino;
    current = current && node_cached && name_cached;
    page.entries.push_back({std::move(entry.name), entry.cookie, without_content(entry.node),
                            name_cached, node_cached});
  }
  return {std::move(page), current, moment};
}

// ---- extended attributes --------------------------------------------------------------------

Result<std::vector<Xattr>> Tree::xattrs(const Doing& doing, Ino ino) {
  if (auto known = cache_.xattrs(ino, use())) return std::move(*known);
  const cache::Ticket ticket = cache_.ticket();
  auto reply = client_->xattrs(doing.call(), ino);
  if (!reply.ok()) return reply.error();
  cache_.put_xattrs(ticket, ino, *reply);
  return std::move(reply->xattrs);
}

// ---- own mutations --------------------------------------------------------------------------

void Tree::changed(cache::Ticket ticket, const MutationReply& reply, const OwnChange& change) {
  cache_.absorb(ticket, reply, change);
  gate_->advance();
}

}  // namespace linkspan::vfs
