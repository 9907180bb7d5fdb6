// What each field of each request may say. fields_test.cc walks over the descriptors and looks each
// one up here: a new field without a line fails.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::hostile {

// Of a singular field its value; of a repeated one so many of what the base has.
struct Times {
  int count;
};
struct Value {
  enum Kind : uint8_t { number, text, times } kind;
  uint64_t is = 0;        // number, times
  std::string says = {};  // text
  Value(uint64_t value) : kind(number), is(value) {}
  Value(std::string value) : kind(text), says(std::move(value)) {}
  Value(Times value) : kind(times), is(static_cast<uint64_t>(value.count)) {}
};

struct Bound {
  struct Bad {
    Value value;
    Code code = Code::invalid;
  };
  std::vector<Bad> bad;     // each is refused with the field's name
  std::vector<Value> good;  // the outermost that are let through
  std::string any;          // why it has no bounds; then the others are empty
};

// "Message.field" -> its bound; "Message.field.field" goes before it. Booleans need no line.
const std::map<std::string, Bound>& field_bounds();

}  // namespace linkspan::hostile
