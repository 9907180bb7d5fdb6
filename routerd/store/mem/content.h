// The bytes of one version of a file, sparse, in pieces of limits::kChunkBytes that versions share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "linkspan/ops.h"

namespace linkspan::store::mem {

// A value: copying one copies the map of its pieces, not the bytes. Not thread-safe.
class Content {
 public:
  uint64_t size() const { return size_; }
  // Bytes that are stored; holes and the zeros behind a piece's last written byte are not.
  uint64_t stored() const { return stored_; }

  // Short only at the end.
  std::string read(uint64_t offset, uint64_t length) const;
  // What data_ranges() answers, for a size that is set.
  void tell_ranges(uint64_t offset, DataRangesReply* out) const;
  // Cuts, or grows with zeros.
  void resize(uint64_t size);
  // Both within size().
  void write(uint64_t offset, std::string_view data);
  void zero(uint64_t offset, uint64_t length);

 private:
  // The bytes at the start of [index * kChunkBytes, ...); what is missing to the right is zeros.
  using Chunk = std::shared_ptr<const std::string>;

  void put(uint64_t index, std::string bytes);
  void drop(std::map<uint64_t, Chunk>::iterator at);

  std::map<uint64_t, Chunk> chunks_;  // by index; a missing one is a hole
  uint64_t size_ = 0;
  uint64_t stored_ = 0;
};

}  // namespace linkspan::store::mem
