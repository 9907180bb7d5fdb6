// Where a path is: on which mount, on which route, and what it is called within its volume.
#pragma once

#include <string>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::cli {

struct MountRoute {
  std::string path;  // under the mount
  std::string volume;
  bool writable = false;
};
struct MountRoot {
  std::string dir;  // without trailing slash: "" for "/"
  std::vector<MountRoute> routes;

  const MountRoute* route_of_volume(const std::string& volume) const;  // a writable one first
};
struct Place {
  MountRoot mount;
  std::string file;    // the path to open: absolute
  MountRoute route;    // empty path: the top of the mount, or .linkspan
  std::string inside;  // within the volume; empty: its top
};

// `not_found`: not on a mount, or (unless it is the mount's top itself) on none of its routes.
// Nothing need be there.
Result<Place> locate(const std::string& path);
// The mount at or above `dir`. Empty: that of the working directory, else /.linkspan, else the only
// one of this user.
Result<MountRoot> find_mount_root(const std::string& dir);
// /.linkspan if there is one, and those of this user.
std::vector<std::string> all_mount_dirs();

}  // namespace linkspan::cli
