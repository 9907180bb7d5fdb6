// What `linkspan log FILE` tells: the versions, and between them that the file was moved or
// deleted. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "linkspan/ops.h"

namespace linkspan::cli {

struct FileHistory {
  std::string path;                   // within the volume
  Ino ino;                            // the file's node: older versions may be of others
  std::vector<VersionInfo> versions;  // newest first
  bool whole = false;                 // there are no older ones
  std::vector<Change> renames;        // of these nodes, in any order
  std::optional<Change> deletion;
  bool written_since = false;  // the deletion of its last name
};

struct HistoryLine {
  // One of the two: a version, or a change that made none (`version`: which there was then, if it
  // is in the list).
  std::optional<VersionInfo> version;
  std::optional<Change> change;
  std::string renamed_from;     // version: what a save or `restore` moved here as it; else empty
  bool after_deletion = false;  // version

  Time at() const { return version ? version->at : change->at; }
  const std::string& sandbox() const { return version ? version->sandbox : change->sandbox; }
  const std::string& principal() const { return version ? version->principal : change->principal; }
};

// Oldest first. Of the renames those that brought the file to where it is: not that an editor moved
// its backup away.
std::vector<HistoryLine> lines_of(const FileHistory& history);

}  // namespace linkspan::cli
