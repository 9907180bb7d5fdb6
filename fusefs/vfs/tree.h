// The shared tree as this mount knows it: facts from the caches while the lease allows it, else
// from the router, one fetch for many callers. Every fact comes with whether it is cached now: only
// then will a revocation reach it, and only then may the kernel keep it.
//
// Threads: any. Waits for the router without a lock.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "fusefs/cache/content_cache.h"
#include "fusefs/cache/single_flight.h"
#include "fusefs/cache/tree_cache.h"
#include "fusefs/vfs/calls.h"

namespace linkspan::vfs {

struct KnownNode {
  Node node;  // without content: that is in the content cache
  bool cached = false;
};
struct KnownName {
  std::optional<Node> node;  // none: there is no such name
  bool name_cached = false;
  bool node_cached = false;
};
struct KnownPage {
  struct Entry {
    std::string name;
    Cookie cookie;
    Node node;
    bool name_cached = false;
    bool node_cached = false;
  };
  std::vector<Entry> entries;
  bool end = false;
};

struct TreeCounters {
  std::atomic<uint64_t> attr_hits{0}, attr_misses{0}, name_hits{0}, name_misses{0};
};

class Tree {
 public:
  // None is owned.
  Tree(client::RouterClient* client, cache::ContentCache* content, ReplyGate* gate,
       const VfsOptions* options)
      : client_(client), content_(content), gate_(gate), options_(options) {}

  // `not_found` from none of these means anything but that the router said so.
  Result<KnownNode> node(const Doing& doing, Ino ino, bool want_content = false);
  Result<KnownName> lookup(const Doing& doing, const cache::Name& name);
  Result<KnownPage> page(const Doing& doing, Ino dir, Cookie after, size_t limit);
  Result<std::vector<Xattr>> xattrs(const Doing& doing, Ino ino);

  // What the caches know without asking anybody.
  std::optional<KnownNode> known_node(Ino ino);
  std::optional<Ino> known_name(const cache::Name& name);  // Ino 0: known not to be there
  // The same, also by a complete listing without it.
  std::optional<Ino> sure_name(const cache::Name& name);
  cache::FoundNames found_names(Ino ino) { return cache_.found_names(ino); }
  // The newest of those that it has now.
  std::optional<cache::Name> last_name(Ino ino);

  // Facts of a reply enter the caches. `ticket` is from before the request.
  cache::Ticket ticket() const { return cache_.ticket(); }
  // An own mutation's, and what it did to names and listings. Replies of before, still on their way
  // to the kernel, will not be kept there.
  using OwnChange = cache::TreeCache::OwnChange;
  void changed(cache::Ticket ticket, const MutationReply& reply, const OwnChange& change = {});
  void set_atime(Ino ino, Time atime) { cache_.set_atime(ino, atime); }

  void revoke(const Revocation& revocation) { cache_.revoke(revocation); }
  void hold_off(const Revocation& touched) { cache_.hold_off(touched); }
  void let_in(const Revocation& touched) { cache_.let_in(touched); }
  cache::Evicted lose(bool keep_stale) { return cache_.lose(keep_stale); }
  cache::Evicted take_evicted() { return cache_.take_evicted(); }
  cache::TreeCache::Sizes sizes() const { return cache_.sizes(); }

  const TreeCounters& counters() const { return counters_; }
  client::RouterClient* client() const { return client_; }

  // Which facts may be used now.
  cache::Use use() const;

 private:
  struct PageKey {
    Ino dir;
    Cookie after;
    bool operator==(const PageKey&) const = default;
  };
  struct PageHash {
    size_t operator()(const PageKey& k) const noexcept {
      return std::hash<Ino>{}(k.dir) ^ (std::hash<Cookie>{}(k.after) << 1);
    }
  };

  cache::Fetched<KnownNode> fetch_node(const Doing& doing, Ino ino, bool want_content);
  cache::Fetched<KnownName> fetch_name(const Doing& doing, const cache::Name& name);
  cache::Fetched<KnownPage> fetch_page(const Doing& doing, Ino dir, Cookie after);
  std::optional<KnownPage> known_page(Ino dir, Cookie after, size_t limit);
  void keep_content(uint64_t asked, const Node& node);
  bool lease() const { return client_->lease_valid(); }

  client::RouterClient* client_;
  cache::ContentCache* content_;
  ReplyGate* gate_;
  const VfsOptions* options_;
  cache::TreeCache cache_;
  TreeCounters counters_;
  cache::SingleFlight<Ino, KnownNode> node_flights_;
  cache::SingleFlight<cache::Name, KnownName, cache::NameHash> name_flights_;
  cache::SingleFlight<PageKey, KnownPage, PageHash> page_flights_;
};

}  // namespace linkspan::vfs
