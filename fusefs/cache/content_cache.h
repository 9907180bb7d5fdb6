// Blocks of file content by (inode, version). A version's content does not change while the node
// keeps its name, so a revocation only moves on to another version. A rename over another file
// gives the node the other's numbers (ops.h), so drop() also keeps out what was asked for before
// it. Bounded by bytes, least recently used first out.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fusefs/cache/fence.h"
#include "linkspan/limits.h"
#include "linkspan/types.h"

namespace linkspan::cache {

inline constexpr size_t kBlockBytes = 128 << 10;
inline constexpr size_t kBlockOverhead = 256;  // what a block costs beside its bytes, about
static_assert(limits::kReadBytes % kBlockBytes == 0);

struct ContentId {
  Ino ino;
  Version version;
  bool operator==(const ContentId&) const = default;
};

class ContentCache {
 public:
  explicit ContentCache(size_t capacity = limits::kContentCacheBytes) : capacity_(capacity) {}

  // Taken before content is asked for.
  uint64_t moment() const;
  // Keeps the whole blocks in `data`, which begins at `offset` (a multiple of kBlockBytes). The
  // last block may be shorter only if the file ends there. Nothing, if the node was dropped since
  // `asked`.
  void put(uint64_t asked, const ContentId& id, uint64_t offset, std::string_view data);

  // Copies the bytes from `offset` on to `out`, as far as they are there without a gap, and returns
  // how many. Stops at the end of the last (short) block.
  size_t read(const ContentId& id, uint64_t offset, char* out, size_t size);

  bool has(const ContentId& id, uint64_t offset) const;

  // Every block of the node, of all versions but `keep`.
  void drop(Ino ino, Version keep = {});
  // The same content got another version number.
  void renumbered(Ino ino, Version from, Version to);
  void clear();

  size_t bytes() const;

 private:
  struct BlockKey {
    ContentId id;
    uint64_t block;
    bool operator==(const BlockKey&) const = default;
  };
  struct BlockHash {
    size_t operator()(const BlockKey& k) const noexcept {
      return std::hash<Ino>{}(k.id.ino) ^ (std::hash<Version>{}(k.id.version) << 1) ^
             (k.block * 0x9E3779B97F4A7C15ull);
    }
  };
  using Bytes = std::shared_ptr<const std::string>;
  struct Block {
    BlockKey key;
    Bytes bytes;
  };
  using Order = std::list<Block>;

  Bytes find(const ContentId& id, uint64_t block);
  void insert(BlockKey key, Bytes bytes);
  void erase(Order::iterator it);

  const size_t capacity_;
  mutable std::mutex mutex_;  // leaf
  size_t bytes_ = 0;
  uint64_t moment_ = 1;  // of the last drop
  Fence<Ino> dropped_;   // by moment
  Order order_;          // youngest first
  std::unordered_map<BlockKey, Order::iterator, BlockHash> index_;
  std::unordered_map<Ino, std::vector<BlockKey>> of_node_;
};

}  // namespace linkspan::cache
