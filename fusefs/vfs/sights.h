// How a file looked to who reads it part by part: whether what it reads now is of the same content.
// Else its text is of two, of which nobody knows what it rests on.
//
// Threads: none of its own; OpenFile's lock guards it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fusefs/vfs/processes.h"
#include "linkspan/types.h"

namespace linkspan::vfs {

struct Sight {
  uint64_t edits = 0;  // of this mount's, so far
  Version version;     // beneath those that are unsaved
  uint64_t size = 0;   // of the local view
  uint64_t bytes = 0;  // that were read of it
};

// A descriptor's reads.
struct ReadState {
  // Of when its process was told the size: as it opened the file, or looked at it since. Many read
  // so many bytes, and seek no end. None: it has a lock since, and knows what is there.
  std::optional<Sight> sized;
  std::optional<Sight> began;  // of when the first of its reads was
};

// One read, within the file.
struct ReadAt {
  uint64_t offset = 0, bytes = 0;
};

enum class Sees : uint8_t {
  content,  // the one that it began with, or a new one from its beginning
  nothing,  // that counts: the end of another one, when it had all of its own; or see `exact`
  half,     // a part of another one
};

class Sights {
 public:
  void edited(const Process& by);  // an unknown one, through a mapping, does not count
  // What was unsaved is gone, or was committed together with changes of others.
  void lost();
  // What was seen over `before` is `now`, and nothing else.
  void became(Version before, Version now);

  // What the process is told of a file of that size.
  Sight now(Version version, uint64_t size) const { return {edits_, version, size, 0}; }
  // It was told the size that the version, and what is unsaved over it, has.
  bool knows_size(const Process& process, Version version, const ReadState& read_state) const {
    return !process || !read_state.sized || !changed(process, *read_state.sized, version);
  }
  // The process reads of what was so; a read at 0 begins.
  struct How {
    bool direct = false;  // no more than it asked for
    bool exact = false;   // it counts when it has read as many bytes as there are
  };
  Sees read(const Process& process, const How& how, const ReadAt& at, const Sight& of,
            ReadState* read_state) const;

 private:
  bool changed(const Process& process, const Sight& began, Version version) const;

  struct Last {
    Process by;
    uint64_t edit;
  };
  uint64_t edits_ = 0;
  uint64_t lost_ = 0;       // the last edit of somebody who is not listed
  std::vector<Last> last_;  // at most kEditors
  Version from_, to_;       // became(), one after the other
  static constexpr size_t kEditors = 64;
};

}  // namespace linkspan::vfs
