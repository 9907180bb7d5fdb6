// PATH@V: a version of a file, found and read. Of the file that is there; where nothing is, of the
// one that was deleted last.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "fusefs/cli/mount_place.h"
#include "linkspan/ops.h"

namespace linkspan::cli {

// Which of the files that had a name, if not that.
struct WhichFile {
  bool deleted = false;  // the one that was deleted last
  uint64_t change = 0;   // the one that this change deleted

  bool is_deleted() const { return deleted || change != 0; }
};

struct PastVersion {
  Place place;
  Ino ino;
  Version version;
  std::optional<Change> deletion;    // of the file
  std::optional<VersionInfo> after;  // its last, if that was written after the deletion

  std::string name() const { return place.file + "@" + std::to_string(version.value); }
  // `not_found`: it is not kept any more, or never was.
  Status content(const std::function<Status(const std::string&)>& piece) const;
};

// `invalid` with the mend, which is wrong usage: no version is named, and none goes without saying.
Status names_version(const std::string& text, uint64_t version, const WhichFile& which = {});
// `text` is PATH@V, or PATH when `version` is given. Of a deleted file PATH alone is its last.
Result<PastVersion> find_past_version(const std::string& text, uint64_t version,
                                      const WhichFile& which = {});

}  // namespace linkspan::cli
