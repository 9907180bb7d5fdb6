#include "fusefs/vfs/sights.h"

#include <algorithm>

namespace linkspan::vfs {

void Sights::edited(const Process& by) {
  if (!by) return;
  ++edits_;
  const auto found =
      std::find_if(last_.begin(), last_.end(), [&](const Last& l) { return l.by == by; });
  if (found != last_.end())
    found->edit = edits_;
  else if (last_.size() < kEditors)
    last_.push_back({by, edits_});
  else
    lost_ = edits_;
}

void Sights::lost() {
  lost_ = ++edits_;
}

void Sights::became(Version before, Version now) {
  if (to_ != before) from_ = before;
  to_ = now;
}

bool Sights::changed(const Process& process, const Sight& began, Version version) const {
  const bool same = version == began.version ||
                    (from_ <= began.version && began.version < version && version <= to_);
  if (!same || lost_ > began.edits) return true;
  return std::any_of(last_.begin(), last_.end(),
                     [&](const Last& l) { return l.by != process && l.edit > began.edits; });
}

Sees Sights::read(const Process& process, const How& how, const ReadAt& at, const Sight& of,
                  ReadState* read_state) const {
  auto& began = read_state->began;
  if (at.offset == 0 || !began)
    began = of;
  else if (process && changed(process, *began, of.version))
    return at.offset >= of.size && at.offset >= began->size ? Sees::nothing : Sees::half;
  began->bytes += at.bytes;
  const bool all = began->bytes >= of.size;
  // It may stop where the other one ended. The kernel's reads tell nothing of that.
  if (!knows_size(process, of.version, *read_state))
    return how.direct && all ? Sees::content : Sees::half;
  return how.exact && !all ? Sees::nothing : Sees::content;
}

}  // namespace linkspan::vfs
