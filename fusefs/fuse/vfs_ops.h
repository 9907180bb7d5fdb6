// The callbacks of a route's connection: convert, ask the vfs, reply.
#pragma once

#include <memory>

#include "fusefs/fuse/notifier.h"
#include "fusefs/fuse/session_context.h"
#include "fusefs/vfs/vfs.h"

namespace linkspan::fuse {

struct VfsOperationsOptions {
  bool read_only = false;  // what would change anything is refused (the mount is "ro", too)
  OwnCalls* own = nullptr;
};

// None of them is owned; all outlive this, and this the connection.
std::unique_ptr<Operations> make_vfs_operations(vfs::Vfs* vfs, Notifier* notifier,
                                                VfsOperationsOptions options);

}  // namespace linkspan::fuse
