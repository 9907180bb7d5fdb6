#include "fusefs/vfs/told_sizes.h"

#include <algorithm>

namespace linkspan::vfs {
namespace {

constexpr size_t kReaders = 256;  // answers to others are like those to a stat(2)

using Steady = std::chrono::steady_clock;

bool shorter(const SizedVersion& a, const SizedVersion& b) {
  return a.size != b.size ? a.size < b.size : a.version > b.version;
}

SizedVersion shortest(const std::optional<SizedVersion>& a, const SizedVersion& b) {
  return a && shorter(*a, b) ? *a : b;
}

}  // namespace

// ---- who reads ------------------------------------------------------------------------------

ToldSizes::Asking::Asking(ToldSizes* sizes, Ino ino, int32_t thread)
    : sizes_(sizes), number_(sizes->asks(ino, thread)) {}

ToldSizes::Asking::~Asking() {
  sizes_->gave_up(number_);
}

ToldSizes::Resizing::Resizing(ToldSizes* sizes, Ino ino) : sizes_(sizes), ino_(ino) {
  std::lock_guard lock(sizes_->mutex_);
  sizes_->resized_.insert(ino_);
}

ToldSizes::Resizing::~Resizing() {
  std::lock_guard lock(sizes_->mutex_);
  sizes_->resized_.erase(sizes_->resized_.find(ino_));
}

bool ToldSizes::resizing(Ino ino) {
  std::lock_guard lock(mutex_);
  return resized_.count(ino) != 0;
}

uint64_t ToldSizes::asks(Ino ino, int32_t thread) {
  std::lock_guard lock(mutex_);
  const auto now = Steady::now();
  if (readers_.size() >= kReaders)
    std::erase_if(readers_, [&](const Reader& r) { return !awaited(r, now); });
  if (readers_.size() >= kReaders) return 0;
  any_reader_ = true;
  readers_.push_back(Reader{next_number_, thread, ino, now, Version{}});
  return next_number_++;
}

void ToldSizes::gave_up(uint64_t number) {
  {
    std::lock_guard lock(mutex_);
    if (std::erase_if(readers_, [&](const Reader& r) { return r.number == number && !r.told; }) ==
        0)
      return;
    any_reader_ = !readers_.empty();
  }
  changed_.notify_all();
}

void ToldSizes::came(int32_t thread, Ino ino) {
  if (!any_reader_) return;
  {
    std::lock_guard lock(mutex_);
    const auto it = std::find_if(readers_.begin(), readers_.end(), [&](const Reader& r) {
      return r.told && r.thread == thread && (thread != 0 || r.ino == ino);
    });
    if (it == readers_.end()) return;
    if (Telling* telling = told_.find(it->ino); telling && telling->last.version == it->told)
      telling->before.reset();
    readers_.erase(it);
    any_reader_ = !readers_.empty();
  }
  changed_.notify_all();
}

bool ToldSizes::awaited(const Reader& reader, Instant now) const {
  return now < reader.since + kReadComes;
}

bool ToldSizes::being_taken_in(Ino ino, const Telling& telling) const {
  const auto now = Steady::now();
  if (telling.plainly && now < telling.plainly->at + kTakenIn) return true;
  return std::any_of(readers_.begin(), readers_.end(),
                     [&](const Reader& r) { return r.ino == ino && r.told && awaited(r, now); });
}

// ---- what they are told ---------------------------------------------------------------------

uint64_t ToldSizes::last_notice(Ino ino) {
  const Notice* notice = noticed_.find(ino);
  if (all_.under_way > 0 || (notice && notice->under_way > 0)) return UINT64_MAX;
  return std::max(all_.ended, notice ? notice->ended : 0);
}

void ToldSizes::await_notice(std::unique_lock<std::mutex>& lock, Ino ino) {
  changed_.wait_until(lock, Steady::now() + kReadComes,
                      [&] { return last_notice(ino) != UINT64_MAX; });
}

bool ToldSizes::told(Ino ino, const SizedVersion& what, uint64_t as_of, const Asker& by) {
  std::unique_lock lock(mutex_);
  // Else it could be taken in while a READ of before is under way, and make the file longer.
  await_notice(lock, ino);
  bool sure = last_notice(ino) <= as_of;
  Telling* telling = told_.find(ino);
  const bool differs = telling && telling->last.version != what.version;
  // Whichever of the two is taken in first, the kernel ignores the other.
  if (differs && being_taken_in(ino, *telling)) sure = false;
  if (!sure) {
    if (differs) {
      telling->other = shortest(telling->other, what);
      if (!telling->outdated) telling->outdated = Steady::now();
    }
    return false;
  }
  if (differs && telling->last.version > what.version) return true;  // it has the newer one
  const auto now = Steady::now();
  Telling next{what, now, {}, {}, {}, {}};
  if (telling && !differs && !telling->other) {
    next.plainly = telling->plainly;
    next.before = telling->before;
  } else if (telling) {
    next.before = shortest(telling->before, shortest(telling->other, telling->last));
  }
  Reader* reader = nullptr;
  if (by.reading && (!telling || next.before))
    for (Reader& r : readers_)
      if (r.number == by.reading->number_) reader = &r;
  if (reader) {
    reader->told = what.version;
    reader->since = now;
  } else {
    next.plainly = Plain{now, by.thread};
  }
  told_.put(ino, std::move(next));
  return true;
}

void ToldSizes::made(Ino ino, const SizedVersion& what) {
  {
    std::lock_guard lock(mutex_);
    const Telling* telling = told_.find(ino);
    if (telling && telling->last.version > what.version) return;
    told_.put(ino, Telling{what, Steady::now(), {}, {}, {}, {}});
  }
  changed_.notify_all();
}

void ToldSizes::untell(Ino ino) {
  {
    std::lock_guard lock(mutex_);
    told_.erase(ino);
  }
  changed_.notify_all();
}

// Else no read of before it can be under way.
bool ToldSizes::changed_lately(Ino ino) {
  const Notice* notice = noticed_.find(ino);
  const auto since = Steady::now() - kUnderWay;
  return (notice && notice->changed > since) || all_.changed > since;
}

ToldSizes::Instant ToldSizes::taken_in_at(Ino ino, const Telling& telling) const {
  Instant at{};
  if (telling.plainly)
    at = telling.plainly->at + (telling.plainly->thread == 0 ? kTakenIn : kOthersTakeIn);
  for (const Reader& r : readers_)
    if (r.ino == ino && r.told) at = std::max(at, r.since + kOthersTakeIn);
  return at;
}

void ToldSizes::await_others(Ino ino, int32_t thread) {
  std::unique_lock lock(mutex_);
  const auto limit = Steady::now() + kOthersTakeIn;
  for (;;) {
    Telling* telling = told_.find(ino);
    if (!telling || !telling->before || !changed_lately(ino)) return;
    if (telling->plainly && thread != 0 && telling->plainly->thread == thread) {
      telling->before.reset();  // it took that in
      return;
    }
    if (telling->before->size >= telling->last.size) return;
    const Instant at = std::min(taken_in_at(ino, *telling), limit);
    if (at <= Steady::now()) return;
    changed_.wait_until(lock, at);
  }
}

std::optional<SizedVersion> ToldSizes::to_read(Ino ino) {
  std::lock_guard lock(mutex_);
  const Telling* telling = told_.find(ino);
  if (!telling) return std::nullopt;
  // A process that only looks at a mapping never asks for attributes: what the kernel was told
  // before a notice ends kUnderWay after it.
  std::optional<Instant> outdated = telling->outdated;
  if (!outdated && all_.changed && telling->at < *all_.changed) outdated = all_.changed;
  if (outdated && Steady::now() - *outdated > kUnderWay) {
    told_.erase(ino);
    return std::nullopt;
  }
  return shortest(telling->other, telling->last);
}

// ---- notices --------------------------------------------------------------------------------

// When nothing about it is being taken in any more.
ToldSizes::Instant ToldSizes::settled_at(Ino ino) {
  Instant at{};
  const Telling* telling = told_.find(ino);
  if (telling && telling->plainly) at = telling->plainly->at + kTakenIn;
  for (const Reader& reader : readers_)
    if (reader.ino == ino) at = std::max(at, reader.since + kReadComes);
  return at;
}

void ToldSizes::notices_begin(const std::vector<RevokedNode>& nodes) {
  std::unique_lock lock(mutex_);
  const auto limit = Steady::now() + kReadComes;
  for (;;) {
    Instant last{};
    for (const RevokedNode& node : nodes) last = std::max(last, settled_at(node.ino));
    last = std::min(last, limit);
    if (last <= Steady::now()) break;
    changed_.wait_until(lock, last);
  }
  for (const RevokedNode& node : nodes) begin(node.ino, true, node.content);
  lock.unlock();
  changed_.notify_all();
}

void ToldSizes::notice_begins(Ino ino) {
  {
    std::lock_guard lock(mutex_);
    begin(ino, false, false);
  }
  changed_.notify_all();
}

void ToldSizes::begin(Ino ino, bool of_others, bool content) {
  const auto now = Steady::now();
  const Notice* last = noticed_.find(ino);
  Notice notice = last ? *last : Notice{};
  ++notice.under_way;
  if (of_others) notice.changed = now;
  if (content) notice.content = now;
  noticed_.put(ino, notice);
  // Who was told and has not come may go on with what was before.
  const auto late =
      std::erase_if(readers_, [&](const Reader& r) { return r.ino == ino && r.told; });
  any_reader_ = !readers_.empty();
  Telling* telling = told_.find(ino);
  if (!telling) return;
  const bool unsure = late > 0 || (telling->plainly && now < telling->plainly->at + kTakenIn);
  if (unsure && telling->before) telling->other = shortest(telling->other, *telling->before);
  telling->before.reset();
  // Also if only attributes changed: the router does not tell of the next change then, unless
  // somebody asks.
  if ((of_others || telling->other) && !telling->outdated) telling->outdated = now;
}

void ToldSizes::notices_ended(const std::vector<RevokedNode>& nodes, uint64_t as_of) {
  {
    std::lock_guard lock(mutex_);
    for (const RevokedNode& node : nodes) end(node.ino, as_of);
  }
  changed_.notify_all();
}

void ToldSizes::notice_ended(Ino ino, uint64_t as_of) {
  {
    std::lock_guard lock(mutex_);
    end(ino, as_of);
  }
  changed_.notify_all();
}

void ToldSizes::end(Ino ino, uint64_t as_of) {
  Notice* notice = noticed_.find(ino);
  if (!notice || notice->under_way == 0) return;  // forgotten meanwhile
  --notice->under_way;
  notice->ended = as_of;
}

void ToldSizes::all_notices_begin() {
  std::lock_guard lock(mutex_);
  ++all_.under_way;
  all_.changed = Steady::now();
}

void ToldSizes::all_notices_ended(uint64_t as_of) {
  {
    std::lock_guard lock(mutex_);
    --all_.under_way;
    all_.ended = as_of;
  }
  changed_.notify_all();
}

bool ToldSizes::changed_within(Ino ino, std::chrono::milliseconds time) {
  std::lock_guard lock(mutex_);
  const Notice* last = noticed_.find(ino);
  return last && last->content && Steady::now() - *last->content < time;
}

}  // namespace linkspan::vfs
