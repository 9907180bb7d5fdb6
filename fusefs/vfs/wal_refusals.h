// SQLite databases in WAL mode that another mount uses: whoever asks for one of their locks here
// hears "database is locked", and not why. This is for him who looks why.
#pragma once

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

inline constexpr std::chrono::minutes kWalRefusalShown{10};  // after the last of its file
inline constexpr size_t kWalRefusalFiles = 16;               // the latest

// Threads: any.
class WalRefusals {
 public:
  // Whether this is the first of its file that is shown.
  bool note(const std::string& file, Time now) {
    const std::lock_guard lock(mutex_);
    ++total_;
    forget_old(now);
    const auto at = std::find_if(files_.begin(), files_.end(),
                                 [&](const WalRefusal& known) { return known.file == file; });
    const bool first = at == files_.end();
    WalRefusal refusal = first ? WalRefusal{file, 0, now, now} : *at;
    ++refusal.times;
    refusal.last = now;
    if (!first) files_.erase(at);
    files_.insert(files_.begin(), std::move(refusal));
    if (files_.size() > kWalRefusalFiles) files_.pop_back();
    return first;
  }
  std::vector<WalRefusal> recent(Time now) {  // the latest first
    const std::lock_guard lock(mutex_);
    forget_old(now);
    return files_;
  }
  uint64_t total() const {
    const std::lock_guard lock(mutex_);
    return total_;
  }

 private:
  void forget_old(Time now) {
    const int64_t shown = std::chrono::nanoseconds(kWalRefusalShown).count();
    std::erase_if(files_, [&](const WalRefusal& r) { return now.ns - r.last.ns > shown; });
  }

  mutable std::mutex mutex_;  // leaf
  std::vector<WalRefusal> files_;
  uint64_t total_ = 0;
};

}  // namespace linkspan::vfs
