#include "routerd/core/moved_away.h"

#include <algorithm>

namespace linkspan::core {

void MovedAway::note(Ino dir, const std::string& name, const File& file, Boot now) {
  const std::lock_guard lock(mutex_);
  forget_locked(dir, name);
  moves_.push_back({dir, name, file, now});
  if (moves_.size() > kMost) moves_.pop_front();
}

std::optional<MovedAway::File> MovedAway::find(Ino dir, const std::string& name, Boot now) {
  const std::lock_guard lock(mutex_);
  while (!moves_.empty() && now - moves_.front().at > kMoment) moves_.pop_front();
  const auto at = std::find_if(moves_.begin(), moves_.end(), [&](const Move& move) {
    return move.dir == dir && move.name == name;
  });
  if (at == moves_.end()) return std::nullopt;
  return at->file;
}

void MovedAway::forget(Ino dir, const std::string& name) {
  const std::lock_guard lock(mutex_);
  forget_locked(dir, name);
}

void MovedAway::forget_locked(Ino dir, const std::string& name) {
  std::erase_if(moves_, [&](const Move& move) { return move.dir == dir && move.name == name; });
}

}  // namespace linkspan::core
