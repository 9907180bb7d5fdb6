#include "routerd/store/mem/content.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "linkspan/limits.h"
#include "routerd/store/data_ranges.h"

namespace linkspan::store::mem {
namespace {
constexpr uint64_t kChunk = limits::kChunkBytes;
}

std::string Content::read(uint64_t offset, uint64_t length) const {
  if (offset >= size_) return {};
  const uint64_t end = offset + std::min(length, size_ - offset);
  std::string out(end - offset, '\0');
  for (auto it = chunks_.lower_bound(offset / kChunk); it != chunks_.end(); ++it) {
    const uint64_t start = it->first * kChunk;
    if (start >= end) break;
    const uint64_t from = std::max(start, offset);
    const uint64_t to = std::min(start + it->second->size(), end);
    if (from < to) out.replace(from - offset, to - from, *it->second, from - start, to - from);
  }
  return out;
}

void Content::tell_ranges(uint64_t offset, DataRangesReply* out) const {
  out->size = out->until = size_;
  size_t seen = 0;
  for (auto it = chunks_.lower_bound(offset / kChunk); it != chunks_.end(); ++it) {
    if (++seen > limits::kDataRanges) {
      out->until = it->first * kChunk;
      return;
    }
    add_chunk(*out, offset, it->first, it->second->size());
  }
}

void Content::resize(uint64_t size) {
  if (size < size_) zero(size, size_ - size);
  size_ = size;
}

void Content::write(uint64_t offset, std::string_view data) {
  assert(offset + data.size() <= size_);
  while (!data.empty()) {
    const uint64_t index = offset / kChunk;
    const uint64_t at = offset % kChunk;
    const size_t count = std::min<uint64_t>(kChunk - at, data.size());
    const auto old = chunks_.find(index);
    std::string bytes = old == chunks_.end() ? std::string() : *old->second;
    if (bytes.size() < at + count) bytes.resize(at + count, '\0');
    bytes.replace(at, count, data.substr(0, count));
    put(index, std::move(bytes));
    offset += count;
    data.remove_prefix(count);
  }
}

void Content::zero(uint64_t offset, uint64_t length) {
  assert(offset + length <= size_);
  const uint64_t end = offset + length;
  for (auto it = chunks_.lower_bound(offset / kChunk); it != chunks_.end();) {
    const auto here = it++;
    const uint64_t start = here->first * kChunk;
    if (start >= end) break;
    const uint64_t from = std::max(start, offset) - start;
    const uint64_t to = std::min<uint64_t>(end - start, here->second->size());
    if (from >= to) continue;
    std::string bytes = *here->second;
    if (to == bytes.size()) {
      bytes.resize(from);
    } else {
      bytes.replace(from, to - from, to - from, '\0');
    }
    if (bytes.empty()) {
      drop(here);
    } else {
      put(here->first, std::move(bytes));
    }
  }
}

void Content::put(uint64_t index, std::string bytes) {
  Chunk& chunk = chunks_[index];
  if (chunk) stored_ -= chunk->size();
  stored_ += bytes.size();
  chunk = std::make_shared<const std::string>(std::move(bytes));
}

void Content::drop(std::map<uint64_t, Chunk>::iterator at) {
  stored_ -= at->second->size();
  chunks_.erase(at);
}

}  // namespace linkspan::store::mem
