#include "tests/model/subject.h"

#include <algorithm>
#include <sstream>

namespace linkspan::test {
namespace {

constexpr int64_t kStartNs = 1600000000000000001;

std::string compare(const Snapshot& expected, const Snapshot& actual) {
  std::string out;
  for (const auto& [path, line] : expected) {
    const auto at = actual.find(path);
    if (at == actual.end()) {
      out += "\n  " + path + " is missing; expected " + line;
    } else if (at->second != line) {
      out += "\n  " + path + "\n    expected " + line + "\n    found    " + at->second;
    }
  }
  for (const auto& [path, line] : actual)
    if (expected.count(path) == 0) out += "\n  " + path + " should not be there: " + line;
  return out;
}

std::string compare(const std::vector<std::string>& expected,
                    const std::vector<std::string>& actual) {
  for (size_t i = 0; i < std::max(expected.size(), actual.size()); ++i) {
    const std::string left = i < expected.size() ? expected[i] : "nothing";
    const std::string right = i < actual.size() ? actual[i] : "nothing";
    if (left != right) return "\n    expected " + left + "\n    found    " + right;
  }
  return {};
}

}  // namespace

Time prune_horizon(const Op& op, Time now) {
  return Time{now.ns - static_cast<int64_t>(op.x) * kStepNs};
}

Time prune_now(const Op& op, Time now) {
  constexpr int64_t kDayNs = 86400ll * 1000000000ll;
  return Time{prune_horizon(op, now).ns + kKeepDays * kDayNs};
}

std::string digest(const std::string& bytes) {
  uint64_t hash = 14695981039346656037ull;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  std::ostringstream out;
  out << bytes.size() << "/" << std::hex << hash;
  return out.str();
}

std::string describe(const NodeFacts& facts) {
  std::ostringstream out;
  out << "kind " << static_cast<int>(facts.kind) << " mode " << std::oct << facts.mode << std::dec
      << " owner " << facts.uid << ":" << facts.gid << " links " << facts.nlink << " size "
      << facts.size << " times " << facts.atime.ns << " " << facts.mtime.ns << " " << facts.ctime.ns
      << " " << facts.btime.ns << " version " << facts.version << " content "
      << digest(facts.content);
  if (!facts.target.empty()) out << " -> " << facts.target;
  for (const auto& [name, value] : facts.xattrs) out << " " << name << "=" << digest(value);
  if (!facts.versions.empty()) out << " history " << facts.versions;
  return out.str();
}

std::optional<std::string> first_difference(const std::vector<Op>& sequence, Subject& expected,
                                            Subject& actual, size_t look_every) {
  Time now{kStartNs};
  for (size_t i = 0; i < sequence.size(); ++i) {
    now.ns += kStepNs;
    const std::string at = "step " + std::to_string(i + 1) + ", " + to_code(sequence[i]);
    const std::string wanted = expected.apply(sequence[i], now);
    const std::string got = actual.apply(sequence[i], now);
    if (wanted != got) return at + "\n    expected " + wanted + "\n    found    " + got;
    if ((i + 1) % look_every != 0 && i + 1 != sequence.size()) continue;
    if (const std::string seen = compare(expected.snapshot(), actual.snapshot()); !seen.empty())
      return at + seen;
  }
  const std::string seen = compare(expected.epilogue(), actual.epilogue());
  if (!seen.empty()) return "at the end" + seen;
  return std::nullopt;
}

}  // namespace linkspan::test
