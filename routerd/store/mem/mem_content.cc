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
    if (request.size) truncate(tx, *node, *request.size);
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

Result<Applied> MemStore::commit(const Mutation& m, const CommitRequest& request) {
  LINKSPAN_CHECK(check(request));
  ExtentSource* source = request.extents.get();
  LINKSPAN_TRY(const std::vector<Extent> extents,
               take(request.append ? ExtentReader::appending(source, 0)
                                   : ExtentReader::replacing(source, request.size)));
  return mutate(m, request.op, [&](Transaction& tx) -> Result<Applied> {
    LINKSPAN_TRY(MemNode * node, tx.tenant().find(m.scope, request.ino));
    LINKSPAN_CHECK(check_writable(m.scope, *node));
    LINKSPAN_CHECK(check_has_content(*node));
    if (request.base && *request.base != node->attr.version) {
      Error error = fail(Code::conflict, "the file was changed by another");
      error.head_version = node->attr.version.value;
      return error;
    }
    LINKSPAN_TRY(auto content, make_content(node->head(), request, extents));
    if (request.append) tx.reply.offset = node->attr.size;
    tx.count_before(*node);
    tx.add_version(*node, std::move(content), request.append ? "append" : "write");
    tx.count_after(*node);
    tx.touch(*node);
    if (!request.keep_mtime) node->attr.mtime = request.mtime;
    tx.log(request.append ? "append" : "write", *node);
    tx.reply.version = node->attr.version;
    return tx.finish(node->volume, {node});
  });
}

}  // namespace linkspan::store::mem
