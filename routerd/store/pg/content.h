// How a file's new content becomes segments. One small save is one small row: a chunk that is
// written whole, or for the first time, becomes a full segment; a part of one becomes a partial
// segment laid over the older ones, until reading them together costs more than writing the chunk
// anew.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "routerd/store/pg/statements_content.h"
#include "routerd/store/pg/transaction.h"

namespace linkspan::store::pg {

// Puts what a segment says into a buffer that begins at file offset `from`. No data: zeros.
void lay(std::string& buffer, uint64_t from, uint32_t chunk, uint32_t start, uint32_t length,
         std::optional<std::string_view> data);

// Writes one new state of a file: cut(), then put() in ascending order, then finish(). Until
// finish() the node's row in the database is the old one. Memory: the pieces of one chunk.
class ContentWriter {
 public:
  // `node` is locked; its dver, floor and allocated become those of the new state, not its size.
  ContentWriter(Transaction& tx, NodeRow& node);

  // Keeps the bytes below `kept` (at most the old size). Before anything else.
  Status cut(uint64_t kept);
  // Chunks whose heads put() must know, by what can be said before the node is.
  static void add_chunks(const Extent& extent, std::vector<int64_t>& chunks);
  // Answers of sql::kChunkHeads or kLastChunkHead.
  void know(const Rows& heads);
  Status put(uint64_t offset, uint64_t length, std::string_view data);
  Status finish();

 private:
  struct Head {
    uint64_t dver, base_dver;
    int32_t weight, filled;
  };
  struct Piece {
    uint32_t start, length;
    bool hole;
    std::string data;
  };
  static void apply(const Piece& piece, uint32_t& filled);
  static bool cover(const std::vector<Piece>& pieces, uint32_t filled);

  Status begin_chunk(uint64_t chunk);
  Status end_chunk();
  Status put_piece(uint64_t chunk, uint32_t start, uint32_t length, std::string_view data);
  Status clear_chunks(uint64_t first, uint64_t end);
  Status rewrite_chunk(uint64_t chunk, const Head& head, uint32_t filled);
  void add_full(uint64_t chunk, const std::string& old, uint32_t filled);
  void add_partial(uint64_t chunk, const Head& head);
  void add_segment(uint64_t chunk, int16_t part, uint64_t base, bool full, uint32_t start,
                   uint32_t length, int32_t weight, uint32_t filled,
                   std::optional<std::string_view> data);
  Params range(uint64_t first, uint64_t end, uint64_t dver) const;

  Transaction& tx_;
  NodeRow& node_;
  const uint64_t old_dver_;
  uint64_t old_chunks_;                 // chunks from here on hold nothing of the old state
  std::map<uint64_t, Head> heads_;      // of old chunks
  std::optional<uint64_t> cut_;         // the offset of the cut, until its chunk was written
  std::optional<uint64_t> clear_from_;  // chunks behind the cut
  std::optional<uint64_t> chunk_;       // being gathered
  std::vector<Piece> pieces_;
  size_t unsent_ = 0;  // bytes queued since the last fetch
};

}  // namespace linkspan::store::pg
