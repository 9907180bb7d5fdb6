#include "fusefs/vfs/write_errors.h"

#include <algorithm>

namespace linkspan::vfs {

void WriteErrors::add(Error error, const Layer* layer) {
  One one{std::move(error), {}};
  if (layer)
    for (const Layer::Part& part : layer->parts)
      if (part.wrote || part.truncated) one.whose.push_back(part.party);
  std::lock_guard lock(mutex_);
  ++count_;
  last_.push_back(std::move(one));
  if (last_.size() > kErrors) last_.pop_front();
}

uint64_t WriteErrors::count() const {
  std::lock_guard lock(mutex_);
  return count_;
}

std::optional<Error> WriteErrors::since(uint64_t seen, const Party& of) const {
  std::lock_guard lock(mutex_);
  const uint64_t forgotten = count_ - last_.size();
  for (size_t i = last_.size(); i-- > 0 && forgotten + i + 1 > seen;) {
    const auto& whose = last_[i].whose;
    if (whose.empty() ||
        std::any_of(whose.begin(), whose.end(), [&](const Party& p) { return p.same(of); }))
      return last_[i].error;
  }
  return seen < forgotten ? std::optional<Error>(last_.front().error) : std::nullopt;
}

}  // namespace linkspan::vfs
