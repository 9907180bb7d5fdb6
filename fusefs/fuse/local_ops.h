// The callbacks of the workspace's connection, where it is no bind mount.
#pragma once

#include <memory>

#include "fusefs/fuse/session_context.h"
#include "fusefs/local/local_tree.h"

namespace linkspan::fuse {

// The tree is not owned and outlives the operations.
std::unique_ptr<Operations> make_local_operations(local::LocalTree* tree);

}  // namespace linkspan::fuse
