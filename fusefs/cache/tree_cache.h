// What the mount knows of the tree: attributes and symlink targets, names (also that there is
// none), listings and extended attributes. Each fact was told by the router with an as_of and is
// kept until a revocation, bounded, least recently used first out.
//
// A fact enters only if no revocation overtook it (fence.h) and the caches were not lost since its
// request began (Ticket). Facts of before a loss can be kept as `stale`: a read-only route serves
// them while the router is away, and nobody else.
//
// Threads: any; no call blocks.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "fusefs/cache/fence.h"
#include "fusefs/cache/lru.h"
#include "fusefs/cache/names.h"
#include "linkspan/limits.h"
#include "linkspan/ops.h"

namespace linkspan::cache {

// Which facts an answer may use.
enum class Use : uint8_t {
  nothing,  // no lease
  current,  // told under the lease that is valid now
  stale,    // also those of before the lease was lost
};

// Taken before a request is sent; facts in its reply enter the caches with it.
struct Ticket {
  uint64_t generation = 0;
};

struct ListedEntry {
  std::string name;
  Cookie cookie;
  Ino ino;
  Kind kind = Kind::file;
};

struct ListedPage {
  std::vector<ListedEntry> entries;
  bool end = false;
};

struct Evicted {
  std::vector<Ino> nodes;
  std::vector<Name> names;
};

class TreeCache {
 public:
  explicit TreeCache(size_t nodes = limits::kCachedNodes);

  Ticket ticket() const { return Ticket{generation_.load(std::memory_order_acquire)}; }
  // How often something was revoked, lost or changed here: what was noted after one of the same
  // number was current then.
  uint64_t moment() const { return moment_.load(std::memory_order_acquire); }

  // Each returns whether the fact was kept: only then may the kernel keep it, too. (A newer fact
  // that is there already counts as kept only if it is the same.)
  bool put_node(Ticket ticket, const Node& node, Seq as_of);
  bool put_name(Ticket ticket, const Name& name, Ino ino, Seq as_of);  // ino 0: no such name
  // Whether the listing is current; its nodes and names enter one by one.
  bool put_page(Ticket ticket, const ReadDirRequest& request, const ReadDirReply& reply);
  bool put_xattrs(Ticket ticket, Ino ino, const XattrsReply& reply);

  std::optional<Node> node(Ino ino, Use use);
  std::optional<Ino> name(const Name& name, Use use);  // Ino 0: known not to be there
  // Entries after `after`, at most `limit`; none if the listing is not known that far.
  std::optional<ListedPage> page(Ino dir, Cookie after, size_t limit, Use use);
  // A complete listing says that there is no such name.
  bool listed_absent(const Name& name, Use use);
  std::optional<std::vector<Xattr>> xattrs(Ino ino, Use use);

  // At most the newest kFoundNames. Not those that this mount itself has given to another node, or
  // removed, where the node has others left: it is found by these.
  FoundNames found_names(Ino ino);
  static constexpr size_t kFoundNames = 8;

  // An access time that only this mount knows until the router has it.
  void set_atime(Ino ino, Time atime);

  // An own mutation: what was said of its nodes, names and listings before `reply.seq` is old, and
  // so are replies that come later with an as_of below. Its own reply is exempt from that: what it
  // tells enters unless something else overtook it.
  struct OwnChange {
    std::vector<std::pair<Name, std::optional<Ino>>> names;  // none: changed, it is not known how
    std::vector<Ino> listings;
  };
  void absorb(Ticket ticket, const MutationReply& reply, const OwnChange& change);

  void revoke(const Revocation& revocation);
  // What this names goes, and nothing is kept of it until let_in() of the same: an own change of it
  // may be made at any time, and no revocation would tell.
  void hold_off(const Revocation& touched);
  void let_in(const Revocation& touched);
  // The lease was lost. Returns what was known, for the kernel's caches to be emptied of it.
  Evicted lose(bool keep_stale);
  // What fell out since the last call; the kernel may still have it.
  Evicted take_evicted();

  struct Sizes {
    size_t nodes = 0, names = 0;
  };
  Sizes sizes() const;

 private:
  template <class Fact>
  struct Told {
    Fact fact;
    Seq as_of;
    uint64_t generation = 0;
  };
  struct Listing {
    std::vector<ListedEntry> entries;  // ascending cookies
    bool complete = false;
    Seq as_of;  // of the oldest page
    uint64_t generation = 0;
    std::map<std::string, Ino, std::less<>> by_name;  // once complete
  };

  bool usable(uint64_t generation, Use use) const;
  void changed_node(Ino ino, Seq seq);
  void changed_listing(Ino dir, Seq seq);
  void changed_name(const Name& name, Seq seq);
  bool enter_node(Ticket ticket, const Node& node, Seq as_of);
  bool enter_name(Ticket ticket, const Name& name, Ino ino, Seq as_of);
  bool put_node_locked(Ticket ticket, const Node& node, Seq as_of);
  bool put_name_locked(Ticket ticket, const Name& name, Ino ino, Seq as_of);
  bool put_listing_locked(Ticket ticket, const ReadDirRequest& request, const ReadDirReply& reply);
  void found(Ino ino, const Name& name);
  void drop_listing(Ino dir);
  void forget(const Revocation& revocation);

  std::atomic<uint64_t> generation_{1};
  std::atomic<uint64_t> moment_{1};
  mutable std::mutex mutex_;  // leaf; guards all below
  LruMap<Ino, Told<Node>> nodes_;
  LruMap<Name, Told<Ino>, NameHash> names_;
  LruMap<Ino, std::shared_ptr<Listing>> listings_;
  LruMap<Ino, Told<std::vector<Xattr>>> xattrs_;
  struct Found {
    Name name;
    uint64_t moment;
  };
  LruMap<Ino, std::vector<Found>> found_;  // the newest first
  // The moment of the last own change of each. (Not its seq: a reply can know of a change though
  // its as_of is less, and a name that is not known of is a change of another's that is not seen.)
  LruMap<Name, uint64_t, NameHash> own_names_;
  size_t listed_ = 0;  // entries in listings_
  Fence<Ino> node_fence_;
  Fence<Ino> listing_fence_;
  Fence<Name, NameHash> name_fence_;
  Evicted evicted_;
  std::unordered_multiset<Ino> held_nodes_, held_listings_;
  std::unordered_multiset<Name, NameHash> held_names_;
  unsigned held_everything_ = 0;
};

}  // namespace linkspan::cache
