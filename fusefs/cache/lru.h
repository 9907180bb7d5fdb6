// A bounded map that forgets what was not used for longest. Not thread-safe: the owner locks.
#pragma once

#include <list>
#include <unordered_map>
#include <utility>

namespace linkspan::cache {

template <class Key, class Value, class Hash = std::hash<Key>>
class LruMap {
 public:
  explicit LruMap(size_t capacity) : capacity_(capacity) {}

  // Null if it is not there; found entries become the youngest. Valid until the next change.
  Value* find(const Key& key) {
    auto it = index_.find(key);
    if (it == index_.end()) return nullptr;
    order_.splice(order_.begin(), order_, it->second);
    return &it->second->second;
  }

  // The same without making it the youngest.
  const Value* peek(const Key& key) const {
    auto it = index_.find(key);
    return it == index_.end() ? nullptr : &it->second->second;
  }

  // Inserts or replaces, then evicts down to the capacity; `evicted(key, value)` sees each one.
  template <class Evicted>
  void put(const Key& key, Value value, Evicted evicted) {
    auto it = index_.find(key);
    if (it != index_.end()) {
      it->second->second = std::move(value);
      order_.splice(order_.begin(), order_, it->second);
      return;
    }
    order_.emplace_front(key, std::move(value));
    index_.emplace(key, order_.begin());
    while (order_.size() > capacity_) {
      auto& oldest = order_.back();
      evicted(oldest.first, oldest.second);
      index_.erase(oldest.first);
      order_.pop_back();
    }
  }
  void put(const Key& key, Value value) {
    put(key, std::move(value), [](const Key&, const Value&) {});
  }

  bool erase(const Key& key) {
    auto it = index_.find(key);
    if (it == index_.end()) return false;
    order_.erase(it->second);
    index_.erase(it);
    return true;
  }

  // What would be evicted next. Only when size() > 0.
  const Key& oldest() const { return order_.back().first; }

  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [key, value] : order_) visit(key, value);
  }

  void clear() {
    index_.clear();
    order_.clear();
  }
  size_t size() const { return order_.size(); }
  size_t capacity() const { return capacity_; }

 private:
  using Order = std::list<std::pair<Key, Value>>;
  size_t capacity_;
  Order order_;  // youngest first
  std::unordered_map<Key, typename Order::iterator, Hash> index_;
};

}  // namespace linkspan::cache
