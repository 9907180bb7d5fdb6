// What is in a route now, for the mount itself: nothing of it reaches the kernel, so nothing counts
// as told to it, and no access time moves. Where the caches do not know, the router is asked; so
// the next change of what was seen is told to this mount.
//
// Threads: any. Waits for the router at most for the route's timeout, or until the caller cancels.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusefs/vfs/tree.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::vfs {

class TreeObserver final : public Observer {
 public:
  TreeObserver(Tree* tree, const VfsOptions* options) : tree_(tree), options_(options) {}

  Result<Attr> node(const Caller& c, Ino ino) override;
  Result<std::optional<Attr>> name(const Caller& c, Ino dir, const std::string& name) override;
  Result<Page> page(const Caller& c, Ino dir, Cookie after, size_t limit) override;
  std::optional<Ino> known_name(Ino dir, const std::string& name) override;
  std::optional<RevokedName> last_name(Ino ino) override;

 private:
  Doing begin(const Caller& c) const { return Doing::until_timeout(*options_, c.cancel); }

  Tree* const tree_;
  const VfsOptions* const options_;
};

}  // namespace linkspan::vfs
