// Which version's size the kernel has of each file, as far as that can be known: the bytes that it
// reads into its pages must be of that version. Stale size with new bytes, or the reverse, is a
// torn file, and who saves what he read of one loses what was cut off.
//
// A read that begins after a revocation asks for attributes first (they are invalid;
// FUSE_AUTO_INVAL_DATA), and so is told the new size; one that began before goes on with the old.
// But the kernel ignores attributes that one of our notices overtook (fuse_change_attributes: by
// its attr_version), and goes on with the size that it had. So
//  - a notice waits until the answers of before were taken in (`settle`): the answer to a read
//  until
//    its thread comes with the READ, the others for a context switch;
//  - an answer to a request of before the end of the last notice may or may not be taken in. It
//  must
//    not be kept, and until the next one the shorter of the two versions is read: the kernel cuts a
//    file to a READ that is short (fuse_short_read). Neither is stale: a read that is under way
//    began before whoever changed the file was answered.
//
// Threads: any. A leaf's lock, under an OpenFile's too.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fusefs/cache/lru.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

// Between an answer and the kernel's taking it in: a context switch. There is no event to await.
inline constexpr std::chrono::milliseconds kTakenIn{2};
// The same where there is one, the READ that follows. It may not come: at the end of a file, or
// when the thread was killed.
inline constexpr std::chrono::milliseconds kReadComes{50};
// No read that began before a notice is still under way so long after it.
inline constexpr std::chrono::milliseconds kUnderWay{1000};

class ToldSizes {
 public:
  // The kernel is about to be answered; `as_of` is the gate's count of when its request came.
  // `reader`: the thread whose read(2) asks (0: of a foreign pid namespace). False: a notice may
  // overtake the answer, which must not be kept.
  bool told(Ino ino, const SizedVersion& what, uint64_t as_of, std::optional<int32_t> reader);
  // Our own commit made it: the kernel's size is what was written.
  void made(Ino ino, const SizedVersion& what);
  // Nothing: the head.
  std::optional<SizedVersion> last(Ino ino);
  // Its versions were renumbered, or are of nobody knows what.
  void untell(Ino ino);

  // A request of this thread has come, so it took in what it was told. `ino` matters for thread 0.
  void came(int32_t thread, Ino ino);

  // Before notices about the nodes: waits for what is being taken in, for kReadComes at most.
  void settle(const std::vector<RevokedNode>& nodes);
  // `content`: others changed it.
  void notice_begins(Ino ino, bool content);
  // `as_of`: requests that come from now on have this count.
  void notice_ended(Ino ino, uint64_t as_of);
  // A notice that nobody waited for.
  void noticed(Ino ino);
  // Others changed the content so short a time ago.
  bool changed_within(Ino ino, std::chrono::milliseconds time);

 private:
  using Instant = std::chrono::steady_clock::time_point;
  struct Telling {
    SizedVersion last;
    Instant at;
    std::optional<SizedVersion> before;  // what the kernel has until it takes `last` in
    std::vector<int32_t> readers;        // that were told `last` and have not come since; few
    bool taken_in = false;               // one of them has come
    std::optional<SizedVersion> other;   // or it has this one
  };
  struct Notice {
    uint64_t ended = 0;  // UINT64_MAX: not yet
    std::optional<Instant> content;
  };
  static void take_in(Telling& telling);
  static void overtake(Telling& telling);
  std::optional<Instant> taken_in_at(Ino ino);

  std::mutex mutex_;
  std::condition_variable changed_;
  cache::LruMap<Ino, Telling> told_{65536};
  cache::LruMap<Ino, Notice> noticed_{65536};
  struct Reading {
    Ino ino;
    Instant since;
  };
  bool track(int32_t thread, Ino ino);
  std::unordered_map<int32_t, Reading> reading_;  // by thread; at most kReading
  std::atomic<bool> anybody_reading_{false};
};

}  // namespace linkspan::vfs
