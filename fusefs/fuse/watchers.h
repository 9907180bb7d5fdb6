// Local programs that watch files and directories (inotify) are told what other mounts changed:
// what a revocation names, or a lost lease may have hidden, is compared with what it was, and the
// difference is raised through the mount (nudges.h, visit.h). A nudge sends nothing to the router,
// so no other mount hears of it, and none causes another.
//
// Who watches is read from /proc (inotify_marks.h): when something was revoked, twice a second at
// most; else once a second while programs use the mount, and now and then while they do not; never
// for more than a hundredth of a processor's time (a twentieth while changes come). Processes in
// pid namespaces that /proc does not show here are not found, and not told. While nobody watches
// nothing else is done.
//
// Threads: one of its own, which waits for the router and the kernel; nothing waits for it but
// join(). The other calls: any thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "fusefs/client/router_client.h"
#include "fusefs/fuse/inotify_marks.h"
#include "fusefs/fuse/visit.h"
#include "fusefs/fuse/watched_route.h"

namespace linkspan::fuse {

inline constexpr size_t kPendingChanges = 65536;         // then all that is watched is compared
inline constexpr unsigned kNudgeTries = 20;              // of one change that goes on changing
inline constexpr std::chrono::milliseconds kGather{15};  // one save is several revocations
inline constexpr std::chrono::milliseconds kNudgeAgain{50};
inline constexpr std::chrono::milliseconds kCompareAgain{1000};
inline constexpr std::chrono::milliseconds kScanWhenRevoked{500};
inline constexpr std::chrono::milliseconds kScanWhenUsed{1000};
inline constexpr std::chrono::milliseconds kScanWhenIdle{10000};
inline constexpr int kScanShare = 100;        // looking takes one part in so many of a processor
inline constexpr int kScanShareRevoked = 20;  // while changes come

class Watchers {
 public:
  Watchers() = default;
  ~Watchers();  // stop(), join()
  Watchers(const Watchers&) = delete;
  Watchers& operator=(const Watchers&) = delete;

  // A route that is mounted. Before start(). Nothing is owned; all outlive join().
  void add_route(const std::string& mountpoint, vfs::Observer* observer, OwnCalls* own,
                 Notifier* notifier);
  // `used` counts the requests of programs.
  void start(std::function<uint64_t()> used);
  // stop() returns at once. join() after the connections were closed: whatever the thread waits for
  // has an end then.
  void stop();
  void join();

  // What a revocation changes: noted before the caches forget how it was, told after they did.
  struct Note {
    std::vector<NameChange> names;
    std::vector<NodeChange> nodes;
    bool everything = false;
  };
  Note note(const Revocation& revocation) const;
  void changed(Note note);
  void caches_lost();

  struct Stats {
    uint64_t watched = 0;  // nodes of all routes that somebody here watches
    uint64_t scans = 0;    // of /proc
    uint64_t nudges = 0;   // events raised
    uint64_t failed = 0;   // that could not be
  };
  Stats stats() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Route {
    VisitPlace place;
    vfs::Observer* observer;
    WatchedRoute watched;
  };

  void run();
  bool wait(Note* note);
  Clock::time_point next_scan(bool revoked) const;
  void scan(bool changing);
  void tell(Note note);
  void tell_route(Route& route, const Note& note, Unfinished* again);
  void compare_again();
  void try_again(Unfinished again);
  void merge(Note note);
  vfs::Caller caller() { return {.uid = 0, .gid = 0, .tid = 0, .cancel = &cancel_}; }

  std::vector<std::unique_ptr<Route>> routes_;
  std::function<uint64_t()> used_;
  client::CancelToken cancel_;
  std::atomic<bool> running_{false};
  std::atomic<uint64_t> watched_{0}, scans_{0}, nudges_{0}, failed_{0};

  std::mutex mutex_;  // leaf; of the next three
  std::condition_variable wake_;
  bool stopping_ = false;
  bool pending_ = false;
  Note pending_note_;

  // Of the thread alone.
  Note unmatched_;  // concerns nobody, as far as the last scan knows
  Note again_;
  Clock::time_point again_at_;
  unsigned compares_ = 0;  // in a row that could not be finished
  Clock::time_point scanned_;
  Clock::duration scan_cost_{0};
  uint64_t used_then_ = 0;
  std::thread thread_;
};

}  // namespace linkspan::fuse
