#include "fusefs/vfs/told_sizes.h"

#include <algorithm>

namespace linkspan::vfs {
namespace {

constexpr size_t kReaders = 16;   // of one telling
constexpr size_t kReading = 256;  // threads in all; answers to others are as to a stat(2)

using Clock = std::chrono::steady_clock;

bool shorter(const SizedVersion& a, const SizedVersion& b) {
  return a.size != b.size ? a.size < b.size : a.version > b.version;
}

std::optional<SizedVersion> shortest(const std::optional<SizedVersion>& a, const SizedVersion& b) {
  return a && shorter(*a, b) ? *a : b;
}

}  // namespace

void ToldSizes::take_in(Telling& telling) {
  telling.readers.clear();
  telling.before.reset();
  telling.taken_in = true;
}

// Whoever has not come for it may go on with what was before.
void ToldSizes::overtake(Telling& telling) {
  if (!telling.readers.empty() && telling.before)
    telling.other = shortest(telling.other, *telling.before);
  telling.readers.clear();
  telling.before.reset();
}

bool ToldSizes::track(int32_t thread, Ino ino) {
  const auto now = Clock::now();
  if (reading_.size() >= kReading)
    std::erase_if(reading_, [&](const auto& r) { return now - r.second.since > kReadComes; });
  if (reading_.size() >= kReading) return false;
  reading_[thread] = Reading{ino, now};
  anybody_reading_ = true;
  return true;
}

bool ToldSizes::told(Ino ino, const SizedVersion& what, uint64_t as_of,
                     std::optional<int32_t> reader) {
  std::lock_guard lock(mutex_);
  const Notice* notice = noticed_.find(ino);
  const bool sure = notice == nullptr || notice->ended <= as_of;
  Telling* telling = told_.find(ino);
  // An answer that a later one overtook.
  if (telling && telling->last.version > what.version) return sure;
  if (!sure) {
    if (telling && telling->last.version != what.version)
      telling->other = shortest(telling->other, what);
    return false;
  }
  const bool again = telling && telling->last.version == what.version && !telling->other;
  Telling next{what, Clock::now(), {}, {}, again && telling->taken_in, {}};
  if (again) {
    next.before = telling->before;
    next.readers = std::move(telling->readers);
  } else if (telling) {
    next.before = shortest(telling->other, telling->last);
  }
  if (reader && next.before && next.readers.size() < kReaders && track(*reader, ino))
    next.readers.push_back(*reader);
  told_.put(ino, std::move(next));
  return true;
}

void ToldSizes::made(Ino ino, const SizedVersion& what) {
  std::lock_guard lock(mutex_);
  const Telling* telling = told_.find(ino);
  if (telling && telling->last.version > what.version) return;
  told_.put(ino, Telling{what, Clock::now(), {}, {}, false, {}});
}

std::optional<SizedVersion> ToldSizes::last(Ino ino) {
  std::lock_guard lock(mutex_);
  const Telling* telling = told_.find(ino);
  if (!telling) return std::nullopt;
  // A process that only looks at a mapping never asks for attributes: what the kernel was told
  // before the last notice ends kUnderWay after it.
  const Notice* notice = noticed_.find(ino);
  if (notice && notice->content && telling->at < *notice->content &&
      Clock::now() - *notice->content > kUnderWay) {
    told_.erase(ino);
    return std::nullopt;
  }
  return shortest(telling->other, telling->last);
}

void ToldSizes::untell(Ino ino) {
  std::lock_guard lock(mutex_);
  told_.erase(ino);
}

void ToldSizes::came(int32_t thread, Ino ino) {
  if (!anybody_reading_) return;
  {
    std::lock_guard lock(mutex_);
    const auto it = reading_.find(thread);
    if (it == reading_.end() || (thread == 0 && it->second.ino != ino)) return;
    Telling* telling = told_.find(it->second.ino);
    reading_.erase(it);
    anybody_reading_ = !reading_.empty();
    if (!telling || std::find(telling->readers.begin(), telling->readers.end(), thread) ==
                        telling->readers.end())
      return;
    take_in(*telling);
  }
  changed_.notify_all();
}

// When the kernel will have it for sure.
std::optional<ToldSizes::Instant> ToldSizes::taken_in_at(Ino ino) {
  const Telling* telling = told_.find(ino);
  if (!telling || telling->taken_in) return std::nullopt;
  return telling->at + (telling->readers.empty() ? kTakenIn : kReadComes);
}

void ToldSizes::settle(const std::vector<RevokedNode>& nodes) {
  std::unique_lock lock(mutex_);
  const auto limit = Clock::now() + kReadComes;
  for (;;) {
    Instant last{};
    for (const RevokedNode& node : nodes)
      last = std::max(last, taken_in_at(node.ino).value_or(last));
    last = std::min(last, limit);
    if (last <= Clock::now()) return;
    changed_.wait_until(lock, last);
  }
}

void ToldSizes::notice_begins(Ino ino, bool content) {
  std::lock_guard lock(mutex_);
  const Notice* last = noticed_.find(ino);
  Notice notice{UINT64_MAX, last ? last->content : std::nullopt};
  if (content) notice.content = Clock::now();
  noticed_.put(ino, notice);
  if (Telling* telling = told_.find(ino)) overtake(*telling);
}

void ToldSizes::notice_ended(Ino ino, uint64_t as_of) {
  std::lock_guard lock(mutex_);
  if (Notice* notice = noticed_.find(ino)) notice->ended = as_of;
}

void ToldSizes::noticed(Ino ino) {
  std::lock_guard lock(mutex_);
  if (Telling* telling = told_.find(ino)) overtake(*telling);
}

bool ToldSizes::changed_within(Ino ino, std::chrono::milliseconds time) {
  std::lock_guard lock(mutex_);
  const Notice* last = noticed_.find(ino);
  return last && last->content && Clock::now() - *last->content < time;
}

}  // namespace linkspan::vfs
