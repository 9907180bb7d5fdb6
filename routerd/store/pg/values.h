// Values that go into a statement and come out of its answer, in PostgreSQL's binary format. Header
// only; used by one thread at a time.
#pragma once

#include <libpq-fe.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "linkspan/types.h"

namespace linkspan::store::pg {

// PostgreSQL has no unsigned integers: 64-bit values keep their bits.
inline int64_t to_sql(uint64_t value) {
  return static_cast<int64_t>(value);
}
inline uint64_t from_sql(int64_t value) {
  return static_cast<uint64_t>(value);
}

namespace binary {
template <class Int>
Int swap(Int value) {
  if constexpr (sizeof(Int) == 1 || std::endian::native == std::endian::big) return value;
  if constexpr (sizeof(Int) == 2) return static_cast<Int>(__builtin_bswap16(value));
  if constexpr (sizeof(Int) == 4) return static_cast<Int>(__builtin_bswap32(value));
  if constexpr (sizeof(Int) == 8) return static_cast<Int>(__builtin_bswap64(value));
}
template <class Int>
Int load(const char* at) {
  Int value;
  std::memcpy(&value, at, sizeof value);
  return swap(value);
}
template <class Int>
void append(std::string& out, Int value) {
  value = swap(value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
}  // namespace binary

// The parameters of one execution, in order. Byte strings are not copied: they must live until the
// statement was queued. The SQL casts each ($1::bigint), so that its type is known.
class Params {
 public:
  Params& i64(int64_t value) { return number<uint64_t>(static_cast<uint64_t>(value)); }
  Params& u64(uint64_t value) { return number<uint64_t>(value); }
  Params& i32(int32_t value) { return number<uint32_t>(static_cast<uint32_t>(value)); }
  Params& i16(int16_t value) { return number<uint16_t>(static_cast<uint16_t>(value)); }
  Params& boolean(bool value) { return number<uint8_t>(value ? 1 : 0); }
  Params& time(Time value) { return i64(value.ns); }
  template <class Tag>
  Params& id(Strong<Tag> value) {
    return u64(value.value);
  }
  Params& bytes(std::string_view value) {  // bytea and text
    cells_.push_back({value.data(), static_cast<int>(value.size()), false, {}});
    return *this;
  }
  Params& null() {
    cells_.push_back({nullptr, 0, false, {}});
    return *this;
  }
  Params& i64_array(const std::vector<int64_t>& values);

  int count() const { return static_cast<int>(cells_.size()); }
  // Pointers as libpq wants them; valid until the next change.
  void fill(std::vector<const char*>& values, std::vector<int>& lengths) const {
    values.clear();
    lengths.clear();
    for (const Cell& cell : cells_) {
      values.push_back(cell.inlined ? cell.number : cell.data);
      lengths.push_back(cell.length);
    }
  }

 private:
  struct Cell {
    const char* data;
    int length;
    bool inlined;
    char number[8];
  };
  template <class Int>
  Params& number(Int value) {
    Cell cell{nullptr, sizeof value, true, {}};
    value = binary::swap(value);
    std::memcpy(cell.number, &value, sizeof value);
    cells_.push_back(cell);
    return *this;
  }
  std::vector<Cell> cells_;
  std::vector<std::shared_ptr<std::string>> owned_;
};

inline Params& Params::i64_array(const std::vector<int64_t>& values) {
  constexpr int32_t kInt8Oid = 20;
  auto out = std::make_shared<std::string>();
  binary::append<int32_t>(*out, values.empty() ? 0 : 1);  // dimensions
  binary::append<int32_t>(*out, 0);                       // no nulls
  binary::append<int32_t>(*out, kInt8Oid);
  if (!values.empty()) {
    binary::append<int32_t>(*out, static_cast<int32_t>(values.size()));
    binary::append<int32_t>(*out, 1);  // lower bound
  }
  for (const int64_t value : values) {
    binary::append<int32_t>(*out, sizeof value);
    binary::append<uint64_t>(*out, static_cast<uint64_t>(value));
  }
  bytes(*out);
  owned_.push_back(std::move(out));
  return *this;
}

// The answer to one statement. Columns are read by the type that the SQL gives them.
class Rows {
 public:
  Rows() = default;
  explicit Rows(PGresult* result) : result_(result, &PQclear) {}

  int count() const { return result_ ? PQntuples(result_.get()) : 0; }
  bool empty() const { return count() == 0; }
  bool null(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  int64_t i64(int row, int column) const {
    return static_cast<int64_t>(binary::load<uint64_t>(at(row, column)));
  }
  uint64_t u64(int row, int column) const { return binary::load<uint64_t>(at(row, column)); }
  int32_t i32(int row, int column) const {
    return static_cast<int32_t>(binary::load<uint32_t>(at(row, column)));
  }
  int16_t i16(int row, int column) const {
    return static_cast<int16_t>(binary::load<uint16_t>(at(row, column)));
  }
  bool boolean(int row, int column) const { return *at(row, column) != 0; }
  Time time(int row, int column) const { return Time{i64(row, column)}; }
  std::string_view bytes(int row, int column) const {  // bytea and text; empty for null
    return {at(row, column), static_cast<size_t>(PQgetlength(result_.get(), row, column))};
  }
  std::string text(int row, int column) const { return std::string(bytes(row, column)); }
  // Rows that an INSERT, UPDATE or DELETE touched.
  uint64_t affected() const {
    const char* tuples = result_ ? PQcmdTuples(result_.get()) : "";
    return *tuples == '\0' ? 0 : std::strtoull(tuples, nullptr, 10);
  }
  const char* tag() const { return result_ ? PQcmdStatus(result_.get()) : ""; }

 private:
  const char* at(int row, int column) const { return PQgetvalue(result_.get(), row, column); }
  std::shared_ptr<PGresult> result_;
};

}  // namespace linkspan::store::pg
