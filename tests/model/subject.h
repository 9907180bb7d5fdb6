// What a sequence is applied to, and what can be seen of it: text, so that two subjects compare and
// a difference can be read.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "linkspan/error.h"
#include "linkspan/types.h"
#include "tests/model/op.h"

namespace linkspan::test {

// By path (and "@slot"): one line each.
using Snapshot = std::map<std::string, std::string>;

class Subject {
 public:
  virtual ~Subject() = default;
  // "ok ...", or the error's name.
  virtual std::string apply(const Op& op, Time now) = 0;
  virtual Snapshot snapshot() = 0;
  // What is compared once, at the end: old versions' content, the log.
  virtual std::vector<std::string> epilogue() = 0;
};

// Of step `now`: the moment from which on things are kept, and when prune is told that it is.
constexpr int64_t kStepNs = 1000003;
Time prune_horizon(const Op& op, Time now);
Time prune_now(const Op& op, Time now);

// The same facts in the same words, from whoever knows them.
struct NodeFacts {
  Kind kind = Kind::file;
  uint32_t mode = 0, uid = 0, gid = 0, nlink = 0;
  uint64_t size = 0;
  Time atime, mtime, ctime, btime;
  uint64_t version = 0;
  std::string target;
  std::string content;
  std::map<std::string, std::string> xattrs;
  std::string versions;  // "3:rename:12 2:write:5 1:create:0", the newest first
};
std::string describe(const NodeFacts& facts);
std::string digest(const std::string& bytes);

// Applies the sequence to both, step by step, and looks at everything after each `look_every`th
// step and the last. The first difference, or nothing.
std::optional<std::string> first_difference(const std::vector<Op>& sequence, Subject& expected,
                                            Subject& actual, size_t look_every = 1);

}  // namespace linkspan::test
