// Which version's size the kernel has of each file, as far as that can be known: the bytes that it
// reads into its pages must be of that version. Stale size with new bytes, or the reverse, is a
// torn file, and who saves what he read of one loses what was cut off.
//
// A read that begins after a revocation asks for attributes first (they are invalid;
// FUSE_AUTO_INVAL_DATA), and so is told the new size; one that began before goes on with the old.
// But the kernel ignores an answer if since its request a notice was sent, or another answer was
// taken in (fuse_change_attributes, by attr_version), and goes on with the size that it had. So
//  - a notice waits (`notices_begin`) until what was asked before it was taken in: by a read until
//    its thread comes with the READ, by others for a context switch;
//  - an answer that may be ignored is not sure: it must not be kept, and until the next one the
//    shorter of the two versions is read, since the kernel cuts a file to a READ that is short
//    (fuse_short_read). Neither is stale: whoever changed the file is answered after the notice;
//  - a READ waits (`await_others`) until a longer size that another thread was told was taken in:
//    it may be of a read that began before, whose bytes the kernel cuts at the size it has then.
//
// Threads: any. A leaf's lock, under an OpenFile's too.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "fusefs/cache/lru.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

// Between an answer and the kernel's taking it in: a context switch. There is no event to await.
inline constexpr std::chrono::milliseconds kTakenIn{2};
// The same where there is one, the READ that follows. It may not come: at the end of a file, after
// lseek(2), or when the thread was killed.
inline constexpr std::chrono::milliseconds kReadComes{50};
// For a READ that waits for it: longer than a notice, since it is rare; not until a READ comes,
// which may itself wait for this one's page.
inline constexpr std::chrono::milliseconds kOthersTakeIn{20};
// No read that began before a notice is still under way so long after it.
inline constexpr std::chrono::milliseconds kUnderWay{1000};

class ToldSizes {
 public:
  // While one lives a read(2) of this thread (0: of a foreign pid namespace) asks for attributes.
  class Asking {
   public:
    Asking(ToldSizes* sizes, Ino ino, int32_t thread);
    ~Asking();
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;

   private:
    friend class ToldSizes;
    ToldSizes* const sizes_;
    const uint64_t number_;
  };

  // While one lives this mount's kernel has asked for another size of the file (truncate(2), or a
  // write beyond its end). Until it is answered it ignores all attributes that it is told
  // (FUSE_I_SIZE_UNSTABLE) and goes on with those that it has. These may be of before a notice: one
  // that came before a LOOKUP had made the inode did not find it (Notifier::drop_inode).
  class Resizing {
   public:
    Resizing(ToldSizes* sizes, Ino ino);
    ~Resizing();
    Resizing(const Resizing&) = delete;
    Resizing& operator=(const Resizing&) = delete;

   private:
    ToldSizes* const sizes_;
    const Ino ino_;
  };

  // Whoever answers with attributes then drops the kernel's first, so that its answer is not sure.
  bool resizing(Ino ino);

  // Who asks, by the thread that FUSE reports; `reading` null if no read does.
  struct Asker {
    int32_t thread = 0;
    const Asking* reading = nullptr;
  };

  // The kernel is about to be answered; `as_of` is the gate's count of when its request came.
  // False: the answer may be ignored, and must not be kept. Waits for a notice that is under way,
  // for kReadComes at most.
  bool told(Ino ino, const SizedVersion& what, uint64_t as_of, const Asker& by);
  // Our own commit made it: the kernel's size is what was written.
  void made(Ino ino, const SizedVersion& what);
  // Before what is known of the file is looked at for a READ of this thread: waits for what others
  // are taking in, for kOthersTakeIn at most.
  void await_others(Ino ino, int32_t thread);
  // What a READ gets; nothing: the head.
  std::optional<SizedVersion> to_read(Ino ino);
  // Its versions were renumbered, or are of nobody knows what.
  void untell(Ino ino);

  // A request of this thread has come, so it took in what it was told. `ino` matters for thread 0.
  void came(int32_t thread, Ino ino);

  // Around notices that others changed the nodes: first waits for what is being taken in, for
  // kReadComes at most. `as_of`: of requests that come from now on.
  void notices_begin(const std::vector<RevokedNode>& nodes);
  void notices_ended(const std::vector<RevokedNode>& nodes, uint64_t as_of);
  // Around one that nobody waits for: of what this mount did.
  void notice_begins(Ino ino);
  void notice_ended(Ino ino, uint64_t as_of);
  // Around notices about all files.
  void all_notices_begin();
  void all_notices_ended(uint64_t as_of);
  // Others changed the content so short a time ago.
  bool changed_within(Ino ino, std::chrono::milliseconds time);

 private:
  using Instant = std::chrono::steady_clock::time_point;
  // Told to one who is not known to come back with a READ.
  struct Plain {
    Instant at;
    int32_t thread;
  };
  struct Telling {
    SizedVersion last;
    Instant at;
    std::optional<Plain> plainly;        // the last such one
    std::optional<SizedVersion> before;  // what the kernel has until it takes `last` in
    std::optional<SizedVersion> other;   // or it has this one
    std::optional<Instant> outdated;     // from when on the head may be another
  };
  struct Notice {
    unsigned under_way = 0;
    uint64_t ended = 0;              // the gate's count when the last one was
    std::optional<Instant> changed;  // that others changed it, attributes alone included
    std::optional<Instant> content;  // that others changed its content
  };
  struct Reader {
    uint64_t number;
    int32_t thread;
    Ino ino;
    Instant since;
    Version told;  // 0: it still asks
  };

  uint64_t asks(Ino ino, int32_t thread);
  void gave_up(uint64_t number);
  void await_notice(std::unique_lock<std::mutex>& lock, Ino ino);
  void begin(Ino ino, bool of_others, bool content);
  void end(Ino ino, uint64_t as_of);
  uint64_t last_notice(Ino ino);  // when it ended; UINT64_MAX: not yet
  bool awaited(const Reader& reader, Instant now) const;
  bool being_taken_in(Ino ino, const Telling& telling) const;
  bool changed_lately(Ino ino);
  Instant taken_in_at(Ino ino, const Telling& telling) const;
  Instant settled_at(Ino ino);

  std::mutex mutex_;
  std::condition_variable changed_;
  cache::LruMap<Ino, Telling> told_{65536};
  cache::LruMap<Ino, Notice> noticed_{65536};
  Notice all_;                   // about every file
  std::multiset<Ino> resized_;   // at most one a worker of the mount
  std::vector<Reader> readers_;  // who asks, or was told and has not come since; at most kReaders
  uint64_t next_number_ = 1;
  std::atomic<bool> any_reader_{false};
};

}  // namespace linkspan::vfs
