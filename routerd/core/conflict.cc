#include "routerd/core/conflict.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "linkspan/limits.h"
#include "routerd/core/merge.h"
#include "routerd/core/policy.h"

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

}  // namespace

bool was_merged(Version base, const MutationReply& reply) {
  return reply.version.value > base.value + 1;
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

std::optional<std::string> Merger::text(Ino ino, Version version) {
  auto read = store_.read(mutation_.scope, {ino, version, 0, static_cast<uint32_t>(kMergeBytes)});
  if (!read.ok() || read->size > kMergeBytes || looks_binary(read->data)) return std::nullopt;
  return std::move(read->data);
}

// The name under which the file was last changed; renames are changes too. A merge by lines is for
// texts, and the name is what tells a text from, say, JSON.
std::string Merger::path_of(Ino ino) {
  ChangesRequest request;
  request.under = ino;
  request.newest = true;
  request.limit = 1;
  const auto changes = store_.changes(mutation_.scope, request);
  return changes.ok() && !changes->changes.empty() ? changes->changes.back().path : std::string();
}

Result<store::Applied> Merger::commit(const CommitRequest& request) {
  auto applied = store_.commit(mutation_, request);
  if (applied.ok() || applied.code() != Code::conflict) return applied;
  if (effective_policy(Policy::merge, path_of(request.ino)) != Policy::merge) return applied;
  const auto base = text(request.ino, *request.base);
  if (!base) return applied;
  const auto mine = apply_commit(*base, request);
  if (!mine || looks_binary(*mine)) return applied;

  for (int attempt = 0; attempt < kMergeAttempts; ++attempt) {
    const Version head_version{applied.error().head_version};
    const auto head = text(request.ino, head_version);
    auto merged = head ? merge3(*base, *head, *mine) : std::nullopt;
    if (!merged || merged->size() > kMergeBytes) return applied;
    CommitRequest of_both = request;
    of_both.base = head_version;
    of_both.keep_below = 0;
    of_both.size = merged->size();
    of_both.extents = whole(std::move(*merged));
    applied = store_.commit(mutation_, of_both);
    if (applied.ok()) {
      applied->reply.merged = true;
      return applied;
    }
    if (applied.code() != Code::conflict) return applied;
  }
  return applied;
}

// The content of the base that was read under the name. The node that carried it may be pruned
// since it was replaced; the head's history then still has the version, if it is the same history.
std::optional<std::string> Merger::base_of_name(const RenameRequest& request, Ino head) {
  if (auto base = text(request.base_ino, request.base_version)) return base;
  const Version after{request.base_version.value + 1};
  const auto versions = store_.versions(mutation_.scope, {head, after, 1});
  if (!versions.ok() || versions->empty()) return std::nullopt;
  const VersionInfo& info = versions->front();
  if (info.version != request.base_version || info.ino != request.base_ino) return std::nullopt;
  return text(head, request.base_version);
}

// One try of merging: what the target is now, and the rename that is right for exactly that. False:
// it cannot be merged.
bool Merger::prepare(const RenameRequest& asked, RenameRequest* request) {
  const auto to = store_.lookup(mutation_.scope, {asked.to_parent, asked.to_name, false});
  const auto from = store_.lookup(mutation_.scope, {asked.from_parent, asked.from_name, false});
  if (!to.ok() || !from.ok() || !from->node) return false;
  *request = asked;
  mutation_.merged.reset();
  if (!to->node) {
    // Removed meanwhile: the save brings the file back, and nothing of anybody's is lost.
    request->base_ino = Ino{};
    request->no_replace = true;
    return true;
  }
  const Attr& head = to->node->attr;
  const Attr& mine = from->node->attr;
  if (mine.kind != Kind::file || head.kind != Kind::file) return false;
  const auto base_text = base_of_name(asked, head.ino);
  const auto head_text = text(head.ino, head.version);
  const auto mine_text = text(mine.ino, mine.version);
  if (!base_text || !head_text || !mine_text) return false;
  mutation_.merged = merge3(*base_text, *head_text, *mine_text);
  request->base_ino = head.ino;
  request->base_version = head.version;
  return mutation_.merged && mutation_.merged->size() <= kMergeBytes;
}

Result<store::Applied> Merger::rename(const RenameRequest& asked) {
  const auto first = store_.rename(mutation_, asked);
  if (first.ok() || first.code() != Code::conflict || asked.no_replace || asked.exchange ||
      effective_policy(Policy::merge, asked.to_name) != Policy::merge)
    return first;
  for (int attempt = 0; attempt < kMergeAttempts; ++attempt) {
    RenameRequest request;
    if (!prepare(asked, &request)) return first;
    auto applied = store_.rename(mutation_, request);
    if (applied.ok()) return finish_rename(std::move(*applied));
    const bool moved_on =
        applied.code() == Code::conflict || (request.no_replace && applied.code() == Code::exists);
    if (!moved_on) return applied;
  }
  return first;
}

Result<store::Applied> Merger::finish_rename(store::Applied applied) {
  if (applied.replayed || !mutation_.merged) return applied;
  const auto& nodes = applied.reply.nodes;
  if (nodes.empty() || nodes.front().attr.size != mutation_.merged->size())
    return fail(Code::internal, "the store left the merged content of a rename out");
  applied.reply.merged = true;
  return applied;
}

}  // namespace linkspan::core
