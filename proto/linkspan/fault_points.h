// Faults that a test can plant, to see that the consistency checker (tests/fault/consistency.py)
// finds them: each switches one mechanism off on which a promise rests. (no_epoch breaks none: the
// mount does without the epoch call, as on a kernel that has none.)
//
// The environment variable LINKSPAN_FAULT_POINTS names them, separated by commas, and is read once.
// Packages are built without (meson option fault_points): there planted() is false whatever is set.
#pragma once

#include <cstdint>
#include <string>

namespace linkspan {

enum class Fault : uint8_t {
  no_revocation,          // router: nobody is told of a change
  early_acknowledgement,  // router: the answer leaves before the holders have acknowledged
  no_replay,              // router: results are not stored by operation number
  no_base,                // router: a commit's base version is ignored
  no_name_invalidation,   // mount: the kernel is not told to forget names
  ignore_lost_lease,      // mount: the caches are answered from after the lease ran out
  no_theirs,              // router: what is refused is not kept
  no_epoch,               // mount: names are kept as on a kernel before 6.16
};

// Any thread.
bool planted(Fault fault);

// What to log at start, loudly; empty when nothing is planted. Ends the process when the variable
// names a fault that does not exist.
std::string planted_faults();

}  // namespace linkspan
