#include "fusefs/vfs/open_file.h"

#include <algorithm>

#include "linkspan/forked.h"
#include "linkspan/limits.h"

namespace linkspan::vfs {

uint64_t OpenFile::size_under(size_t layer) const {
  uint64_t size = base_size_;
  for (size_t i = 0; i < layer; ++i) size = layers_[i]->buffer->size_over(size);
  return size;
}

// ---- the local view -------------------------------------------------------------------------

namespace {

void know(Layer* layer, const Process& process) {
  auto& knowers = layer->knowers;
  if (knowers.size() < kKnowers &&
      std::find(knowers.begin(), knowers.end(), process) == knowers.end())
    knowers.push_back(process);
}

void touch(Layer* layer, const Editor& by) {
  layer->mtime = by.now;
  layer->keep_mtime = false;
  know(layer, by.process);
}

}  // namespace

OpenFile::View OpenFile::view_now() const {
  const Layer& top = *layers_.back();
  View view{base_, size_now(), std::nullopt, top.mtime};
  if (!top.keep_mtime) view.mtime = top.mtime;
  return view;
}

void OpenFile::read_by(const Reader& reader) {
  reader.note(base_);
  if (!reader.process) return;
  for (const auto& layer : layers_) know(layer.get(), reader.process);
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
                                                        char* out, size_t size) {
  std::lock_guard lock(mutex_);
  if (layers_.empty()) return std::optional<Reading>();
  read_by(reader);
  Reading reading{base_, size_now(), 0, {}};
  if (offset >= reading.size) return std::optional<Reading>(reading);
  reading.bytes = std::min<uint64_t>(size, reading.size - offset);
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

// ---- edits ----------------------------------------------------------------------------------

uint64_t OpenFile::moment() const {
  std::lock_guard lock(mutex_);
  return moment_;
}

// The uppermost layer if it can take an edit of this kind, else a new one; null: outdated.
Result<Layer*> OpenFile::layer_for(const Beneath& beneath, const Editor& by,
                                   DirtyBuffer::Kind kind) {
  const std::optional<Version> base = by.base();
  if (layers_.empty()) {
    if (beneath.moment != moment_) return nullptr;
    base_ = beneath.version;
    base_size_ = beneath.size;
  } else if (Layer& top = *layers_.back();
             !top.sealed && top.buffer->kind() == kind &&
             (kind == DirtyBuffer::Kind::append || top.buffer->whole() || top.base == base)) {
    // A rewrite of the whole file stays one commit, whoever writes: its base is that of whoever
    // truncated. Appends rest on nothing.
    return &top;
  }
  if (layers_.size() >= kLayers)
    return fail(Code::busy, "too many unsaved changes of one file wait for the router");
  layers_.push_back(std::make_shared<Layer>(next_layer_++, kind, place_, by, base));
  return layers_.back().get();
}

Result<Edited> OpenFile::write(const Beneath& beneath, const Editor& by, uint64_t offset,
                               std::string_view data, bool append) {
  std::lock_guard lock(mutex_);
  const uint64_t size = layers_.empty() ? beneath.size : size_now();
  // At the end of a file that is all our own rewrite, an append is a plain write: there is no other
  // end of file that others could have moved.
  const bool own_end =
      append && !layers_.empty() && !layers_.back()->sealed && layers_.back()->buffer->whole();
  const uint64_t at = append ? size : offset;
  if (at + data.size() > limits::kFileBytes || at + data.size() < at)
    return fail(Code::too_large, "files end at 16 GiB");
  const auto kind = append && !own_end ? DirtyBuffer::Kind::append : DirtyBuffer::Kind::overlay;
  LINKSPAN_TRY(Layer * layer, layer_for(beneath, by, kind));
  if (!layer) return Edited::outdated;
  LINKSPAN_CHECK(kind == DirtyBuffer::Kind::append ? layer->buffer->append(data)
                                                   : layer->buffer->write(at, data));
  touch(layer, by);
  return Edited::done;
}

Result<Edited> OpenFile::truncate(const Beneath& beneath, const Editor& by, uint64_t size) {
  if (size > limits::kFileBytes) return fail(Code::too_large, "files end at 16 GiB");
  std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Layer * layer, layer_for(beneath, by, DirtyBuffer::Kind::overlay));
  if (!layer) return Edited::outdated;
  layer->buffer->truncate(size, size_now());
  touch(layer, by);
  return Edited::done;
}

Result<Edited> OpenFile::punch(const Beneath& beneath, const Editor& by, uint64_t begin,
                               uint64_t end) {
  std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Layer * layer, layer_for(beneath, by, DirtyBuffer::Kind::overlay));
  if (!layer) return Edited::outdated;
  layer->buffer->punch(begin, std::min(end, size_now()));
  touch(layer, by);
  return Edited::done;
}

Result<Edited> OpenFile::extend(const Beneath& beneath, const Editor& by, uint64_t size) {
  if (size > limits::kFileBytes) return fail(Code::too_large, "files end at 16 GiB");
  std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Layer * layer, layer_for(beneath, by, DirtyBuffer::Kind::overlay));
  if (!layer) return Edited::outdated;
  layer->buffer->extend(size);
  touch(layer, by);
  return Edited::done;
}

void OpenFile::times_were_set() {
  std::lock_guard lock(mutex_);
  for (const auto& layer : layers_) layer->keep_mtime = true;
}

// ---- commits --------------------------------------------------------------------------------

Status OpenFile::take_turn(const cache::Patience& patience) {
  return patience.wait(mutex_, turn_free_, [this] {
    if (turn_taken_) return false;
    turn_taken_ = true;
    return true;
  });
}

void OpenFile::end_turn() {
  {
    std::lock_guard lock(mutex_);
    turn_taken_ = false;
  }
  turn_free_.notify_all();
}

bool OpenFile::dirty() const {
  std::lock_guard lock(mutex_);
  return !layers_.empty();
}

uint64_t OpenFile::dirty_bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& layer : layers_) bytes += layer->buffer->bytes();
  return bytes;
}

bool OpenFile::only_truncated() const {
  std::lock_guard lock(mutex_);
  return layers_.size() == 1 && layers_.front()->buffer->whole() &&
         !layers_.front()->buffer->has_data();
}

std::optional<Time> OpenFile::unsaved_since() const {
  std::lock_guard lock(mutex_);
  if (layers_.empty() || layers_.front()->sealed) return std::nullopt;
  return layers_.front()->since;
}

uint64_t OpenFile::last_layer() const {
  std::lock_guard lock(mutex_);
  return next_layer_ - 1;
}

std::shared_ptr<Layer> OpenFile::seal_lowest(uint64_t last) {
  std::lock_guard lock(mutex_);
  if (layers_.empty() || layers_.front()->number > last) return nullptr;
  layers_.front()->sealed = true;
  return layers_.front();
}

OpenFile::Outcome OpenFile::committed(const Layer& layer, const Attr& result, bool merged,
                                      const std::function<void(const Outcome&)>& learn) {
  std::lock_guard lock(mutex_);
  Outcome outcome{base_, base_size_, false, layer.knowers};
  outcome.as_seen = !merged && follows(base_, result.version) &&
                    result.size == layer.buffer->size_over(base_size_);
  learn(outcome);
  if (!layers_.empty() && layers_.front().get() == &layer) layers_.pop_front();
  if (outcome.as_seen) {
    // What was written over the local view was written over this commit.
    for (const auto& above : layers_)
      if (above->base == base_) above->base = result.version;
  }
  base_ = result.version;
  base_size_ = result.size;
  ++moment_;
  return outcome;
}

void OpenFile::drop_lowest() {
  std::lock_guard lock(mutex_);
  if (!layers_.empty()) layers_.pop_front();
  ++moment_;
}

std::vector<OpNumber> OpenFile::drop_all() {
  std::lock_guard lock(mutex_);
  std::vector<OpNumber> operations;
  for (const auto& layer : layers_)
    if (layer->operation.value != 0) operations.push_back(layer->operation);
  layers_.clear();
  ++moment_;
  return operations;
}

void OpenFile::base_changed() {
  std::lock_guard lock(mutex_);
  ++moment_;
}

void OpenFile::renumbered(Version from, Version to) {
  std::lock_guard lock(mutex_);
  ++moment_;
  if (base_ == from) base_ = to;
  for (const auto& layer : layers_)
    if (layer->base == from) layer->base = to;
}

void OpenFile::not_saved(Error error) {
  std::lock_guard lock(mutex_);
  ++errors_;
  error_ = std::move(error);
}

uint64_t OpenFile::errors() const {
  std::lock_guard lock(mutex_);
  return errors_;
}

std::optional<Error> OpenFile::error_since(uint64_t seen) const {
  std::lock_guard lock(mutex_);
  return errors_ > seen ? error_ : std::nullopt;
}

void OpenFile::doom() {
  std::lock_guard lock(mutex_);
  doomed_ = !layers_.empty();
}

bool OpenFile::doomed() const {
  std::lock_guard lock(mutex_);
  return doomed_;
}

void OpenFile::undoom() {
  std::lock_guard lock(mutex_);
  doomed_ = false;
}

bool OpenFile::orphan() const {
  std::lock_guard lock(mutex_);
  return orphan_;
}

void OpenFile::set_orphan() {
  std::lock_guard lock(mutex_);
  orphan_ = true;
}

}  // namespace linkspan::vfs
