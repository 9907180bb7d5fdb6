// PATH@V: a version of a file that is there, found and read.
#pragma once

#include <functional>
#include <string>

#include "fusefs/cli/mount_place.h"
#include "linkspan/types.h"

namespace linkspan::cli {

struct PastVersion {
  Place place;
  Ino ino;
  Version version;

  std::string name() const { return place.file + "@" + std::to_string(version.value); }
  // `not_found`: it is not kept any more, or never was.
  Status content(const std::function<Status(const std::string&)>& piece) const;
};

// `invalid` with the mend, which is wrong usage: no version is named.
Status names_version(const std::string& text, uint64_t version);
// `text` is PATH@V, or PATH when `version` is given.
Result<PastVersion> find_past_version(const std::string& text, uint64_t version);
// The file that a history is asked of. `not_found` with the mend, `is_directory`.
Result<Ino> file_at(const Place& place);

}  // namespace linkspan::cli
