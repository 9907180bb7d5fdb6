// What this mount holds of locks, as far as the router has told: to say it again to a router that
// does not know, and to know what a close has to give up. For the clients alone.
//
// Answers may arrive in another order than that in which the router gave them: each carries its
// order. An answer that came over a link which was replaced since, and what is held told over the
// new one without it, counts as lost: the request is made again.
//
// Threads: any. mutex_ is a leaf.
#pragma once

#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "linkspan/lock_ops.h"
#include "linkspan/lock_ranges.h"

namespace linkspan::client {

class LockBook {
 public:
  // While a request of the lock's owner is under way.
  class UnderWay {
   public:
    UnderWay(LockBook* book, const Lock& lock) : book_(book), lock_(lock) { book_->begin(lock_); }
    ~UnderWay() { book_->end(lock_); }
    UnderWay(const UnderWay&) = delete;
    UnderWay& operator=(const UnderWay&) = delete;

   private:
    LockBook* const book_;
    const Lock lock_;
  };

  // False: too late.
  bool set(const Lock& lock, uint64_t order, uint64_t link);
  // A conversion that failed: the owner holds nothing of the file.
  void gave_up(const Lock& lock);

  LockType held(const Lock& lock) const;  // the strongest in its range
  bool has(const Lock& lock) const;       // the owner holds something, or asks
  size_t size() const;                    // pieces

  // All that is held, to be told over this link.
  std::vector<Lock> told(uint64_t link);
  // Of an owner that lost one lock of a file, all of that file are lost. Returns those that
  // somebody relied on: not those that are being given up, whose going the router may have done
  // already.
  std::vector<Lock> lose(const std::vector<Lock>& locks);
  std::vector<Lock> lose_all();
  // How often locks of the file were lost.
  uint64_t losses(Ino ino) const;

 private:
  using Key = std::tuple<Ino, LockKind, uint64_t>;
  struct Owner {
    LockRanges ranges;
    uint64_t last_order = 0;
    unsigned under_way = 0;
    unsigned giving_up = 0;  // of them: unlocks, and conversions of a flock
    uint32_t pid = 0;
    bool private_to_session = false;
  };
  static bool gives_up(const Lock& lock) {
    return lock.type == LockType::none || lock.kind == LockKind::flock;
  }
  static Key key(const Lock& lock) { return {lock.ino, lock.kind, lock.owner}; }
  void begin(const Lock& lock);
  void end(const Lock& lock);
  void tidy(std::map<Key, Owner>::iterator at);
  std::vector<Lock> all() const;

  mutable std::mutex mutex_;  // leaf
  uint64_t link_ = 0;         // over which what is held was told last
  std::map<Key, Owner> owners_;
  std::map<Ino, uint64_t> losses_;  // one for each file that ever lost some
};

}  // namespace linkspan::client
