// The commands' side of .linkspan/query: asks the router through the mount.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fusefs/cli/mount_place.h"
#include "linkspan/ops.h"
#include "linkspan/token_ops.h"

namespace linkspan::cli {

struct FoundNode {
  std::string kind;  // "file", "directory", "symlink", ...
  uint32_t mode = 0, uid = 0, gid = 0;
  uint64_t size = 0;
  uint32_t nlink = 0;
  Version version;
  std::string target;
};

// What the log is asked for; empty fields ask for all.
struct LogQuery {
  std::string route;  // its path; empty: everything on the mount
  std::string below;
  std::string author, what;
  Time since;
  Ino ino;  // only changes of this node (or of a directory's entries)
  // How often to ask: each answer has looked through limits::kChangesScanned changes at most.
  size_t most_asked = SIZE_MAX;
};

// One call waits for the router as long as the route's timeout says. Not for several threads.
class QueryClient {
 public:
  explicit QueryClient(const MountRoot& mount) : file_(mount.dir + "/.linkspan/query") {}

  // The newest changes first, each told to `each`, until it says false or there are no more.
  Status changes(const LogQuery& query, const std::function<bool(const Change&)>& each);
  // Newest first.
  Status versions(const std::string& route, Ino ino,
                  const std::function<bool(const VersionInfo&)>& each);
  Result<FoundNode> node(const std::string& route, Ino ino);
  // The whole of a version, piece by piece. `not_found`: it is not kept any more.
  Status content(const std::string& route, Ino ino, Version version,
                 const std::function<Status(const std::string&)>& piece);
  Result<Conflict> conflict(uint64_t number);
  Status settle(uint64_t number);
  struct Resumed {
    bool connected = false;
    std::string reason;
  };
  Result<Resumed> resume();
  // A token that may do less than the mount's.
  Result<NarrowReply> narrow(const NarrowRequest& request);

 private:
  struct Reply;
  Result<Reply> ask(const std::string& request);

  const std::string file_;
};

}  // namespace linkspan::cli
