// .linkspan/conflicts/: a folder for each conflict that nobody settled, with `info`, `base` (what
// the refused writer had read), `head` (what the file was instead) and `theirs` (what was refused).
// The router is asked each time, for a few seconds at most; when it is away that is an error, never
// an empty directory.
#pragma once

#include <string>
#include <vector>

#include "fusefs/client/router_client.h"
#include "fusefs/fuse/control_fs.h"

namespace linkspan::cli {

inline constexpr std::chrono::milliseconds kConflictsTimeout{3000};

// What .../info says.
std::string conflict_info(const Conflict& conflict, const std::string& place);
// "memory/MEMORY.md": under the mountpoint, if one of the routes has that volume.
std::string conflict_place(const Conflict& conflict, const std::vector<Route>& routes);
std::string conflict_folder(const Conflict& conflict);  // "17-MEMORY.md"

class ConflictFolders final : public fuse::LiveFolders {
 public:
  // `owner_only`: the contents may be read by the owner of the mount (and root) alone.
  ConflictFolders(client::RouterClient* client, std::vector<Route> routes, bool owner_only)
      : client_(client), routes_(std::move(routes)), owner_only_(owner_only) {}

  Result<std::vector<Folder>> list(const vfs::Caller& caller, uint64_t after,
                                   size_t limit) override;
  Result<Folder> find(const vfs::Caller& caller, const std::string& name) override;
  Result<Folder> folder(const vfs::Caller& caller, uint64_t number) override;
  Result<std::vector<File>> files(const vfs::Caller& caller, uint64_t number) override;

 private:
  Result<Conflict> conflict(const vfs::Caller& caller, uint64_t number) const;
  Status add(const vfs::Caller& caller, const Conflict& conflict, const char* name, size_t slot,
             const ReadRequest& what, std::vector<File>* files) const;

  client::RouterClient* const client_;  // not owned
  const std::vector<Route> routes_;
  const bool owner_only_;
};

}  // namespace linkspan::cli
