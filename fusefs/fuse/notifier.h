// Tells the kernel what to drop from its caches of one connection (DESIGN 4a).
//
// Called on the revocation thread and from vfs; takes no lock that a request holds. What an inode
// the kernel does not know is told is answered with ENOENT and is fine.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "fusefs/vfs/vfs.h"

struct fuse_session;

namespace linkspan::fuse {

// The inodes that the kernel holds: as many references as entries were handed to it, less what it
// forgot. Thread-safe. A reference is added before the reply that carries it is sent (a FORGET may
// overtake the callback's return) and taken back if that reply fails.
class KnownInodes {
 public:
  void add(uint64_t nodeid, uint64_t count = 1);
  void forget(uint64_t nodeid, uint64_t count);
  uint64_t references(uint64_t nodeid) const;
  size_t size() const;
  std::vector<uint64_t> all() const;

 private:
  static constexpr size_t kShards = 16;
  struct Shard {
    mutable std::mutex mutex;  // innermost
    std::unordered_map<uint64_t, uint64_t> references;
  };
  Shard& shard(uint64_t nodeid) { return shards_[nodeid % kShards]; }
  const Shard& shard(uint64_t nodeid) const { return shards_[nodeid % kShards]; }
  Shard shards_[kShards];
};

struct NotifierOptions {
  Ino root;                 // its number in the kernel is 1
  bool read_only = false;   // names are dropped one by one: no local mutation can hold their lock
  bool allow_epoch = true;  // tests: as on a kernel before 6.16
};

class Notifier final : public vfs::KernelCache {
 public:
  explicit Notifier(NotifierOptions options);
  ~Notifier() override;

  void drop_attributes(Ino ino) override;
  void drop_content(Ino ino) override;
  void drop_names(const std::vector<RevokedName>& names) override;
  bool can_drop_names() const override;  // false before attach()
  void drop_everything() override;

  KnownInodes& known() { return known_; }
  uint64_t to_kernel(Ino ino) const { return ino == options_.root ? 1 : ino.value; }
  Ino from_kernel(uint64_t nodeid) const { return nodeid == 1 ? options_.root : Ino(nodeid); }

  // By the connection: once mounted (probes the epoch call), and before the session goes; detach()
  // waits for calls in progress.
  void attach(fuse_session* session);
  void detach();

 private:
  class Use;  // a call in progress
  enum class Names : uint8_t { unavailable, epoch, one_by_one };

  bool raise_epoch(fuse_session* session);
  void drop_inode(Ino ino, bool content);

  const NotifierOptions options_;
  KnownInodes known_;
  std::atomic<Names> names_{Names::unavailable};
  mutable std::mutex mutex_;  // of the next three; not held during a notification
  std::condition_variable idle_;
  fuse_session* session_ = nullptr;
  unsigned uses_ = 0;
};

}  // namespace linkspan::fuse
