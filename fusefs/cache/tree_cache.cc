#include "fusefs/cache/tree_cache.h"

#include <algorithm>
#include <utility>

namespace linkspan::cache {
namespace {

constexpr size_t kCachedXattrs = 16384;      // nodes
constexpr size_t kCachedListings = 16384;    // directories
constexpr size_t kListedEntries = 400000;    // of all listings together
constexpr size_t kPendingEvictions = 65536;  // then the oldest are forgotten: they cost at most a
                                             // kernel entry that only a revocation ends

Name as_name(const RevokedName& name) {
  return Name{name.parent, name.name};
}

}  // namespace

TreeCache::TreeCache(size_t nodes)
    : nodes_(nodes),
      names_(nodes),
      listings_(kCachedListings),
      xattrs_(kCachedXattrs),
      found_(nodes),
      own_names_(nodes) {}

bool TreeCache::usable(uint64_t generation, Use use) const {
  switch (use) {
    case Use::nothing:
      return false;
    case Use::current:
      return generation == generation_.load(std::memory_order_relaxed);
    case Use::stale:
      return true;
  }
  return false;
}

bool TreeCache::put_node(Ticket ticket, const Node& node, Seq as_of) {
  std::lock_guard lock(mutex_);
  return put_node_locked(ticket, node, as_of);
}

bool TreeCache::put_node_locked(Ticket ticket, const Node& node, Seq as_of) {
  if (!node_fence_.admits(node.attr.ino, as_of)) return false;
  return enter_node(ticket, node, as_of);
}

bool TreeCache::enter_node(Ticket ticket, const Node& node, Seq as_of) {
  const Ino ino = node.attr.ino;
  if (ticket.generation != generation_ || held_everything_ || held_nodes_.count(ino)) return false;
  Node kept;  // without content
  kept.attr = node.attr;
  kept.target = node.target;
  if (const auto* had = nodes_.peek(ino); had && had->generation == ticket.generation) {
    if (had->as_of > as_of) return false;
    // A relaxed access time of our own that the reply does not know yet.
    if (had->fact.attr.seq == kept.attr.seq)
      kept.attr.atime = std::max(kept.attr.atime, had->fact.attr.atime);
  }
  nodes_.put(ino, Told<Node>{std::move(kept), as_of, ticket.generation},
             [this](const Ino& old, const auto&) {
               if (evicted_.nodes.size() < kPendingEvictions) evicted_.nodes.push_back(old);
             });
  return true;
}

bool TreeCache::put_name(Ticket ticket, const Name& name, Ino ino, Seq as_of) {
  std::lock_guard lock(mutex_);
  return put_name_locked(ticket, name, ino, as_of);
}

bool TreeCache::put_name_locked(Ticket ticket, const Name& name, Ino ino, Seq as_of) {
  if (ino) found(ino, name);
  if (!name_fence_.admits(name, as_of)) return false;
  return enter_name(ticket, name, ino, as_of);
}

bool TreeCache::enter_name(Ticket ticket, const Name& name, Ino ino, Seq as_of) {
  if (ticket.generation != generation_ || held_everything_ || held_names_.count(name)) return false;
  if (const auto* had = names_.peek(name);
      had && had->generation == ticket.generation && had->as_of > as_of)
    return false;
  names_.put(name, Told<Ino>{ino, as_of, ticket.generation}, [this](const Name& old, const auto&) {
    if (evicted_.names.size() < kPendingEvictions) evicted_.names.push_back(old);
  });
  return true;
}

bool TreeCache::put_page(Ticket ticket, const ReadDirRequest& request, const ReadDirReply& reply) {
  std::lock_guard lock(mutex_);
  put_node_locked(ticket, reply.dir, reply.as_of);
  for (const DirEntry& entry : reply.entries) {
    put_node_locked(ticket, entry.node, reply.as_of);
    put_name_locked(ticket, Name{request.dir, entry.name}, entry.node.attr.ino, reply.as_of);
  }
  return put_listing_locked(ticket, request, reply);
}

bool TreeCache::put_listing_locked(Ticket ticket, const ReadDirRequest& request,
                                   const ReadDirReply& reply) {
  const Ino dir = request.dir;
  if (ticket.generation != generation_ || !listing_fence_.admits(dir, reply.as_of)) return false;
  if (held_everything_ || held_listings_.count(dir)) return false;
  std::shared_ptr<Listing> listing;
  if (!request.after) {
    drop_listing(dir);
    listing = std::make_shared<Listing>();
    listing->generation = ticket.generation;
    listing->as_of = reply.as_of;
  } else {
    auto* known = listings_.find(dir);
    if (!known || (*known)->complete || (*known)->generation != ticket.generation) return true;
    if ((*known)->entries.empty() || (*known)->entries.back().cookie != request.after) return true;
    listing = *known;
    listing->as_of = std::min(listing->as_of, reply.as_of);
  }
  for (const DirEntry& e : reply.entries)
    listing->entries.push_back(ListedEntry{e.name, e.cookie, e.node.attr.ino, e.node.attr.kind});
  listed_ += reply.entries.size();
  listing->complete = reply.end;
  if (reply.end)
    for (const ListedEntry& e : listing->entries) listing->by_name.emplace(e.name, e.ino);
  listings_.put(dir, listing, [this](const Ino&, const std::shared_ptr<Listing>& old) {
    listed_ -= old->entries.size();
  });
  while (listed_ > kListedEntries && listings_.size() > 1) drop_listing(listings_.oldest());
  return true;
}

void TreeCache::drop_listing(Ino dir) {
  if (const auto* listing = listings_.peek(dir)) {
    listed_ -= (*listing)->entries.size();
    listings_.erase(dir);
  }
}

bool TreeCache::put_xattrs(Ticket ticket, Ino ino, const XattrsReply& reply) {
  std::lock_guard lock(mutex_);
  if (ticket.generation != generation_ || !node_fence_.admits(ino, reply.as_of)) return false;
  if (held_everything_ || held_nodes_.count(ino)) return false;
  xattrs_.put(ino, {reply.xattrs, reply.as_of, ticket.generation});
  return true;
}

std::optional<Node> TreeCache::node(Ino ino, Use use) {
  std::lock_guard lock(mutex_);
  const auto* told = nodes_.find(ino);
  if (!told || !usable(told->generation, use)) return std::nullopt;
  return told->fact;
}

std::optional<Ino> TreeCache::name(const Name& name, Use use) {
  std::lock_guard lock(mutex_);
  const auto* told = names_.find(name);
  if (!told || !usable(told->generation, use)) return std::nullopt;
  if (told->fact) found(told->fact, name);
  return told->fact;
}

std::optional<ListedPage> TreeCache::page(Ino dir, Cookie after, size_t limit, Use use) {
  std::lock_guard lock(mutex_);
  const auto* found = listings_.find(dir);
  if (!found || !usable((*found)->generation, use)) return std::nullopt;
  const Listing& listing = **found;
  auto from = std::upper_bound(listing.entries.begin(), listing.entries.end(), after,
                               [](Cookie c, const ListedEntry& e) { return c < e.cookie; });
  if (from == listing.entries.end() && !listing.complete) return std::nullopt;
  const size_t count = std::min<size_t>(limit, listing.entries.end() - from);
  ListedPage page;
  page.entries.assign(from, from + static_cast<ptrdiff_t>(count));
  page.end = listing.complete && from + static_cast<ptrdiff_t>(count) == listing.entries.end();
  return page;
}

bool TreeCache::listed_absent(const Name& name, Use use) {
  std::lock_guard lock(mutex_);
  const auto* found = listings_.find(name.parent);
  if (!found || !(*found)->complete || !usable((*found)->generation, use)) return false;
  return (*found)->by_name.count(name.name) == 0;
}

std::optional<std::vector<Xattr>> TreeCache::xattrs(Ino ino, Use use) {
  std::lock_guard lock(mutex_);
  const auto* told = xattrs_.find(ino);
  if (!told || !usable(told->generation, use)) return std::nullopt;
  return told->fact;
}

void TreeCache::found(Ino ino, const Name& name) {
  std::vector<Found>* names = found_.find(ino);
  if (!names) return found_.put(ino, {{name, moment()}});
  auto at = std::find_if(names->begin(), names->end(),
                         [&](const Found& each) { return each.name == name; });
  if (at == names->end()) {
    if (names->size() == kFoundNames) names->pop_back();
    at = names->insert(names->end(), Found{name, moment()});
  }
  at->moment = moment();
  std::rotate(names->begin(), at, at + 1);
}

FoundNames TreeCache::found_names(Ino ino) {
  std::lock_guard lock(mutex_);
  FoundNames names;
  const std::vector<Found>* found = found_.find(ino);
  if (!found) return names;
  for (const auto& [name, moment] : *found) {
    if (const uint64_t* own = own_names_.peek(name); own && *own > moment) continue;
    const auto* told = names_.peek(name);
    (told && told->fact != ino ? names.former : names.now).push_back(name);
  }
  return names;
}

void TreeCache::set_atime(Ino ino, Time atime) {
  std::lock_guard lock(mutex_);
  if (auto* told = nodes_.find(ino)) told->fact.attr.atime = atime;
}

void TreeCache::absorb(Ticket ticket, const MutationReply& reply, const OwnChange& change) {
  std::lock_guard lock(mutex_);
  moment_.fetch_add(1, std::memory_order_acq_rel);
  for (const Node& node : reply.nodes) {
    const bool admitted = node_fence_.admits(node.attr.ino, reply.as_of);
    changed_node(node.attr.ino, reply.seq);
    if (admitted && reply.as_of) enter_node(ticket, node, reply.as_of);
  }
  for (const auto& [name, ino] : change.names) {
    const bool admitted = name_fence_.admits(name, reply.as_of);
    changed_name(name, reply.seq);
    own_names_.put(name, moment());
    if (ino && *ino) found(*ino, name);
    if (admitted && reply.as_of && ino) enter_name(ticket, name, *ino, reply.as_of);
  }
  for (const Ino dir : change.listings) changed_listing(dir, reply.seq);
  // What has no name left is opened now by who looked it up before.
  for (const Node& node : reply.nodes)
    if (auto* names = node.attr.nlink == 0 ? found_.find(node.attr.ino) : nullptr)
      for (Found& each : *names) each.moment = moment();
}

void TreeCache::changed_node(Ino ino, Seq seq) {
  node_fence_.raise(ino, seq);
  if (const auto* told = nodes_.peek(ino); told && told->as_of < seq) nodes_.erase(ino);
  if (const auto* told = xattrs_.peek(ino); told && told->as_of < seq) xattrs_.erase(ino);
}

void TreeCache::changed_listing(Ino dir, Seq seq) {
  listing_fence_.raise(dir, seq);
  if (const auto* listing = listings_.peek(dir); listing && (*listing)->as_of < seq)
    drop_listing(dir);
}

void TreeCache::changed_name(const Name& name, Seq seq) {
  name_fence_.raise(name, seq);
  if (const auto* told = names_.peek(name); told && told->as_of < seq) names_.erase(name);
}

void TreeCache::forget(const Revocation& revocation) {
  moment_.fetch_add(1, std::memory_order_acq_rel);
  for (const RevokedNode& node : revocation.nodes) {
    nodes_.erase(node.ino);
    xattrs_.erase(node.ino);
    if (node.listing) drop_listing(node.ino);
  }
  for (const RevokedName& name : revocation.names) names_.erase(as_name(name));
}

void TreeCache::hold_off(const Revocation& touched) {
  std::lock_guard lock(mutex_);
  for (const RevokedNode& node : touched.nodes) {
    held_nodes_.insert(node.ino);
    if (node.listing) held_listings_.insert(node.ino);
  }
  for (const RevokedName& name : touched.names) held_names_.insert(as_name(name));
  held_everything_ += touched.everything;
  forget(touched);
}

void TreeCache::let_in(const Revocation& touched) {
  std::lock_guard lock(mutex_);
  const auto one = [](auto& held, const auto& key) { held.erase(held.find(key)); };
  for (const RevokedNode& node : touched.nodes) {
    one(held_nodes_, node.ino);
    if (node.listing) one(held_listings_, node.ino);
  }
  for (const RevokedName& name : touched.names) one(held_names_, as_name(name));
  held_everything_ -= touched.everything;
}

void TreeCache::revoke(const Revocation& revocation) {
  std::lock_guard lock(mutex_);
  forget(revocation);
  for (const RevokedNode& node : revocation.nodes) {
    node_fence_.raise(node.ino, revocation.seq);
    if (node.listing) listing_fence_.raise(node.ino, revocation.seq);
  }
  for (const RevokedName& name : revocation.names) name_fence_.raise(as_name(name), revocation.seq);
  if (!revocation.everything) return;
  node_fence_.raise_floor(revocation.seq);
  listing_fence_.raise_floor(revocation.seq);
  name_fence_.raise_floor(revocation.seq);
}

Evicted TreeCache::lose(bool keep_stale) {
  std::lock_guard lock(mutex_);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  moment_.fetch_add(1, std::memory_order_acq_rel);
  Evicted known = std::exchange(evicted_, {});
  nodes_.for_each([&](const Ino& ino, const auto&) { known.nodes.push_back(ino); });
  names_.for_each([&](const Name& name, const auto&) { known.names.push_back(name); });
  if (keep_stale) return known;
  nodes_.clear();
  names_.clear();
  listings_.clear();
  xattrs_.clear();
  listed_ = 0;
  return known;
}

Evicted TreeCache::take_evicted() {
  std::lock_guard lock(mutex_);
  return std::exchange(evicted_, {});
}

TreeCache::Sizes TreeCache::sizes() const {
  std::lock_guard lock(mutex_);
  return Sizes{nodes_.size(), names_.size()};
}

}  // namespace linkspan::cache
