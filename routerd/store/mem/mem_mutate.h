// The frame of every mutation and what they share. Included by the .cc files of this folder only.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "routerd/store/checks.h"
#include "routerd/store/mem/mem_store.h"

namespace linkspan::store::mem {

// All of a commit's extents, so that no client is waited for under the mutex.
Result<std::vector<Extent>> take(ExtentReader reader);
// What a commit makes of `head`.
Result<std::shared_ptr<Content>> make_content(const Content& head, const CommitRequest& request,
                                              const std::vector<Extent>& extents);

std::shared_ptr<const Content> content_of(const std::string& bytes);

// One mutation under way. Operations check everything first, then change; nothing is taken back.
class Transaction {
 public:
  Transaction(Tenant& tenant, const Mutation& m) : tenant_(tenant), m_(m) {}

  // A change to the node itself: ctime, seq.
  void touch(MemNode& node) {
    node.attr.ctime = m_.now;
    node.attr.seq = std::max(node.attr.seq, m_.seq);
  }
  // A change to a directory's entries, or to a file's content: mtime too.
  void modify(MemNode& node) {
    touch(node);
    node.attr.mtime = m_.now;
  }
  // Adds a version to a file's history and makes it the head.
  void add_version(MemNode& node, std::shared_ptr<const Content> content, const char* what);
  // What the author wrote, before the version that is a merge of it.
  void add_unmerged(MemNode& node, std::shared_ptr<const Content> content);
  void log(const char* what, const MemNode& node, LoggedChange where);
  // `where` says the ino, version and size, too.
  void log(const char* what, LoggedChange where);
  // The same for a node that the mutation found by number: where its oldest name is.
  void log(const char* what, const MemNode& node);
  // What the mutation adds to or takes from the volume: call before and after a node changes.
  void count_before(const MemNode& node) { count(node, -1); }
  void count_after(const MemNode& node) { count(node, +1); }

  Tenant& tenant() { return tenant_; }
  const Mutation& mutation() const { return m_; }
  // The reply so far; `nodes` holds the given ones, in their order.
  Applied finish(VolumeId volume, std::initializer_list<const MemNode*> nodes);
  MutationReply reply;

 private:
  void count(const MemNode& node, int sign) {
    usage_.bytes += sign * node.live_bytes();
    usage_.files += sign * (node.attr.nlink > 0 ? 1 : 0);
  }

  Tenant& tenant_;
  const Mutation& m_;
  UsageDelta usage_;
};

template <class Apply>
Result<Applied> MemStore::mutate(const Mutation& m, const OpHeader& op, Apply&& apply) {
  const std::lock_guard lock(mutex_);
  LINKSPAN_TRY(Tenant * tenant, scoped_tenant(m.scope));
  if (m.epoch != tenant->epoch)
    return fail(Code::fenced, "tenant '" + tenant->label + "' is owned by another router now");
  auto& results = tenant->results[m.author.session];
  results.erase(results.begin(), results.lower_bound(op.answered_below));
  if (const auto old = results.find(op.number); old != results.end())
    return Applied{old->second, {}, true};
  Transaction tx(*tenant, m);
  Result<Applied> applied = apply(tx);
  if (!applied.ok()) return applied;
  tenant->last_seq = std::max(tenant->last_seq, m.seq);
  if (op.number) results[op.number] = applied->reply;
  return applied;
}

}  // namespace linkspan::store::mem
