#include "fusefs/vfs/open_file.h"

#include <algorithm>

#include "linkspan/forked.h"
#include "linkspan/limits.h"

namespace linkspan::vfs {

// ---- edits ----------------------------------------------------------------------------------

std::optional<Base> OpenFile::base_of(const Layer& layer) const {
  std::lock_guard lock(mutex_);
  return layer.base;
}

uint64_t OpenFile::moment() const {
  std::lock_guard lock(mutex_);
  return moment_;
}

Result<Layer*> OpenFile::add_layer(const Editor& by, const Basis& basis, DirtyBuffer::Kind kind) {
  if (layers_.size() >= kLayers)
    return fail(Code::busy, "too many unsaved changes of one file wait for the router");
  auto layer = std::make_shared<Layer>(next_layer_++, kind, place_, by);
  layer->base = basis.base;
  layers_.push_back(std::move(layer));
  return layers_.back().get();
}

// What the first layer lies on. False: that is outdated.
bool OpenFile::lay(const Beneath& beneath) {
  if (beneath.moment != moment_) return false;
  base_ = beneath.version;
  base_size_ = beneath.size;
  clean_edits_ = sights_.now({}, 0).edits;
  return true;
}

// Appends rest on nothing. A rewrite of the whole file stays one commit, whose base is that of
// whoever truncated, but for who had read something else. Of those who edit in place each changes
// what it has read: not the same bytes as another in one commit.
bool OpenFile::joins(const Layer& top, const Editor& by, const Basis& basis, const Range& range) {
  if (top.buffer->kind() == DirtyBuffer::Kind::append) return true;
  if (top.buffer->whole()) return !basis.read || top.knows(by.party);
  if (top.base != basis.base) return false;
  return !basis.read || !top.others_have(by.party) || top.has_part(by.party) ||
         !top.buffer->touches(range.begin, range.end);
}

// Who sought the end of what is there, and had read another version, adds to what is there: over
// that other version its bytes would lie across others.
bool OpenFile::adds_at_end(const Beneath& beneath, const Editor& by) const {
  if (const Layer* top = unsealed_top())
    return top->buffer->kind() == DirtyBuffer::Kind::append && top->has_part(by.party);
  if (!layers_.empty() || beneath.moment != moment_ || beneath.size == 0) return false;
  const Basis basis = by.base();
  return basis.base && basis.base->version && *basis.base != Base{ino, beneath.version};
}

// The uppermost layer if it can take an edit of this kind, else a new one; null: outdated.
Result<Layer*> OpenFile::layer_for(const Beneath& beneath, const Editor& by, DirtyBuffer::Kind kind,
                                   const Range& range) {
  const Basis basis = by.base();
  if (layers_.empty()) {
    if (!lay(beneath)) return nullptr;
  } else if (Layer* top = unsealed_top();
             top && top->buffer->kind() == kind && joins(*top, by, basis, range)) {
    return top;
  }
  return add_layer(by, basis, kind);
}

// The rewrite that this one has begun, under those that others began since.
Layer* OpenFile::rewrite_of(const Party& party) const {
  for (auto at = layers_.rbegin(); at != layers_.rend(); ++at) {
    Layer& layer = **at;
    if (layer.sealed || !layer.buffer->whole()) break;
    if (layer.has_part(party)) return &layer;
  }
  return nullptr;
}

void OpenFile::edited(Layer* layer, const Editor& by, Cut cut) {
  cut == Cut::to_nothing ? layer->touch_truncated(by) : layer->touch(by);
  sights_.edited(by.party.process);
}

// A truncation, and what follows it, over what another has written.
Result<Layer*> OpenFile::rewrite_again(const Beneath& beneath, const Editor& by) {
  if (layers_.empty() && !lay(beneath)) return nullptr;
  LINKSPAN_TRY(Layer * layer, add_layer(by, by.base(), DirtyBuffer::Kind::overlay));
  layer->buffer->truncate(0, UINT64_MAX);  // whatever is beneath by then
  edited(layer, by, Cut::to_nothing);
  mixed_ = true;
  return layer;
}

// Of several who truncated the file when there was nothing in it yet, the first who writes has the
// layer; each of the others begins a rewrite of its own when it writes.
Result<Layer*> OpenFile::begin_rewrite(const Beneath& beneath, const Editor& by) {
  Layer* top = unsealed_top();
  if (!top || !top->bare()) return rewrite_again(beneath, by);
  // Who read that it was empty read half of the other's rewrite.
  top->base = top->has_read(by.party.process) ? Base{ino, {}} : by.base().base;
  for (Layer::Part& part : top->parts) {
    if (part.truncated && !part.party.same(by.party)) {
      wait_to_rewrite({part.party, top->since});
      part.truncated = false;
    }
  }
  edited(top, by, Cut::to_nothing);
  return top;
}

void OpenFile::wait_to_rewrite(const Waiting& waiting) {
  if (truncated_.size() < kParties) truncated_.push_back(waiting);
}

// Whether this write is the first of a rewrite: from the beginning, by the descriptor that
// truncated, a moment ago. Later it would wipe what others have made since.
bool OpenFile::begins(const Editor& by, uint64_t offset) {
  if (!by.party.process || by.party.handle == 0) return false;
  const auto its = [&](const Waiting& w) { return w.party.handle == by.party.handle; };
  const auto found = std::find_if(truncated_.begin(), truncated_.end(), its);
  if (found == truncated_.end()) return false;
  const bool begins = offset == 0 && by.now.ns - found->since.ns < kWaitsToRewrite.count();
  std::erase_if(truncated_, its);
  return begins;
}

// It goes on from what is there now.
void OpenFile::goes_on(const Process& process) {
  std::erase_if(truncated_, [&](const Waiting& w) { return w.party.process == process; });
}

void OpenFile::synchronised(const Process& process) {
  std::lock_guard lock(mutex_);
  goes_on(process);
}

void OpenFile::begin_anew(ReadState* read_state) {
  std::lock_guard lock(mutex_);
  *read_state = {};
}

void OpenFile::may_have_read(const std::vector<Process>& others) {
  std::lock_guard lock(mutex_);
  Layer* top = unsealed_top();
  for (const Process& process : others) {
    const bool waits = std::any_of(truncated_.begin(), truncated_.end(),
                                   [&](const Waiting& w) { return w.party.process == process; });
    if (top && !waits && !top->has_part(Party{process})) top->read_by(process);
  }
}

void OpenFile::closed(uint64_t handle) {
  std::lock_guard lock(mutex_);
  std::erase_if(truncated_, [&](const Waiting& w) { return w.party.handle == handle; });
}

Layer* OpenFile::unsealed_top() const {
  return layers_.empty() || layers_.back()->sealed ? nullptr : layers_.back().get();
}

Result<Edited> OpenFile::write(const Beneath& beneath, const Editor& by, uint64_t offset,
                               std::string_view data, bool append) {
  std::lock_guard lock(mutex_);
  Layer* layer = rewrite_of(by.party);
  // At the end of a file that is all our own rewrite, an append is a plain write: there is no other
  // end of file that others could have moved.
  if (append && layer && layer != layers_.back().get()) layer = nullptr;
  const uint64_t size = layers_.empty() ? beneath.size : size_now();
  append |= !layer && offset == size && adds_at_end(beneath, by);
  const uint64_t at = append ? size : offset;
  if (at + data.size() > limits::kFileBytes || at + data.size() < at)
    return fail(Code::too_large, "files end at 16 GiB");
  const auto kind = append && !layer ? DirtyBuffer::Kind::append : DirtyBuffer::Kind::overlay;
  if (!layer && kind == DirtyBuffer::Kind::overlay && layers_.empty() && beneath.moment != moment_)
    return Edited::outdated;
  if (!layer && kind == DirtyBuffer::Kind::overlay && begins(by, at)) {
    LINKSPAN_TRY(layer, begin_rewrite(beneath, by));
  } else if (!layer) {
    LINKSPAN_TRY(layer, layer_for(beneath, by, kind, {at, at + data.size()}));
  }
  if (!layer) return Edited::outdated;
  if (layer != layers_.back().get()) mixed_ = true;
  LINKSPAN_CHECK(kind == DirtyBuffer::Kind::append ? layer->buffer->append(data)
                                                   : layer->buffer->write(at, data));
  edited(layer, by);
  return Edited::done;
}

Result<Edited> OpenFile::truncate(const Beneath& beneath, const Editor& by, uint64_t size) {
  if (size > limits::kFileBytes) return fail(Code::too_large, "files end at 16 GiB");
  std::lock_guard lock(mutex_);
  const Layer* top = unsealed_top();
  if (top && size == 0 && top->others_have(by.party)) {
    goes_on(by.party.process);
    if (top->bare()) {
      wait_to_rewrite({by.party, by.now});
    } else {
      LINKSPAN_CHECK(rewrite_again(beneath, by));
    }
    return Edited::done;
  }
  LINKSPAN_TRY(Layer * layer,
               layer_for(beneath, by, DirtyBuffer::Kind::overlay, {size, UINT64_MAX}));
  if (!layer) return Edited::outdated;
  // Also of an empty file: nothing that is beneath by then shows.
  layer->buffer->truncate(size, size == 0 ? UINT64_MAX : size_now());
  edited(layer, by, size == 0 ? Cut::to_nothing : Cut::no);
  return Edited::done;
}

Result<Edited> OpenFile::punch(const Beneath& beneath, const Editor& by, uint64_t begin,
                               uint64_t end) {
  std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Layer * layer, layer_for(beneath, by, DirtyBuffer::Kind::overlay, {begin, end}));
  if (!layer) return Edited::outdated;
  layer->buffer->punch(begin, std::min(end, size_now()));
  edited(layer, by);
  return Edited::done;
}

Result<Edited> OpenFile::extend(const Beneath& beneath, const Editor& by, uint64_t size) {
  if (size > limits::kFileBytes) return fail(Code::too_large, "files end at 16 GiB");
  std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Layer * layer, layer_for(beneath, by, DirtyBuffer::Kind::overlay, {size, size}));
  if (!layer) return Edited::outdated;
  layer->buffer->extend(size);
  edited(layer, by);
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
  return layers_.size() == 1 && layers_.front()->bare();
}

bool OpenFile::mixed() const {
  std::lock_guard lock(mutex_);
  return mixed_;
}

bool OpenFile::others_write(const Process& than) const {
  std::lock_guard lock(mutex_);
  return std::any_of(layers_.begin(), layers_.end(),
                     [&](const auto& layer) { return layer->others_have(Party{than}); }) &&
         std::all_of(layers_.begin(), layers_.end(),
                     [](const auto& layer) { return layer->known_writers(); });
}

bool OpenFile::waits(const Party& party) const {
  return std::any_of(truncated_.begin(), truncated_.end(), [&](const Waiting& w) {
    return w.party.handle != 0 && w.party.handle == party.handle;
  });
}

bool OpenFile::truncated_last(const Party& by) const {
  std::lock_guard lock(mutex_);
  return !layers_.empty() && layers_.back()->bare() && (layers_.back()->has_part(by) || waits(by));
}

std::optional<Time> OpenFile::unsaved_since() const {
  std::lock_guard lock(mutex_);
  if (layers_.empty() || layers_.front()->sealed) return std::nullopt;
  return layers_.front()->since;
}

uint64_t OpenFile::last_layer(const CommitPart& part) const {
  std::lock_guard lock(mutex_);
  if (layers_.empty()) return 0;
  // Of a replaced file a truncation waits for what is written over it, or for the last close: it
  // would be in the old file alone, and what comes next rest on that.
  const auto stays = [this](const Layer& layer) { return replaced_by_ && layer.bare(); };
  if (part.whose)
    for (auto at = layers_.rbegin(); at != layers_.rend(); ++at)
      if ((*at)->has_part(*part.whose) && !stays(**at)) return (*at)->number;
  if (part.whose ? waits(*part.whose) && !stays(*layers_.back()) : part.bare)
    return layers_.back()->number;
  for (auto at = layers_.rbegin(); at != layers_.rend(); ++at)
    if (!(*at)->bare()) return (*at)->number;
  return layers_.front()->sealed ? layers_.front()->number : 0;
}

std::shared_ptr<Layer> OpenFile::seal_lowest(uint64_t last) {
  std::lock_guard lock(mutex_);
  if (layers_.empty() || layers_.front()->number > last) return nullptr;
  layers_.front()->sealed = true;
  return layers_.front();
}

OpenFile::Outcome OpenFile::committed(const Layer& layer, const Attr& result,
                                      const MutationReply& reply,
                                      const std::function<void(const Outcome&)>& learn) {
  std::lock_guard lock(mutex_);
  Outcome outcome{base_, base_size_, false, {}, mixed_, {}, {}};
  outcome.as_seen = !reply.merged && follows(base_, result.version) &&
                    result.size == layer.buffer->size_over(base_size_);
  // Of what was read of it, no version came that others' changes are not in, too.
  const bool blended = !outcome.as_seen && (reply.merged || !layer.buffer->whole());
  for (const Layer::Part& part : layer.parts) {
    const Process& process = part.party.process;
    if (layer.read_half(process) || (blended && layer.read_anothers(process)))
      outcome.half.push_back(process);
    else if (layer.knows(process))
      outcome.knowers.push_back(process);
  }
  outcome.unmerged = reply.unmerged;
  outcome.as_seen ? sights_.became(base_, result.version) : sights_.lost();
  learn(outcome);
  if (!layers_.empty() && layers_.front().get() == &layer) pop_lowest();
  for (const auto& above : layers_) {
    // What was written over the local view was written over this commit, by who knew of it.
    if (above->rests_on_half(layer, blended))
      above->base = Base{ino, {}};
    else if (outcome.as_seen && above->base == beneath() && above->rests_on(layer))
      above->base = Base{ino, result.version};
    else if (outcome.unmerged && above->base == layer.base && above->rests_on(layer))
      above->base = Base{ino, outcome.unmerged};
  }
  base_ = result.version;
  base_size_ = result.size;
  ++moment_;
  return outcome;
}

void OpenFile::pop_lowest() {
  layers_.pop_front();
  if (layers_.empty()) mixed_ = false;
}

void OpenFile::drop_lowest(const std::function<void(const std::vector<Process>&)>& unlearn) {
  std::lock_guard lock(mutex_);
  if (!layers_.empty()) {
    const auto dropped = layers_.front();
    pop_lowest();
    const auto misled = dropped->other_readers();
    for (const auto& above : layers_)
      if (std::any_of(misled.begin(), misled.end(),
                      [&](const Process& process) { return above->has_part(Party{process}); }))
        above->base = Base{ino, {}};
    unlearn(misled);
    sights_.lost();
  }
  ++moment_;
}

std::vector<OpNumber> OpenFile::drop_all() {
  std::lock_guard lock(mutex_);
  std::vector<OpNumber> operations;
  for (const auto& layer : layers_)
    if (layer->operation.value != 0) operations.push_back(layer->operation);
  layers_.clear();
  sights_.lost();
  mixed_ = false;
  ++moment_;
  return operations;
}

void OpenFile::base_changed(const Process& by, Version before, Version now) {
  std::lock_guard lock(mutex_);
  ++moment_;
  if (!before || !follows(before, now)) return;
  sights_.edited(by);
  sights_.became(before, now);
}

void OpenFile::renumbered(Version from, Version to) {
  std::lock_guard lock(mutex_);
  ++moment_;
  sights_.became(from, to);
  if (base_ == from) base_ = to;
  for (const auto& layer : layers_)
    if (layer->base == Base{ino, from}) layer->base = Base{ino, to};
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

void OpenFile::replaced_by(const Process& process) {
  std::lock_guard lock(mutex_);
  replaced_by_ = process;
}

bool OpenFile::replaced_here() const {
  std::lock_guard lock(mutex_);
  return replaced_by_.has_value();
}

void OpenFile::name_taken(const Process& process, const cache::Name& name) {
  std::lock_guard lock(mutex_);
  taken_.emplace_back(process, name);
  if (taken_.size() > kTaken) taken_.pop_front();
}

bool OpenFile::was_taken(const Process& process, const cache::Name& name) const {
  std::lock_guard lock(mutex_);
  return process &&
         std::find(taken_.begin(), taken_.end(), std::pair(process, name)) != taken_.end();
}

void OpenFile::set_renamed() {
  std::lock_guard lock(mutex_);
  renamed_ = true;
}

bool OpenFile::renamed() const {
  std::lock_guard lock(mutex_);
  return renamed_;
}

bool OpenFile::follow(const Layer& layer) const {
  std::lock_guard lock(mutex_);
  return !layer.bare() && layer.has_known_writer(replaced_by_);
}

}  // namespace linkspan::vfs
