// Content: commit and the attributes that truncate goes with.
#include <algorithm>

#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_mutate.h"

namespace linkspan::store::mem {
namespace {

void set_plain(MemNode& node, const SetAttrRequest& request, Time now) {
  Attr& attr = node.attr;
  if (request.mode) attr.mode = *request.mode;
  if (request.uid) attr.uid = *request.uid;
  if (request.gid) attr.gid = *request.gid;
  if (request.atime) attr.atime = *request.atime;
  if (request.mtime) attr.mtime = *request.mtime;
  if (request.atime_now) attr.atime = now;
  if (request.mtime_now) attr.mtime = now;
}

void truncate(Transaction& tx, MemNode& node, uint64_t size) {
  tx.modify(node);
  if (size == node.attr.size) return;
  auto content = std::make_shared<Content>(node.head());
  content->resize(size);
  tx.count_before(node);
  tx.add_version(node, std::move(content), "truncate");
  tx.count_after(node);
  tx.reply.version = node.attr.version;
}

void lay(Content& content, const std::vector<Extent>& extents, uint64_t at) {
  for (const Extent& extent : extents) {
    if (extent.data.empty()) {
      content.zero(at + extent.offset, extent.length);
    } else {
      content.write(at + extent.offset, extent.data);
    }
  }
}

}  // namespace

Result<std::vector<Extent>> take(ExtentReader reader) {
  std::vector<Extent> out;
  for (;;) {
    Extent extent;
    LINKSPAN_TRY(const bool more, reader.next(&extent));
    if (!more) return out;
    out.push_back(std::move(extent));
  }
}

Result<std::shared_ptr<Content>> make_content(const Content& head, const CommitRequest& request,
                                              const std::vector<Extent>& extents) {
  auto content = std::make_shared<Content>(head);
  if (!request.append) {
    const uint64_t kept = std::min(request.keep_below, head.size());
    content->resize(kept);
    content->resize(std::max(kept, request.size));
    lay(*content, extents, 0);
    return content;
  }
  const uint64_t more = extents.empty() ? 0 : extents.back().offset + extents.back().length;
  if (more > limits::kFileBytes - head.size())
    return fail(Code::too_large,
                "the file would have more than " + std::to_string(limits::kFileBytes) + " bytes");
  content->resize(head.size() + more);
  lay(*content, extents, head.size());
  return content;
}

Result<Applied> MemStore::set_attributes(const Mutation& m, const SetAttrRequest& request) {
  LINKSPAN_CHECK(check(request));
  if (request.relaxed) return relax(m, request);
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    LINKSPAN_TRY(MemNode * node, tx.tenant().find(m.scope, request.ino));
    LINKSPAN_CHECK(check_writable(m.scope, *node));
    if (request.size) LINKSPAN_CHECK(check_has_content(*node));
    tx.touch(*node);
    if (request.size) {
      LINKSPAN_CHECK(check_bounds(m.bounds, node->attr.size, *request.size, false));
      truncate(tx, *node, *request.size);
    }
    set_plain(*node, request, m.now);
    tx.log(request.size ? "truncate" : "setattr", *node);
    return tx.finish(node->volume, {node});
  });
}

// An access time after a read: no change, no seq, no result to remember (a retry sets it again).
Result<Applied> MemStore::relax(const Mutation& m, const SetAttrRequest& request) {
  SetAttrRequest again = request;
  again.op = {};
  return mutate(m, again.op, [&](Transaction& tx) -> Result<Applied> {
    LINKSPAN_TRY(MemNode * node, tx.tenant().find(m.scope, request.ino));
    LINKSPAN_CHECK(check_writable(m.scope, *node));
    set_plain(*node, again, m.now);
    return tx.finish(node->volume, {node});
  });
}

std::shared_ptr<const Content> content_of(const std::string& bytes) {
  auto content = std::make_shared<Content>();
  content->resize(bytes.size());
  content->write(0, bytes);
  return content;
}

namespace {

// Of the request alone, before the mutex is taken.
Result<std::vector<Extent>> extents_of(const CommitRequest& request) {
  ExtentSource* source = request.extents.get();
  if (source != nullptr) source->rewind();
  return take(request.append ? ExtentReader::appending(source, 0)
                             : ExtentReader::replacing(source, request.size));
}

// What the author may not do to the content of a file.
Status check_change(const Mutation& m, const MemNode& node, const CommitRequest& request,
                    const std::vector<Extent>& extents, const Content& content) {
  const uint64_t size = node.attr.size;
  const bool within = !extents.empty() && extents.front().offset < size;
  const bool changes = !request.append && (request.keep_below < size || within);
  return check_bounds(m.bounds, size, content.size(), changes);
}

void commit_to(Transaction& tx, MemNode& node, const CommitRequest& request,
               std::shared_ptr<Content> content) {
  tx.count_before(node);
  if (const auto& mine = tx.mutation().unmerged) tx.add_unmerged(node, content_of(*mine));
  tx.add_version(node, std::move(content), request.append ? "append" : "write");
  tx.count_after(node);
  tx.touch(node);
  if (!request.keep_mtime) node.attr.mtime = request.mtime;
}

// The node that a commit to a replaced file goes to as well.
Result<MemNode*> find_successor(Transaction& tx, const MemNode& node) {
  const CommitRequest& there = *tx.mutation().successor;
  MemNode* successor = tx.tenant().successor(node);
  if (successor == nullptr || successor->attr.ino != there.ino) return replaced_by_another();
  LINKSPAN_CHECK(check_commit_base(there, successor->attr));
  return successor;
}

}  // namespace

Result<bool> MemStore::is_applied(const Mutation& m, OpNumber number) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(m.scope));
  const auto results = tenant->results.find(m.author.session);
  return results != tenant->results.end() && results->second.count(number) != 0;
}

// A call here is over when it has returned: nothing is left under way.
Result<std::optional<MutationReply>> MemStore::recall(const Mutation& m, OpNumber number) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(m.scope));
  LINKSPAN_CHECK(check_owner(m.scope.tenant, m.epoch));
  const auto& results = tenant->results[m.author.session];
  const auto found = results.find(number);
  if (found == results.end()) return std::optional<MutationReply>();
  return std::optional<MutationReply>(found->second);
}

Result<Ino> MemStore::successor(const Scope& scope, Ino ino) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(scope));
  LINKSPAN_TRY(const MemNode* node, tenant->find(scope, ino));
  const MemNode* successor = tenant->successor(*node);
  return successor == nullptr ? Ino{} : successor->attr.ino;
}

Result<Applied> MemStore::commit(const Mutation& m, const CommitRequest& request) {
  LINKSPAN_CHECK(check(request));
  LINKSPAN_TRY(const std::vector<Extent> extents, extents_of(request));
  std::vector<Extent> there;
  if (m.successor) {
    LINKSPAN_TRY(there, extents_of(*m.successor));
  }
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    LINKSPAN_TRY(MemNode * node, tx.tenant().find(m.scope, request.ino));
    LINKSPAN_CHECK(check_writable(m.scope, *node));
    LINKSPAN_CHECK(check_has_content(*node));
    MemNode* successor = nullptr;
    if (m.successor) {
      LINKSPAN_TRY(successor, find_successor(tx, *node));
    } else if (node->replaced_by && (request.follow || *node->replaced_by != m.author.session)) {
      return replaced_by_another();
    } else {
      LINKSPAN_CHECK(check_commit_base(request, node->attr));
    }
    LINKSPAN_TRY(auto content, make_content(node->head(), request, extents));
    LINKSPAN_CHECK(check_change(m, *node, request, extents, *content));
    std::shared_ptr<Content> also;
    if (successor != nullptr) {
      LINKSPAN_TRY(also, make_content(successor->head(), *m.successor, there));
      LINKSPAN_CHECK(check_change(m, *successor, *m.successor, there, *also));
    }
    if (request.append) tx.reply.offset = node->attr.size;
    commit_to(tx, *node, request, std::move(content));
    if (successor != nullptr) commit_to(tx, *successor, *m.successor, std::move(also));
    tx.reply.version = node->attr.version;
    if (successor != nullptr) {
      tx.log(m.successor->append ? "append" : "write", *successor);
      return tx.finish(node->volume, {node, successor});
    }
    tx.log(request.append ? "append" : "write", *node);
    return tx.finish(node->volume, {node});
  });
}

}  // namespace linkspan::store::mem
