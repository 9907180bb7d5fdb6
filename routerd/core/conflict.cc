#include "routerd/core/conflict.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "linkspan/forked.h"
#include "linkspan/limits.h"
#include "routerd/core/merge.h"
#include "routerd/core/policy.h"
#include "routerd/store/checks.h"

namespace linkspan::core {
namespace {

static_assert(kMergeBytes <= limits::kReadBytes, "one read is a whole mergeable file");
static_assert(kMergeBytes <= limits::kExtentBytes, "one extent holds a whole merged file");

std::shared_ptr<ExtentSource> whole(std::string content) {
  std::vector<Extent> extents;
  const uint64_t size = content.size();
  if (size > 0) extents.push_back({0, size, std::move(content)});
  return std::make_shared<ExtentList>(std::move(extents));
}

// What was to be read is not kept any more.
bool is_gone(Code code) {
  return code == Code::not_found || code == Code::stale_node;
}

Error outrun() {
  return fail(Code::busy, "others change the file faster than it can be merged");
}

constexpr uint32_t kNamesLooked = 10;  // log entries of a file without a name

Result<std::optional<Conflict>> as_option(Result<Conflict> kept) {
  if (kept.ok()) return std::optional(std::move(*kept));
  if (kept.code() == Code::not_found) return std::optional<Conflict>();
  return kept.error();
}

// What was to be appended, as it stands at the end of the file.
class Shifted final : public ExtentSource {
 public:
  Shifted(std::shared_ptr<ExtentSource> source, uint64_t by)
      : source_(std::move(source)), by_(by) {}
  Result<bool> next(Extent* out) override {
    LINKSPAN_TRY(const bool more, source_->next(out));
    if (more) out->offset += by_;
    return more;
  }
  void rewind() override { source_->rewind(); }

 private:
  std::shared_ptr<ExtentSource> source_;
  uint64_t by_;
};

Result<uint64_t> end_of(ExtentSource& extents) {
  uint64_t end = 0;
  extents.rewind();
  for (Extent extent;;) {
    LINKSPAN_TRY(const bool more, extents.next(&extent));
    if (!more) return end;
    end = extent.offset + extent.length;
  }
}

// Whoever may write to the one may write to the other: it is asked for the name that was opened.
// (And no other's write takes set-id bits from a file here.)
bool admits_writers_of(const Attr& old, const Attr& now) {
  constexpr uint32_t kWrite = 0222, kSetId = 06000;
  return old.uid == now.uid && old.gid == now.gid && (old.mode & kWrite & ~now.mode) == 0 &&
         (now.mode & kSetId) == 0;
}

// Whether that version is in the file's history, and made by that one: numbers go on when one file
// takes another's name, but not each of its own in the history that it goes on with.
Result<bool> has_version(store::Store& store, const store::Scope& scope, Ino file,
                         const Base& base) {
  const Version after{base.version.value + 1};
  const auto versions = store.versions(scope, {file, after, 1});
  if (!versions.ok() && !is_gone(versions.code())) return versions.error();
  if (!versions.ok() || versions->empty()) return false;
  return versions->front().version == base.version && versions->front().ino == base.ino;
}

// In whose history a base is: that of the file that it was read of, or, where that was replaced
// since, and pruned, that of what is there now. 0: in neither; or it is no version, but half of
// another's rewrite.
Result<Ino> holder_of(store::Store& store, const store::Scope& scope, const Base& base, Ino now) {
  if (!base.version) return Ino{};
  for (const Ino file : {base.ino, now}) {
    LINKSPAN_TRY(const bool has, has_version(store, scope, file, base));
    if (has) return file;
  }
  return Ino{};
}

Base base_of(const CommitRequest& request) {
  return {request.base_ino ? request.base_ino : request.ino, request.base.value_or(Version{})};
}

}  // namespace

bool was_replaced(const Error& refusal) {
  return refusal.code == Code::conflict && refusal.head_version == 0;
}

std::optional<std::string> apply_commit(std::string old, const CommitRequest& request) {
  old.resize(std::min<uint64_t>(old.size(), request.keep_below));
  const uint64_t size = std::max<uint64_t>(old.size(), request.size);
  if (size > kMergeBytes) return std::nullopt;
  old.resize(size, '\0');
  if (!request.extents) return old;
  request.extents->rewind();
  for (Extent extent;;) {
    const auto more = request.extents->next(&extent);
    if (!more.ok()) return std::nullopt;
    if (!*more) return old;
    if (extent.offset > size || extent.length > size - extent.offset) return std::nullopt;
    if (extent.data.empty()) extent.data.assign(extent.length, '\0');
    old.replace(extent.offset, extent.length, extent.data);
  }
}

Result<Merger::Text> Merger::text(Ino ino, Version version) {
  auto read = store_.read(mutation_.scope, {ino, version, 0, static_cast<uint32_t>(kMergeBytes)});
  if (!read.ok() && !is_gone(read.code())) return read.error();
  if (!read.ok() || read->size > kMergeBytes || looks_binary(read->data)) return Text();
  return Text(std::move(read->data));
}

Result<Merger::Text> Merger::text_of_base(const Base& base, Ino now) {
  LINKSPAN_TRY(const Ino holder, holder_of(store_, mutation_.scope, base, now));
  return holder ? text(holder, base.version) : Text();
}

// The head as the others left it. A file that goes on with the history of one that was moved away
// (Mutation::continues) is empty until its maker has written it: theirs is the version before.
Result<Merger::Text> Merger::text_of_head(Ino ino, Version head) {
  LINKSPAN_TRY(Text now, text(ino, head));
  if (!now || !now->empty()) return now;
  const Version after{head.value + 1};
  LINKSPAN_TRY(const auto last, store_.versions(mutation_.scope, {ino, after, 2}));
  if (last.size() < 2 || last[0].version != head || last[0].what != "create") return now;
  return text(ino, last[1].version);
}

// The name is what tells a text, which may be merged by lines, from, say, JSON. A file that lost
// its names goes by the last one.
Result<std::string> Merger::path_of(Ino ino) {
  LINKSPAN_TRY(std::string path, store_.path_of(mutation_.scope, ino));
  if (!path.empty()) return path;
  ChangesRequest request;
  request.under = ino;
  request.newest = true;
  request.limit = kNamesLooked;
  LINKSPAN_TRY(const ChangesReply log, store_.changes(mutation_.scope, request));
  for (auto at = log.changes.rbegin(); at != log.changes.rend(); ++at)
    if (!at->path.empty()) return at->path;
  return path;
}

Result<Policy> Merger::policy_of(Ino ino) {
  LINKSPAN_TRY(const std::string path, path_of(ino));
  return effective_policy(rules_, path);
}

Result<Policy> Merger::policy_of(const RenameRequest& request) {
  std::string path;
  if (by_path(rules_)) {
    LINKSPAN_TRY(path, store_.path_of(mutation_.scope, request.to_parent));
    if (!path.empty()) path += '/';
  }
  return effective_policy(rules_, path + request.to_name);
}

Result<store::Applied> Merger::commit(const CommitRequest& request) {
  auto applied = store_.commit(mutation_, request);
  if (applied.ok() || applied.code() != Code::conflict || was_replaced(applied.error()))
    return applied;
  LINKSPAN_TRY(const Policy policy, policy_of(request.ino));
  if (policy == Policy::reject) return applied;
  if (policy == Policy::merge) return merge(request, std::move(applied));
  CommitRequest over = request;
  over.base.reset();
  if (over.extents) over.extents->rewind();
  return store_.commit(mutation_, over);
}

Result<store::Applied> Merger::merge(const CommitRequest& request, Result<store::Applied> applied) {
  const Base of = base_of(request);
  // What was written to a file since it was replaced may be in no other.
  if (of.ino != request.ino && of.version.value >= kForked) return applied;
  LINKSPAN_TRY(const Text base, text_of_base(of, request.ino));
  if (!base) return applied;
  const auto mine = apply_commit(*base, request);
  if (!mine || looks_binary(*mine)) return applied;

  for (int attempt = 0; attempt < kMergeAttempts; ++attempt) {
    const Version head_version{applied.error().head_version};
    LINKSPAN_TRY(const Text head, text_of_head(request.ino, head_version));
    auto merged = head ? merge3(*base, *head, *mine) : std::nullopt;
    if (!merged || merged->size() > kMergeBytes) return applied;
    CommitRequest of_both = request;
    of_both.base = head_version;
    of_both.base_ino = Ino{};
    of_both.keep_below = 0;
    of_both.size = merged->size();
    of_both.extents = whole(std::move(*merged));
    mutation_.unmerged = *mine;
    applied = store_.commit(mutation_, of_both);
    mutation_.unmerged.reset();
    if (applied.ok()) return applied;
    if (applied.code() != Code::conflict || was_replaced(applied.error())) return applied;
  }
  return outrun();
}

// What a commit to a replaced file makes of its successor's head. The base is the replaced file's:
// its versions go on in the successor, but for those that were made after it was replaced.
Result<Merger::Text> Merger::merge_over(const CommitRequest& asked, const Attr& head) {
  LINKSPAN_TRY(const Text base_text, text_of_base(base_of(asked), head.ino));
  LINKSPAN_TRY(const Text head_text, text(head.ino, head.version));
  if (!base_text || !head_text) return Text();
  const Text mine = apply_commit(*base_text, asked);
  if (!mine || looks_binary(*mine)) return Text();
  Text merged = merge3(*base_text, *head_text, *mine);
  return merged && merged->size() <= kMergeBytes ? merged : Text();
}

// What cannot be merged would lie across what is there: also parts of a database, or of a large
// file, whose program has to find them where it wrote them.
Result<bool> Merger::fits_as_part(const CommitRequest& asked, Policy policy) {
  if (policy == Policy::last_writer_wins) return false;
  if (!*asked.base) return true;  // half a rewrite: to be refused
  LINKSPAN_TRY(const Text base, text_of_base(base_of(asked), asked.ino));
  return base.has_value();
}

Result<store::Applied> Merger::commit_to_successor(const CommitRequest& asked, const Meter& meter) {
  CommitRequest old = asked;
  old.base.reset();
  const bool part = !asked.append && asked.keep_below > 0;
  LINKSPAN_TRY(const auto before, store_.getattr(mutation_.scope, {asked.ino, false}));
  const Attr& replaced = before.node.attr;
  for (int attempt = 0; attempt < kMergeAttempts; ++attempt) {
    LINKSPAN_TRY(const Ino ino, store_.successor(mutation_.scope, asked.ino));
    if (!ino) return store::replaced_by_another();  // and that one is gone
    const auto now = store_.getattr(mutation_.scope, {ino, false});
    if (!now.ok() && is_gone(now.code())) continue;
    if (!now.ok()) return now.error();
    const Attr& head = now->node.attr;
    // What was read in the new file only is no base for a part of the old one.
    if (part && asked.base && *asked.base) {
      LINKSPAN_TRY(const bool of_old,
                   has_version(store_, mutation_.scope, asked.ino, base_of(asked)));
      if (!of_old) return store::changed_by_another(head.version);
    }
    Policy policy = Policy::last_writer_wins;
    if (asked.base && !asked.append) {
      LINKSPAN_TRY(policy, policy_of(ino));
    }
    const bool admitted = admits_writers_of(replaced, head);
    bool fits = true;
    if (part && asked.follow) {
      LINKSPAN_TRY(fits, fits_as_part(asked, policy));
    }
    if (asked.follow && !(admitted && fits)) {
      auto alone = commit_alone(old);
      if (alone.ok() || !was_replaced(alone.error())) return alone;
    }
    if (!admitted || (part && !asked.base)) return store::changed_by_another(head.version);
    CommitRequest there = asked;
    there.ino = ino;
    there.base.reset();
    there.base_ino = Ino{};
    if (!asked.append) there.base = head.version;
    if (policy != Policy::last_writer_wins) {
      Text merged;
      if (policy == Policy::merge) {
        LINKSPAN_TRY(merged, merge_over(asked, head));
      }
      if (!merged) return store::changed_by_another(head.version);
      there.keep_below = 0;
      there.size = merged->size();
      there.extents = whole(std::move(*merged));
    }
    meter(head, &there);
    mutation_.successor = there;
    auto applied = store_.commit(mutation_, old);
    if (applied.ok() || applied.code() != Code::conflict) return applied;
  }
  return outrun();
}

// As on a local disk, if it was its own session that replaced the file.
Result<store::Applied> Merger::commit_alone(CommitRequest old) {
  old.follow = false;
  if (old.extents) old.extents->rewind();
  mutation_.successor.reset();
  auto applied = store_.commit(mutation_, old);
  if (old.extents) old.extents->rewind();
  return applied;
}

Result<std::optional<Node>> Merger::head_of(const RenameRequest& asked, const Attr& from) {
  LINKSPAN_TRY(auto to, store_.lookup(mutation_.scope, {asked.to_parent, asked.to_name, false}));
  if (to.node || !mutation_.continues || from.kind != Kind::file) return to.node;
  if (from.ino == mutation_.continues->ino) return to.node;  // it is moved back
  auto aside = store_.getattr(mutation_.scope, {mutation_.continues->ino, false});
  if (!aside.ok() && is_gone(aside.code())) return std::optional<Node>();
  if (!aside.ok()) return aside.error();
  if (!store::goes_on(mutation_, aside->node.attr)) return std::optional<Node>();
  return std::optional(std::move(aside->node));
}

// One try of merging: what the target is now, and the rename that is right for exactly that. False:
// it cannot be merged.
Result<bool> Merger::prepare(const RenameRequest& asked, RenameRequest* request) {
  LINKSPAN_TRY(const auto from,
               store_.lookup(mutation_.scope, {asked.from_parent, asked.from_name, false}));
  if (!from.node) return false;
  LINKSPAN_TRY(const std::optional<Node> to, head_of(asked, from.node->attr));
  *request = asked;
  mutation_.merged.reset();
  if (!to) {
    // Removed meanwhile: the save brings the file back, and nothing of anybody's is lost.
    request->base_ino = Ino{};
    request->no_replace = true;
    return true;
  }
  const Attr& head = to->attr;
  const Attr& mine = from.node->attr;
  if (mine.kind != Kind::file || head.kind != Kind::file) return false;
  if (mine.ino == head.ino) return true;  // by now: then a rename does nothing
  LINKSPAN_TRY(const Text base_text, text_of_base({asked.base_ino, asked.base_version}, head.ino));
  LINKSPAN_TRY(const Text head_text, text_of_head(head.ino, head.version));
  LINKSPAN_TRY(const Text mine_text, text(mine.ino, mine.version));
  if (!base_text || !head_text || !mine_text) return false;
  Text merged = merge3(*base_text, *head_text, *mine_text);
  if (!merged || merged->size() > std::min<uint64_t>(kMergeBytes, mutation_.bounds.max_bytes))
    return false;
  mutation_.merged = store::Mutation::Merged{std::move(*merged), mine.ino, mine.version};
  request->base_ino = head.ino;
  request->base_version = head.version;
  return true;
}

// Nothing has the name, and what was read of it lives on, as it was, under another one.
Result<bool> Merger::base_is_elsewhere(const RenameRequest& asked, const Error& refusal) {
  if (refusal.head_version != 0 || asked.exchange) return false;
  const auto base = store_.getattr(mutation_.scope, {asked.base_ino, false});
  if (!base.ok() && !is_gone(base.code())) return base.error();
  return base.ok() && base->node.attr.version == asked.base_version && base->node.attr.nlink > 0;
}

Result<store::Applied> Merger::rename(const RenameRequest& asked) {
  auto applied = store_.rename(mutation_, asked);
  if (applied.ok() || applied.code() != Code::conflict) return applied;
  LINKSPAN_TRY(const bool elsewhere, base_is_elsewhere(asked, applied.error()));
  if (elsewhere) {
    RenameRequest to_free_name = asked;
    to_free_name.base_ino = Ino{};
    to_free_name.no_replace = true;
    auto moved = store_.rename(mutation_, to_free_name);
    if (moved.ok() || moved.code() != Code::exists) return moved;
  }
  LINKSPAN_TRY(const Policy policy, policy_of(asked));
  if (policy == Policy::last_writer_wins) {
    RenameRequest over = asked;
    over.base_ino = Ino{};
    return store_.rename(mutation_, over);
  }
  if (policy == Policy::reject || asked.no_replace || asked.exchange) return applied;
  return merge(asked, std::move(applied));
}

Result<store::Applied> Merger::merge(const RenameRequest& asked,
                                     const Result<store::Applied>& first) {
  for (int attempt = 0; attempt < kMergeAttempts; ++attempt) {
    RenameRequest request;
    LINKSPAN_TRY(const bool can, prepare(asked, &request));
    if (!can) return first;
    auto applied = store_.rename(mutation_, request);
    if (applied.ok()) return finish_rename(std::move(*applied));
    const bool moved_on =
        applied.code() == Code::conflict || (request.no_replace && applied.code() == Code::exists);
    if (!moved_on) return applied;
  }
  return outrun();
}

Result<store::Applied> Merger::finish_rename(store::Applied applied) {
  if (applied.replayed || !mutation_.merged) return applied;
  const auto& nodes = applied.reply.nodes;
  if (nodes.empty() || nodes.front().attr.size != mutation_.merged->content.size())
    return fail(Code::internal, "the store left the merged content of a rename out");
  return applied;
}

// ---- what is refused is kept ----

Result<std::optional<Conflict>> kept_before(store::Store& store, const store::Mutation& mutation,
                                            OpNumber operation) {
  store::KeepRequest keep;
  keep.operation = operation;
  keep.recall = true;
  return as_option(store.keep(mutation, keep));
}

Result<std::optional<Conflict>> keep_refused(store::Store& store, const store::Mutation& mutation,
                                             const CommitRequest& request, const Error& refusal) {
  LINKSPAN_TRY(const Ino successor, store.successor(mutation.scope, request.ino));
  store::KeepRequest keep;
  keep.operation = request.op.number;
  keep.what = "write";
  keep.ino = successor ? successor : request.ino;
  keep.from = request.ino;
  keep.base_ino = base_of(request).ino;
  keep.base = request.base.value_or(Version{});
  keep.head = Version{refusal.head_version};
  keep.keep_below = request.keep_below;
  keep.size = request.size;
  keep.extents = request.extents;
  if (request.append && request.extents) {
    LINKSPAN_TRY(const auto now, store.getattr(mutation.scope, {request.ino, false}));
    LINKSPAN_TRY(const uint64_t length, end_of(*request.extents));
    keep.from_version = now.node.attr.version;
    keep.keep_below = UINT64_MAX;
    keep.size = now.node.attr.size + length;
    keep.extents = std::make_shared<Shifted>(request.extents, now.node.attr.size);
  } else if (request.base) {
    const Base base = base_of(request);
    LINKSPAN_TRY(const Ino holder, holder_of(store, mutation.scope, base, request.ino));
    if (holder) keep.from = holder;
    if (holder) keep.from_version = base.version;
  }
  auto kept = store.keep(mutation, keep);
  if (!kept.ok() && kept.code() == Code::not_found) {  // pruned by now: over the head
    keep.from = request.ino;
    keep.from_version = Version{};
    kept = store.keep(mutation, keep);
  }
  if (!kept.ok()) return kept.error();
  return std::optional(std::move(*kept));
}

Result<std::optional<Conflict>> keep_refused(store::Store& store, const store::Mutation& mutation,
                                             const RenameRequest& request, const Error& refusal) {
  const store::Scope& scope = mutation.scope;
  LINKSPAN_TRY(const auto from,
               store.lookup(scope, {request.from_parent, request.from_name, false}));
  LINKSPAN_TRY(const auto to, store.lookup(scope, {request.to_parent, request.to_name, false}));
  if (!from.node || from.node->attr.kind != Kind::file) return std::optional<Conflict>();
  store::KeepRequest keep;
  keep.operation = request.op.number;
  keep.what = "rename";
  const auto& aside = mutation.continues;  // whose version the refusal tells, if it tells one
  const Ino was = aside && refusal.head_version != 0 ? aside->ino : request.base_ino;
  keep.ino = to.node ? to.node->attr.ino : was;
  keep.dir = request.to_parent;
  keep.name = request.to_name;
  keep.base_ino = request.base_ino;
  keep.base = request.base_version;
  keep.head = Version{refusal.head_version};
  keep.from = from.node->attr.ino;
  LINKSPAN_TRY(Conflict kept, store.keep(mutation, keep));
  return std::optional(std::move(kept));
}

Error tell_kept(const Conflict& conflict) {
  const std::string number = std::to_string(conflict.number.value);
  const std::string name = conflict.path.substr(conflict.path.rfind('/') + 1);
  Error error = fail(Code::conflict, "kept as conflict " + number +
                                         ", see .linkspan/conflicts, linkspan resolve " + number +
                                         ": " + (name.empty() ? "the file" : "'" + name + "'") +
                                         " was changed by another since it was read");
  error.head_version = conflict.head.value;
  return error;
}

}  // namespace linkspan::core
