#include "fusefs/vfs/locks.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace linkspan::vfs {
namespace {

// A wait lasts as long as the router is there; away it may be for the route's timeout.
constexpr std::chrono::hours kLongWait{24 * 365};

Error too_many() {
  return fail(Code::no_space, "too many processes of this mount wait for locks");
}

}  // namespace

Locks::Locks(Parts parts) : parts_(parts) {}

Locks::~Locks() {
  stop();
}

void Locks::stop() {
  std::vector<std::thread> chores;
  std::vector<std::shared_ptr<client::CancelToken>> tokens;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    chores = std::exchange(threads_, {});
    for (const Wait& wait : waiting_) tokens.push_back(wait.cancel);
  }
  for (const auto& token : tokens) token->cancel();
  for (client::CancelToken& stop : stops_) stop.cancel();
  wake_.notify_all();
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return waiting_.empty(); });
  std::list<Wait> over = std::move(ended_);
  ended_.clear();
  lock.unlock();
  for (Wait& wait : over) wait.thread.join();
  for (std::thread& thread : chores) thread.join();
}

Status Locks::intact(const FileHandle& handle) {
  if (!handle.locks_lost) return ok();
  return fail(Code::io,
              "a lock set through this descriptor was lost while the router was away: open the "
              "file again");
}

// ---- setting -----------------------------------------------------------------------------------

void Locks::note_handle(Handle h, const Lock& lock) {
  if (lock.kind != LockKind::record || lock.type == LockType::none) return;
  const std::lock_guard guard(mutex_);
  handles_[{lock.ino, lock.owner}].insert(h);
}

void Locks::forget_handles(const Lock& lock) {
  const std::lock_guard guard(mutex_);
  handles_.erase({lock.ino, lock.owner});
}

// `must`: the lock is given up, so not without what it protected. Else, before a lock is taken,
// it is only that reads see what is current: a file with unsaved writes shows what lay beneath
// them. A bare O_TRUNC is no news to anybody yet.
Status Locks::save(const Doing& doing, const Lock& lock, bool must) {
  if (lock.private_to_session) return ok();
  const auto file = parts_.files->find(lock.ino);
  if (!file) return ok();
  const Status saved = parts_.commits->commit(doing, *file, {{}, must});
  if (saved.ok()) return ok();
  if (transient(saved.code())) return must ? saved : ok();              // it is unsaved as before
  if (saved.code() != Code::conflict) file->errors.add(saved.error());  // told to whom it concerns
  return ok();
}

Result<std::optional<OpNumber>> Locks::set(const Doing& doing, Handle h, const Lock& lock,
                                           bool wait) {
  const auto handle = parts_.files->handle(h);
  if (!handle) return no_such_handle();
  if (lock.type == LockType::none) {
    LINKSPAN_CHECK(unlock(doing, lock));
    return std::optional<OpNumber>();
  }
  LINKSPAN_CHECK(intact(*handle));
  handle->locks = true;
  note_handle(h, lock);  // first: RELEASE cannot come before we answer
  LINKSPAN_CHECK(catch_up(doing, lock));
  const LockType held = parts_.client->lock_held(lock);
  LINKSPAN_CHECK(save(doing, lock, lock.type < held));
  OpNumber number;
  const auto mode = wait ? LockWait::queue : LockWait::no;
  const Status set = parts_.client->set_lock(doing.call(&number), lock, mode);
  if (set.ok()) return std::optional<OpNumber>();
  if (mode == LockWait::queue && set.code() == Code::would_block && number)
    return std::optional<OpNumber>(number);
  if (number) later({lock, number, held});
  return set.error();
}

// ---- waiting -----------------------------------------------------------------------------------

void Locks::await(OpNumber number, const Lock& lock, std::shared_ptr<client::CancelToken> cancel,
                  Vfs::LockDone done) {
  const LockType held = parts_.client->lock_held(lock);
  std::list<Wait> over;
  std::unique_lock guard(mutex_);
  over.splice(over.end(), ended_);
  bool refused = stopping_ || waiting_.size() >= limits::kLockWaitersPerMount;
  if (!refused) {
    const auto self = waiting_.emplace(waiting_.end());
    try {
      // It cannot take itself out of the list before it is in it: mutex_ is held.
      self->cancel = cancel;
      self->thread = std::thread([this, number, lock, held, cancel, done, self] {
        OpNumber asked = number;
        waits_.fetch_add(1, std::memory_order_relaxed);
        Status got = wait_for(&asked, lock, cancel);
        if (!got.ok() && asked) got = take_back(&asked, lock, held, got.error());
        waits_.fetch_sub(1, std::memory_order_relaxed);
        done(got);
        const std::lock_guard end(mutex_);
        ended_.splice(ended_.end(), waiting_, self);
        wake_.notify_all();
      });
    } catch (const std::system_error&) {
      waiting_.erase(self);
      refused = true;
    }
  }
  guard.unlock();
  for (Wait& wait : over) wait.thread.join();  // they have said all that they had to
  if (!refused) return;
  later({lock, number, held});
  done(too_many());
}

// The route's timeout is for the time without a router, not for the wait: a try that was broken off
// after that time is made again.
Status Locks::wait_for(OpNumber* number, const Lock& lock,
                       const std::shared_ptr<client::CancelToken>& cancel) {
  for (;;) {
    const Doing doing = Doing::until_timeout(*parts_.options, cancel.get());
    const Status got = parts_.client->set_lock(doing.call(number, kLongWait), lock, LockWait::stay);
    const bool late = parts_.options->clock->steady() > doing.deadline + kTakeBackTime;
    if (got.ok() || !*number || got.code() == Code::interrupted || !late) return got;
  }
}

// It may have been granted at the last moment: then that is so. If nobody says, the caller hears
// why it ended, and what was granted unheard is given up as soon as somebody does.
Status Locks::take_back(OpNumber* number, const Lock& lock, LockType before, const Error& why) {
  const client::Call call{std::chrono::steady_clock::now() + kTakeBackTime, nullptr, number};
  const Status taken = parts_.client->cancel_lock(call, lock);
  if (taken.ok()) return ok();
  if (*number) later({lock, *number, before});
  return why;
}

// ---- giving up ---------------------------------------------------------------------------------

// What cannot be done now, sent or not, is made up for.
Status Locks::unlock(const Doing& doing, const Lock& lock) {
  OpNumber number;
  Status done = catch_up(doing, lock);
  if (done.ok()) done = save(doing, lock, parts_.client->lock_held(lock) != LockType::none);
  if (done.ok()) done = parts_.client->set_lock(doing.call(&number), lock, LockWait::no);
  if (!done.ok()) later({lock, number});
  return done;
}

Status Locks::unlock_owner(const Doing& doing, const Lock& all_of_owner) {
  if (!parts_.client->has_locks(all_of_owner)) return ok();
  forget_handles(all_of_owner);
  if (parts_.client->lock_held(all_of_owner) == LockType::none) return ok();
  return unlock(doing, all_of_owner);
}

void Locks::unlock_handle(Ino ino, Handle h) {
  const Lock flock{ino, LockKind::flock, h, LockType::none, {}, 0, false};
  if (parts_.client->has_locks(flock)) later({flock, {}});
  // OFD locks: their owner is this handle alone. It stands in handles_ or what it has to give up in
  // chores_, at any moment: the next owner of the same number finds one of them.
  const std::lock_guard guard(mutex_);
  for (auto at = handles_.lower_bound({ino, 0}); at != handles_.end() && at->first.first == ino;) {
    const bool last = at->second.erase(h) != 0 && at->second.empty();
    if (last)
      later_locked({{ino, LockKind::record, at->first.second, LockType::none, {}, 0, false}, {}});
    at = last ? handles_.erase(at) : std::next(at);
  }
}

void Locks::lost(const std::vector<Lock>& locks) {
  for (const Lock& lock : locks) {
    const auto file = parts_.files->find(lock.ino);
    if (!file) continue;
    lost_.fetch_add(1, std::memory_order_relaxed);
    parts_.files->locks_lost(lock.ino);
    file->doom();
    parts_.commits->schedule(lock.ino, std::chrono::milliseconds(0));
  }
}

// ---- chores ------------------------------------------------------------------------------------

void Locks::later(const Chore& chore) {
  const std::lock_guard guard(mutex_);
  later_locked(chore);
}

void Locks::later_locked(const Chore& chore) {
  if (stopping_) return;  // the session ends, and everything with it
  auto& queue = chores_[chore.lock.ino].queue;
  // A program that tries again and again has one thing to give up.
  if (std::find(queue.begin(), queue.end(), chore) != queue.end()) return;
  queue.push_back(chore);
  if (threads_.size() < std::min(stops_.size(), chores_.size()))
    threads_.emplace_back([this, stop = &stops_[threads_.size()]] { run(stop); });
  wake_.notify_all();
}

// What the lock's owner has still to give up, first. The caller does it, but for what is under way.
Status Locks::catch_up(const Doing& doing, const Lock& lock) {
  const auto mine = [&](const Chore& chore) {
    return chore.lock.kind == lock.kind && chore.lock.owner == lock.owner;
  };
  for (;;) {
    {
      std::unique_lock guard(mutex_);
      const auto at = chores_.find(lock.ino);
      if (at == chores_.end()) return ok();
      auto& [queue, under_way, due] = at->second;
      const auto next = std::find_if(queue.begin(), queue.end(), mine);
      if (next == queue.end() && !(under_way && mine(*under_way))) return ok();
      if (!under_way) {
        LINKSPAN_CHECK(carry_out_of(at, next, doing, &guard));
        continue;
      }
    }
    LINKSPAN_CHECK(doing.patience().wait(mutex_, wake_, [&] {
      const auto at = chores_.find(lock.ino);
      return at == chores_.end() || !at->second.under_way;
    }));
  }
}

// `guard` holds mutex_, before and after.
Status Locks::carry_out_of(ChoresAt file, std::deque<Chore>::iterator chore, const Doing& doing,
                           std::unique_lock<std::mutex>* guard) {
  Chores& chores = file->second;  // stays while something of it is under way
  Chore trying = *chore;
  chores.queue.erase(chore);
  chores.under_way = trying;
  guard->unlock();
  const Status done = carry_out(doing, &trying);
  guard->lock();
  chores.under_way.reset();
  if (!done.ok()) {
    chores.queue.push_front(trying);
    chores.due = std::chrono::steady_clock::now() + kUnlockRetryDelay;
  } else if (chores.queue.empty()) {
    chores_.erase(file);
  }
  wake_.notify_all();
  return done;
}

// ok: done, or never to be done.
Status Locks::carry_out(const Doing& doing, Chore* chore) {
  if (chore->number) {
    const Status taken = parts_.client->cancel_lock(doing.call(&chore->number), chore->lock);
    if (!taken.ok() && chore->number) return taken;
    if (chore->before) {
      if (!taken.ok()) return ok();
      chore->lock.type = *std::exchange(chore->before, std::nullopt);
    }
  } else if (!parts_.client->has_locks(chore->lock)) {
    return ok();
  }
  LINKSPAN_CHECK(save(doing, chore->lock, true));
  const Status done =
      parts_.client->set_lock(doing.call(&chore->number), chore->lock, LockWait::no);
  return !done.ok() && transient(done.code()) ? done : ok();
}

void Locks::run(client::CancelToken* stop) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Due now = std::chrono::steady_clock::now();
    Due next = now + std::chrono::hours(1);
    const auto at = std::find_if(chores_.begin(), chores_.end(), [&](const auto& file) {
      if (file.second.under_way) return false;
      if (file.second.due > now) next = std::min(next, file.second.due);
      return file.second.due <= now;
    });
    if (at == chores_.end()) {
      wake_.wait_until(lock, next);
      continue;
    }
    (void)carry_out_of(at, at->second.queue.begin(), Doing::until_timeout(*parts_.options, stop),
                       &lock);
  }
}

}  // namespace linkspan::vfs
