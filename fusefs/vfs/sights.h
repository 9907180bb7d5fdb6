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
  void replaced();
  // What was seen over `before` is `now`, and nothing else.
  void became(Version before, Version now);

  // The process reads of a file of that size. `exact`: it counts when it has read as many bytes as
  // there are. `began`: what the first of its reads was of. One at 0 begins.
  Sees read(const Process& process, bool exact, const ReadAt& at, Version version, uint64_t size,
            std::optional<Sight>* began) const;

 private:
  bool changed(const Process& process, const Sight& began, Version version) const;

  struct Last {
    Process by;
    uint64_t edit;
  };
  uint64_t edits_ = 0;
  uint64_t replaced_ = 0;   // the last edit of somebody who is not listed
  std::vector<Last> last_;  // at most kEditors
  Version from_, to_;       // became(), one after the other
  static constexpr size_t kEditors = 64;
};

}  // namespace linkspan::vfs
