#include "routerd/core/locks.h"

#include <algorithm>

namespace linkspan::core {
namespace {

constexpr size_t kFinishedPieces = 4096;  // of one session; beyond it the lowest gap closes

bool is_within_piece(const LockRanges& ranges, const LockRange& range) {
  bool within = false;
  ranges.each(range, [&](const LockRange& piece, LockType) {
    within = piece.begin < range.begin && range.end < piece.end;
    return false;
  });
  return within;
}

Error answered_before() {
  return fail(Code::invalid, "this lock request was answered before");
}

}  // namespace

// ---- numbers -----------------------------------------------------------------------------------

void LockNumbers::forget_below(uint64_t number) {
  while (!finished_.empty() && finished_.begin()->first < number) {
    const auto [begin, end] = *finished_.begin();
    finished_.erase(finished_.begin());
    if (end > number) finished_.emplace(number, end);
  }
}

void LockNumbers::answered(uint64_t below) {
  if (below <= answered_below_) return;
  answered_below_ = below;
  outcomes_.erase(outcomes_.begin(), outcomes_.lower_bound(below));
  forget_below(below);
}

std::optional<LockNumbers::Outcome> LockNumbers::find(uint64_t number) const {
  if (number < answered_below_) return answered_before();
  if (const auto at = outcomes_.find(number); at != outcomes_.end()) {
    if (at->second.broken) return std::nullopt;
    return at->second.outcome;
  }
  auto at = finished_.upper_bound(number);
  if (at == finished_.begin()) return std::nullopt;
  if (number < std::prev(at)->second) return answered_before();
  return std::nullopt;
}

void LockNumbers::broken(Ino ino, LockKind kind, uint64_t owner) {
  for (auto& [number, finished] : outcomes_)
    if (finished.granted(ino, kind, owner)) finished.broken = true;
}

void LockNumbers::lost(const Lock& told) {
  for (auto& [number, finished] : outcomes_) {
    const Lock& asked = finished.asked;
    if (!finished.broken || !finished.granted(told.ino, told.kind, told.owner)) continue;
    const bool heard = told.type >= asked.type && told.range.begin <= asked.range.begin &&
                       asked.range.end <= told.range.end;
    if (heard) finished = {fail(Code::io, "this lock was lost while the mount was away"), asked};
  }
}

void LockNumbers::finish(uint64_t number, Outcome outcome, const Lock& asked) {
  if (number < answered_below_) return;
  outcomes_.insert_or_assign(number, Finished{std::move(outcome), asked});
  if (outcomes_.size() > limits::kLockResultsPerSession) outcomes_.erase(outcomes_.begin());
  auto after = finished_.upper_bound(number);
  uint64_t begin = number, end = number + 1;
  if (after != finished_.begin()) {
    const auto before = std::prev(after);
    if (number < before->second) return;
    if (before->second == number) {
      begin = before->first;
      finished_.erase(before);
    }
  }
  if (after != finished_.end() && after->first == end) {
    end = after->second;
    finished_.erase(after);
  }
  finished_.emplace(begin, end);
  if (finished_.size() <= kFinishedPieces) return;
  const auto lowest = finished_.begin();
  std::next(lowest)->second = std::max(std::next(lowest)->second, lowest->second);
  const uint64_t from = lowest->first, to = std::next(lowest)->second;
  finished_.erase(lowest, std::next(lowest, 2));
  finished_.emplace(from, to);
}

// ---- what conflicts ----------------------------------------------------------------------------

bool LockTable::clash(const Owner& asker, const Lock& ask, const Owner& other,
                      const LockRange& range, LockType type, bool private_to_session) {
  if (asker == other || !ask.range.overlaps(range)) return false;
  if (ask.type == LockType::exclusive || type == LockType::exclusive) return true;
  return (ask.private_to_session || private_to_session) && asker.session != other.session;
}

bool LockTable::clash(const Waiter& a, const Waiter& b) const {
  return clash(a.owner, a.lock, b.owner, b.lock.range, b.lock.type, b.lock.private_to_session);
}

bool LockTable::covers(const File& file, const Owner& owner, const Lock& lock) {
  const auto at = file.held.find(owner);
  return at != file.held.end() && at->second.ranges.covers(lock.range, lock.type);
}

std::optional<std::pair<LockTable::Owner, Lock>> LockTable::blocker(const FileId& id,
                                                                    const Owner& owner,
                                                                    const Lock& lock,
                                                                    bool break_lost) {
  const auto at = files_.find(id);
  if (at == files_.end()) return std::nullopt;
  std::optional<std::pair<Owner, Lock>> first;
  std::vector<Owner> lost;
  for (const auto& entry : at->second.held) {
    const Owner& other = entry.first;
    const Held& held = entry.second;
    std::optional<Lock> found;
    held.ranges.each(lock.range, [&](const LockRange& range, LockType type) {
      if (!clash(owner, lock, other, range, type, held.private_to_session)) return true;
      found = Lock{id.ino, id.kind, 0, type, range, held.pid, held.private_to_session};
      return false;
    });
    if (!found) continue;
    if (is_lost(other.session) && (!break_lost || gives_up(other.session))) {
      lost.push_back(other);
    } else if (!first || found->range.begin < first->second.range.begin) {
      first.emplace(other, *found);
    }
  }
  if (break_lost) {
    for (const Owner& other : lost) break_owner(id, other);
    broken_ += lost.size();
  }
  return first;
}

// Somebody who came first waits for what this would take.
bool LockTable::must_queue(File& file, const Waiter& waiter, Queue::const_iterator until) {
  if (waiter.may_pass) return false;
  for (auto before = file.queue.cbegin(); before != until; ++before)
    if (clash(waiter, *before) && !is_lost(before->owner.session)) return true;
  return false;
}

bool LockTable::grantable(File& file, const Waiter& waiter, Queue::const_iterator until) {
  if (covers(file, waiter.owner, waiter.lock)) return true;
  if (blocker(waiter.file, waiter.owner, waiter.lock, true)) return false;
  return !must_queue(file, waiter, until);
}

// ---- what changes ------------------------------------------------------------------------------

LockTable::Session* LockTable::find(SessionId session) {
  const auto at = sessions_.find(session);
  return at == sessions_.end() ? nullptr : &at->second;
}

bool LockTable::is_lost(SessionId session) {
  const Session* state = find(session);
  return state == nullptr || state->calls.lost();
}

bool LockTable::gives_up(SessionId session) {
  const Session* state = find(session);
  return state == nullptr || state->calls.give_up();
}

void LockTable::count_file(Session* session, const FileId& id, int by) {
  if (session == nullptr) return;
  const auto at = session->files.try_emplace(id, 0).first;
  at->second += static_cast<size_t>(by);
  if (at->second == 0) session->files.erase(at);
}

void LockTable::tidy(const FileId& id) {
  const auto at = files_.find(id);
  if (at != files_.end() && at->second.held.empty() && at->second.queue.empty()) files_.erase(at);
}

Result<SetLockReply> LockTable::apply(const FileId& id, const Owner& owner, const Lock& lock) {
  Session* session = find(owner.session);
  File& in = file(id);
  const bool unlock = lock.type == LockType::none;
  auto at = in.held.find(owner);
  if (at == in.held.end()) {
    if (unlock) return SetLockReply{++order_};
    at = in.held.emplace(owner, Held{}).first;
    count_file(session, id, 1);
  }
  Held& held = at->second;
  // One more piece in the middle of another makes two more; a gap there makes one more. A mount
  // that held more could not say so to another router.
  const size_t more = !unlock ? 2 : is_within_piece(held.ranges, lock.range) ? 1 : 0;
  if (more != 0 && session->pieces + more > limits::kLocksPerSession) {
    if (held.ranges.empty()) drop_owner(id, owner);
    return fail(Code::no_space, "this mount holds " + std::to_string(session->pieces) +
                                    " locks; more are not kept");
  }
  const size_t before = held.ranges.size();
  held.ranges.apply(lock.range, lock.type, ++order_);
  held.ranges.compact(lock.range);
  session->pieces += held.ranges.size() - before;
  if (!unlock) {
    held.pid = lock.pid;
    held.private_to_session = lock.private_to_session;
  }
  if (held.ranges.empty()) drop_owner(id, owner);
  return SetLockReply{order_};
}

void LockTable::drop_owner(const FileId& id, const Owner& owner) {
  File& in = file(id);
  const auto at = in.held.find(owner);
  if (at == in.held.end()) return;
  if (Session* session = find(owner.session)) {
    session->pieces -= at->second.ranges.size();
    count_file(session, id, -1);
  }
  in.held.erase(at);
}

// Another's doing, not the owner's.
void LockTable::break_owner(const FileId& id, const Owner& owner) {
  drop_owner(id, owner);
  if (Session* session = find(owner.session)) session->numbers.broken(id.ino, id.kind, owner.id);
}

void LockTable::remove(Queue::iterator waiter) {
  Session* session = find(waiter->owner.session);
  session->waiting.erase(waiter->number);
  const FileId id = waiter->file;
  count_file(session, id, -1);
  const auto [from, to] = waits_.equal_range(waiter->owner);
  const auto mine =
      std::find_if(from, to, [&](const auto& entry) { return entry.second == &*waiter; });
  if (mine != to) waits_.erase(mine);
  file(id).queue.erase(waiter);
}

void LockTable::finish(Queue::iterator waiter, const Result<SetLockReply>& result,
                       LockAnswers* answers) {
  for (LockDone& done : waiter->dones) answers->add(std::move(done), result);
  find(waiter->owner.session)->numbers.finish(waiter->number, result, waiter->lock);
  remove(waiter);
}

// After anything that may make room. Once is enough, in the order of the queue, unless a grant
// itself makes room: by setting shared what its owner held exclusively.
void LockTable::regrant(const FileId& id, LockAnswers* answers) {
  for (bool again = true; again;) {
    again = false;
    File& in = file(id);
    for (auto at = in.queue.begin(); at != in.queue.end();) {
      const auto waiter = at++;
      if (is_lost(waiter->owner.session) || !grantable(in, *waiter, waiter)) continue;
      again = again || in.held.count(waiter->owner) != 0;
      finish(waiter, apply(id, waiter->owner, waiter->lock), answers);
    }
  }
  tidy(id);
}

// ---- requests ----------------------------------------------------------------------------------

// A number below which all was answered waits for nobody.
void LockTable::give_up_answered(Session* session, LockAnswers* answers) {
  while (!session->waiting.empty() &&
         session->waiting.begin()->first < session->numbers.answered_below()) {
    const auto waiter = session->waiting.begin()->second;
    const FileId id = waiter->file;
    finish(waiter, answered_before(), answers);
    regrant(id, answers);
  }
}

void LockTable::set(SessionId of, const SetLockRequest& request, LockDone done,
                    LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  const Lock& ask = request.lock;
  const uint64_t number = request.number.value;
  Session* session = find(of);
  if (session == nullptr)
    return answers->add(std::move(done),
                        fail(Code::session_lost, "this session has ended; attach again"));
  if (stopped_) return answers->add(std::move(done), fail(Code::unavailable, "the router stops"));
  session->numbers.answered(request.answered_below.value);
  give_up_answered(session, answers);
  if (const auto outcome = session->numbers.find(number))
    return answers->add(std::move(done), *outcome);
  const Error queued = fail(Code::would_block, "another holds the lock");
  if (const auto at = session->waiting.find(number); at != session->waiting.end()) {
    if (request.wait != LockWait::stay) return answers->add(std::move(done), queued);
    // The mount tries again when the link was gone: whoever asked before does not hear it any more.
    auto& dones = at->second->dones;
    if (dones.size() >= limits::kTriesJoined) {
      answers->add(std::move(dones.front()), fail(Code::busy, "later tries took its place"));
      dones.erase(dones.begin());
    }
    return dones.push_back(std::move(done));
  }

  const FileId id{ask.ino, ask.kind};
  const Owner owner{of, ask.owner};
  const auto answer = [&](const Result<SetLockReply>& result) {
    session->numbers.finish(number, result, ask);
    answers->add(std::move(done), result);
    regrant(id, answers);
  };
  if (ask.type == LockType::none) return answer(apply(id, owner, ask));
  // flock(2): the lock that is to be converted is given up first, so that two who both want more
  // do not wait for each other.
  if (ask.kind == LockKind::flock && !covers(file(id), owner, ask)) {
    drop_owner(id, owner);
    regrant(id, answers);
  }
  Waiter waiter{id, owner, number, ask, request.wait == LockWait::no, {}};
  if (grantable(file(id), waiter, file(id).queue.cend())) return answer(apply(id, owner, ask));
  if (request.wait == LockWait::no) return answer(queued);
  if (session->waiting.size() >= limits::kLockWaitersPerSession)
    return answer(fail(Code::no_space, "too many of this mount wait for locks"));

  Queue& queue = file(id).queue;
  const auto mine = queue.insert(queue.end(), std::move(waiter));
  session->waiting.emplace(number, mine);
  count_file(session, id, 1);
  if (ask.kind == LockKind::record) {
    waits_.emplace(owner, &*mine);
    if (!may_wait(*mine)) {
      remove(mine);
      return answer(fail(Code::deadlock, "waiting for this lock would never end"));
    }
  }
  if (request.wait == LockWait::queue) {
    answers->add(std::move(done), queued);
  } else {
    mine->dones.push_back(std::move(done));
  }
  // Where the order gave way to a circle, somebody may go on: anywhere in the circle.
  std::vector<FileId> passing;
  for (const auto& [who, waits] : waits_)
    if (waits->may_pass) passing.push_back(waits->file);
  for (const FileId& other : passing)
    if (files_.count(other) != 0) regrant(other, answers);
}

TestLockReply LockTable::test(SessionId of, const Lock& ask) {
  const std::lock_guard lock(mutex_);
  TestLockReply reply;
  const auto found = blocker({ask.ino, ask.kind}, {of, ask.owner}, ask, false);
  if (!found) return reply;
  reply.blocker = found->second;
  reply.same_session = found->first.session == of;
  if (!reply.same_session && (found->second.private_to_session || ask.private_to_session)) {
    reply.blocker->private_to_session = true;
    reply.blocker->type = LockType::exclusive;  // as it works
  }
  return reply;
}

CancelLockReply LockTable::cancel(SessionId of, const CancelLockRequest& request,
                                  LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  Session* session = find(of);
  if (session == nullptr) return {};
  session->numbers.answered(request.answered_below.value);
  give_up_answered(session, answers);
  const uint64_t number = request.number.value;
  const Error taken_back = fail(Code::interrupted, "the request was taken back");
  if (const auto at = session->waiting.find(number); at != session->waiting.end()) {
    const FileId id = at->second->file;
    finish(at->second, taken_back, answers);
    regrant(id, answers);
    return {};
  }
  if (const auto outcome = session->numbers.find(number)) {
    if (outcome->ok()) return {true, (*outcome)->order};
    return {};
  }
  session->numbers.finish(number, taken_back);  // it may still arrive
  return {};
}

// ---- sessions ----------------------------------------------------------------------------------

void LockTable::open(SessionId session, SessionCalls calls) {
  const std::lock_guard lock(mutex_);
  sessions_[session].calls = std::move(calls);
}

void LockTable::drop_waiters(Session* session, const Error& why, LockAnswers* answers) {
  while (!session->waiting.empty()) {
    const auto waiter = session->waiting.begin()->second;
    for (LockDone& done : waiter->dones) answers->add(std::move(done), why);
    remove(waiter);
  }
}

void LockTable::lease_lost(SessionId of, LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  Session* session = find(of);
  if (session == nullptr || !session->calls.lost()) return;
  std::vector<FileId> files;
  for (const auto& [id, count] : session->files) files.push_back(id);
  drop_waiters(session, fail(Code::unavailable, "the lease ran out; ask again"), answers);
  for (const FileId& id : files) regrant(id, answers);
}

void LockTable::end_waits(SessionId of, LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  Session* session = find(of);
  if (session == nullptr) return;
  std::vector<FileId> files;
  for (const auto& [number, waiter] : session->waiting) files.push_back(waiter->file);
  drop_waiters(session, fail(Code::session_lost, "the session has ended"), answers);
  for (const FileId& id : files) regrant(id, answers);
}

void LockTable::end(SessionId of, LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  Session* session = find(of);
  if (session == nullptr) return;
  std::vector<FileId> files;
  for (const auto& [id, count] : session->files) files.push_back(id);
  drop_waiters(session, fail(Code::session_lost, "the session has ended"), answers);
  for (const FileId& id : files) {
    std::vector<Owner> owners;
    for (const auto& [owner, held] : file(id).held)
      if (owner.session == of) owners.push_back(owner);
    for (const Owner& owner : owners) drop_owner(id, owner);
  }
  sessions_.erase(of);
  for (const FileId& id : files) regrant(id, answers);
}

void LockTable::stop(LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  for (auto& [id, session] : sessions_)
    drop_waiters(&session, fail(Code::unavailable, "the router is stopping"), answers);
}

ReclaimLocksReply LockTable::reclaim(SessionId of, const ReclaimLocksRequest& request, bool anew,
                                     LockAnswers* answers) {
  const std::lock_guard lock(mutex_);
  ReclaimLocksReply reply;
  Session* session = find(of);
  if (session == nullptr) return reply;
  session->calls.told();
  for (size_t i = 0; i < request.locks.size(); ++i) {
    const Lock& held = request.locks[i];
    const FileId id{held.ino, held.kind};
    const Owner owner{of, held.owner};
    if (const auto at = files_.find(id); at != files_.end() && covers(at->second, owner, held))
      continue;
    if (anew && !blocker(id, owner, held, true) && apply(id, owner, held).ok()) continue;
    reply.lost.push_back(static_cast<uint32_t>(i));
  }
  for (const uint32_t index : reply.lost) {
    const Lock& gone = request.locks[index];
    const FileId id{gone.ino, gone.kind};
    break_owner(id, {of, gone.owner});
    session->numbers.lost(gone);
    regrant(id, answers);
  }
  return reply;
}

LockTable::Counts LockTable::counts() const {
  const std::lock_guard lock(mutex_);
  Counts counts;
  counts.broken = broken_;
  for (const auto& [id, session] : sessions_) {
    counts.held += session.pieces;
    counts.waiting += session.waiting.size();
  }
  return counts;
}

}  // namespace linkspan::core
