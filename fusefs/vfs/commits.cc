#include "fusefs/vfs/commits.h"

#include <algorithm>

#include "linkspan/forked.h"

namespace linkspan::vfs {
namespace {

// Beyond the route's timeout.
std::chrono::milliseconds time_for(uint64_t bytes) {
  return std::chrono::milliseconds(bytes * 1000 / kLeastCommitRate);
}

}  // namespace

Commits::Commits(Parts parts) : parts_(parts) {
  if (!parts_.options->route.writable()) return;
  for (client::CancelToken& stop : stops_) threads_.emplace_back([this, &stop] { run(&stop); });
}

Commits::~Commits() {
  stop();
}

void Commits::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  for (client::CancelToken& stop : stops_) stop.cancel();
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

// ---- one file -------------------------------------------------------------------------------

Status Commits::commit(const Doing& doing, OpenFile& file, const CommitPart& part) {
  if (file.last_layer(part) == 0) return ok();
  LINKSPAN_TRY(const Doing left, take_turn(doing, file));
  const Turn turn(&file);
  return commit_with_turn(left, file, part);
}

Result<Doing> Commits::take_turn(const Doing& doing, OpenFile& file) {
  cache::Patience patience = doing.patience();
  patience.deadline += time_for(file.dirty_bytes());
  const uint64_t moment = file.moment();
  LINKSPAN_CHECK(file.take_turn(patience));
  return file.moment() == moment ? doing : doing.renewed(*parts_.options);
}

Status Commits::commit_with_turn(const Doing& doing, OpenFile& file, const CommitPart& part) {
  const uint64_t last = file.last_layer(part);
  if (file.orphan()) {  // nobody else will ever see it
    if (parts_.files->handles_of(file.ino) == 0) forget(file);
    return ok();
  }
  Status first = ok();
  Doing left = doing;
  for (;;) {
    if (file.doomed()) return drop_doomed(file);
    const auto layer = file.seal_lowest(last);
    if (!layer) break;
    const auto done = commit_layer(left, file, layer);
    if (!done.ok() && file.doomed()) return drop_doomed(file);
    if (done.ok()) left = doing.renewed(*parts_.options);
    if (done.ok()) continue;
    const bool refused = done.code() == Code::conflict;
    if (first.ok() && (!refused || !part.whose || layer->has_part(*part.whose))) first = done;
    if (!refused) break;  // a conflict's bytes are the router's: go on
  }
  return first;
}

Status Commits::commit_layer(const Doing& doing, OpenFile& file,
                             const std::shared_ptr<Layer>& layer) {
  CommitRequest request;
  request.ino = file.ino;
  DirtyBuffer::describe(layer->buffer, &request);
  if (const auto base = file.base_of(*layer); base && !request.append) {
    request.base = base->version;
    request.base_ino = base->ino;
  }
  request.mtime = layer->mtime;
  request.keep_mtime = layer->keep_mtime;
  request.follow = file.follow(*layer);
  const cache::Ticket ticket = parts_.tree->ticket();
  const auto longer = time_for(layer->buffer->bytes());
  auto reply =
      parts_.tree->client()->commit(doing.call(&layer->operation, longer), std::move(request));
  if (!reply.ok()) {
    note(&reply.error());
    failed(file, *layer, reply.error());
    return reply.error();
  }
  note(nullptr);
  if (reply->nodes.empty()) return fail(Code::internal, "the router's answer names no node");
  succeeded(file, *layer, ticket, *reply);
  return ok();
}

void Commits::succeeded(OpenFile& file, const Layer& layer, cache::Ticket ticket,
                        const MutationReply& reply) {
  const Attr& result = reply.nodes.front().attr;
  parts_.tree->changed(ticket, reply);
  count_.fetch_add(1);
  const bool here = file.replaced_here();
  const auto outcome = file.committed(layer, result, reply, [&](const OpenFile::Outcome& of) {
    // Before the file is clean: a READ of then must not be answered as what was told before.
    parts_.kernel->sizes().made(file.ino, {result.version, result.size});
    learn_bases(layer, of, reply);
    if (reply.nodes.size() > 1) learn_successor(reply.nodes[1].attr, layer, of, here);
  });
  const auto content = content_of(file, layer, outcome, result.size);
  parts_.content->drop(file.ino, result.version);
  if (content)
    parts_.content->put(parts_.content->moment(), cache::ContentId{file.ino, result.version}, 0,
                        *content);
  // Pages that show another content go; so do those from which another process could go on to read
  // unseen, so that its base would seem older than what it read.
  const bool kept =
      outcome.as_seen && !outcome.mixed && !parts_.files->other_readers(file.ino, outcome.knowers);
  if (kept)
    parts_.kernel->pages_become(file.ino, outcome.before, result.version);
  else
    parts_.kernel->drop_content(file.ino);
  // An answer of before that is on its way must not tell the older version again.
  parts_.kernel->sizes().made(file.ino, {result.version, result.size});
  if (!reply.merged) parts_.kernel->is_own(file.ino, result.version);
  parts_.files->retire(file.ino);
}

// What the commit made, if it is small and known here: nobody need fetch it.
std::optional<std::string> Commits::content_of(const OpenFile& file, const Layer& layer,
                                               const OpenFile::Outcome& outcome, uint64_t size) {
  if (!outcome.as_seen || size == 0 || size > limits::kInlineContent) return std::nullopt;
  std::string content(size, '\0');
  std::vector<Range> gaps;
  if (!layer.buffer->read(outcome.beneath, 0, content.data(), content.size(), &gaps).ok())
    return std::nullopt;
  for (const Range& gap : gaps) {
    const size_t length = gap.end - gap.begin;
    const cache::ContentId before{file.ino, outcome.before};
    if (parts_.content->read(before, gap.begin, content.data() + gap.begin, length) != length)
      return std::nullopt;
  }
  return content;
}

// Who found the file by a name that leads to another by now goes on from what was committed to
// that, too; not from what is in the old one alone.
void Commits::learn_bases(const Layer& layer, const OpenFile::Outcome& outcome,
                          const MutationReply& reply) {
  const Base base{reply.nodes.front().attr.ino, reply.nodes.front().attr.version};
  const Base before{base.ino, outcome.before};
  const bool followed = reply.nodes.size() > 1;
  const auto names = parts_.tree->found_names(base.ino);
  cache::FoundNames also{names.now, {}};
  if (followed) also.former = base.version.value >= kForked ? names.all() : names.former;
  for (const Process& process : outcome.half) parts_.bases->read_half(process, base, names);
  if (outcome.as_seen) {
    std::vector<Process> know;  // all of it: they wrote all, or had read what their part went into
    for (const Process& process : outcome.knowers)
      if (layer.buffer->whole() || parts_.bases->of_node(process, base.ino, names) == before)
        know.push_back(process);
    parts_.bases->changed_here(before, base);
    for (const Process& process : know) {
      parts_.bases->wrote(process, base, also);
      // The kernel wrote a shared mapping back, for nobody in particular.
      if (!process) parts_.bases->renumbered(base.ino, outcome.before, base.version);
    }
  } else if (outcome.unmerged) {
    for (const Process& process : outcome.knowers)
      if (layer.buffer->whole() || parts_.bases->of_node(process, base.ino, names) == layer.base)
        parts_.bases->wrote(process, {base.ino, outcome.unmerged}, also);
  } else if (!reply.merged && layer.buffer->whole()) {
    for (const Process& process : outcome.knowers) parts_.bases->wrote(process, base, also);
  }
  // Others' changes are in a merge, that nobody here has read.
}

// The file that took its place got what was written, too. It is known to who wrote all of it; and
// who has only ever written goes on overwriting what this mount did (`here`), as BaseVersions says.
void Commits::learn_successor(const Attr& now, const Layer& layer, const OpenFile::Outcome& outcome,
                              bool here) {
  const Base made{now.ino, now.version};
  const auto names = parts_.tree->found_names(now.ino);
  parts_.bases->changed_here({now.ino, Version{now.version.value - 1}}, made);
  const bool all = !layer.base && layer.buffer->whole();  // no merge, nor a part
  for (const Process& process : outcome.knowers)
    if (all || (here && !parts_.bases->read_by(process, now.ino, names)))
      parts_.bases->wrote(process, made, {names.now, {}});
}

Status Commits::drop_doomed(OpenFile& file) {
  const Error why = fail(Code::io, "a lock under which this was written was lost with the link");
  if (file.dirty()) lose(file, file.dirty_bytes(), why);
  file.errors.add(why);
  forget(file);
  file.undoom();
  return why;
}

void Commits::failed(OpenFile& file, const Layer& layer, const Error& error) {
  if (transient(error.code)) return;  // the same operation goes on later
  switch (error.code) {
    case Code::conflict:
      tell_conflict(file, layer.buffer->bytes(), error);
      file.errors.add(error, &layer);
      return let_go(file, layer);
    case Code::stale_node:  // there is nothing left that could take them
    case Code::not_found:
      break;
    case Code::io:
      // The session was replaced while it was unknown whether this had been applied. An overwrite
      // can be tried again: at worst it meets its own first try as a conflict.
      if (layer.buffer->kind() == DirtyBuffer::Kind::overlay) return;
      break;
    default:
      // Refused (quota, space, rights): kept for as long as somebody can try again. Then all goes:
      // what was written over refused bytes would make a file with holes that nobody wrote.
      if (parts_.files->handles_of(file.ino) > 0) return;
      lose(file, file.dirty_bytes(), error);
      forget(file);
      return;
  }
  lose(file, layer.buffer->bytes(), error);
  file.errors.add(error);
  let_go(file, layer);
}

// The layer's bytes are the router's, or nobody's.
void Commits::let_go(OpenFile& file, const Layer& layer) {
  parts_.tree->client()->forget_operation(layer.operation);
  const auto names = parts_.tree->found_names(file.ino);
  file.drop_lowest([&](const std::vector<Process>& misled) {
    for (const Process& process : misled)
      parts_.bases->read_rewrite(process, file.ino, Base{file.ino, Version{}}, names);
  });
  parts_.kernel->drop_content(file.ino);
  parts_.files->retire(file.ino);
}

std::string Commits::written(const OpenFile& file, uint64_t bytes) const {
  const auto name = parts_.tree->last_name(file.ino);
  return parts_.options->route.path + "/: " + std::to_string(bytes) + " bytes written to '" +
         (name ? name->name : "?") + "' (inode " + std::to_string(file.ino.value) + ")";
}

void Commits::lose(const OpenFile& file, uint64_t bytes, const Error& error) {
  lost_.fetch_add(1, std::memory_order_relaxed);
  if (parts_.options->on_loss)
    parts_.options->on_loss(written(file, bytes) + " are dropped: " + error.message);
}

// The router keeps what it refuses so; its error says where.
void Commits::tell_conflict(const OpenFile& file, uint64_t bytes, const Error& error) {
  conflicts_.fetch_add(1, std::memory_order_relaxed);
  if (parts_.options->on_conflict)
    parts_.options->on_conflict(written(file, bytes) + " were refused, " + error.message);
}

void Commits::note(const Error* refused) {
  std::lock_guard lock(refusal_mutex_);
  if (!refused) refusal_ = {};
  if (!refused || (refused->code != Code::no_space && refused->code != Code::quota)) return;
  refusal_.last = parts_.options->clock->now();
  if (refusal_.text.empty()) refusal_.since = refusal_.last;
  refusal_.text = refused->message.empty() ? "there is no space left" : refused->message;
}

Commits::Refusal Commits::refusal() const {
  std::lock_guard lock(refusal_mutex_);
  return refusal_;
}

void Commits::forget(OpenFile& file) {
  for (const OpNumber operation : file.drop_all())
    parts_.tree->client()->forget_operation(operation);
  parts_.kernel->drop_content(file.ino);
  parts_.files->retire(file.ino);
}

// ---- in the background ----------------------------------------------------------------------

void Commits::schedule(Ino ino, std::chrono::milliseconds delay) {
  const Due due = parts_.options->clock->steady() + delay;
  {
    std::lock_guard lock(mutex_);
    auto [it, inserted] = due_of_.try_emplace(ino, due);
    if (!inserted) {
      if (it->second <= due) return;
      auto [from, to] = queue_.equal_range(it->second);
      queue_.erase(std::find_if(from, to, [&](const auto& entry) { return entry.second == ino; }));
      it->second = due;
    }
    queue_.emplace(due, ino);
  }
  wake_.notify_one();
}

void Commits::run(client::CancelToken* stop) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (queue_.empty()) {
      wake_.wait(lock);
      continue;
    }
    const auto first = queue_.begin();
    const Due due = first->first;
    if (parts_.options->clock->steady() < due) {
      wake_.wait_until(lock, due);
      continue;
    }
    const Ino ino = first->second;
    queue_.erase(first);
    due_of_.erase(ino);
    lock.unlock();
    commit_in_background(ino, stop);
    lock.lock();
  }
}

// The timer can be of earlier writes, which their close committed: whoever is rewriting the file
// now has kCommitDelay of its own, so that others do not see half of it. And whoever opened with
// O_TRUNC is about to write: an empty file is what nobody wants to see.
std::chrono::milliseconds Commits::writer_may_need(const OpenFile& file) {
  using std::chrono::milliseconds;
  const auto since = file.unsaved_since();
  if (!since || file.doomed() || parts_.files->handles_of(file.ino) == 0) return milliseconds(0);
  const auto age = std::chrono::floor<milliseconds>(
      std::chrono::nanoseconds(parts_.options->clock->now().ns - since->ns));
  const milliseconds whole = file.only_truncated() ? kBareTruncation : limits::kCommitDelay;
  return age < milliseconds(0) ? milliseconds(0) : whole - age;  // the clock may be set back
}

void Commits::commit_in_background(Ino ino, client::CancelToken* stop) {
  const auto file = parts_.files->find(ino);
  if (!file) return;
  if (const auto wait = writer_may_need(*file); wait.count() > 0) return schedule(ino, wait);
  // (OpenFile::last_layer)
  if (file->only_truncated() && file->replaced_here() && parts_.files->handles_of(ino) > 0) return;
  const CommitPart part{{}, /*bare=*/file->only_truncated()};
  const auto status = commit(Doing::until_timeout(*parts_.options, stop), *file, part);
  if (status.ok() || status.code() == Code::conflict) {  // told to whom it concerns
    if (file->dirty()) schedule(ino, writer_may_need(*file));
    return;
  }
  // `io`: it is unknown whether the router applied it; what `failed` kept is sent anew.
  if (transient(status.code()) || (status.code() == Code::io && file->dirty())) {
    schedule(ino, kCommitRetryDelay);
  } else {
    file->errors.add(status.error());
  }
}

}  // namespace linkspan::vfs
