// What the kernel has of this route in its own caches: of which version its pages are, and the
// notices that make it drop something.
//
// Threads: any. Notices go out without a lock; `later` leaves them to a thread of their own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "fusefs/cache/lru.h"
#include "fusefs/cache/tree_cache.h"
#include "fusefs/vfs/told_sizes.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

inline constexpr std::chrono::milliseconds kDropWait{100};
inline constexpr size_t kNotices = 65536;  // that wait; then whoever adds one sends it itself

class KernelView {
 public:
  // Neither is owned; `kernel` may be null.
  // `names_wait`: the kernel drops a name only when no lookup in its directory is under way.
  KernelView(KernelCache* kernel, ReplyGate* gate, bool names_wait);
  ~KernelView();

  // The kernel's pages are of this version: they were read through this mount, or written.
  void pages_are(Ino ino, Version version);
  void pages_are_unknown(Ino ino);
  bool pages_of(Ino ino, Version version);
  // A read put bytes of this version into them; with others there they are of nobody knows what.
  void pages_got(Ino ino, Version version);
  // They became those of `after` if they were those of `before`, else they are of nobody knows
  // what: the next open does not keep them.
  void pages_become(Ino ino, Version before, Version after);

  ToldSizes& sizes() { return sizes_; }
  // This mount made the version.
  void is_own(Ino ino, Version version);
  bool own(Ino ino, Version version);

  // From the revocation's thread, at once; between the notices of sizes(). The kernel may wait for
  // requests that are under way (a READ of a file whose pages are to go, a LOOKUP where
  // names_wait), and they for a link that only the caller's thread can bring back: then another
  // thread does it. Returns when that is done; with the lease lost after kDropWait at the latest
  // (whoever lost it acknowledges nothing, and what is to go does so as soon as the requests are
  // answered).
  void drop_names(std::vector<RevokedName> names, const std::function<bool()>& lease);
  // Of `contents` the pages, too.
  void drop_revoked(const std::vector<Ino>& attributes, std::vector<Ino> contents,
                    const std::function<bool()>& lease);
  // `dirty`: this file's pages are its local view and stay.
  void drop_all(const cache::Evicted& known, const std::function<bool(Ino)>& dirty,
                const std::function<bool()>& lease);

  // While one lives a READ of the file is under way: its pages are dropped after the others'.
  class Reading {
   public:
    Reading(KernelView* view, Ino ino);
    ~Reading();
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;

   private:
    KernelView* view_;
    Ino ino_;
  };

  // From an operation's thread. The second not where a READ of the file may be under way.
  void drop_attributes(Ino ino);
  void drop_content(Ino ino);

  // From the thread of notices, soon. Safe wherever a request of the mount is under way.
  void drop_content_later(Ino ino);
  void evicted(cache::Evicted evicted, bool read_only);

  bool can_drop_names() const { return kernel_ && kernel_->can_drop_names(); }

 private:
  void drop_contents(std::vector<Ino> inos, const std::function<bool()>& lease);
  void elsewhere(std::function<void()> notice, const std::function<bool()>& lease);
  void notify(const std::vector<Ino>& inos, void (KernelCache::*drop)(Ino));
  void later(std::function<void()> notice);
  void enqueue(std::function<void()> notice);
  void run();

  KernelCache* kernel_;
  ReplyGate* gate_;
  const bool names_wait_;
  ToldSizes sizes_;
  // Leaf. Guards all up to reading_.
  std::mutex pages_mutex_;
  cache::LruMap<Ino, Version> pages_{65536};
  cache::LruMap<Ino, Version> own_{65536};
  std::multiset<Ino> reading_;  // at most one a worker of the mount

  std::mutex mutex_;  // leaf; guards what follows
  std::condition_variable wake_;
  std::deque<std::function<void()>> notices_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace linkspan::vfs
