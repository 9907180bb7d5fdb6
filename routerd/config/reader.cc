#include "routerd/config/reader.h"

#include <algorithm>
#include <numeric>

namespace linkspan::config {
namespace {

std::string type_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "a whole number";
    case toml::node_type::floating_point:
      return "a number with a point";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::date:
      return "a date without a time";
    case toml::node_type::time:
      return "a time without a date";
    case toml::node_type::date_time:
      return "a date and time";
    default:
      return "nothing";
  }
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
  year -= month <= 2;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const auto year_of_era = static_cast<unsigned>(year - era * 400);
  const unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + static_cast<int64_t>(day_of_era) - 719468;
}

}  // namespace

std::string Problems::at(const toml::source_region& where) const {
  return label_ + ":" + std::to_string(where.begin.line);
}

void Problems::add(const toml::source_region& where, const std::string& text) {
  if (all_.size() < kProblemsShown) all_.push_back(at(where) + ": " + text);
}

Table::Table(Problems& problems, const toml::table& table, std::string where,
             std::vector<Key> known)
    : problems_(problems), table_(table), where_(std::move(where)), known_(std::move(known)) {
  for (auto&& [key, node] : table_) {
    const std::string_view name = key.str();
    if (std::none_of(known_.begin(), known_.end(), [&](const Key& k) { return k.name == name; }))
      unknown(name, key.source());
  }
}

void Table::unknown(std::string_view key, const toml::source_region& at) const {
  const Key* nearest = nullptr;
  size_t least = 3;  // further away is no misspelling
  std::string all;
  for (const Key& known : known_) {
    if (const size_t distance = edit_distance(key, known.name); distance < least) {
      least = distance;
      nearest = &known;
    }
    all += (all.empty() ? "" : ", ") + std::string(known.name);
  }
  problems_.add(at, "unknown key '" + std::string(key) + "' " + where_ + "; " +
                        (nearest ? "did you mean '" + std::string(nearest->name) + "'?"
                                 : "known are " + all));
}

const toml::node* Table::find(std::string_view key) const {
  return table_.get(key);
}

std::string Table::example(std::string_view key) const {
  for (const Key& known : known_)
    if (known.name == key) return std::string(known.example);
  return std::string(key) + " = ...";
}

std::string Table::origin(std::string_view key) const {
  return problems_.at(find(key)->source()) + ": " + std::string(key);
}

void Table::wrong(std::string_view key, const std::string& text) const {
  const toml::node* node = find(key);
  problems_.add(node ? node->source() : table_.source(), std::string(key) + ": " + text);
}

void Table::wrong_type(std::string_view key, std::string_view expected) const {
  wrong(key, "expected " + std::string(expected) + ", found " + type_name(*find(key)) + "; write " +
                 example(key));
}

bool Table::require(std::string_view key) const {
  if (find(key)) return true;
  problems_.add(table_.source(),
                "'" + std::string(key) + "' is missing " + where_ + "; write " + example(key));
  return false;
}

std::optional<std::string> Table::text(std::string_view key) const {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (const auto* value = node->as_string()) return value->get();
  wrong_type(key, "a string");
  return std::nullopt;
}

std::optional<int64_t> Table::integer(std::string_view key, int64_t least, int64_t most) const {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  const auto* value = node->as_integer();
  if (!value) {
    wrong_type(key, "a whole number");
    return std::nullopt;
  }
  if (value->get() >= least && value->get() <= most) return value->get();
  wrong(key, std::to_string(value->get()) + " is not between " + std::to_string(least) + " and " +
                 std::to_string(most));
  return std::nullopt;
}

std::optional<bool> Table::boolean(std::string_view key) const {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (const auto* value = node->as_boolean()) return value->get();
  wrong_type(key, "true or false");
  return std::nullopt;
}

std::optional<Time> Table::time(std::string_view key) const {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  const auto* value = node->as_date_time();
  if (!value) {
    wrong_type(key, "a date and time");
    return std::nullopt;
  }
  const toml::date_time& at = value->get();
  if (!at.offset) {
    wrong(key, "the time zone is missing; write " + example(key));
    return std::nullopt;
  }
  const int64_t minutes = days_from_civil(at.date.year, at.date.month, at.date.day) * 24 * 60 +
                          at.time.hour * 60 + at.time.minute - at.offset->minutes;
  constexpr int64_t kLastMinute = INT64_MAX / 1'000'000'000 / 60 - 1;  // Time ends in the year 2262
  if (minutes < 0 || minutes > kLastMinute) {
    wrong(key, "the year must be from 1970 to 2261");
    return std::nullopt;
  }
  return Time{(minutes * 60 + at.time.second) * 1'000'000'000 + at.time.nanosecond};
}

std::optional<size_t> Table::choice(std::string_view key,
                                    std::initializer_list<std::string_view> choices) const {
  const auto value = text(key);
  if (!value) return std::nullopt;
  std::string all;
  size_t index = 0;
  for (const auto& choice : choices) {
    if (*value == choice) return index;
    ++index;
    all += (all.empty() ? "\"" : index == choices.size() ? " or \"" : ", \"");
    all += std::string(choice) + "\"";
  }
  wrong(key, "\"" + *value + "\" is not one of " + all);
  return std::nullopt;
}

std::vector<Sourced> Table::texts(std::string_view key) const {
  const toml::node* node = find(key);
  if (!node) return {};
  const auto* array = node->as_array();
  if (!array) {
    wrong_type(key, "an array of strings");
    return {};
  }
  std::vector<Sourced> out;
  for (const toml::node& element : *array) {
    if (const auto* value = element.as_string())
      out.push_back({value->get(), problems_.at(element.source()) + ": " + std::string(key)});
    else
      problems_.add(element.source(), std::string(key) + ": expected strings, found " +
                                          type_name(element) + "; write " + example(key));
  }
  return out;
}

const toml::table* Table::child(std::string_view key) const {
  const toml::node* node = find(key);
  if (!node) return nullptr;
  if (const auto* table = node->as_table()) return table;
  wrong_type(key, "a table");
  return nullptr;
}

void Table::each(std::string_view key, const std::function<void(const toml::table&)>& each) const {
  const toml::node* node = find(key);
  if (!node) return;
  const auto* array = node->as_array();
  if (!array) {
    wrong_type(key, "a list of tables");
    return;
  }
  for (const toml::node& element : *array) {
    if (const auto* table = element.as_table())
      each(*table);
    else
      problems_.add(element.source(), std::string(key) + ": expected tables, found " +
                                          type_name(element) + "; write " + example(key));
  }
}

}  // namespace linkspan::config
