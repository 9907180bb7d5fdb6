#include "routerd/store/pg/content.h"

#include <algorithm>
#include <cstring>

#include "linkspan/limits.h"

namespace linkspan::store::pg {
namespace {

constexpr uint64_t kChunk = limits::kChunkBytes;
constexpr int32_t kRowCost = 512;          // of one more segment to read, in bytes
constexpr int32_t kFreeWeight = 16 << 10;  // partial segments of a chunk are free up to this
constexpr size_t kUnsentBytes = 2 << 20;   // queued before the server's answers are awaited

}  // namespace

void lay(std::string& buffer, uint64_t from, uint32_t chunk, uint32_t start, uint32_t length,
         std::optional<std::string_view> data) {
  const uint64_t at = chunk * kChunk + start;
  const uint64_t begin = std::max(at, from);
  const uint64_t end = std::min(at + length, from + buffer.size());
  if (begin >= end) return;
  char* out = buffer.data() + (begin - from);
  if (data) {
    std::memcpy(out, data->data() + (begin - at), end - begin);
  } else {
    std::memset(out, 0, end - begin);
  }
}

ContentWriter::ContentWriter(Transaction& tx, NodeRow& node)
    : tx_(tx), node_(node), old_dver_(node.dver), old_chunks_(0) {
  node_.dver = old_dver_ + 1;
}

Params ContentWriter::range(uint64_t first, uint64_t end, uint64_t dver) const {
  Params p = tx_.params();
  p.id(node_.attr.ino).i32(static_cast<int32_t>(first)).i32(static_cast<int32_t>(end));
  p.u64(node_.floor).u64(dver);
  return p;
}

Status ContentWriter::cut(uint64_t kept) {
  if (kept == 0) {
    node_.floor = node_.dver;
    node_.attr.allocated = 0;
    heads_.clear();
    return ok();
  }
  old_chunks_ = (kept + kChunk - 1) / kChunk;
  if (kept >= node_.attr.size) return ok();
  if (kept % kChunk != 0) cut_ = kept;
  const uint64_t end = (node_.attr.size + kChunk - 1) / kChunk;
  if (end == old_chunks_) return ok();
  clear_from_ = old_chunks_;
  const size_t filled = tx_.ask(sql::kRangeFilled, range(old_chunks_, end, old_dver_));
  LINKSPAN_CHECK(tx_.fetch());
  node_.attr.allocated -= tx_.answer(filled).u64(0, 0);
  return ok();
}

void ContentWriter::add_chunks(const Extent& extent, std::vector<int64_t>& chunks) {
  if (extent.length == 0) return;
  const uint64_t first = extent.offset / kChunk;
  const uint64_t last = (extent.offset + extent.length - 1) / kChunk;
  const auto add = [&](uint64_t chunk) {
    if (chunks.empty() || chunks.back() != static_cast<int64_t>(chunk))
      chunks.push_back(static_cast<int64_t>(chunk));
  };
  if (extent.data.empty()) {  // whole chunks within a hole are cleared without a look
    add(first);
    add(last);
    return;
  }
  for (uint64_t chunk = first; chunk <= last; ++chunk) add(chunk);
}

void ContentWriter::know(const Rows& heads) {
  for (int row = 0; row < heads.count(); ++row) {
    const auto chunk = static_cast<uint64_t>(heads.i32(row, 0));
    if (chunk >= old_chunks_) continue;
    heads_[chunk] =
        Head{heads.u64(row, 1), heads.u64(row, 2), heads.i32(row, 3), heads.i32(row, 4)};
  }
}

Status ContentWriter::put(uint64_t offset, uint64_t length, std::string_view data) {
  const bool hole = data.empty();
  while (length > 0) {
    const uint64_t chunk = offset / kChunk;
    const uint64_t start = offset % kChunk;
    const uint64_t whole = length / kChunk;
    uint64_t taken = std::min(kChunk - start, length);
    if (hole && start == 0 && whole > 0) {
      taken = whole * kChunk;
      LINKSPAN_CHECK(clear_chunks(chunk, chunk + whole));
    } else {
      LINKSPAN_CHECK(put_piece(chunk, static_cast<uint32_t>(start), static_cast<uint32_t>(taken),
                               hole ? data : data.substr(0, taken)));
    }
    offset += taken;
    length -= taken;
    if (!hole) data.remove_prefix(taken);
  }
  return ok();
}

Status ContentWriter::clear_chunks(uint64_t first, uint64_t end) {
  LINKSPAN_CHECK(end_chunk());
  end = std::min(end, old_chunks_);
  if (first >= end) return ok();
  const size_t filled = tx_.ask(sql::kRangeFilled, range(first, end, old_dver_));
  tx_.write(sql::kClearRange, range(first, end, node_.dver));
  LINKSPAN_CHECK(tx_.fetch());
  node_.attr.allocated -= tx_.answer(filled).u64(0, 0);
  if (cut_ && *cut_ / kChunk >= first && *cut_ / kChunk < end) cut_.reset();
  return ok();
}

Status ContentWriter::begin_chunk(uint64_t chunk) {
  if (chunk_ == chunk) return ok();
  LINKSPAN_CHECK(end_chunk());
  chunk_ = chunk;
  if (!cut_ || *cut_ / kChunk != chunk) return ok();
  const auto start = static_cast<uint32_t>(*cut_ % kChunk);
  pieces_.push_back({start, static_cast<uint32_t>(kChunk) - start, true, {}});
  cut_.reset();
  return ok();
}

Status ContentWriter::put_piece(uint64_t chunk, uint32_t start, uint32_t length,
                                std::string_view data) {
  LINKSPAN_CHECK(begin_chunk(chunk));
  pieces_.push_back({start, length, data.empty(), std::string(data)});
  return ok();
}

// What one piece does to the end of the chunk's stored bytes.
void ContentWriter::apply(const Piece& piece, uint32_t& filled) {
  const uint32_t end = piece.start + piece.length;
  if (!piece.hole) {
    filled = std::max(filled, end);
  } else if (end >= filled) {
    filled = std::min(filled, piece.start);
  }
}

// Do the pieces, by themselves, say everything up to `filled`?
bool ContentWriter::cover(const std::vector<Piece>& pieces, uint32_t filled) {
  uint32_t at = 0;
  for (const Piece& piece : pieces)
    if (piece.start <= at) at = std::max(at, piece.start + piece.length);
  return at >= filled;
}

Status ContentWriter::end_chunk() {
  if (!chunk_) return ok();
  const uint64_t chunk = *chunk_;
  const auto found = heads_.find(chunk);
  const Head* head = found == heads_.end() || found->second.filled == 0 ? nullptr : &found->second;
  const uint32_t before = head == nullptr ? 0 : static_cast<uint32_t>(head->filled);
  uint32_t after = before;
  for (const Piece& piece : pieces_) apply(piece, after);
  node_.attr.allocated += after;
  node_.attr.allocated -= before;

  int64_t weight = head == nullptr ? 0 : head->weight;
  for (const Piece& piece : pieces_) weight += kRowCost + (piece.hole ? 0 : piece.length);
  if (after == 0) {
    if (before > 0) add_segment(chunk, 0, node_.dver, true, 0, 0, 0, 0, std::nullopt);
  } else if (head == nullptr || cover(pieces_, before)) {
    add_full(chunk, {}, after);
  } else if (weight > std::max<int64_t>(kFreeWeight, before)) {
    LINKSPAN_CHECK(rewrite_chunk(chunk, *head, after));
  } else {
    add_partial(chunk, *head);
  }
  chunk_.reset();
  pieces_.clear();
  if (unsent_ < kUnsentBytes) return ok();
  unsent_ = 0;
  return tx_.fetch();
}

Status ContentWriter::rewrite_chunk(uint64_t chunk, const Head& head, uint32_t filled) {
  const size_t rows = tx_.ask(sql::kChunkRows, tx_.params()
                                                   .id(node_.attr.ino)
                                                   .i32(static_cast<int32_t>(chunk))
                                                   .u64(head.base_dver)
                                                   .u64(head.dver));
  LINKSPAN_CHECK(tx_.fetch());
  unsent_ = 0;
  std::string old(static_cast<size_t>(head.filled), '\0');
  const Rows& answer = tx_.answer(rows);
  for (int row = 0; row < answer.count(); ++row) {
    std::optional<std::string_view> data;
    if (!answer.null(row, 2)) data = answer.bytes(row, 2);
    lay(old, 0, 0, static_cast<uint32_t>(answer.i32(row, 0)),
        static_cast<uint32_t>(answer.i32(row, 1)), data);
  }
  add_full(chunk, old, filled);
  return ok();
}

void ContentWriter::add_full(uint64_t chunk, const std::string& old, uint32_t filled) {
  std::string bytes = old;
  bytes.resize(std::max<size_t>(filled, old.size()), '\0');
  uint32_t start = old.empty() ? filled : 0;  // leading zeros are not stored
  for (const Piece& piece : pieces_) {
    std::optional<std::string_view> data;
    if (!piece.hole) {
      data = piece.data;
      start = std::min(start, piece.start);
    }
    lay(bytes, 0, 0, piece.start, piece.length, data);
  }
  const std::string_view stored = std::string_view(bytes).substr(start, filled - start);
  add_segment(chunk, 0, node_.dver, true, start, filled - start, 0, filled, stored);
}

void ContentWriter::add_partial(uint64_t chunk, const Head& head) {
  int32_t weight = head.weight;
  auto filled = static_cast<uint32_t>(head.filled);
  int16_t part = 0;
  for (const Piece& piece : pieces_) {
    apply(piece, filled);
    weight += kRowCost + (piece.hole ? 0 : static_cast<int32_t>(piece.length));
    std::optional<std::string_view> data;
    if (!piece.hole) data = piece.data;
    add_segment(chunk, part++, head.base_dver, false, piece.start, piece.length, weight, filled,
                data);
  }
}

void ContentWriter::add_segment(uint64_t chunk, int16_t part, uint64_t base, bool full,
                                uint32_t start, uint32_t length, int32_t weight, uint32_t filled,
                                std::optional<std::string_view> data) {
  Params p = tx_.params();
  p.id(node_.attr.ino).i32(static_cast<int32_t>(chunk)).u64(node_.dver).i16(part).u64(base);
  p.boolean(full).i32(static_cast<int32_t>(start)).i32(static_cast<int32_t>(length));
  p.i32(weight).i32(static_cast<int32_t>(filled));
  data ? p.bytes(*data) : p.null();
  tx_.write(sql::kAddSegment, p);
  unsent_ += kRowCost + length;
}

Status ContentWriter::finish() {
  LINKSPAN_CHECK(end_chunk());
  if (cut_) {
    LINKSPAN_CHECK(begin_chunk(*cut_ / kChunk));
    LINKSPAN_CHECK(end_chunk());
  }
  if (!clear_from_) return ok();
  const uint64_t end = (node_.attr.size + kChunk - 1) / kChunk;  // of the old content
  tx_.write(sql::kClearRange, range(*clear_from_, end, node_.dver));
  return ok();
}

}  // namespace linkspan::store::pg
