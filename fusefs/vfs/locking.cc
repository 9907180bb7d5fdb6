// Locks: what of them is the vfs's own. The work is in locks.h.
#include "fusefs/vfs/route_vfs.h"

namespace linkspan::vfs {
namespace {

// SQLite's shared memory beside a database in WAL mode: mapped by every process that uses it, which
// two machines cannot do.
constexpr std::string_view kSharedMemory = "-shm";

}  // namespace

Lock RouteVfs::marked(Lock lock) {
  const auto name = tree_.last_name(lock.ino);
  lock.private_to_session = name && name->name.ends_with(kSharedMemory);
  return lock;
}

Result<std::optional<OpNumber>> RouteVfs::set_lock(const Caller& c, Handle h, const Lock& lock,
                                                   bool wait) {
  LINKSPAN_CHECK(writable());
  return locks_.set(begin(c), h, marked(lock), wait);
}

void RouteVfs::await_lock(OpNumber number, const Lock& lock,
                          std::shared_ptr<client::CancelToken> cancel, LockDone done) {
  locks_.await(number, marked(lock), std::move(cancel), std::move(done));
}

Result<TestLockReply> RouteVfs::test_lock(const Caller& c, const Lock& lock) {
  LINKSPAN_CHECK(writable());
  return client_->test_lock(begin(c).call(), marked(lock));
}

Status RouteVfs::unlock_owner(const Caller& c, Ino ino, uint64_t owner) {
  return locks_.unlock_owner(begin(c),
                             marked({ino, LockKind::record, owner, LockType::none, {}, 0, false}));
}

void RouteVfs::unlock_handle(Ino ino, Handle h, std::optional<uint64_t> flock_owner) {
  locks_.unlock_handle(ino, h, flock_owner);
}

void RouteVfs::on_locks_lost(const std::vector<Lock>& locks) {
  locks_.lost(locks);
}

}  // namespace linkspan::vfs
