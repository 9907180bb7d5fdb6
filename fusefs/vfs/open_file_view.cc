// OpenFile: how the file looks from this mount, and who has read that.
#include <algorithm>

#include "fusefs/vfs/open_file.h"

namespace linkspan::vfs {

uint64_t OpenFile::size_under(size_t layer) const {
  uint64_t size = base_size_;
  for (size_t i = 0; i < layer; ++i) size = layers_[i]->buffer->size_over(size);
  return size;
}

OpenFile::View OpenFile::view_now() const {
  const Layer& top = *layers_.back();
  View view{base_, size_now(), std::nullopt, top.mtime};
  if (!top.keep_mtime) view.mtime = top.mtime;
  return view;
}

void OpenFile::read_by(const Reader& reader, Sees sees) {
  if (sees == Sees::nothing) return;
  const bool half = sees == Sees::half;
  const Layer* rewrite = nullptr;
  for (auto at = layers_.rbegin(); at != layers_.rend() && !rewrite; ++at) {
    (*at)->read_by(reader.process, half);
    if ((*at)->buffer->whole()) rewrite = at->get();  // it hides what is beneath
  }
  if (half)
    reader.note(beneath(), ReadOf::half);
  else if (rewrite && rewrite->base && rewrite->others_have(Party{reader.process}))
    reader.note(*rewrite->base, ReadOf::rewrite);
  else
    reader.note(beneath(), ReadOf::it);
}

std::optional<OpenFile::View> OpenFile::view() const {
  std::lock_guard lock(mutex_);
  return layers_.empty() ? std::nullopt : std::optional<View>(view_now());
}

std::optional<OpenFile::View> OpenFile::view_for(const Reader& reader) {
  std::lock_guard lock(mutex_);
  if (layers_.empty()) return std::nullopt;
  read_by(reader);
  return view_now();
}

Result<std::optional<OpenFile::Reading>> OpenFile::read(const Reader& reader, uint64_t offset,
                                                        char* out, size_t size,
                                                        ReadState* read_state) {
  std::lock_guard lock(mutex_);
  if (reader.process) goes_on(reader.process);
  if (layers_.empty()) return std::optional<Reading>();
  Reading reading{base_, size_now(), 0, {}};
  if (offset < reading.size) reading.bytes = std::min<uint64_t>(size, reading.size - offset);
  const ReadAt at{offset, reading.bytes};
  const Sight now = sights_.now(base_, reading.size);
  read_by(reader, sights_.read(reader.process, reader.how, at, now, read_state));
  if (reading.bytes == 0) return std::optional<Reading>(reading);
  reading.gaps = {Range{offset, offset + reading.bytes}};
  for (size_t i = layers_.size(); i-- > 0 && !reading.gaps.empty();) {
    const uint64_t beneath = size_under(i);
    std::vector<Range> deeper;
    for (const Range& gap : reading.gaps)
      LINKSPAN_CHECK(layers_[i]->buffer->read(beneath, gap.begin, out + (gap.begin - offset),
                                              gap.end - gap.begin, &deeper));
    reading.gaps = std::move(deeper);
  }
  return std::optional<Reading>(std::move(reading));
}

void OpenFile::read_committed(const Reader& reader, const ReadAt& at, Version version,
                              uint64_t size, ReadState* read_state) {
  std::lock_guard lock(mutex_);
  Sight of = sights_.now(version, size);
  // Edits came while it was being read, and may be committed already.
  if (!layers_.empty() || version < base_) of.edits = clean_edits_;
  const Sees sees = sights_.read(reader.process, reader.how, at, of, read_state);
  if (sees == Sees::nothing) return;
  reader.note({ino, version}, sees == Sees::half ? ReadOf::half : ReadOf::it);
}

Sight OpenFile::sight(Version version, uint64_t size) const {
  std::lock_guard lock(mutex_);
  return sights_.now(version, size);
}

bool OpenFile::knows_size(const Process& process, Version version,
                          const ReadState& read_state) const {
  std::lock_guard lock(mutex_);
  return sights_.knows_size(process, version, read_state);
}

void OpenFile::told_size(const Sight& sight, ReadState* read_state) {
  std::lock_guard lock(mutex_);
  read_state->sized = sight;
}

std::optional<Sought> OpenFile::seek(uint64_t offset, bool data, const DataMap& base) const {
  std::lock_guard lock(mutex_);
  if (layers_.empty() || base_ != base.version) return std::nullopt;
  const uint64_t size = size_now();
  if (offset >= size) return Sought{Sought::What::nothing, 0};
  // Lay the ranges over one another, lowest first: what nothing covers is a hole.
  RangeMap map;
  map.set(0, size, true);
  for (const Range& range : base.data) map.set(range.begin, range.end, false);
  uint64_t beneath = base_size_;
  for (const auto& layer : layers_) {
    const DirtyBuffer& buffer = *layer->buffer;
    map.set(buffer.kept_of(beneath), UINT64_MAX, true);
    buffer.visit(beneath, 0, UINT64_MAX,
                 [&](RangeMap::Piece p) { map.set(p.begin, p.end, p.hole); });
    beneath = buffer.size_over(beneath);
  }
  const uint64_t known = base.until < base_size_ ? std::min(base.until, size) : size;
  for (RangeMap::Piece piece; offset < known && map.next(offset, &piece); offset = piece.end)
    if (piece.hole != data) return Sought{Sought::What::found, std::max(offset, piece.begin)};
  if (known < size) return Sought{Sought::What::unknown, known};
  return data ? Sought{} : Sought{Sought::What::found, size};  // the end of file is a hole
}

}  // namespace linkspan::vfs
