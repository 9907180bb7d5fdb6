#include "fusefs/cache/content_cache.h"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace linkspan::cache {

uint64_t ContentCache::moment() const {
  std::lock_guard lock(mutex_);
  return moment_;
}

void ContentCache::put(uint64_t asked, const ContentId& id, uint64_t offset,
                       std::string_view data) {
  for (size_t at = 0; at < data.size(); at += kBlockBytes) {
    auto bytes = std::make_shared<const std::string>(data.substr(at, kBlockBytes));
    std::lock_guard lock(mutex_);
    if (!dropped_.admits(id.ino, Seq{asked})) return;
    insert(BlockKey{id, (offset + at) / kBlockBytes}, std::move(bytes));
  }
}

size_t ContentCache::read(const ContentId& id, uint64_t offset, char* out, size_t size) {
  size_t done = 0;
  while (done < size) {
    const uint64_t at = offset + done;
    const Bytes block = find(id, at / kBlockBytes);
    const size_t within = at % kBlockBytes;
    if (!block || within >= block->size()) break;
    const size_t part = std::min(size - done, block->size() - within);
    std::memcpy(out + done, block->data() + within, part);
    done += part;
    if (block->size() < kBlockBytes) break;
  }
  return done;
}

bool ContentCache::has(const ContentId& id, uint64_t offset) const {
  std::lock_guard lock(mutex_);
  return index_.count(BlockKey{id, offset / kBlockBytes}) != 0;
}

void ContentCache::drop(Ino ino, Version keep) {
  std::lock_guard lock(mutex_);
  dropped_.raise(ino, Seq{++moment_});
  auto node = of_node_.find(ino);
  if (node == of_node_.end()) return;
  const std::vector<BlockKey> keys = node->second;
  for (const BlockKey& key : keys)
    if (key.id.version != keep || !keep) erase(index_.at(key));
}

void ContentCache::renumbered(Ino ino, Version from, Version to) {
  std::lock_guard lock(mutex_);
  dropped_.raise(ino, Seq{++moment_});
  auto node = of_node_.find(ino);
  if (node == of_node_.end()) return;
  const std::vector<BlockKey> keys = node->second;
  for (const BlockKey& key : keys) {
    const auto block = index_.find(key);
    if (block == index_.end()) continue;  // evicted by one that was put back
    const Bytes bytes = block->second->bytes;
    erase(block->second);
    if (key.id.version == from) insert(BlockKey{ContentId{ino, to}, key.block}, bytes);
  }
}

void ContentCache::clear() {
  std::lock_guard lock(mutex_);
  index_.clear();
  of_node_.clear();
  order_.clear();
  bytes_ = 0;
}

size_t ContentCache::bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

ContentCache::Bytes ContentCache::find(const ContentId& id, uint64_t block) {
  std::lock_guard lock(mutex_);
  auto it = index_.find(BlockKey{id, block});
  if (it == index_.end()) return nullptr;
  order_.splice(order_.begin(), order_, it->second);
  return it->second->bytes;
}

void ContentCache::insert(BlockKey key, Bytes bytes) {
  if (auto it = index_.find(key); it != index_.end()) erase(it->second);
  bytes_ += bytes->size() + kBlockOverhead;
  order_.push_front(Block{key, std::move(bytes)});
  index_[key] = order_.begin();
  of_node_[key.id.ino].push_back(key);
  while (bytes_ > capacity_ && order_.size() > 1) erase(std::prev(order_.end()));
}

void ContentCache::erase(Order::iterator it) {
  const BlockKey key = it->key;
  bytes_ -= it->bytes->size() + kBlockOverhead;
  index_.erase(key);
  order_.erase(it);
  auto node = of_node_.find(key.id.ino);
  auto& keys = node->second;
  keys.erase(std::find(keys.begin(), keys.end(), key));
  if (keys.empty()) of_node_.erase(node);
}

}  // namespace linkspan::cache
