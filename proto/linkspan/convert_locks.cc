#include "linkspan/convert_locks.h"

#include "linkspan/convert_check.h"

namespace linkspan::wire {

namespace {

void lock_to_wire(const Lock& lock, v1::Lock* out) {
  out->set_ino(lock.ino.value);
  out->set_kind(static_cast<uint32_t>(lock.kind));
  out->set_owner(lock.owner);
  out->set_type(static_cast<uint32_t>(lock.type));
  out->set_begin(lock.range.begin);
  out->set_end(lock.range.end);
  out->set_pid(lock.pid);
  out->set_private_to_session(lock.private_to_session);
}

Result<Lock> lock_from(const v1::Lock& m) {
  LINKSPAN_CHECK(check_ino("lock.ino", m.ino()));
  LINKSPAN_CHECK(check_range("lock.kind", m.kind(), 1, 2));
  LINKSPAN_CHECK(check_range("lock.type", m.type(), 0, 2));
  LINKSPAN_CHECK(check_range("lock.begin", m.begin(), 0, limits::kLockEnd - 1));
  LINKSPAN_CHECK(check_range("lock.end", m.end(), m.begin() + 1, limits::kLockEnd));
  LINKSPAN_CHECK(check_range("lock.pid", m.pid(), 0, INT32_MAX));
  Lock lock;
  lock.ino = Ino(m.ino());
  lock.kind = static_cast<LockKind>(m.kind());
  lock.owner = m.owner();
  lock.type = static_cast<LockType>(m.type());
  lock.range = {m.begin(), m.end()};
  lock.pid = m.pid();
  lock.private_to_session = m.private_to_session();
  if (lock.kind == LockKind::flock && lock.range != LockRange{})
    return bad("lock", "a flock is of the whole file");
  return lock;
}

// One that is held, or asked for.
Result<Lock> some_lock_from(const v1::Lock& m) {
  LINKSPAN_TRY(Lock lock, lock_from(m));
  if (lock.type == LockType::none) return bad("lock.type", "is none");
  return lock;
}

}  // namespace

void to_wire(const SetLockRequest& request, v1::SetLockRequest* out) {
  out->set_number(request.number.value);
  out->set_answered_below(request.answered_below.value);
  lock_to_wire(request.lock, out->mutable_lock());
  out->set_wait(static_cast<uint32_t>(request.wait));
}

void to_wire(const TestLockRequest& request, v1::TestLockRequest* out) {
  lock_to_wire(request.lock, out->mutable_lock());
}

void to_wire(const CancelLockRequest& request, v1::CancelLockRequest* out) {
  out->set_number(request.number.value);
  out->set_answered_below(request.answered_below.value);
}

void to_wire(const ReclaimLocksRequest& request, v1::ReclaimLocksRequest* out) {
  for (const Lock& lock : request.locks) lock_to_wire(lock, out->add_locks());
}

Result<SetLockRequest> from_wire(const v1::SetLockRequest& m) {
  LINKSPAN_CHECK(check_number("number", m.number(), 1));
  LINKSPAN_CHECK(check_range("answered_below", m.answered_below(), 0, m.number()));
  LINKSPAN_CHECK(check_range("wait", m.wait(), 0, 2));
  LINKSPAN_TRY(const Lock lock, lock_from(m.lock()));
  return SetLockRequest{OpNumber(m.number()), OpNumber(m.answered_below()), lock,
                        static_cast<LockWait>(m.wait())};
}

Result<TestLockRequest> from_wire(const v1::TestLockRequest& m) {
  LINKSPAN_TRY(const Lock lock, some_lock_from(m.lock()));
  return TestLockRequest{lock};
}

Result<CancelLockRequest> from_wire(const v1::CancelLockRequest& m) {
  LINKSPAN_CHECK(check_number("number", m.number(), 1));
  LINKSPAN_CHECK(check_range("answered_below", m.answered_below(), 0, m.number()));
  return CancelLockRequest{OpNumber(m.number()), OpNumber(m.answered_below())};
}

Result<ReclaimLocksRequest> from_wire(const v1::ReclaimLocksRequest& m) {
  LINKSPAN_CHECK(check_count("locks", m.locks_size(), limits::kLocksPerSession));
  ReclaimLocksRequest request;
  request.locks.reserve(static_cast<size_t>(m.locks_size()));
  for (const v1::Lock& wire_lock : m.locks()) {
    LINKSPAN_TRY(const Lock lock, some_lock_from(wire_lock));
    request.locks.push_back(lock);
  }
  return request;
}

void to_wire(const SetLockReply& reply, v1::SetLockReply* out) {
  out->set_order(reply.order);
}

void to_wire(const TestLockReply& reply, v1::TestLockReply* out) {
  if (reply.blocker) lock_to_wire(*reply.blocker, out->mutable_blocker());
  out->set_same_session(reply.same_session);
}

void to_wire(const CancelLockReply& reply, v1::CancelLockReply* out) {
  out->set_granted(reply.granted);
  out->set_order(reply.order);
}

void to_wire(const ReclaimLocksReply& reply, v1::ReclaimLocksReply* out) {
  for (const uint32_t index : reply.lost) out->add_lost(index);
}

Result<SetLockReply> from_wire(v1::SetLockReply&& m) {
  return SetLockReply{m.order()};
}

Result<TestLockReply> from_wire(v1::TestLockReply&& m) {
  TestLockReply reply;
  reply.same_session = m.same_session();
  if (!m.has_blocker()) return reply;
  LINKSPAN_TRY(reply.blocker, some_lock_from(m.blocker()));
  return reply;
}

Result<CancelLockReply> from_wire(v1::CancelLockReply&& m) {
  return CancelLockReply{m.granted(), m.order()};
}

Result<ReclaimLocksReply> from_wire(v1::ReclaimLocksReply&& m) {
  LINKSPAN_CHECK(check_count("lost", m.lost_size(), limits::kLocksPerSession));
  ReclaimLocksReply reply;
  for (const uint32_t index : m.lost()) {
    LINKSPAN_CHECK(check_range("lost", index, reply.lost.empty() ? 0 : reply.lost.back() + 1ull,
                               limits::kLocksPerSession - 1));
    reply.lost.push_back(index);
  }
  return reply;
}

}  // namespace linkspan::wire
