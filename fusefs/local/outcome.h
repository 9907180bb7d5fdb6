// A value or the errno that the local filesystem gave: a passthrough answers exactly what a local
// program would have seen, so the domain's error codes would only lose it.
#pragma once

#include <cerrno>
#include <utility>
#include <variant>

namespace linkspan::local {

struct Errno {
  int value = 0;
  static Errno last() { return {errno}; }
};

template <class T>
class [[nodiscard]] Outcome {
 public:
  Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT
  Outcome(Errno error) : state_(std::in_place_index<1>, error) {}         // NOLINT
  bool ok() const { return state_.index() == 0; }
  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  int error() const { return std::get<1>(state_).value; }

 private:
  std::variant<T, Errno> state_;
};

struct Nothing {};
using Outcome0 = Outcome<Nothing>;

// Of a system call that returns -1 and sets errno.
inline Outcome0 outcome_of(long result) {
  if (result < 0) return Errno::last();
  return Nothing{};
}

}  // namespace linkspan::local
