// A strict view of one TOML table: every key is known, every value has its type and bounds, and
// each problem names file, line, key and the mend. Problems are collected, so that one run tells
// all.
#pragma once

#include <toml++/toml.h>

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/types.h"
#include "routerd/config/config.h"

namespace linkspan::config {

class Problems {
 public:
  explicit Problems(std::string label) : label_(std::move(label)) {}
  // "routerd.toml:3"
  std::string at(const toml::source_region& where) const;
  void add(const toml::source_region& where, const std::string& text);
  std::vector<std::string> take() { return std::move(all_); }

 private:
  std::string label_;
  std::vector<std::string> all_;
};

class Table {
 public:
  struct Key {
    std::string_view name;
    std::string_view example;  // "lease_ms = 5000"; empty: a table, never read as a value
  };
  // Reports every key that is not in `known`. `where`: "at the top level", "in [[tenant]]".
  Table(Problems& problems, const toml::table& table, std::string where, std::vector<Key> known);

  std::optional<std::string> text(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key, int64_t least, int64_t most) const;
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<Time> time(std::string_view key) const;  // needs an offset from UTC
  // One of `choices`, or nothing (reported).
  std::optional<size_t> choice(std::string_view key,
                               std::initializer_list<std::string_view> choices) const;
  std::vector<Sourced> texts(std::string_view key) const;
  const toml::table* child(std::string_view key) const;
  // Calls `each` with every [[where.key]].
  void each(std::string_view key, const std::function<void(const toml::table&)>& each) const;
  // "routerd.toml:3: KEY" of a key that is there.
  std::string origin(std::string_view key) const;
  // Reports a missing key.
  bool require(std::string_view key) const;
  // Reports "FILE:LINE: KEY: text", at the key if it is there, else at the table.
  void wrong(std::string_view key, const std::string& text) const;

 private:
  const toml::node* find(std::string_view key) const;
  void wrong_type(std::string_view key, std::string_view expected) const;
  std::string example(std::string_view key) const;
  void unknown(std::string_view key, const toml::source_region& at) const;

  Problems& problems_;
  const toml::table& table_;
  std::string where_;
  std::vector<Key> known_;
};

}  // namespace linkspan::config
