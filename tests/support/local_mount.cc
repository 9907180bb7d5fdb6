// local-mount SOURCE DIR: serves SOURCE at DIR through FUSE, as the workspace is where it cannot be
// a bind mount. Prints "ready" when it answers; ends when its input does.
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "fusefs/fuse/mount_set.h"

int main(int argc, char** argv) {
  using namespace linkspan;
  if (argc != 3) {
    std::fprintf(stderr, "usage: local-mount SOURCE DIR\n");
    return 2;
  }
  auto tree = local::LocalTree::open(argv[1]);
  if (!tree.ok()) {
    std::fprintf(stderr, "local-mount: %s\n", tree.error().message.c_str());
    return 1;
  }
  fuse::MountSet mounts;
  if (auto mounted = mounts.add_local(argv[2], *std::move(tree)); !mounted.ok()) {
    std::fprintf(stderr, "local-mount: %s\n", mounted.error().message.c_str());
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  char byte;
  while (::read(STDIN_FILENO, &byte, 1) > 0) {
  }
  auto closed = mounts.close();
  if (!closed.ok()) std::fprintf(stderr, "local-mount: %s\n", closed.error().message.c_str());
  return closed.ok() ? 0 : 1;
}
