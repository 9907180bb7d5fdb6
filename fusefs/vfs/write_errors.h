// What was written to an open file and could not be committed: told to whoever has it open for
// writing, and to each once, as errseq_t in the kernel does, not just to whose call the commit was.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "fusefs/vfs/layer.h"
#include "linkspan/error.h"

namespace linkspan::vfs {

inline constexpr size_t kErrors = 16;  // of one file; who is to be told of older ones hears these

class WriteErrors {
 public:
  // `layer`: what was refused alone, so that its writers alone are to be told.
  void add(Error error, const Layer* layer = nullptr);
  uint64_t count() const;  // so many so far
  // The last that is for this one, of those after the first `seen`.
  std::optional<Error> since(uint64_t seen, const Party& of) const;

 private:
  struct One {
    Error error;
    std::vector<Party> whose;  // empty: everybody's
  };
  mutable std::mutex mutex_;  // leaf
  uint64_t count_ = 0;
  std::deque<One> last_;
};

}  // namespace linkspan::vfs
