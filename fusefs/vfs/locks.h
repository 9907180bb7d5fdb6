// The locks of one route's files: who waits, what is to be saved before a lock is given up, and
// what is given up when a file is closed. The router decides; the client remembers what is held.
//
// What a lock protected is committed before the lock is given up or made weaker; and a commit is
// answered only when every other mount has dropped what it had. So whoever gets the lock next sees
// it.
//
// What is given up later goes before the next request of the same owner: it must not take away what
// was set after it. The kernel's numbers of owners come again, too: an OFD lock's is made of an
// address that the next open file may have.
//
// Threads: any. Each wait has a thread of its own, at most limits::kLockWaitersPerMount; a few more
// give up, in the background, what is not given up at once: a file at a time each, since a large
// commit holds up what that file's locks wait for, and no other's. mutex_ is a leaf.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "fusefs/vfs/calls.h"
#include "fusefs/vfs/commits.h"
#include "fusefs/vfs/open_files.h"
#include "linkspan/lock_ops.h"

namespace linkspan::vfs {

inline constexpr std::chrono::milliseconds kTakeBackTime{2000};  // to learn if a wait was in vain
inline constexpr std::chrono::milliseconds kUnlockRetryDelay{500};
inline constexpr unsigned kUnlockers = 4;  // background threads

class Locks {
 public:
  struct Parts {  // none is owned
    client::RouterClient* client = nullptr;
    OpenFiles* files = nullptr;
    Commits* commits = nullptr;
    const VfsOptions* options = nullptr;
  };
  explicit Locks(Parts parts);
  ~Locks();

  // `io`: a lock that was set through the handle is lost.
  static Status intact(const FileHandle& handle);

  // As the Vfs's methods of these names say.
  Result<std::optional<OpNumber>> set(const Doing& doing, Handle h, const Lock& lock, bool wait);
  void await(OpNumber number, const Lock& lock, std::shared_ptr<client::CancelToken> cancel,
             Vfs::LockDone done);
  Status unlock_owner(const Doing& doing, const Lock& all_of_owner);
  void unlock_handle(Ino ino, Handle h);
  void lost(const std::vector<Lock>& locks);
  // Cancels the waits and ends the threads.
  void stop();

  uint64_t waits() const { return waits_; }
  uint64_t lost_count() const { return lost_; }

 private:
  // Something to be given up later: a lock, or a request that may have been granted unheard.
  struct Chore {
    Lock lock;
    OpNumber number;  // of a request whose outcome is not known; 0: none
    // A request for a lock: what its owner held when it was made, and is to hold again.
    std::optional<LockType> before = std::nullopt;
    bool operator==(const Chore&) const = default;
  };
  using Due = std::chrono::steady_clock::time_point;
  // Of one file: one after the other, in the order in which they came.
  struct Chores {
    std::deque<Chore> queue;
    std::optional<Chore> under_way;  // not in the queue
    Due due{};                       // after a try that failed
  };
  using ChoresAt = std::map<Ino, Chores>::iterator;

  struct Wait {
    std::thread thread;
    std::shared_ptr<client::CancelToken> cancel;
  };

  Status unlock(const Doing& doing, const Lock& lock);
  void note_handle(Handle h, const Lock& lock);
  void forget_handles(const Lock& lock);
  Status save(const Doing& doing, const Lock& lock, bool must);
  Status wait_for(OpNumber* number, const Lock& lock,
                  const std::shared_ptr<client::CancelToken>& cancel);
  Status take_back(OpNumber* number, const Lock& lock, LockType before, const Error& why);
  void later(const Chore& chore);
  void later_locked(const Chore& chore);
  Status catch_up(const Doing& doing, const Lock& lock);
  Status carry_out(const Doing& doing, Chore* chore);
  Status carry_out_of(ChoresAt file, std::deque<Chore>::iterator chore, const Doing& doing,
                      std::unique_lock<std::mutex>* guard);
  void run(client::CancelToken* stop);

  const Parts parts_;
  // One a background thread, since a token holds the callback of one call at a time.
  std::array<client::CancelToken, kUnlockers> stops_;
  std::atomic<uint64_t> waits_{0}, lost_{0};

  std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::map<std::pair<Ino, uint64_t>, std::set<Handle>> handles_;  // that record locks came through
  std::map<Ino, Chores> chores_;                                  // of files that have any
  bool stopping_ = false;
  std::list<Wait> waiting_;
  std::list<Wait> ended_;             // to be joined
  std::vector<std::thread> threads_;  // of the chores; started when there are some
};

}  // namespace linkspan::vfs
