// Giving a file of a mount new content, all at once: a temporary file beside it, then rename(2). So
// its history goes on, other programs see the old content or the new, and an edit that another made
// meanwhile is not lost (the route's policy decides).
#pragma once

#include <functional>
#include <string>

#include "fusefs/cli/restore_origin.h"
#include "linkspan/error.h"

namespace linkspan::cli {

using Sink = std::function<Status(const std::string&)>;

struct Rewrite {
  std::string path;  // absolute
  // Of a file that is made anew; one that is there keeps its own.
  unsigned mode = 0644;
  bool must_be_new = false;  // `exists` if something is there
  Origin origin;             // what the content was: for the log
  // Whether what is at `path` may be replaced: asked when its head was read, which the save rests
  // on, and once more before the rename, for routes where the last writer wins. Empty: it may.
  std::function<Status(const std::string& path)> may_replace;
  // Tells the content, piece by piece. The temporary file is made with the first: what cannot be
  // had leaves no trace in the log.
  std::function<Status(const Sink&)> fill;
};
// Makes the directories above. `conflict`: another changed the file meanwhile.
Status rewrite(const Rewrite& what);
// A symlink, where nothing is.
Status make_link(const std::string& target, const std::string& path, const Origin& origin);

}  // namespace linkspan::cli
