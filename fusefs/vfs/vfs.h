// The filesystem of one route, without FUSE: POSIX semantics, caches under a lease, buffered writes
// and their commit. fusefs/fuse converts the kernel's requests into these calls.
//
// Threads: every method may be called from any thread and blocks until done, the route's deadline
// or the caller's cancellation. Locks are dropped before an RPC, a kernel notification or a return.
// write() never waits for an RPC that mutates: the kernel holds page locks then (DESIGN 4a).
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fusefs/client/router_client.h"
#include "linkspan/clock.h"
#include "linkspan/lock_ops.h"
#include "linkspan/ops.h"

namespace linkspan::vfs {

struct Caller {
  uint32_t uid = 0, gid = 0;
  int32_t tid = 0;  // as FUSE reports it: a thread id, or 0 from a foreign pid namespace
  client::CancelToken* cancel = nullptr;
};

using Handle = uint64_t;  // of an open file or directory; never 0

// How long the kernel may keep what a reply says. Ended by push; zero where no push can come.
struct CacheTimes {
  double entry = 0;  // seconds
  double attr = 0;
  uint64_t as_of = 0;  // for ReplyGate::enter
};

struct Entry {  // of lookup and creation
  Attr attr;    // as the caller shall see it: owner squashed, own unflushed writes included
  CacheTimes times;
  bool negative = false;  // no such name (then attr is empty, times.entry may be > 0)
};
struct AttrReply {
  Attr attr;
  double timeout = 0;
  uint64_t as_of = 0;  // for ReplyGate::enter
};

// A file's content and how long it is: what one read has to be of.
struct SizedVersion {
  Version version;
  uint64_t size = 0;
};

struct Opened {
  Handle handle = 0;
  bool keep_cache = false;  // the kernel's pages are of this very content
  bool direct = false;      // reads go past the kernel's pages (FOPEN_DIRECT_IO)
};

struct SetAttr {
  std::optional<uint32_t> mode, uid, gid;
  std::optional<uint64_t> size;
  std::optional<Time> atime, mtime;
  bool atime_now = false, mtime_now = false;
};

struct DirItem {
  std::string name;
  uint64_t offset = 0;  // of the NEXT entry, for telldir/seekdir: stable, ascending
  Attr attr;
  CacheTimes times;
};

// Keeps a reply on its way to the kernel from outliving the revocation that overtook it: FUSE
// writes each reply that carries times > 0 while it holds a Pass, and answers with zero times when
// the pass says that it is not current any more. A revocation ends all older passes, then tells the
// kernel: so the kernel either gets zero times or gets the reply before the notification. Threads:
// any. A pass is held for one write to /dev/fuse, never while waiting.
class ReplyGate {
 public:
  class Pass {
   public:
    ~Pass();
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    bool current() const { return current_; }

   private:
    friend class ReplyGate;
    Pass(ReplyGate* gate, unsigned side, bool current)
        : gate_(gate), side_(side), current_(current) {}
    ReplyGate* gate_;
    unsigned side_;
    bool current_;
  };

  uint64_t now() const;  // what CacheTimes::as_of counts
  Pass enter(uint64_t as_of);
  void advance();  // a revocation: waits for the writes that are under way

 private:
  mutable std::mutex mutex_;  // leaf
  std::mutex advancing_;      // before mutex_
  std::condition_variable left_;
  uint64_t count_ = 1;
  unsigned writing_[2] = {0, 0};
};

// The kernel's caches of this route's connection; implemented by fusefs/fuse. None of these calls
// may wait for a request of the mount.
class KernelCache {
 public:
  virtual ~KernelCache() = default;
  // ENOENT from the kernel (it does not know the node) does not mean that nothing is to be done: a
  // LOOKUP that was answered may not have reached its caches yet. Where the epoch call works, make
  // it.
  virtual void drop_attributes(Ino ino) = 0;
  virtual void drop_content(Ino ino) = 0;  // and attributes
  virtual void drop_names(const std::vector<RevokedName>& names) = 0;
  // Else entry timeouts stay 0. Known once the connection is mounted: ask for each reply.
  virtual bool can_drop_names() const = 0;
  // Every name, attribute and page of every node the kernel holds, also of those the vfs has
  // forgotten: for a lost lease.
  virtual void drop_everything() {}
};

enum class Ownership : uint8_t { squash, identity };

struct VfsOptions {
  Route route;
  Ownership ownership = Ownership::squash;
  uint32_t uid = 0, gid = 0;       // squash: of every node
  std::string spool_dir = "/tmp";  // for unlinked temporary files of large dirty buffers
  const Clock* clock = &Clock::system();
  // After a change by others a small file is read past the kernel's pages for so long
  // (Opened::direct).
  std::chrono::milliseconds direct_for{3000};
  // Bytes that a write accepted are dropped, for the router refused them and nobody can try again;
  // the text names the file and says why. Any thread; may be empty.
  std::function<void(const std::string&)> on_loss;
  // A commit or rename was refused because the file was changed by another, and the router kept
  // what was to be written; the text says where. Any thread; may be empty.
  std::function<void(const std::string&)> on_conflict;
  // A SQLite database in WAL mode is in use on another mount: said when a lock of it is refused for
  // that for the first time in a while. Any thread; may be empty.
  std::function<void(const std::string&)> on_wal_refused;
};

// Locks of a SQLite database in WAL mode that were refused because another mount uses it.
struct WalRefusal {
  std::string file;  // from the mountpoint on
  uint64_t times = 0;
  Time since, last;
};
inline constexpr std::string_view kWalRefusedWhy =
    "a SQLite database in WAL mode is in use on another mount, with which its shared memory (-shm) "
    "cannot be shared: 'database is locked' here until it is closed there";
inline constexpr std::string_view kWalRefusedMend =
    "for use on several mounts at once, where it is in use: PRAGMA journal_mode=DELETE";

// Looks at the route for the mount itself; see observer.h.
class Observer {
 public:
  struct Page {
    struct Entry {
      std::string name;
      Cookie cookie;
      Attr attr;
    };
    std::vector<Entry> entries;
    bool end = false;
  };
  virtual ~Observer() = default;
  virtual Result<Attr> node(const Caller& c, Ino ino) = 0;
  // None: there is no such name.
  virtual Result<std::optional<Attr>> name(const Caller& c, Ino dir, const std::string& name) = 0;
  virtual Result<Page> page(const Caller& c, Ino dir, Cookie after, size_t limit) = 0;
  // From the caches alone. Ino 0: known not to be there.
  virtual std::optional<Ino> known_name(Ino dir, const std::string& name) = 0;
  virtual std::optional<RevokedName> last_name(Ino ino) = 0;
};

class Vfs {
 public:
  virtual ~Vfs() = default;

  virtual Result<Entry> lookup(const Caller& c, Ino parent, const std::string& name) = 0;
  // With a handle (FUSE_GETATTR_FH): a read(2) or lseek(2) through it asks, and goes on by what it
  // is told.
  virtual Result<AttrReply> getattr(const Caller& c, Ino ino, std::optional<Handle> handle) = 0;
  virtual Result<AttrReply> setattr(const Caller& c, Ino ino, const SetAttr& set,
                                    std::optional<Handle> handle) = 0;
  virtual Result<std::string> readlink(const Caller& c, Ino ino) = 0;
  virtual Result<Entry> mknod(const Caller& c, Ino parent, const std::string& name, Kind kind,
                              uint32_t mode) = 0;
  virtual Result<Entry> mkdir(const Caller& c, Ino parent, const std::string& name,
                              uint32_t mode) = 0;
  virtual Result<Entry> symlink(const Caller& c, Ino parent, const std::string& name,
                                const std::string& target) = 0;
  virtual Status unlink(const Caller& c, Ino parent, const std::string& name) = 0;
  virtual Status rmdir(const Caller& c, Ino parent, const std::string& name) = 0;
  // flags: RENAME_NOREPLACE, RENAME_EXCHANGE of renameat2(2); others are `invalid`.
  virtual Status rename(const Caller& c, Ino from, const std::string& from_name, Ino to,
                        const std::string& to_name, unsigned flags) = 0;
  virtual Result<Entry> link(const Caller& c, Ino ino, Ino parent, const std::string& name) = 0;

  // flags as of open(2): access mode, O_TRUNC, O_APPEND matter.
  virtual Result<Opened> open(const Caller& c, Ino ino, int flags) = 0;
  virtual Result<std::pair<Entry, Opened>> create(const Caller& c, Ino parent,
                                                  const std::string& name, uint32_t mode,
                                                  int flags) = 0;
  virtual Result<std::string> read(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                   size_t size) = 0;
  // append: this very write carries O_APPEND (fi->flags, which F_SETFL can change after open) and
  // is no writeback of mapped pages (fi->writepage); `offset` is then not looked at.
  virtual Result<size_t> write(const Caller& c, Ino ino, Handle h, uint64_t offset,
                               std::string_view data, bool append) = 0;
  virtual Status flush(const Caller& c, Ino ino, Handle h) = 0;  // its error is close's
  virtual Status fsync(const Caller& c, Ino ino, Handle h) = 0;
  virtual void release(Ino ino, Handle h) = 0;
  // mode as of fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE; others `unsupported`.
  virtual Status fallocate(const Caller& c, Ino ino, Handle h, int mode, uint64_t offset,
                           uint64_t length) = 0;
  // SEEK_DATA, SEEK_HOLE. Past the end: `no_such_offset` is ENXIO, said as nullopt.
  virtual Result<std::optional<uint64_t>> seek(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                               bool data) = 0;
  virtual Result<size_t> copy_range(const Caller& c, Ino from, Handle from_h, uint64_t from_offset,
                                    Ino to, Handle to_h, uint64_t to_offset, size_t size) = 0;

  virtual Result<Handle> opendir(const Caller& c, Ino ino) = 0;
  // Entries after `offset` ("." and ".." first, as offsets 1 and 2); at most `limit`.
  virtual Result<std::vector<DirItem>> readdir(const Caller& c, Ino ino, Handle h, uint64_t offset,
                                               size_t limit) = 0;
  virtual void releasedir(Ino ino, Handle h) = 0;

  virtual Result<std::string> getxattr(const Caller& c, Ino ino, const std::string& name) = 0;
  virtual Result<std::vector<std::string>> listxattr(const Caller& c, Ino ino) = 0;
  // flags: XATTR_CREATE, XATTR_REPLACE of setxattr(2).
  virtual Status setxattr(const Caller& c, Ino ino, const std::string& name, std::string value,
                          int flags) = 0;
  virtual Status removexattr(const Caller& c, Ino ino, const std::string& name) = 0;
  virtual Result<StatFsReply> statfs(const Caller& c, Ino ino) = 0;

  // Locks across mounts (linkspan/lock_ops.h), of files on routes that may be written to; of `lock`
  // private_to_session is set here. A lock that was lost with the link makes `io` of every later
  // write and lock through the handles that locked. The owner of a flock is the handle: the
  // kernel's number for it is made of an address, which the next file that is opened may have.
  //
  // Nothing: it is set. A number: `wait` was asked for and it is queued; await_lock() must follow.
  virtual Result<std::optional<OpNumber>> set_lock(const Caller& c, Handle h, const Lock& lock,
                                                   bool wait) {
    (void)c, (void)h, (void)lock, (void)wait;
    return fail(Code::unsupported, "no locks here");
  }
  // Returns at once. `done` runs once, on a thread of the vfs: when the lock is set, or never will
  // be (`interrupted`: `cancel` fired first).
  using LockDone = std::function<void(const Status&)>;
  virtual void await_lock(OpNumber number, const Lock& lock,
                          std::shared_ptr<client::CancelToken> cancel, LockDone done) {
    (void)number, (void)lock, (void)cancel;
    done(fail(Code::unsupported, "no locks here"));
  }
  virtual Result<TestLockReply> test_lock(const Caller& c, const Lock& lock) {
    (void)c, (void)lock;
    return fail(Code::unsupported, "no locks here");
  }
  // A process closed a descriptor of the file: its record locks of it go (POSIX). After flush().
  virtual Status unlock_owner(const Caller& c, Ino ino, uint64_t owner) {
    (void)c, (void)ino, (void)owner;
    return Done{};
  }
  // The last descriptor of a handle is closed: its OFD locks, and its flock, go. Before release();
  // waits for nobody.
  virtual void unlock_handle(Ino ino, Handle h) { (void)ino, (void)h; }

  // Commits every dirty file; the first error. For umount.
  virtual Status sync_all(const Caller& c) = 0;

  // From the session's listener; see client::SessionListener.
  virtual void on_revoke(const Revocation& revocation) = 0;
  virtual void on_caches_lost() = 0;
  virtual void on_locks_lost(const std::vector<Lock>& locks) { (void)locks; }

  virtual ReplyGate& reply_gate() = 0;
  virtual Observer* observer() { return nullptr; }

  struct Stats {
    uint64_t nodes = 0, names = 0, content_bytes = 0, dirty_files = 0, dirty_bytes = 0;
    uint64_t attr_hits = 0, attr_misses = 0, name_hits = 0, name_misses = 0;
    uint64_t content_hits = 0, content_misses = 0, revocations = 0, commits = 0, lost_commits = 0;
    // The last commit was refused for want of space (disk, quota): why, since when, when last.
    std::string refused;
    Time refused_since, refused_last;
    uint64_t conflicts = 0;
    uint64_t lock_waits = 0, locks_lost = 0;
    std::vector<WalRefusal> wal_refusals;  // of the last minutes, the latest first
    uint64_t wal_refused = 0;              // ever
  };
  virtual Stats stats() const = 0;
};

// `kernel` may be null (tests). Neither is owned; both outlive the Vfs.
std::unique_ptr<Vfs> make_vfs(client::RouterClient* client, KernelCache* kernel,
                              VfsOptions options);

}  // namespace linkspan::vfs
