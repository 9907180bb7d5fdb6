// Content: commits, and the truncation that set_attributes shares with them.
#include "routerd/store/pg/commit.h"

#include <algorithm>

#include "linkspan/forked.h"
#include "linkspan/limits.h"
#include "routerd/store/checks.h"
#include "routerd/store/pg/content.h"
#include "routerd/store/pg/postgres_store.h"
#include "routerd/store/pg/statements_content.h"

namespace linkspan::store::pg {
namespace {

// Extents are taken in until they have this many bytes or are this many, then written.
constexpr size_t kBatchBytes = 2 << 20;
constexpr size_t kBatchExtents = 1024;

struct Batch {
  std::vector<Extent> extents;
  bool last = false;
};

Result<Batch> take(ExtentReader& reader) {
  Batch batch;
  for (size_t bytes = 0; bytes < kBatchBytes && batch.extents.size() < kBatchExtents;) {
    Extent extent;
    LINKSPAN_TRY(const bool more, reader.next(&extent));
    batch.last = !more;
    if (!more) break;
    bytes += extent.data.size();
    batch.extents.push_back(std::move(extent));
  }
  return batch;
}

// Asks for the heads of the chunks in which the batch may meet old content.
std::optional<size_t> ask_heads(Transaction& tx, const CommitRequest& request, const Batch& batch,
                                bool first) {
  if (request.append)
    return first ? std::optional(tx.ask(sql::kLastChunkHead, tx.params().id(request.ino)))
                 : std::nullopt;
  if (request.keep_below == 0) return std::nullopt;
  std::vector<int64_t> chunks;
  for (const Extent& extent : batch.extents) ContentWriter::add_chunks(extent, chunks);
  const bool cuts = first && request.keep_below < limits::kFileBytes;
  if (cuts) chunks.push_back(static_cast<int64_t>(request.keep_below / limits::kChunkBytes));
  if (chunks.empty()) return std::nullopt;
  std::sort(chunks.begin(), chunks.end());
  chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
  return tx.ask(sql::kChunkHeads, tx.params().id(request.ino).i64_array(chunks));
}

Status check_file(const Mutation& m, const CommitRequest& request, const NodeRow& node) {
  LINKSPAN_CHECK(check_visible(m.scope, request.ino, node.volume));
  LINKSPAN_CHECK(check_writable(m.scope, node));
  return check_has_content(request.ino, node.attr.kind);
}

// A file without a name: who took it?
Status check_not_replaced(Transaction& tx, const CommitRequest& request, const NodeRow& node) {
  if (node.attr.nlink > 0) return ok();
  const SessionId own = tx.mutation().author.session;
  const size_t other =
      tx.ask(sql::kReplacedByOther, tx.params().id(node.attr.ino).id(own).boolean(request.follow));
  LINKSPAN_CHECK(tx.fetch());
  return tx.answer(other).empty() ? ok() : Status(replaced_by_another());
}

// The batches of a commit, the first of which was taken and its heads asked for. The new size.
Result<uint64_t> write_content(Transaction& tx, const CommitRequest& request, ExtentReader& reader,
                               NodeRow& node, const Rows& heads, Batch batch) {
  const uint64_t old_size = node.attr.size;
  const uint64_t kept = request.append ? old_size : std::min(request.keep_below, old_size);
  const bool within = !batch.extents.empty() && batch.extents.front().offset < old_size;
  const bool changes = kept < old_size || (!request.append && within);
  ContentWriter writer(tx, node);
  LINKSPAN_CHECK(writer.cut(kept));
  writer.know(heads);
  for (;;) {
    for (const Extent& e : batch.extents)
      LINKSPAN_CHECK(writer.put((request.append ? old_size : 0) + e.offset, e.length, e.data));
    if (batch.last) break;
    LINKSPAN_TRY(batch, take(reader));
    const auto more = ask_heads(tx, request, batch, false);
    LINKSPAN_CHECK(tx.fetch());
    if (more) writer.know(tx.answer(*more));
  }
  if (request.append && reader.end() > limits::kFileBytes - old_size)
    return fail(Code::too_large,
                "the file would have more than " + std::to_string(limits::kFileBytes) + " bytes");
  const uint64_t size = request.append ? old_size + reader.end() : std::max(kept, request.size);
  LINKSPAN_CHECK(check_bounds(tx.mutation().bounds, old_size, size, changes));
  LINKSPAN_CHECK(writer.finish());
  return size;
}

const char* what_of(const CommitRequest& request) {
  return request.append ? "append" : "write";
}

// The node has the commit's content.
void number(Transaction& tx, NodeRow& node, const CommitRequest& request) {
  make_version(tx, node, what_of(request));
  node.touch(tx.mutation());
  if (!request.keep_mtime) node.attr.mtime = request.mtime;
  tx.save(node);
}

// `replaced`: the file that the commit was meant for, with a version of its own for retention to
// find.
void log(Transaction& tx, const NodeRow& node, const CommitRequest& request, const Place& place,
         const NodeRow* replaced = nullptr) {
  ChangeRecord change{what_of(request), &node, place.parent(), {}, place.path, {}};
  change.made_version = true;
  if (replaced != nullptr) {
    change.fork = replaced->history;
    change.fork_version = replaced->attr.version;
  }
  tx.log(change);
}

// One commit under way: its extents come in batches, each with one round trip at most.
class Commit {
 public:
  Commit(Transaction& tx, const CommitRequest& request)
      : tx_(tx),
        request_(request),
        reader_(request.append ? ExtentReader::appending(request.extents.get(), 0)
                               : ExtentReader::replacing(request.extents.get(), request.size)) {}

  Result<Applied> run() {
    LINKSPAN_TRY(Batch batch, take(reader_));
    const size_t locked = tx_.ask(sql::kLockNode, tx_.params().id(request_.ino));
    const size_t path = tx_.ask(sql::kPath, tx_.params().id(request_.ino));
    const auto heads = ask_heads(tx_, request_, batch, true);
    LINKSPAN_CHECK(tx_.fetch());
    if (tx_.answer(locked).empty()) return no_node(request_.ino);
    NodeRow node = node_at(tx_.answer(locked), 0);
    LINKSPAN_CHECK(check_file(tx_.mutation(), request_, node));
    const Place place = place_of(tx_.answer(path));
    const Rows first_heads = heads ? tx_.answer(*heads) : Rows();
    LINKSPAN_CHECK(check_not_replaced(tx_, request_, node));
    LINKSPAN_CHECK(check_commit_base(request_, node.attr));
    tx_.count_before(node);
    if (tx_.mutation().unmerged) {
      const uint64_t before = node.attr.size;
      LINKSPAN_CHECK(replace_content(tx_, node, *tx_.mutation().unmerged));
      make_unmerged(tx_, node);
      node.attr.size = before;  // which the bounds go by; nothing of it is kept
      LINKSPAN_CHECK(write_over(tx_, node, request_));
      return conclude(node, place, node.attr.size);
    }
    LINKSPAN_TRY(const uint64_t size,
                 write_content(tx_, request_, reader_, node, first_heads, std::move(batch)));
    return conclude(node, place, size);
  }

 private:
  Result<Applied> conclude(NodeRow& node, const Place& place, uint64_t size) {
    if (request_.append) tx_.reply.offset = node.attr.size;
    node.attr.size = size;
    number(tx_, node, request_);
    tx_.count_after(node);
    log(tx_, node, request_, place);
    tx_.reply.version = node.attr.version;
    return tx_.finish(node.volume, {&node});
  }

  Transaction& tx_;
  const CommitRequest& request_;
  ExtentReader reader_;
};

// A commit to a file that was replaced, and the one to the node that goes on with its history.
Result<Applied> commit_to_both(Transaction& tx, const CommitRequest& request,
                               const CommitRequest& there) {
  const size_t locked = tx.ask(sql::kLockPair, tx.params().id(request.ino).id(there.ino));
  const size_t successor = tx.ask(sql::kSuccessor, tx.params().id(request.ino));
  const size_t path = tx.ask(sql::kPath, tx.params().id(there.ino));
  LINKSPAN_CHECK(tx.fetch());
  std::vector<NodeRow> nodes = nodes_of(tx.answer(locked));
  NodeRow* old = find(nodes, request.ino);
  if (old == nullptr) return no_node(request.ino);
  LINKSPAN_CHECK(check_file(tx.mutation(), request, *old));
  NodeRow* now = find(nodes, there.ino);
  const Rows found = tx.answer(successor);
  if (now == nullptr || found.empty() || Ino{found.u64(0, 0)} != there.ino)
    return replaced_by_another();
  LINKSPAN_CHECK(check_file(tx.mutation(), there, *now));
  LINKSPAN_CHECK(check_commit_base(there, now->attr));
  const Place place = place_of(tx.answer(path));
  if (request.append) tx.reply.offset = old->attr.size;
  LINKSPAN_CHECK(write_over(tx, *old, request));
  number(tx, *old, request);
  tx.count_before(*now);
  LINKSPAN_CHECK(write_over(tx, *now, there));
  number(tx, *now, there);
  tx.count_after(*now);
  log(tx, *now, there, place, old);
  tx.reply.version = old->attr.version;
  return tx.finish(now->volume, {old, now});
}

}  // namespace

void make_version(Transaction& tx, NodeRow& node, const char* what) {
  uint64_t last = node.attr.version.value;
  if (!node.owns_history && last < kForked) last += kForked;  // it was replaced
  tx.own_history(node);
  node.attr.version = Version{last + 1};
  tx.add_version(node, what);
}

void make_unmerged(Transaction& tx, NodeRow& node) {
  make_version(tx, node, kUnmerged);
  tx.reply.unmerged = node.attr.version;
  tx.reply.merged = true;
}

Status truncate(Transaction& tx, NodeRow& node, const Rows& heads, uint64_t size) {
  ContentWriter writer(tx, node);
  LINKSPAN_CHECK(writer.cut(std::min(size, node.attr.size)));
  writer.know(heads);
  LINKSPAN_CHECK(writer.finish());
  node.attr.size = size;
  make_version(tx, node, "truncate");
  return ok();
}

Status write_over(Transaction& tx, NodeRow& node, const CommitRequest& request) {
  if (request.extents) request.extents->rewind();
  ExtentReader reader = request.append
                            ? ExtentReader::appending(request.extents.get(), 0)
                            : ExtentReader::replacing(request.extents.get(), request.size);
  LINKSPAN_TRY(Batch batch, take(reader));
  const auto heads = ask_heads(tx, request, batch, true);
  LINKSPAN_CHECK(tx.fetch());
  const Rows known = heads ? tx.answer(*heads) : Rows();
  LINKSPAN_TRY(node.attr.size, write_content(tx, request, reader, node, known, std::move(batch)));
  return ok();
}

Status replace_content(Transaction& tx, NodeRow& node, const std::string& content) {
  ContentWriter writer(tx, node);
  LINKSPAN_CHECK(writer.cut(0));
  LINKSPAN_CHECK(writer.put(0, content.size(), content));
  LINKSPAN_CHECK(writer.finish());
  node.attr.size = content.size();
  return ok();
}

Result<Applied> PostgresStore::commit(const Mutation& m, const CommitRequest& request) {
  LINKSPAN_CHECK(check(request));
  bool again = false;
  return run_mutation(pool_, m, request.op, [&](Transaction& tx) {
    if (again && request.extents) request.extents->rewind();
    again = true;
    if (m.successor) return commit_to_both(tx, request, *m.successor);
    return Commit(tx, request).run();
  });
}

Result<Ino> PostgresStore::successor(const Scope& scope, Ino ino) {
  const std::function<Result<Ino>(Connection&)> use = [&](Connection& conn) -> Result<Ino> {
    const auto params = [&] {
      return std::move(Params().i32(static_cast<int32_t>(scope.tenant.value)).id(ino));
    };
    conn.queue(sql::kNode, params());
    conn.queue(sql::kSuccessor, params());
    LINKSPAN_TRY(const std::vector<Rows> rows, conn.sync());
    if (rows[0].empty()) return no_node(ino);
    LINKSPAN_CHECK(check_visible(scope, ino, node_at(rows[0], 0).volume));
    return rows[1].empty() ? Ino{} : Ino{rows[1].u64(0, 0)};
  };
  return with_connection<Ino>(pool_, use);
}

}  // namespace linkspan::store::pg
