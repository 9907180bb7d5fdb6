// Locks: what of them is the vfs's own. The work is in locks.h.
#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {
namespace {

// SQLite's shared memory beside a database in WAL mode: mapped by every process that uses it, which
// two machines cannot do. Its locks exclude other mounts, and so do those of the database while
// there is such a file: there SQLite takes a refusal for what it is ("database is locked").
constexpr std::string_view kSharedMemory = "-shm";
constexpr LockRange kSqliteLocks{0x40000000, 0x40000000 + 512};  // its bytes in a database

constexpr size_t kPathDepth = 64;  // of a path that is told

bool is_shared_memory(const std::optional<cache::Name>& name) {
  return name && name->name.ends_with(kSharedMemory);
}

bool is_of_sqlite(const Lock& lock) {
  return lock.kind == LockKind::record && lock.range.begin >= kSqliteLocks.begin &&
         lock.range.end <= kSqliteLocks.end;
}

bool has_shared_memory(Tree& tree, const Doing& doing, cache::Name name) {
  name.name += kSharedMemory;
  if (name.name.size() > limits::kNameBytes) return false;
  if (const auto known = tree.known_name(name)) return static_cast<bool>(*known);
  const auto found = tree.lookup(doing, name);
  return found.ok() && found->node;
}

// As far as the caches know it.
std::string path_of(Tree& tree, const Route& route, Ino ino) {
  std::string path;
  for (size_t depth = 0; ino != route.root && depth < kPathDepth; ++depth) {
    const auto name = tree.last_name(ino);
    path = "/" + (name ? name->name : "?") + path;
    if (!name) break;
    ino = name->parent;
  }
  return route.path + path;
}

}  // namespace

Lock RouteVfs::marked(Lock lock) {
  lock.private_to_session = false;
  if (lock.type == LockType::none) return lock;
  const auto name = tree_.last_name(lock.ino);
  lock.private_to_session =
      is_shared_memory(name) ||
      (name && is_of_sqlite(lock) &&
       has_shared_memory(tree_, Doing::until_timeout(options_, nullptr), *name));
  return lock;
}

// Who gets a lock has read what is in the file then, whatever it read before: it asks to go on from
// there. Its next read must show that: the kernel asks for no attributes before a read within the
// size it knows.
void RouteVfs::synchronised(const Doing& doing, int32_t tid, const Lock& lock) {
  if (lock.type == LockType::none) return;
  const auto name = tree_.last_name(lock.ino);
  if (is_shared_memory(name)) return;
  const auto known = tree_.node(doing, lock.ino, /*want_content=*/true);
  if (!known.ok()) return;
  kernel_.sizes().untell(lock.ino);
  const auto file = files_.find(lock.ino);
  const Process process = processes_.of_thread(tid);
  if (file && process) file->synchronised(process);
  files_.read_anew(lock.ino, process);
  const auto view = file ? file->view() : std::nullopt;
  const Version version = view ? view->base : known->node.attr.version;
  bases_.read(process, Base{lock.ino, version}, {tree_.found_names(lock.ino).now, {}});
}

// Why SQLite is not let in, which it cannot say itself.
void RouteVfs::note_wal(const Lock& asked, const TestLockReply& found) {
  if (!found.blocker || found.same_session || !found.blocker->private_to_session) return;
  std::string file = path_of(tree_, options_.route, asked.ino);
  if (file.ends_with(kSharedMemory)) file.resize(file.size() - kSharedMemory.size());
  if (wal_refusals_.note(file, options_.clock->now()) && options_.on_wal_refused)
    options_.on_wal_refused(file + ": " + std::string(kWalRefusedWhy) + "; " +
                            std::string(kWalRefusedMend));
}

Result<std::optional<OpNumber>> RouteVfs::set_lock(const Caller& c, Handle h, const Lock& lock,
                                                   bool wait) {
  LINKSPAN_CHECK(writable());
  const Doing doing = begin(c);
  const Lock asked = marked(lock);
  auto set = locks_.set(doing, h, asked, wait);
  if (set.ok() && !*set) synchronised(doing, c.tid, lock);
  if (!set.ok() && set.code() == Code::would_block && asked.private_to_session)
    if (const auto found = client_->test_lock(doing.call(), asked); found.ok())
      note_wal(asked, *found);
  return set;
}

// By the lock's pid: its caller's thread is not told here.
void RouteVfs::await_lock(OpNumber number, const Lock& lock,
                          std::shared_ptr<client::CancelToken> cancel, LockDone done) {
  locks_.await(number, marked(lock), std::move(cancel),
               [this, lock, done = std::move(done)](const Status& status) {
                 if (status.ok())
                   synchronised(Doing::until_timeout(options_, nullptr),
                                static_cast<int32_t>(lock.pid), lock);
                 done(status);
               });
}

Result<TestLockReply> RouteVfs::test_lock(const Caller& c, const Lock& lock) {
  LINKSPAN_CHECK(writable());
  const Lock asked = marked(lock);
  auto found = client_->test_lock(begin(c).call(), asked);
  if (found.ok()) note_wal(asked, *found);
  return found;
}

Status RouteVfs::unlock_owner(const Caller& c, Ino ino, uint64_t owner) {
  return locks_.unlock_owner(begin(c),
                             {ino, LockKind::record, owner, LockType::none, {}, 0, false});
}

void RouteVfs::unlock_handle(Ino ino, Handle h) {
  locks_.unlock_handle(ino, h);
}

void RouteVfs::on_locks_lost(const std::vector<Lock>& locks) {
  locks_.lost(locks);
}

}  // namespace linkspan::vfs
